"""Finding and reading HDF5 patches, in either published folder layout.

    TrainData|ValidData|TestData/{img,mask}/{image,mask}_N.h5        as released
    {images,annotations}/{train,validation,test}/{image,mask}_N.h5   as mirrored

An image and a mask belong together by their number N, never by their position in a sorted list.
"""

from __future__ import annotations

import math
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import h5py
import numpy as np

from tf_landslide.bands import BandLayout, layout_with
from tf_landslide.errors import LandslideError, nearest

SPLITS = ("train", "valid", "test")
IMAGE_KEY, MASK_KEY = "img", "mask"

_FOLDERS = {
    "train": (("TrainData/img", "TrainData/mask"), ("images/train", "annotations/train")),
    "valid": (("ValidData/img", "ValidData/mask"), ("images/validation", "annotations/validation")),
    "test": (("TestData/img", "TestData/mask"), ("images/test", "annotations/test")),
}
_NUMBERED = re.compile(r"^(?:image|mask)_(\d+)\.h5$")
READERS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class Patch:
    """One numbered patch of a split; either file may be absent."""

    number: int
    image: Path | None
    mask: Path | None


@dataclass
class Reading:
    """What reading one patch gave: arrays where they could be read, and the error of each file that could not."""

    patch: Patch
    image: np.ndarray | None = None  # (H, W, B) float32, as stored
    mask: np.ndarray | None = None  # (H, W) uint8, 0 or 1
    errors: tuple[LandslideError, ...] = ()


def split_folders(data_dir: Path, split: str) -> tuple[Path, Path] | None:
    """The image and mask folder of a split, or None where ``data_dir`` has neither published layout for it."""
    if split not in SPLITS:
        raise LandslideError(nearest(split, SPLITS, "split"))
    for images, masks in _FOLDERS[split]:
        if (Path(data_dir) / images).is_dir() or (Path(data_dir) / masks).is_dir():
            return Path(data_dir) / images, Path(data_dir) / masks
    return None


def available_splits(data_dir: Path) -> list[str]:
    """The splits that ``data_dir`` holds. Raises ``LandslideError`` where it holds none."""
    if not Path(data_dir).is_dir():
        raise LandslideError(f"{data_dir}: no such folder")
    splits = [split for split in SPLITS if split_folders(data_dir, split)]
    if not splits:
        raise LandslideError(
            f"{data_dir}: found neither TrainData|ValidData|TestData/img nor images/train|validation|test; "
            "name the folder that holds one of them"
        )
    return splits


def find_patches(data_dir: Path, split: str, problems: list[str] | None = None) -> list[Patch]:
    """The numbered patches of a split, by number; a patch whose image or mask is missing has None there.

    Args:
        data_dir: a folder in either published layout.
        split: ``train``, ``valid`` or ``test``.
        problems: takes what is wrong with the files' names, in place of an exception.

    Raises:
        LandslideError: no such split in ``data_dir``, or a file whose name has no number or that of another.
    """
    folders = split_folders(data_dir, split)
    if split not in available_splits(data_dir):
        expected = " or ".join(images for images, _ in _FOLDERS[split])
        raise LandslideError(f"{data_dir}: no {split!r} split; expected a folder {expected}")
    found: list[LandslideError] = []
    images, masks = (_numbered(folder, found) for folder in folders)
    if found and problems is None:
        raise found[0]
    if problems is not None:
        problems += map(str, found)
    if not images and not masks:
        raise LandslideError(f"{folders[0]}: holds no image_N.h5")
    return [Patch(n, images.get(n), masks.get(n)) for n in sorted(images.keys() | masks.keys())]


def _numbered(folder: Path, problems: list[LandslideError]) -> dict[int, Path]:
    files: dict[int, Path] = {}
    for path in sorted(folder.glob("*.h5")):
        match = _NUMBERED.match(path.name)
        if not match:
            problems.append(LandslideError(f"{path}: expected a name like image_12.h5 or mask_12.h5"))
        elif (number := int(match.group(1))) in files:
            problems.append(LandslideError(f"{path}: has the same number as {files[number].name}"))
        else:
            files[number] = path
    return files


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


def _known_placement(path: Path, key: str, file) -> _Placement | None:
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


def image_shape(path: Path) -> tuple[int, ...] | None:
    """Shape of a file's image by its header alone; None where that cannot be read."""
    try:
        with h5py.File(path, "r") as file:
            return file[IMAGE_KEY].shape
    except (OSError, KeyError, RuntimeError, ValueError, AttributeError):
        return None


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
            if file.readinto(values.view(np.uint8).reshape(-1)) == values.nbytes:
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


def read_image(path: Path, layout: BandLayout | None = None, *, allow_missing: bool = False) -> np.ndarray:
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
        other = layout_with(values.shape[-1])
        hint = f"; that is layout {other.name!r}" if other else ""
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


def read_mask(path: Path) -> np.ndarray:
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


def read_patch(patch: Patch, layout: BandLayout | None = None, *, allow_missing: bool = False) -> Reading:
    """Read both files of a patch; what is wrong with either is kept in the reading, not raised."""
    reading = Reading(patch)
    errors = []
    if patch.image is None:
        errors.append(LandslideError(f"{patch.mask}: has no image_{patch.number}.h5 to go with it"))
    else:
        try:
            reading.image = read_image(patch.image, layout, allow_missing=allow_missing)
        except LandslideError as error:
            errors.append(error)
    if patch.mask is None:
        errors.append(LandslideError(f"{patch.image}: has no mask_{patch.number}.h5 to go with it"))
    else:
        try:
            reading.mask = read_mask(patch.mask)
        except LandslideError as error:
            errors.append(error)
    if reading.image is not None and reading.mask is not None and reading.image.shape[:2] != reading.mask.shape:
        errors.append(
            LandslideError(
                f"{patch.mask}: is {reading.mask.shape}, its image is {reading.image.shape[:2]}; sizes must be equal"
            )
        )
        reading.mask = None
    reading.errors = tuple(errors)
    return reading


def in_order(function, items) -> Iterator:
    """Map ``function`` over ``items`` on threads; results come in order, with only a few in flight at a time."""
    items = iter(items)
    with ThreadPoolExecutor(READERS) as pool:
        pending = [pool.submit(function, item) for item in islice(items, 2 * READERS)]
        while pending:
            yield pending.pop(0).result()
            pending.extend(pool.submit(function, item) for item in islice(items, 1))


def read_patches(
    patches: Sequence[Patch],
    layout: BandLayout | None = None,
    *,
    allow_missing: bool = False,
    then: Callable[[int, Reading], None] | None = None,
) -> Iterator[Reading]:
    """Read many patches on a few threads, in order; each thread reads several at a time, as handing over costs time.

    Args:
        patches: to read.
        layout: that their images must have; None accepts any number of bands.
        allow_missing: take NaN as a missing value rather than as a fault.
        then: called with each patch's position and reading by the thread that read it, in no order.
    """

    def read(positions):
        readings = []
        for position in positions:
            readings.append(read_patch(patches[position], layout, allow_missing=allow_missing))
            if then:
                then(position, readings[-1])
        return readings

    size, every = _at_once(patches), range(len(patches))
    return chain.from_iterable(in_order(read, (every[i : i + size] for i in every[::size])))


def _at_once(patches: Sequence[Patch]) -> int:
    """How many patches to read before they are handed over: 16, or as many as make 16 MB."""
    image = next((patch.image for patch in patches if patch.image), None)
    shape = image_shape(image) if image else None
    return max(1, min(16, 2**22 // max(1, math.prod(shape)))) if shape else 16
