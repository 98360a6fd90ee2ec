"""Reading HDF5 files of one image or one mask, quickly and with every fault named."""

from __future__ import annotations

import math
import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tf_landslide.bands.layouts import BandLayout, get_layout, layouts_with
from tf_landslide.core.errors import LandslideError

IMAGE_KEY, MASK_KEY = "img", "mask"
LAYOUT_ATTRIBUTE = "layout"  # of the image's dataset: the name of its band layout, where a file says it


@dataclass(frozen=True)
class _Placement:
    """Where an uncompressed dataset lies in its file."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def _placement(path: Path, key: str) -> _Placement | None:
    """Where a dataset lies, if it lies there in one piece and as NumPy has it; None for all else and what is broken."""
    try:
        dataset = h5py.h5d.open(h5py.h5f.open(os.fsencode(path), h5py.h5f.ACC_RDONLY), key.encode())
        offset = dataset.get_offset()
        if offset is None or dataset.dtype.kind not in "fiu" or not dataset.shape:
            return None
        if h5py.h5f.get_name(dataset) != os.fsencode(path):  # a link into another file
            return None
        if dataset.get_type() != h5py.h5t.py_create(dataset.dtype):  # HDF5 would convert: 12-bit numbers, bfloat16
            return None
        return _Placement(offset, dataset.shape, dataset.dtype)
    except (OSError, KeyError, RuntimeError, ValueError, TypeError):
        return None


_HEADER = 2048  # bytes; where the data begin in a file of one small dataset
_KNOWN: dict[tuple[str, int, bytes], _Placement] = {}


def _known_placement(path: Path, key: str, file: FileIO) -> _Placement | None:
    """``_placement``, asked of HDF5 once for all files that have the same size and the same bytes before their data."""
    size = os.fstat(file.fileno()).st_size
    header = file.read(_HEADER)
    place = _KNOWN.get((key, size, header))
    if place is None:
        place = _placement(path, key)
        if place is not None and place.offset <= len(header) and place.offset + place.nbytes == size:
            if len(_KNOWN) > 1000:  # the released files' headers hold the second they were written in
                _KNOWN.clear()
            _KNOWN[key, size, header] = place
    return place


_OF_THREAD = threading.local()


def _scratch(place: _Placement) -> np.ndarray:
    """An array in memory that the thread reads into over and over: new memory costs more than the reading."""
    memory = getattr(_OF_THREAD, "memory", None)
    if memory is None or memory.size < place.nbytes:
        memory = _OF_THREAD.memory = np.empty(place.nbytes, np.uint8)
    return memory[: place.nbytes].view(place.dtype).reshape(place.shape)


def image_shape(path: str | Path) -> tuple[int, ...] | None:
    """Shape of a file's image by its header alone; None where that cannot be read."""
    try:
        with h5py.File(path, "r") as file:
            return file[IMAGE_KEY].shape
    except (OSError, KeyError, RuntimeError, ValueError, AttributeError):
        return None


def image_layout(path: str | Path) -> BandLayout | None:
    """The layout of a file's image: the one that the file names, else the only one with as many bands.

    Returns:
        None where the image cannot be read, or no known layout has so many bands.

    Raises:
        LandslideError: a name that is no layout's, or several layouts with as many bands.
    """
    shape = image_shape(path)
    if shape is None or len(shape) != 3:
        return None
    with h5py.File(path, "r") as file:
        stated: Any = file[IMAGE_KEY].attrs.get(LAYOUT_ATTRIBUTE)
    if stated is not None:
        return get_layout(stated.decode() if isinstance(stated, bytes) else str(stated))
    fitting = layouts_with(shape[-1])
    if len(fitting) > 1:
        names = ", ".join(layout.name for layout in fitting)
        raise LandslideError(f"{path}: 'img' has {shape[-1]} bands, as have the layouts {names}; say which it is")
    return fitting[0] if fitting else None


def _read_dataset(path: Path, key: str) -> np.ndarray:
    """A dataset's values, to be copied before the thread reads the next.

    Straight from the file where they lie in one piece, which needs no turn at HDF5's one lock; else through HDF5, which
    also knows what is wrong.
    """
    with suppress(OSError), path.open("rb", buffering=0) as file:
        place = _known_placement(path, key, file)
        if place is not None:
            values = _scratch(place)
            file.seek(place.offset)
            if file.readinto(values.view(np.uint8).reshape(-1).data) == values.nbytes:
                return values
    try:
        with h5py.File(path, "r") as file:
            if key not in file or not isinstance(file[key], h5py.Dataset):
                found = ", ".join(sorted(file)) or "nothing"
                raise LandslideError(f"{path}: has no dataset {key!r} (found: {found})")
            values = file[key][()]
    except FileNotFoundError:
        raise LandslideError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise LandslideError(f"{path}: is a folder, expected an HDF5 file") from None
    except PermissionError:
        raise LandslideError(f"{path}: may not be read; check its permissions") from None
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        reason = "truncated HDF5 file" if "truncated" in str(error) else "not a readable HDF5 file"
        raise LandslideError(f"{path}: {reason}; fetch or write it again") from None
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
        found = getattr(values, "dtype", type(values).__name__)
        raise LandslideError(f"{path}: dataset {key!r} holds {found}, expected an array of numbers")
    return values


def read_image(path: str | Path, layout: BandLayout | None = None, *, allow_missing: bool = False) -> np.ndarray:
    """Read the stored bands of one patch.

    Args:
        path: an HDF5 file with dataset ``img``, (H, W, B), of any number type, contiguous or compressed.
        layout: the layout the file must have; None accepts any number of bands.
        allow_missing: accept NaN as a missing value (infinite values are never accepted).

    Returns:
        (H, W, B) float32, as stored.

    Raises:
        LandslideError: absent, truncated or not HDF5, no such dataset, a wrong shape, NaN or Inf.
    """
    path = Path(path)
    values = _read_dataset(path, IMAGE_KEY)
    if values.ndim != 3 or 0 in values.shape:
        raise LandslideError(f"{path}: 'img' has shape {values.shape}, expected (height, width, bands)")
    if layout is not None and values.shape[-1] != len(layout.bands):
        others = layouts_with(values.shape[-1])
        hint = f"; that is layout {' or '.join(repr(other.name) for other in others)}" if others else ""
        raise LandslideError(
            f"{path}: 'img' has {values.shape[-1]} bands, layout {layout.name!r} has {len(layout.bands)}{hint}"
        )
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    _refuse_missing(path, values, layout, allow_missing)
    return values


def _refuse_missing(path: Path, values: np.ndarray, layout: BandLayout | None, allow_missing: bool) -> None:
    if np.isfinite(values.min()) and np.isfinite(values.max()):  # twice as fast as asking every value
        return
    bad = np.isinf(values) if allow_missing else ~np.isfinite(values)
    if not bad.any():
        return
    counts = bad.sum(axis=(0, 1))
    band = int(counts.argmax())
    name = layout.names[band] if layout else f"band {band}"
    what = "infinite" if np.isinf(values[..., band]).any() else "NaN"
    remedy = "repair the file" if what == "infinite" else "repair the file, or allow missing values (see the docs)"
    raise LandslideError(f"{path}: {int(bad.sum())} values are NaN or infinite ({what} in {name}); {remedy}")


def read_mask(path: str | Path) -> np.ndarray:
    """Read one mask: (H, W) uint8 of 0 and 1. Raises ``LandslideError`` for anything else."""
    path = Path(path)
    values = _read_dataset(path, MASK_KEY)
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 2 or 0 in values.shape:
        raise LandslideError(f"{path}: 'mask' has shape {values.shape}, expected (height, width)")
    if not ((values == 0) | (values == 1)).all():
        other = np.setdiff1d(values, (0, 1))
        shown = ", ".join(f"{v:g}" for v in other[:4].astype(float))
        raise LandslideError(f"{path}: 'mask' holds {shown}; expected only 0 and 1")
    return values.astype(np.uint8)
