"""Files of safetensors (https://huggingface.co/docs/safetensors), read without trusting what they declare."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from tf_landslide.core.errors import LandslideError

_MAX_HEADER = 4 << 20
_DTYPES: dict[str, Any] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


def read_safetensors(path: Path, file: BinaryIO) -> dict[str, np.ndarray]:
    """The tensors of a file by name.

    Args:
        path: of the file, for errors.
        file: it, open.

    Raises:
        LandslideError: a damaged header, or tensors that overlap or lie outside the file.
    """
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(_MAX_HEADER, size - 8):
        raise LandslideError(f"{path}: declares a header of {length:,} bytes in a file of {size:,}")
    try:
        header = json.loads(file.read(length))
        entries = {str(name): dict(entry) for name, entry in dict(header).items() if name != "__metadata__"}
    except (ValueError, TypeError, RecursionError):
        raise LandslideError(f"{path}: has a damaged header; fetch it again") from None
    places = {name: _place(entry, f"{path}: tensor {name[:80]!r}") for name, entry in entries.items()}
    held, end = size - 8 - length, 0
    for name, (begin, after, _, _) in sorted(places.items(), key=lambda place: place[1][:2]):
        if begin < end:
            raise LandslideError(f"{path}: tensor {name[:80]!r} overlaps another")
        if after > held:
            raise LandslideError(f"{path}: tensor {name[:80]!r} ends outside the file; fetch it again")
        if begin > end:
            raise LandslideError(f"{path}: holds {begin - end:,} bytes that belong to no tensor")
        end = after
    if not places:
        raise LandslideError(f"{path}: holds no tensors")
    if end < held:
        raise LandslideError(f"{path}: holds {held - end:,} bytes that belong to no tensor")
    values = file.read(held)  # whose number spares a second copy
    return {
        name: np.frombuffer(values, dtype, math.prod(shape), begin).reshape(shape)
        for name, (begin, _, dtype, shape) in places.items()
    }


def _place(entry: Mapping[str, Any], where: str) -> tuple[int, int, Any, tuple[int, ...]]:
    """Where a tensor begins and ends, its type and its shape."""
    match entry.get("dtype"), entry.get("data_offsets"), entry.get("shape"):
        case (str(name), [begin, end], list(shape)) if name in _DTYPES and whole([begin, end]) and _fits(shape):
            if end - begin == math.prod(shape) * np.dtype(_DTYPES[name]).itemsize:
                return begin, end, _DTYPES[name], tuple(shape)
            raise LandslideError(f"{where} declares {end - begin:,} bytes for the shape {shape[:8]} of {name}")
    raise LandslideError(f"{where} is described wrongly")


def _fits(shape: Any) -> bool:
    """Whether an array can have a shape; NumPy refuses some that hold nothing."""
    return whole(shape) and math.prod(n for n in shape if n) < 1 << 60


def whole(numbers: Any) -> bool:
    """Whether it is a list or a tuple of a few whole numbers from 0 on."""
    return (
        isinstance(numbers, (list, tuple))
        and len(numbers) <= 8
        and all(type(n) is int and 0 <= n < 1 << 60 for n in numbers)
    )


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write tensors, in their order."""
    names = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}
    header, end = dict[str, Any](__metadata__={"format": "pt"}), 0  # transformers insists
    for name, array in tensors.items():
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": names[array.dtype], "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in tensors.values():
            file.write(np.ascontiguousarray(array).tobytes())
