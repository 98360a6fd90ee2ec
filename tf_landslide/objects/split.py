"""A scene's area shared out among training, validation and test: rectangles that lie a buffer apart.

Neighbouring pixels are alike, so patches drawn by chance would put nearly the same ground into two splits and scores
would flatter (Roberts et al. 2017, doi:10.1111/ecog.02881: block cross-validation). Here each split has regions of its
own. Strips across the scene are held out; each is cut into validation and test, or is one of the two. Where regions of
two splits meet, both draw back by half the buffer, so that no patch is lost beyond those pixels. Of many such divisions
the one is taken whose splits come nearest to their shares, of the landslide pixels and of all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tf_landslide.core.errors import LandslideError
from tf_landslide.objects.density import Density, Tables
from tf_landslide.scenes.grid import Window

_TRIES, _FEWEST = 2000, 200  # divisions of a small scene, and of the largest
_PERIOD = 16  # patches from one strip that is held out to the next, so that a large scene is held out in many places
_EMPTY = 10.0  # added to a division's badness for each split without a patch or without a landslide


@dataclass(frozen=True)
class Cutting:
    """How a scene is cut into patches and shared out.

    Attributes:
        size: of a patch, in pixels along each side.
        stride: between the patches of training; those of validation and test never overlap, so that no pixel is judged
            twice.
        valid, test: their shares; training has the rest. Test may be 0.
        buffer: between the patches of two splits, in rows and in columns.
        missing: the largest share of a patch's pixels that may be unknown.
        seed: equal seeds give equal divisions.
    """

    size: int = 128
    stride: int = 128
    valid: float = 0.2
    test: float = 0.1
    buffer: tuple[float, float] = (64.0, 64.0)
    missing: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if not 32 <= self.size <= 1024 or self.size % 32:
            raise LandslideError(
                f"the side of a patch must be a multiple of 32 pixels from 32 to 1024, got {self.size}"
            )
        if self.stride < 1:
            raise LandslideError(f"the stride must be a pixel at least, got {self.stride}")
        if not (self.valid > 0 and self.test >= 0 and self.valid + self.test < 1):
            raise LandslideError(
                "the shares must leave something to train on, and validate on something; got "
                f"{self.valid:g} for validation and {self.test:g} for test"
            )
        if not 0 <= self.missing < 1:
            raise LandslideError(f"the share of a patch that may be unknown is 0 to below 1, got {self.missing:g}")
        if not all(0 <= pixels < math.inf for pixels in self.buffer):
            raise LandslideError(f"the buffer must not be negative, got {self.buffer}")
        if self.seed < 0:
            raise LandslideError(f"the seed must not be negative, got {self.seed}")

    @property
    def shares(self) -> dict[str, float]:
        """Of the splits that are wanted, by name."""
        wanted = {"train": 1 - self.valid - self.test, "valid": self.valid, "test": self.test}
        return {split: share for split, share in wanted.items() if share > 0}


@dataclass(frozen=True)
class Region:
    """A rectangle of a scene whose patches belong to one split."""

    split: str
    window: Window


def divide(density: Density, cutting: Cutting, tries: int | None = None) -> list[Region]:
    """The regions of each split; a buffer lies between those of any two.

    Args:
        density: of what is known.
        cutting: sizes, shares, buffer and seed.
        tries: how many divisions are compared; None for as many as take some seconds.

    Raises:
        LandslideError: the scene is too small to be shared out like this, or no division gives each split a patch.
    """
    rng = np.random.default_rng(cutting.seed)
    tables = Tables(density)
    best: tuple[float, list[Region]] = math.inf, []
    seen = set[tuple[Region, ...]]()
    patches = math.prod(density.shape) / cutting.size**2
    for _ in range(tries or max(_FEWEST, min(_TRIES, int(5e5 / patches)))):
        found = _division(tables, cutting, rng)
        if found is None or (key := tuple(found)) in seen:
            continue
        seen.add(key)
        if (badness := _badness(found, tables, cutting)) < best[0]:
            best = badness, found
    if {region.split for region in best[1] if windows(region, cutting)} != set(cutting.shares):
        rows, columns = density.shape
        buffer = " x ".join(f"{pixels:.0f}" for pixels in cutting.buffer)
        raise LandslideError(
            f"{rows} x {columns} pixels are too few for patches of {cutting.size} of {', '.join(cutting.shares)} with "
            f"{buffer} pixels between them; take a smaller --size or --buffer, or --test 0"
        )
    return best[1]


def windows(region: Region, cutting: Cutting) -> list[Window]:
    """The patches of a region, row by row.

    Those of training reach all its ends, the last of a row or column overlapping the one before; those of the others
    stand side by side in its middle.
    """
    rows, columns = _places(region, cutting)
    return [Window(row, column, cutting.size, cutting.size) for row in rows for column in columns]


def _places(region: Region, cutting: Cutting) -> tuple[list[int], list[int]]:
    """The first rows and the first columns of a region's patches."""
    window, training = region.window, region.split == "train"
    rows = _starts(window.row, window.height, cutting.size, cutting.stride, training)
    return rows, _starts(window.column, window.width, cutting.size, cutting.stride, training)


def _starts(start: int, length: int, size: int, stride: int, training: bool) -> list[int]:
    if length < size:
        return []
    if not training:
        count = length // size
        first = start + (length - count * size) // 2
        return [first + i * size for i in range(count)]
    last = start + length - size
    return sorted({*range(start, last + 1, stride), last})


def _division(tables: Tables, cutting: Cutting, rng: np.random.Generator) -> list[Region] | None:
    """A division by chance; None where it leaves a strip or a part of one too narrow."""
    axis = int(rng.integers(2))
    length = tables.density.shape[axis]
    crossed = cutting.test > 0 and rng.random() < 0.5
    strips: list[tuple[str, int, int]] = []
    for start, stop, split in _held_out(tables, cutting, axis, crossed, rng):
        start = max(start, strips[-1][2] if strips else 0)
        if stop - start < cutting.size:
            return None
        strips.append((split, start, stop))
    found: list[tuple[str, Window]] = []
    before = 0
    for split, start, stop in [*strips, ("", length, length)]:
        found += [("train", _strip(axis, before, start, tables.density.shape))] if start > before else []
        before = stop
        if split:
            strip = _strip(axis, start, stop, tables.density.shape)
            found += _crossed(strip, 1 - axis, tables, cutting, rng) if crossed else [(split, strip)]
    drawn_back = ((split, _drawn_back(window, tables.density.shape, cutting.buffer)) for split, window in found)
    return [Region(split, tables.known_part(window, cutting.size)) for split, window in drawn_back]


def _held_out(
    tables: Tables, cutting: Cutting, axis: int, crossed: bool, rng: np.random.Generator
) -> Iterator[tuple[int, int, str]]:
    """Strips from one place to another along an axis, in order; of validation, of test, or of both where crossed."""
    length = tables.density.shape[axis]
    periods = max(1, length // (_PERIOD * cutting.size))
    for period in range(periods):
        wanted = [("valid", cutting.valid), ("test", cutting.test)]
        if crossed:
            wanted = [("valid", cutting.valid + cutting.test)]
        elif rng.random() < 0.5:
            wanted.reverse()
        free = (1 - sum(share for _, share in wanted)) / periods  # of training, before, between or behind them
        at = period / periods
        for split, share in wanted:
            if share == 0:
                continue
            ahead = free * rng.choice([0.0, 1.0, rng.random()])
            at, free = at + ahead, free - ahead
            start, stop = tables.places(axis, (at, at + share / periods))
            at += share / periods
            yield *_widened(start, stop, length, cutting.size, cutting.buffer[axis]), split


def _widened(start: int, stop: int, length: int, size: int, buffer: float) -> tuple[int, int]:
    """A strip made wide enough for a patch and what it draws back by."""
    below, above = _halves(buffer)
    if start == 0:
        return 0, min(length, max(stop, size + below))
    if stop == length:
        return max(0, min(start, length - size - above)), length
    more = max(0, size + below + above - (stop - start))
    return max(0, start - more // 2), min(length, stop + more - more // 2)


def _crossed(
    strip: Window, axis: int, tables: Tables, cutting: Cutting, rng: np.random.Generator
) -> list[tuple[str, Window]]:
    """A strip cut across into validation and test."""
    length = tables.density.shape[axis]
    within = (strip.row, strip.end) if axis == 1 else (strip.column, strip.column + strip.width)
    share = cutting.valid / (cutting.valid + cutting.test)
    first, second = ("valid", "test") if rng.random() < 0.5 else ("test", "valid")
    place = tables.places(axis, (share if first == "valid" else 1 - share,), within)[0]
    below, above = _halves(cutting.buffer[axis])
    place = max(min(place, length - cutting.size - above), min(cutting.size + below, length))

    def part(start: int, stop: int) -> Window:
        if axis == 1:
            return Window(strip.row, start, strip.height, stop - start)
        return Window(start, strip.column, stop - start, strip.width)

    return [(first, part(0, place)), (second, part(place, length))]


def _strip(axis: int, start: int, stop: int, shape: tuple[int, int]) -> Window:
    return Window(start, 0, stop - start, shape[1]) if axis == 0 else Window(0, start, shape[0], stop - start)


def _halves(buffer: float) -> tuple[int, int]:
    """What a region draws back by at an end where another follows, and one at its beginning; the buffer together."""
    whole = math.ceil(buffer - 1e-9)
    return whole // 2, whole - whole // 2


def _drawn_back(window: Window, shape: tuple[int, int], buffer: tuple[float, float]) -> Window:
    """A region without the half of the buffer on each side that is not the scene's own."""
    ends = []
    for start, length, whole, pixels in zip((window.row, window.column), window.shape, shape, buffer, strict=True):
        below, above = _halves(pixels)
        first = start + (above if start > 0 else 0)
        last = start + length - (below if start + length < whole else 0)
        ends.append((first, max(0, last - first)))
    (row, height), (column, width) = ends
    return Window(row, column, height, width)


def _badness(regions: Sequence[Region], tables: Tables, cutting: Cutting) -> float:
    """How far the splits are from their shares, and how much is in none."""
    shares, known, landslide = cutting.shares, dict[str, float](), dict[str, float]()
    for region in regions:
        rows, columns = _places(region, cutting)
        if not rows or not columns:
            continue
        of_patches = tables.counts(rows, columns, cutting.size)
        kept = of_patches[0] >= (1 - cutting.missing) * cutting.size**2
        covering = math.prod(places[-1] + cutting.size - places[0] for places in (rows, columns))
        once = covering / (kept.size * cutting.size**2)  # patches of training may overlap
        for counts, values in zip((known, landslide), of_patches, strict=True):
            counts[region.split] = counts.get(region.split, 0.0) + float(values[kept].sum()) * min(1.0, once)
    badness = 0.0
    for counts, total, weight in zip((known, landslide), tables.totals, (1.0, 2.0), strict=True):
        covered = sum(counts.values())
        badness += weight * (1 - covered / total) if total else 0.0
        badness += sum(abs(counts.get(split, 0) / covered - share) for split, share in shares.items()) if covered else 0
        badness += _EMPTY * sum(not counts.get(split) for split in shares) if total else 0.0
    return badness
