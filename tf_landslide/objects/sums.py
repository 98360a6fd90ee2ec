"""What is known of segments as sums over strips of an image: they add up, whatever the strips' height.

Every class holds an array for each sum, (N,), a value for each segment, and takes the strips from the top down.
"""

from __future__ import annotations

import numpy as np

from tf_landslide.objects.pieces import Borders
from tf_landslide.objects.strips import Strip

LEVELS = 128
"""Grey levels of the co-occurrence matrices."""


class Means:
    """Means and deviations of a layer's values, missing ones left out (Chan, Golub & LeVeque 1983)."""

    def __init__(self, count: int):
        self.number, self._mean, self._squares = (np.zeros(count) for _ in range(3))

    def add(self, strip: Strip, values: np.ndarray) -> None:
        """``values``: (h, W) over the strip's rows, NaN where missing."""
        values = values.astype(np.float64)
        valid = np.isfinite(values)
        values[~valid] = 0
        number = strip.sum(None if valid.all() else valid).astype(np.float64)
        mean = strip.sum(values) / np.maximum(number, 1)
        values -= np.concatenate([[0.0], mean])[strip.own]
        values *= valid
        squares = strip.sum(np.square(values, out=values))
        before, apart = self.number[strip.ids], mean - self._mean[strip.ids]
        share = number / np.maximum(before + number, 1)
        self._mean[strip.ids] += apart * share
        self._squares[strip.ids] += squares + np.square(apart) * before * share
        self.number[strip.ids] += number

    @property
    def mean(self) -> np.ndarray:
        return np.where(self.number > 0, self._mean, np.nan)

    @property
    def deviation(self) -> np.ndarray:
        """Of the population: 0 for a single pixel."""
        return np.sqrt(ratio(self._squares, self.number))


class Extreme:
    """The least (``np.minimum``) or greatest (``np.maximum``) of a layer's values."""

    def __init__(self, count: int, of: np.ufunc):
        self._of, self._start = of, np.inf if of is np.minimum else -np.inf
        self._value = np.full(count, self._start)

    def add(self, strip: Strip, values: np.ndarray) -> None:
        known = np.where(np.isfinite(values), values, self._start).astype(np.float64)
        here = strip.extreme(known, self._of, self._start)
        self._value[strip.ids] = self._of(self._value[strip.ids], here)

    @property
    def value(self) -> np.ndarray:
        return np.where(np.isfinite(self._value), self._value, np.nan)


class Moments:
    """Area, perimeter, centre and second moments of segments' pixels.

    Rows and columns are counted from a segment's first pixel, so that the sums are of small whole numbers: exact.
    """

    def __init__(self, count: int):
        self.pixels, self.area, self.perimeter = (np.zeros(count) for _ in range(3))
        self._first = np.full((count, 2), -1)
        self._sums = np.zeros((count, 2))
        self._squares = np.zeros((count, 3))

    def add(self, strip: Strip) -> None:
        image, ids, own = strip.image, strip.ids, strip.own
        self.pixels[ids] += strip.sum()
        size = strip.column(image.heights * image.widths)
        self.area[ids] += strip.sum(np.broadcast_to(size, own.shape))
        self.perimeter[ids] += _perimeter(strip)
        first = np.zeros(len(ids) + 1, np.int64)
        first[own.ravel()[::-1]] = np.arange(own.size)[::-1]  # of several the last one is kept
        new = (self._first[ids, 0] < 0) & (strip.sum() > 0)
        self._first[ids[new]] = _places(first[1:][new], own.shape[1]) + np.array([strip.top, 0])
        first_row, first_column = np.concatenate([[[0, 0]], self._first[ids]]).T
        row = np.arange(strip.top, strip.bottom)[:, None] - first_row[own]
        column = np.arange(own.shape[1]) - first_column[own]
        for i, values in enumerate((row, column)):
            self._sums[ids, i] += strip.sum(values)
        for i, values in enumerate((row * row, column * column, row * column)):
            self._squares[ids, i] += strip.sum(values)

    @property
    def centre(self) -> np.ndarray:
        """(N, 2) row and column."""
        return self._first + ratio(self._sums, self.pixels[:, None])

    @property
    def covariance(self) -> np.ndarray:
        """(N, 3) of rows, of columns and between them, in pixels squared; a pixel is a square, not a point."""
        row, column = ratio(self._sums, self.pixels[:, None]).T
        squares = ratio(self._squares, self.pixels[:, None])
        return squares - np.stack([row * row - 1 / 12, column * column - 1 / 12, row * column], axis=1)


def _places(flat: np.ndarray, width: int) -> np.ndarray:
    """(k, 2) row and column of positions in an image that is ``width`` wide."""
    return np.stack(np.divmod(flat, width), axis=1)


def _perimeter(strip: Strip) -> np.ndarray:
    """(k,) the sum of pixels' edges behind which another segment, nothing, or the image's frame lies.

    An edge along the strip's upper row belongs to the strip, for both sides; one along its lower row to the next.
    """
    image, k = strip.image, len(strip.ids) + 1
    last = strip.bottom == image.shape[0]
    columns = np.pad(strip.own, ((0, 0), (1, 1)))
    rows = np.pad(strip.around, ((0, int(last)), (0, 0)))
    widths = np.pad(image.widths, 1, mode="edge")[strip.top : strip.bottom + 1 + int(last)]
    edges = (
        (columns[:, :-1], columns[:, 1:], strip.column(image.heights)),
        (rows[:-1], rows[1:], ((widths[:-1] + widths[1:]) / 2)[:, None]),
    )
    total = np.zeros(k)
    for a, b, length in edges:
        different = a != b
        lengths = np.broadcast_to(length, a.shape)[different]
        total += np.bincount(a[different], lengths, k) + np.bincount(b[different], lengths, k)
    return total[1:]


def borders(strip: Strip) -> Borders:
    """Who borders on whom in a strip and along its upper edge; labels from 1."""
    names = np.concatenate([[0], strip.ids + 1])
    found = [(strip.own[:, :-1], strip.own[:, 1:]), (strip.around[:-1], strip.around[1:])]
    kept = [(a[a != b], b[a != b]) for a, b in found]
    return Borders.of_pairs(*(names[np.concatenate([pair[i] for pair in kept])] for i in (0, 1)))


class Texture:
    """Mean and homogeneity of a segment's grey-level co-occurrence matrix (Haralick et al. 1973).

    Pairs are neighbours in four directions, both in the segment, counted both ways; all directions make one matrix.
    Grey levels run over a fixed range. Then the mean of the matrix is that of the pairs' levels, and its homogeneity
    the mean of 1 / (1 + difference squared): no matrix is held.
    """

    def __init__(self, count: int, low: float, high: float):
        self._low, self._step = low, (high - low) / LEVELS
        self._pairs, self._levels, self._alike = (np.zeros(count) for _ in range(3))

    def add(self, strip: Strip, values: np.ndarray) -> None:
        """``values``: (h + 1, W) over the row above the strip and its rows, NaN where missing."""
        values = values.astype(np.float64)
        known = np.isfinite(values)
        where = np.where(known, strip.around, 0)
        scaled = (np.where(known, values, self._low) - self._low) / self._step
        levels = np.clip(np.floor(scaled), 0, LEVELS - 1).astype(np.int32)
        k = len(strip.ids) + 1
        for a, b in _PAIRS:
            same = (where[a] == where[b]) & (where[a] > 0)
            segment, first, second = where[a][same], levels[a][same], levels[b][same]
            self._pairs[strip.ids] += np.bincount(segment, minlength=k)[1:]
            self._levels[strip.ids] += np.bincount(segment, (first + second) / 2, k)[1:]
            self._alike[strip.ids] += np.bincount(segment, 1 / (1 + np.square(first - second)), k)[1:]

    @property
    def mean(self) -> np.ndarray:
        return ratio(self._levels, self._pairs)

    @property
    def homogeneity(self) -> np.ndarray:
        return ratio(self._alike, self._pairs)


_ALL, _LEFT, _RIGHT, _UPPER, _LOWER = slice(None), slice(None, -1), slice(1, None), slice(None, -1), slice(1, None)
_PAIRS = (
    ((_LOWER, _LEFT), (_LOWER, _RIGHT)),  # 0 degrees: of the strip's own rows only
    ((_UPPER, _RIGHT), (_LOWER, _LEFT)),  # 45
    ((_UPPER, _ALL), (_LOWER, _ALL)),  # 90
    ((_UPPER, _LEFT), (_LOWER, _RIGHT)),  # 135
)


def ratio(sums: np.ndarray, number: np.ndarray) -> np.ndarray:
    """``sums / number``, NaN where ``number`` is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(number > 0, sums / number, np.nan)
