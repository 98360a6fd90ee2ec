"""What a dataset holds and what is broken in it: the checks behind ``inspect``, and before every training."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from tf_landslide.bands import LAYOUTS, Band, BandLayout, get_layout, layout_with
from tf_landslide.data.patches import (
    Patch,
    Reading,
    available_splits,
    find_patches,
    image_shape,
    read_image,
    read_patches,
)
from tf_landslide.errors import LandslideError
from tf_landslide.progress import progress


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
    return hashlib.sha256(np.ascontiguousarray(values)).digest()


def checked_readings(
    patches: Sequence[Patch],
    split: str,
    layout: BandLayout,
    duplicates: DuplicateFinder | None,
    *,
    usual: tuple[int, ...] | None,
    allow_missing: bool = False,
    keep: Callable[[int, Reading], None] | None = None,
) -> Iterator[Reading]:
    """Every patch of a split with all that is wrong with it: its own files, its size beside the others, its twins.

    Args:
        patches: of the split.
        split: its name.
        layout: that its images must have.
        duplicates: finds twins; None does not look for any.
        usual: shape that its images must have.
        allow_missing: take NaN as a missing value rather than as a fault.
        keep: takes the position and reading of each patch that is sound so far, on the thread that read it; the images
            are then not handed on.
    """
    glances: dict[int, bytes] = {}

    def look(position, reading):
        if reading.image is None:
            return
        if not reading.errors and reading.image.shape != usual:
            odd = f"{reading.patch.image}: 'img' has shape {reading.image.shape}, the split's others have {usual}"
            reading.errors += (LandslideError(odd),)
        if duplicates:
            glances[position] = duplicates.glance(reading.image)
        if keep and not reading.errors:
            keep(position, reading)
        if keep:
            reading.image = None

    readings = read_patches(patches, layout, allow_missing=allow_missing, then=look)
    for position, reading in enumerate(progress(readings, total=len(patches), label=f"reading {split}")):
        if position in glances and (twin := duplicates.error(split, reading.patch.image, glances.pop(position))):
            reading.errors += (twin,)
        yield reading


def _spread(patches: Sequence[Patch], most: int = 15) -> list[Patch]:
    """A few patches with an image, from all over a split."""
    having = [patch for patch in patches if patch.image is not None]
    return having[:: max(1, len(having) // most)]


def usual_shape(patches: Sequence[Patch], layout: BandLayout) -> tuple[int, ...] | None:
    """The commonest image shape among a few patches of a split."""
    found = (image_shape(patch.image) for patch in _spread(patches))
    bands = len(layout.bands)
    shapes = Counter(shape for shape in found if shape is not None and len(shape) == 3 and shape[-1] == bands)
    return shapes.most_common(1)[0][0] if shapes else None


def detect_layout(data_dir: Path) -> BandLayout:
    """The layout that most of a few images of each split have, judged by their number of bands.

    Raises:
        LandslideError: none of them can be read, or no known layout has that many bands.
    """
    sample = [
        patch for split in available_splits(data_dir) for patch in _spread(find_patches(data_dir, split, problems=[]))
    ]
    shapes = [image_shape(patch.image) for patch in sample]
    counts = Counter(shape[-1] for shape in shapes if shape is not None and len(shape) == 3)
    if not counts:
        for patch in sample:
            read_image(patch.image)  # says what is wrong with it
        raise LandslideError(f"{data_dir}: holds no image")
    bands = counts.most_common(1)[0][0]
    layout = layout_with(bands)
    if layout is None:
        known = ", ".join(f"{len(known.bands)} ({name})" for name, known in LAYOUTS.items())
        raise LandslideError(f"{data_dir}: images have {bands} bands; known layouts have {known}")
    return layout


@dataclass
class BandStatistics:
    """Statistics of one band over a split, physical but for ``stored_mean``; None where every value is missing."""

    name: str
    unit: str
    missing: int
    mean: float | None = None
    std: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    stored_mean: float | None = None


@dataclass
class SplitSummary:
    """What one split holds."""

    images: int = 0
    masks: int = 0
    pairs: int = 0
    shape: tuple[int, ...] | None = None
    landslide_patches: int = 0
    landslide_fraction: float = 0.0
    bands: list[BandStatistics] = field(default_factory=list)


@dataclass
class Inspection:
    """The result of ``inspect``."""

    data_dir: str
    layout: str
    splits: dict[str, SplitSummary]
    problems: list[str]

    def as_dict(self) -> dict:
        return asdict(self)


def inspect_data(data_dir: Path, layout: str | BandLayout | None = None, *, allow_missing: bool = False) -> Inspection:
    """Read every patch of every split and report counts, class balance, band statistics and all that is broken.

    Args:
        data_dir: a folder in either published layout.
        layout: name of the band layout; None finds it by the number of bands.
        allow_missing: take NaN as a missing value rather than as a fault.

    Raises:
        LandslideError: the folder holds no split, or its layout cannot be told.
    """
    data_dir = Path(data_dir)
    splits = available_splits(data_dir)
    layout = get_layout(layout) if layout else detect_layout(data_dir)
    duplicates = DuplicateFinder()
    summaries: dict[str, SplitSummary] = {}
    problems: list[str] = []
    for split in splits:
        summary, moments = SplitSummary(), _Moments(layout)
        landslide_pixels = pixels = 0
        patches = find_patches(data_dir, split, problems)
        readings = checked_readings(
            patches, split, layout, duplicates, usual=usual_shape(patches, layout), allow_missing=allow_missing
        )
        for reading in readings:
            problems += map(str, reading.errors)
            summary.images += reading.patch.image is not None
            summary.masks += reading.patch.mask is not None
            if reading.image is not None:
                summary.shape = summary.shape or reading.image.shape
                moments.add(reading.image)
            if reading.image is not None and reading.mask is not None:
                summary.pairs += 1
                summary.landslide_patches += bool(reading.mask.any())
                landslide_pixels += int(reading.mask.sum())
                pixels += reading.mask.size
        summary.landslide_fraction = landslide_pixels / pixels if pixels else 0.0
        summary.bands = moments.statistics()
        summaries[split] = summary
    return Inspection(str(data_dir), layout.name, summaries, problems)


def draw_patches(
    data_dir: str | Path, layout: str | BandLayout, out: str | Path, patches: Sequence[str] | None = None
) -> list[Path]:
    """Draw every band of some patches with the mask's outline in red, one picture ``SPLIT_N.png`` each.

    Args:
        data_dir: a folder in either published layout.
        layout: of its bands.
        out: folder for the pictures.
        patches: ``SPLIT/N`` each; None takes the first patch that holds a landslide, else the first.

    Returns:
        the pictures' paths.

    Raises:
        LandslideError: no such patch, or one whose image cannot be read.
    """
    from tf_landslide.evaluation.figures import all_bands

    data_dir, layout = Path(data_dir), get_layout(layout)
    chosen = [_named(data_dir, layout, name) for name in patches] if patches else [_first(data_dir, layout)]
    pictures = []
    for split, reading in chosen:
        number = reading.patch.number
        pictures.append(Path(out) / f"{split}_{number}.png")
        all_bands(pictures[-1], reading.image, reading.mask, layout, f"{layout.name} {split}/{number}")
    return pictures


def _named(data_dir: Path, layout: BandLayout, name: str) -> tuple[str, Reading]:
    split, _, number = name.partition("/")
    found = {str(patch.number): patch for patch in find_patches(data_dir, split)}
    if number not in found:
        raise LandslideError(f"{data_dir}: no patch {name!r}; expected SPLIT/N, e.g. {split}/{next(iter(found))}")
    reading = next(read_patches([found[number]], layout, allow_missing=True))
    if reading.image is None:
        raise reading.errors[0]
    return split, reading


def _first(data_dir: Path, layout: BandLayout) -> tuple[str, Reading]:
    first = None
    for split in available_splits(data_dir):
        for reading in read_patches(find_patches(data_dir, split), layout, allow_missing=True):
            if reading.image is not None:
                first = first or (split, reading)
                if reading.mask is not None and reading.mask.any():
                    return split, reading
    if first is None:
        raise LandslideError(f"{data_dir}: no image can be read")
    return first


class _Moments:
    """Running count, mean and variance per band in float64 (Chan et al. 1979), skipping missing values."""

    def __init__(self, layout: BandLayout) -> None:
        self.layout = layout
        n = len(layout.bands)
        self.count, self.mean, self.m2 = np.zeros(n), np.zeros(n), np.zeros(n)
        self.low, self.high, self.missing = np.full(n, np.inf), np.full(n, -np.inf), np.zeros(n, int)

    def add(self, image: np.ndarray) -> None:
        values = image.reshape(-1, image.shape[-1]).astype(np.float64)
        for i, band in enumerate(self.layout.bands):
            column = values[:, i]
            valid = column[~np.isnan(column) & (column != band.nodata if band.nodata is not None else True)]
            self.missing[i] += column.size - valid.size
            if not valid.size:
                continue
            mean, total = valid.mean(), self.count[i] + valid.size
            delta = mean - self.mean[i]
            self.m2[i] += ((valid - mean) ** 2).sum() + delta**2 * self.count[i] * valid.size / total
            self.mean[i] += delta * valid.size / total
            self.count[i] = total
            self.low[i], self.high[i] = min(self.low[i], valid.min()), max(self.high[i], valid.max())

    def statistics(self) -> list[BandStatistics]:
        return [self._statistics_of(i, band) for i, band in enumerate(self.layout.bands)]

    def _statistics_of(self, i: int, band: Band) -> BandStatistics:
        row = BandStatistics(band.name, band.unit, int(self.missing[i]))
        if self.count[i]:
            physical = [float(v[i] * band.scale + band.offset) for v in (self.mean, self.low, self.high)]
            row.mean, row.minimum, row.maximum = physical
            row.std = float(np.sqrt(self.m2[i] / self.count[i]) * band.scale)
            row.stored_mean = float(self.mean[i])
        return row
