"""Tensors of PyTorch's checkpoint files (``.pth``, ``.pt``, ``.ckpt``) and of ``.safetensors``, without PyTorch.

Nothing in a file is executed. A checkpoint is a zip archive of a pickle and of raw arrays; of the pickle only what
builds tensors and plain containers is understood, and any other name in it is refused. Every size is compared with the
bytes that are there before an array is made.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

import ml_dtypes
import numpy as np

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import replacing

MAX_BYTES = 4 << 30  # of tensors in a file; the largest of the networks here is a sixteenth of it
_MAX_PICKLE = 64 << 20
_MAX_HEADER = 16 << 20
_DTYPES: dict[str, Any] = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
_SAFE_DTYPES: dict[str, Any] = {
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


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint by name.

    A checkpoint that holds more than a state dict (Lightning's, or one with an optimiser) is looked through for one:
    under ``state_dict``, ``model_state_dict`` or ``model``.

    Args:
        path: of the file.

    Raises:
        LandslideError: a file of another kind, one that is cut off, one that declares more than it holds or than is
            read, or one with a name in it that could execute something.
    """
    try:
        with path.open("rb") as file:
            start = file.read(9)
            if start[:2] == b"PK":
                return _state_dict(_read_zip(path, file), path)
            if start[8:9] == b"{":
                return _read_safetensors(path, file)
    except OSError as error:
        raise LandslideError(f"{path}: cannot be read ({error.strerror or error})") from None
    if start[:1] == b"\x80":
        raise LandslideError(
            f"{path}: is a checkpoint in the format before PyTorch 1.6; write it anew with "
            "torch.save(torch.load(FILE, weights_only=True), NEW)"
        )
    raise LandslideError(f"{path}: is neither a PyTorch checkpoint nor a safetensors file")


@dataclass(frozen=True)
class _Storage:
    """An array in the archive, not read yet."""

    dtype: Any
    key: str
    count: int


class _Unpickler(pickle.Unpickler):
    """Understands what builds tensors and containers; everything else is refused by name."""

    def __init__(self, file: BinaryIO, storage: Callable[[_Storage], np.ndarray], path: Path):
        super().__init__(file)
        self.storage, self.path = storage, path

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _DTYPES:
            return name  # as persistent_load takes it
        known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
            ("torch", "Size"): tuple,
            ("torch", "device"): lambda *_: None,
            ("pytorch_lightning.utilities.parsing", "AttributeDict"): dict,
            ("lightning_fabric.utilities.data", "AttributeDict"): dict,
            ("lightning.fabric.utilities.data", "AttributeDict"): dict,
        }
        if (module, name) not in known:
            raise LandslideError(
                f"{self.path}: names {module}.{name}, which is no tensor and could execute anything; save the state "
                "dict alone: torch.save(model.state_dict(), FILE)"
            )
        return known[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        match pid:
            case ("storage", str(kind), str(key), _, int(count)) if kind in _DTYPES:
                return _Storage(_DTYPES[kind], key, count)
        raise LandslideError(f"{self.path}: refers to something that is no tensor's storage")

    def _tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> np.ndarray:
        plain = isinstance(storage, _Storage) and isinstance(offset, int) and _whole(size) and _whole(stride)
        if not plain or len(size) != len(stride) or offset < 0:
            raise LandslideError(f"{self.path}: holds a tensor that is described wrongly")
        count = math.prod(size)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if count else offset - 1
        if last >= storage.count or count > storage.count:
            raise LandslideError(f"{self.path}: declares a tensor of {count:,} values in {storage.count:,} that it has")
        array = self.storage(storage)[offset : last + 1]
        steps = [step * array.itemsize for step in stride]
        return np.lib.stride_tricks.as_strided(array, size, steps, writeable=False).copy()


def _whole(numbers: Any) -> TypeGuard[Sequence[int]]:
    """Whether it is a list or a tuple of whole numbers from 0 on."""
    return isinstance(numbers, (list, tuple)) and all(type(n) is int and n >= 0 for n in numbers)


def _read_zip(path: Path, file: BinaryIO) -> Any:
    """What the pickle of a checkpoint holds."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if name.endswith("/data.pkl") or name == "data.pkl"]
            if len(names) != 1:
                raise LandslideError(f"{path}: is a zip archive, but no PyTorch checkpoint")
            folder = names[0].removesuffix("data.pkl")
            if archive.getinfo(names[0]).file_size > _MAX_PICKLE:
                raise LandslideError(f"{path}: describes more tensors than any network here has")
            byteorder = f"{folder}byteorder"
            if byteorder in archive.namelist() and archive.open(byteorder).read(8).strip() != b"little":
                raise LandslideError(f"{path}: was written on a big-endian machine; write it anew on another")
            reader = _Arrays(archive, folder, path)
            with archive.open(names[0]) as pickled:
                return _Unpickler(pickled, reader, path).load()  # type: ignore[arg-type]
    except LandslideError:
        raise
    except (zipfile.BadZipFile, EOFError):
        raise LandslideError(f"{path}: is cut off or damaged; fetch it again") from None
    except Exception as error:  # whatever a forged pickle makes the unpickler do
        raise LandslideError(f"{path}: is no checkpoint that can be read ({type(error).__name__})") from None


class _Arrays:
    """The raw arrays of an archive, each read once, all of them together at most ``MAX_BYTES``."""

    def __init__(self, archive: zipfile.ZipFile, folder: str, path: Path):
        self.archive, self.folder, self.path = archive, folder, path
        self.total, self.read = 0, dict[str, np.ndarray]()

    def __call__(self, storage: _Storage) -> np.ndarray:
        if storage.key not in self.read:
            name, nbytes = f"{self.folder}data/{storage.key}", storage.count * np.dtype(storage.dtype).itemsize
            try:
                info = self.archive.getinfo(name)
            except KeyError:
                raise LandslideError(f"{self.path}: lacks the values of a tensor ({name})") from None
            self.total += nbytes
            if self.total > MAX_BYTES:
                raise LandslideError(f"{self.path}: declares more than {MAX_BYTES:,} bytes of tensors")
            if info.file_size != nbytes or info.compress_type != zipfile.ZIP_STORED:
                raise LandslideError(f"{self.path}: declares {nbytes:,} bytes in {name}, it holds {info.file_size:,}")
            self.read[storage.key] = np.frombuffer(self.archive.read(info), storage.dtype)
        return self.read[storage.key]


def _state_dict(content: Any, path: Path) -> dict[str, np.ndarray]:
    """The tensors by name, from whatever a checkpoint holds around them."""
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if isinstance(content, Mapping):
        tensors = {str(name): value for name, value in content.items() if isinstance(value, np.ndarray)}
        if tensors:
            return tensors
    raise LandslideError(f"{path}: holds no state dict; save one: torch.save(model.state_dict(), FILE)")


def _read_safetensors(path: Path, file: BinaryIO) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file (https://huggingface.co/docs/safetensors)."""
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(_MAX_HEADER, size - 8):
        raise LandslideError(f"{path}: declares a header of {length:,} bytes in a file of {size:,}")
    if size - 8 - length > MAX_BYTES:
        raise LandslideError(f"{path}: holds more than {MAX_BYTES:,} bytes of tensors")
    try:
        header = json.loads(file.read(length))
        entries = {str(name): dict(entry) for name, entry in dict(header).items() if name != "__metadata__"}
    except (ValueError, TypeError, RecursionError):
        raise LandslideError(f"{path}: has a damaged header; fetch it again") from None
    tensors = {}
    for name, entry in entries.items():
        dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
        plain = (
            isinstance(shape, list) and isinstance(offsets, list) and _whole(tuple(shape)) and _whole(tuple(offsets))
        )
        if dtype not in _SAFE_DTYPES or not plain or len(offsets) != 2:
            raise LandslideError(f"{path}: tensor {name[:80]!r} is described wrongly")
        begin, end = offsets
        if end - begin != math.prod(shape) * np.dtype(_SAFE_DTYPES[dtype]).itemsize or 8 + length + end > size:
            raise LandslideError(f"{path}: tensor {name[:80]!r} declares other bytes than the file holds")
        file.seek(8 + length + begin)
        tensors[name] = np.frombuffer(file.read(end - begin), _SAFE_DTYPES[dtype]).reshape(shape)
    if not tensors:
        raise LandslideError(f"{path}: holds no tensors")
    return tensors


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write a state dict: as safetensors where the file is called so, else as ``torch.save`` does.

    Args:
        path: of the file; it appears whole or not at all.
        tensors: float32 or int64, by name.
    """
    with replacing(path) as partial:
        if path.suffix == ".safetensors":
            _write_safetensors(partial, tensors)
        else:
            _write_zip(partial, tensors)


def _write_safetensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    names = {np.dtype(dtype): name for name, dtype in _SAFE_DTYPES.items()}
    header, end = dict[str, Any](), 0
    for name, array in tensors.items():
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": names[array.dtype], "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in tensors.values():
            file.write(np.ascontiguousarray(array).tobytes())


def _write_zip(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """The archive that ``torch.load(FILE, weights_only=True)`` reads: an ordered dict of contiguous tensors."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", _pickled(tensors))
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3\n")
        for key, array in enumerate(tensors.values()):
            archive.writestr(f"archive/data/{key}", np.ascontiguousarray(array).tobytes())


def _pickled(tensors: Mapping[str, np.ndarray]) -> bytes:
    """The pickle of an archive, opcode by opcode: the names in it exist only where PyTorch is installed."""
    storages = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}

    def text(value: str) -> bytes:
        raw = value.encode()
        return pickle.BINUNICODE + len(raw).to_bytes(4, "little") + raw

    def named(module: str, name: str) -> bytes:
        return pickle.GLOBAL + f"{module}\n{name}\n".encode()

    def number(value: int) -> bytes:
        raw = value.to_bytes(8, "little", signed=True)
        return pickle.LONG1 + bytes([len(raw)]) + raw

    def several(items: Iterable[bytes]) -> bytes:
        return pickle.MARK + b"".join(items) + pickle.TUPLE

    empty_dict = named("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
    out = [pickle.PROTO + b"\x02", empty_dict, pickle.MARK]
    for key, (name, array) in enumerate(tensors.items()):
        kind = named("torch", storages[array.dtype])
        storage = several([text("storage"), kind, text(str(key)), text("cpu"), number(array.size)]) + pickle.BINPERSID
        strides = [stride // array.itemsize for stride in np.ascontiguousarray(array).strides]
        size, stride = several(map(number, array.shape)), several(map(number, strides[: array.ndim]))
        tensor = several([storage, number(0), size, stride, pickle.NEWFALSE, empty_dict])
        out += [text(name), named("torch._utils", "_rebuild_tensor_v2"), tensor, pickle.REDUCE]
    return b"".join([*out, pickle.SETITEMS, pickle.STOP])
