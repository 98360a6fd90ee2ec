"""What can be wrong with a split: odd sizes, twins, an unknown layout; looked for before anything is trained."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from tf_landslide.bands.layouts import BandLayout, get_layout, known_band_counts
from tf_landslide.core.errors import LandslideError, warn
from tf_landslide.core.progress import progress
from tf_landslide.data.folders import Patch, available_splits, find_patches
from tf_landslide.data.hdf5 import OF_255, image_layout, image_shape, read_image
from tf_landslide.data.ranges import RangeCheck
from tf_landslide.data.readings import Reading, read_patches
from tf_landslide.data.safe_hdf5 import LIMIT


class DuplicateFinder:
    """Finds images that were seen before, over all splits, and names the first file with the same content.

    Images are told apart by every sixteenth row; only those that agree in these are read again and compared whole.
    """

    def __init__(self) -> None:
        self._alike: dict[bytes, list[tuple[str, Path]]] = {}  # by what a glance tells
        self._digests: dict[Path, bytes] = {}  # whole, of those that are alike

    @staticmethod
    def glance(image: np.ndarray) -> bytes:
        """What images must agree in to be compared whole: a digest of every sixteenth row."""
        return _digest(image[::16])

    def error(self, split: str, path: Path, glance: bytes) -> LandslideError | None:
        """What to say of an image if it was seen before; else it is remembered."""
        alike = self._alike.setdefault(glance, [])
        same = next((entry for entry in alike if self._whole(entry[1]) == self._whole(path)), None)
        if same is None:
            alike.append((split, path))
            return None
        first_split, first = same
        if first == path:
            return None
        where = f"split {split!r}" if split == first_split else f"splits {first_split!r} and {split!r}"
        return LandslideError(f"{path}: holds the same image as {first} (duplicate in {where}); remove one")

    def _whole(self, path: Path) -> bytes:
        if path not in self._digests:
            self._digests[path] = _digest(read_image(path, allow_missing=True))
        return self._digests[path]


def _digest(values: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(values).data).digest()


def checked_readings(
    patches: Sequence[Patch],
    split: str,
    layout: BandLayout,
    duplicates: DuplicateFinder | None,
    *,
    usual: tuple[int, ...] | None,
    allow_missing: bool = False,
    ignore: int | None = None,
    ranges: RangeCheck | None = None,
    keep: Callable[[int, np.ndarray, np.ndarray], None] | None = None,
) -> Iterator[Reading]:
    """Every patch of a split with all that is wrong with it: its own files, its size beside the others, its twins.

    Args:
        patches: of the split.
        split: its name.
        layout: that its images must have.
        duplicates: finds twins; None does not look for any.
        usual: shape that its images must have.
        allow_missing: take NaN as a missing value rather than as a fault.
        ignore: the masks' value of pixels that are left out.
        ranges: is shown each image that can be read.
        keep: takes the position, image and mask of each patch that is sound so far, on the thread that read it; the
            images are then not handed on.
    """
    glances: dict[int, bytes] = {}
    highest = _HighestValue()

    def look(position: int, reading: Reading) -> None:
        if reading.image is None:
            return
        if not reading.errors and reading.image.shape != usual:
            odd = f"{reading.patch.image}: 'img' has shape {reading.image.shape}, the split's others have {usual}"
            reading.errors += (LandslideError(odd),)
        if ranges:
            ranges.add(reading.image)
        if duplicates:
            glances[position] = duplicates.glance(reading.image)
        if keep and not reading.errors and reading.mask is not None:
            keep(position, reading.image, reading.mask)
        if keep:
            reading.image = None

    readings = read_patches(patches, layout, allow_missing=allow_missing, ignore=ignore, then=look)
    for position, reading in enumerate(progress(readings, total=len(patches), label=f"reading {split}")):
        image, glance = reading.patch.image, glances.pop(position, None)
        if duplicates and image and glance and (twin := duplicates.error(split, image, glance)):
            reading.errors += (twin,)
        reading.errors += highest.errors(reading)
        yield reading


class _HighestValue:
    """Sees to it that 255 means one thing in a split: where some masks hold 0 and 1, it may mean "ignore" in others."""

    def __init__(self) -> None:
        self._first: dict[bool, Path] = {}  # by whether its landslides are 255

    def errors(self, reading: Reading) -> tuple[LandslideError, ...]:
        """What to say when both kinds of masks were met for the first time."""
        path, mask = reading.patch.mask, reading.mask
        if path is None or mask is None or len(self._first) == 2 or not (mask == 1).any():
            return ()
        self._first.setdefault(OF_255 in reading.notes, path)
        if len(self._first) < 2:
            return ()
        said = f"holds 0 and 255, {self._first[False].name} holds 0 and 1: 255 may mean 'ignore'"
        said += " (then data.ignore=255, inspect --ignore 255), else write 0 and 1 in all"
        return (LandslideError(f"{self._first[True]}: {said}"),)


def _spread(patches: Sequence[Patch], most: int = 15) -> list[Path]:
    """A few images, from all over a split."""
    having = [patch.image for patch in patches if patch.image is not None]
    return having[:: max(1, len(having) // most)]


def usual_shape(patches: Sequence[Patch], layout: BandLayout) -> tuple[int, ...] | None:
    """The commonest image shape among a few patches of a split; what no image may have is that file's own error."""
    found = filter(None, map(image_shape, _spread(patches)))
    bands = len(layout.bands)
    shapes = Counter(s for s in found if len(s) == 3 and s[-1] == bands and math.prod(s) * 4 <= LIMIT)
    return shapes.most_common(1)[0][0] if shapes else None


def detect_layout(data_dir: str | Path) -> BandLayout:
    """The layout that most of a few images of each split have: the one they name, else by their number of bands.

    Raises:
        LandslideError: none of them can be read, or no known layout, or more than one, has that many bands.
    """
    paths = [
        path for split in available_splits(data_dir) for path in _spread(find_patches(data_dir, split, problems=[]))
    ]
    shapes = {path: image_shape(path) for path in paths}
    counts = Counter(shape[-1] for shape in shapes.values() if shape is not None and len(shape) == 3)
    if not counts:
        for path in paths:
            read_image(path)  # says what is wrong with it
        raise LandslideError(f"{data_dir}: holds no image")
    bands = counts.most_common(1)[0][0]
    layouts = Counter(
        layout.name if layout else None
        for layout in (image_layout(path) for path, shape in shapes.items() if shape and shape[-1] == bands)
    )
    name = layouts.most_common(1)[0][0]
    if name is None:
        raise LandslideError(f"{data_dir}: images have {bands} bands; known layouts have {known_band_counts()}")
    return get_layout(name)


def tell_notes(where: object, notes: Counter[str]) -> None:
    """Say once what was taken for what, and in how many files."""
    for note, count in notes.items():
        warn(f"{where}: {note} ({count} files)")
