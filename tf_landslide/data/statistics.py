"""What a dataset holds: counts, class balance, statistics of every band, and all that is broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tf_landslide.bands.layouts import Band, BandLayout, get_layout
from tf_landslide.bands.recipes import holds_value
from tf_landslide.data.checks import DuplicateFinder, checked_readings, detect_layout, usual_shape
from tf_landslide.data.folders import available_splits, find_patches, hidden_files, is_labelled
from tf_landslide.data.ranges import RangeCheck
from tf_landslide.data.readings import Reading
from tf_landslide.metrics import IGNORED


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
    """What one split holds.

    Attributes:
        images, masks, pairs: how many there are, and how many pairs are sound.
        labelled: whether it has masks at all; one without can be predicted, not judged.
        hidden: files that were skipped (``._image_1.h5``).
        shape: of the first image.
        landslide_patches: that hold any landslide.
        landslide_fraction: of all pixels of sound pairs that are not left out; None without masks.
        bands: statistics of each band.
    """

    images: int = 0
    masks: int = 0
    pairs: int = 0
    labelled: bool = True
    hidden: int = 0
    shape: tuple[int, ...] | None = None
    landslide_patches: int = 0
    landslide_fraction: float | None = 0.0
    bands: list[BandStatistics] = field(default_factory=list)


@dataclass
class Inspection:
    """The result of ``inspect``.

    Attributes:
        data_dir: the folder.
        layout: name of its band layout.
        splits: what each holds.
        problems: what is broken.
        warnings: values that are not those of the layout.
        notes: what was taken for what.
    """

    data_dir: str
    layout: str
    splits: dict[str, SplitSummary]
    problems: list[str]
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def inspect_data(
    data_dir: str | Path,
    layout: str | Path | Mapping[str, Any] | BandLayout | None = None,
    *,
    allow_missing: bool = False,
    strict: bool = False,
    ignore: int | None = None,
) -> Inspection:
    """Read every patch of every split and report counts, class balance, band statistics and all that is broken.

    Args:
        data_dir: a folder in either published layout.
        layout: band layout, or how ``get_layout`` names it; None finds it by what the files say of themselves.
        allow_missing: take NaN as a missing value rather than as a fault.
        strict: values that are not those of the layout are a problem, rather than a warning.
        ignore: the masks' value of pixels that are left out.

    Raises:
        LandslideError: the folder holds no split, or its layout cannot be told.
    """
    data_dir = Path(data_dir)
    splits = available_splits(data_dir)
    layout = get_layout(layout) if layout else detect_layout(data_dir)
    duplicates = DuplicateFinder()
    found = Inspection(str(data_dir), layout.name, {}, [])
    for split in splits:
        summary, ranges, notes = SplitSummary(hidden=hidden_files(data_dir, split)), RangeCheck(layout), Counter[str]()
        patches = find_patches(data_dir, split, found.problems)
        summary.labelled = is_labelled(patches)
        readings = checked_readings(
            patches,
            split,
            layout,
            duplicates,
            usual=usual_shape(patches, layout),
            allow_missing=allow_missing,
            ignore=ignore,
            ranges=ranges,
        )
        tally = _Tally(summary, layout)
        for reading in readings:
            found.problems += map(str, reading.errors)
            notes.update(reading.notes)
            tally.add(reading)
        tally.close()
        found.splits[split] = summary
        found.notes += [f"{split}: {note} ({count} files)" for note, count in notes.items()]
        if said := ranges.warning():
            (found.problems if strict else found.warnings).append(f"{split}: {said}")
    return found


class _Tally:
    """Adds patch after patch to a split's summary."""

    def __init__(self, summary: SplitSummary, layout: BandLayout) -> None:
        self.summary, self.moments = summary, _Moments(layout)
        self.landslide_pixels = self.pixels = 0

    def add(self, reading: Reading) -> None:
        summary = self.summary
        summary.images += reading.patch.image is not None
        summary.masks += reading.patch.mask is not None
        if reading.image is None:
            return
        summary.shape = summary.shape or reading.image.shape
        self.moments.add(reading.image)
        if reading.mask is not None:
            summary.pairs += 1
            landslide = int(np.count_nonzero(reading.mask == 1))
            summary.landslide_patches += landslide > 0
            self.landslide_pixels += landslide
            self.pixels += int(np.count_nonzero(reading.mask != IGNORED))

    def close(self) -> None:
        share = self.landslide_pixels / self.pixels if self.pixels else 0.0
        self.summary.landslide_fraction = share if self.summary.labelled else None
        self.summary.bands = self.moments.statistics()


class _Moments:
    """Running count, mean and variance per band in float64 (Chan et al. 1979), skipping missing values."""

    def __init__(self, layout: BandLayout) -> None:
        self.layout = layout
        n = len(layout.bands)
        self.count, self.mean, self.m2 = np.zeros(n), np.zeros(n), np.zeros(n)
        self.low, self.high, self.missing = np.full(n, np.inf), np.full(n, -np.inf), np.zeros(n, int)

    def add(self, image: np.ndarray) -> None:
        values = image.reshape(-1, image.shape[-1])
        for i, band in enumerate(self.layout.bands):
            column = values[:, i]
            valid = column[holds_value(column, band)].astype(np.float64)
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
            mean, *ends = (float(v[i] * band.scale + band.offset) for v in (self.mean, self.low, self.high))
            row.mean, row.minimum, row.maximum = mean, min(ends), max(ends)  # a negative scale turns them round
            row.std = float(np.sqrt(self.m2[i] / self.count[i]) * abs(band.scale))
            row.stored_mean = float(self.mean[i])
        return row
