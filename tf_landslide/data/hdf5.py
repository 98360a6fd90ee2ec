"""Reading HDF5 files of one image or one mask, quickly and with every fault named.

What others write otherwise is taken where its meaning is certain (another name, masks of 0 and 255), and noted.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tf_landslide.bands.layouts import LAYOUTS, BandLayout, layouts_with
from tf_landslide.core.errors import LandslideError, unknown
from tf_landslide.data.safe_hdf5 import IMAGE, LIMIT, MASK, Found, Kind, check_size, dataset, out_of_memory, read_values
from tf_landslide.metrics import IGNORED

IMAGE_KEY, MASK_KEY = IMAGE.key, MASK.key
OF_255 = "masks of 0 and 255 are taken for 0 and 1"


@dataclass(frozen=True)
class Noted:
    """An array, and what was taken for what to read it; a note is the same for all files that it is true of."""

    values: np.ndarray
    notes: tuple[str, ...] = ()


_HEADER = 2048  # bytes; where the data begin in a file of one small dataset
_KNOWN: dict[tuple[str, int, bytes], Found] = {}
_OF_THREAD = threading.local()
_KEPT = 2**26  # bytes, at most, that each thread keeps


def _scratch(found: Found) -> np.ndarray:
    """An array in memory that the thread reads into over and over: new memory costs more than the reading."""
    if found.nbytes > _KEPT:
        return np.empty(found.shape, found.dtype)
    memory = getattr(_OF_THREAD, "memory", None)
    if memory is None or memory.size < found.nbytes:
        memory = _OF_THREAD.memory = np.empty(found.nbytes, np.uint8)
    return memory[: found.nbytes].view(found.dtype).reshape(found.shape)


def _read(path: Path, kind: Kind, limit: int) -> tuple[Found, np.ndarray]:
    """A dataset and its values, to be copied before the thread reads the next.

    Straight from the file where they lie in one piece, which needs no turn at HDF5's one lock; else through HDF5. HDF5
    is asked where they lie once for all files that have the same size and the same bytes before their data.
    """
    if not path.is_file():  # to open a pipe would wait for somebody who writes
        return _by_hdf5(path, kind, limit)
    with suppress(OSError), path.open("rb", buffering=0) as file:
        size, header = os.fstat(file.fileno()).st_size, file.read(_HEADER)
        found = _KNOWN.get((kind.key, size, header))
        if found is None:
            with dataset(path, kind) as (found, stored):
                if found.offset is None:
                    return found, read_values(path, found, stored, limit)
            if found.offset <= len(header) and found.offset + found.nbytes == size:
                if len(_KNOWN) > 1000:  # the released files' headers hold the second they were written in
                    _KNOWN.clear()
                _KNOWN[kind.key, size, header] = found
        check_size(path, found, limit)
        start = found.offset or 0
        if start + found.nbytes <= size:
            values = _scratch(found)
            file.seek(start)
            if file.readinto(values.view(np.uint8).reshape(-1).data) == values.nbytes:
                return found, values
    return _by_hdf5(path, kind, limit)


def _by_hdf5(path: Path, kind: Kind, limit: int) -> tuple[Found, np.ndarray]:
    """The same by HDF5, or what is wrong."""
    with dataset(path, kind) as (found, stored):
        return found, read_values(path, found, stored, limit)


@contextmanager
def _within_memory(path: Path) -> Iterator[None]:
    """What one file needs and cannot have is that file's own error."""
    try:
        yield
    except MemoryError:
        raise out_of_memory(path) from None


def image_shape(path: str | Path) -> tuple[int, ...] | None:
    """Shape of a file's image by its header alone; None where that cannot be read."""
    try:
        with dataset(Path(path), IMAGE) as (found, _):
            return found.shape
    except LandslideError:
        return None


def image_layout(path: str | Path, known: Sequence[BandLayout] = ()) -> BandLayout | None:
    """The layout of a file's image: the one that the file names, else the first that has as many bands.

    Args:
        path: of the file.
        known: layouts to be looked at before the shipped ones.

    Returns:
        None where the image cannot be read, or no known layout has so many bands.

    Raises:
        LandslideError: a name that is no known layout's.
    """
    try:
        with dataset(Path(path), IMAGE) as (found, _):
            pass
    except LandslideError:
        return None
    layouts = (*known, *LAYOUTS.values())
    if found.layout is None:
        fitting = (layout for layout in layouts if len(layout.bands) == found.shape[-1])
        return next(fitting, None) if len(found.shape) == 3 else None
    for layout in layouts:
        if layout.name == found.layout:
            return layout
    names = [layout.name for layout in layouts]
    raise LandslideError(
        f"{path}: {unknown(found.layout[:60], names, 'band layout')}, or name the file that describes it"
    )


def read_image(
    path: str | Path, layout: BandLayout | None = None, *, allow_missing: bool = False, limit: int = LIMIT
) -> np.ndarray:
    """Read the stored bands of one patch.

    Args:
        path: an HDF5 file with dataset ``img``, (H, W, B), of any number type, contiguous or compressed. A dataset of
            another name is taken where it is the only one that it can be.
        layout: the layout the file must have; None accepts any number of bands.
        allow_missing: accept NaN as a missing value (infinite values are never accepted).
        limit: bytes that it may take as float32.

    Returns:
        (H, W, B) float32, as stored.

    Raises:
        LandslideError: absent, truncated or not HDF5, no such dataset, values that lie in another file, too many, a
            wrong shape, another layout, NaN or Inf.
    """
    return noted_image(path, layout, allow_missing=allow_missing, limit=limit).values


def noted_image(
    path: str | Path, layout: BandLayout | None = None, *, allow_missing: bool = False, limit: int = LIMIT
) -> Noted:
    """``read_image``, with what was taken for what."""
    path = Path(path)
    with _within_memory(path):
        found, values = _read(path, IMAGE, limit)
        if values.ndim != 3 or 0 in values.shape:
            raise LandslideError(f"{path}: {found.key!r} has shape {values.shape}, expected (height, width, bands)")
        if layout is not None:
            _refuse_layout(path, found, layout)
        with np.errstate(over="ignore"):
            values = values.astype(np.float32)
        _refuse_missing(path, values, layout, allow_missing)
    return Noted(values, _of_key(found, IMAGE))


def _of_key(found: Found, kind: Kind) -> tuple[str, ...]:
    return () if found.key == kind.key else (f"datasets {found.key[:40]!r} are taken for {kind.key!r}",)


def _refuse_layout(path: Path, found: Found, layout: BandLayout) -> None:
    """Refuse an image of another layout than it must have: by its own word, or by its number of bands."""
    bands, count = len(layout.bands), found.shape[-1]
    if count != bands:
        others = layouts_with(count)
        hint = f"; that is layout {' or '.join(repr(other.name) for other in others)}" if others else ""
        if found.shape[0] == bands:
            hint = f"; its first axis has {bands}: the bands must be the last axis"
        raise LandslideError(f"{path}: {found.key!r} has {count} bands, layout {layout.name!r} has {bands}{hint}")
    if found.layout not in (None, layout.name):
        raise LandslideError(
            f"{path}: says of itself that it is in layout {found.layout[:60]!r}, expected {layout.name!r}"
        )


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


def read_mask(path: str | Path, *, limit: int = LIMIT, ignore: int | None = None) -> np.ndarray:
    """Read one mask.

    Args:
        path: an HDF5 file with dataset ``mask``, (H, W), (H, W, 1) or (1, H, W), of 0 and 1 in any number type or
            boolean, or of 0 and 255. A dataset of another name is taken where it is the only one that it can be.
        limit: bytes that it may take as float32.
        ignore: the value of pixels of which nobody knows what they are.

    Returns:
        (H, W) uint8 of 0 and 1, and of ``IGNORED`` where the value is ``ignore``.

    Raises:
        LandslideError: what ``read_image`` refuses of a file, or another shape or other values.
    """
    return noted_mask(path, limit=limit, ignore=ignore).values


def noted_mask(path: str | Path, *, limit: int = LIMIT, ignore: int | None = None) -> Noted:
    """``read_mask``, with what was taken for what."""
    path = Path(path)
    with _within_memory(path):
        found, values = _read(path, MASK, limit)
        notes = _of_key(found, MASK)
        if values.ndim == 3 and values.shape[-1] == 1:
            values = values[..., 0]
        elif values.ndim == 3 and values.shape[0] == 1:
            values = values[0]
        if values.ndim != 2 or 0 in values.shape:
            raise LandslideError(f"{path}: {found.key!r} has shape {found.shape}, expected (height, width)")
        ignored = values == ignore if ignore is not None else np.zeros(values.shape, bool)
        is_one, is_255 = (values == 1) & ~ignored, (values == 255) & ~ignored
        other = int(np.count_nonzero((values != 0) & ~is_one & ~is_255 & ~ignored))
        if other or (is_255.any() and is_one.any()):
            raise LandslideError(f"{path}: {_odd_values(values, other)}")
        if ignored.any():
            notes = (*notes, f"mask pixels of {ignore} are left out of every count")
        mask = np.where(ignored, IGNORED, is_one | is_255).astype(np.uint8)
        return Noted(mask, (*notes, OF_255) if is_255.any() else notes)


def _odd_values(values: np.ndarray, other: int) -> str:
    """What is wrong with a mask's values, without telling them."""
    if not other:
        return "holds 255 beside 0 and 1; data.ignore=255 (inspect --ignore 255) leaves its pixels out, or write 0 or 1"
    distinct = len(np.unique(values))
    return (
        f"{other} of {values.size} mask values are neither 0, 1 nor 255 ({distinct} distinct ones); expected 0 and 1, "
        "and at most one more, that data.ignore names"
    )
