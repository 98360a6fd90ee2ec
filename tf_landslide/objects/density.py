"""Where something is known of a scene, and where its landslides are, counted coarsely so that a whole tile is held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tf_landslide.scenes.grid import Window


@dataclass(frozen=True)
class Density:
    """Where something is known of a scene, counted in square cells.

    Attributes:
        shape: of the scene, in pixels.
        side: of a cell, in pixels; the last of a row or column may be cut off.
        known, landslide: (rows, columns) pixels of each cell that are labelled, and that are landslide.
    """

    shape: tuple[int, int]
    side: int
    known: np.ndarray
    landslide: np.ndarray


class Tables:
    """A density's sums over rectangles, and its quantiles along an axis."""

    def __init__(self, density: Density) -> None:
        self.density = density
        self._sums = [
            np.pad(np.cumsum(np.cumsum(counts, 0, dtype=np.int64), 1), ((1, 0), (1, 0)))
            for counts in (density.known, density.landslide)
        ]
        self.totals = tuple(int(table[-1, -1]) for table in self._sums)
        parts = zip((density.known, density.landslide), self.totals, strict=True)
        self._weight = sum((counts / total for counts, total in parts if total), np.zeros(density.known.shape))

    def counts(self, rows: Sequence[int], columns: Sequence[int], size: int) -> tuple[np.ndarray, np.ndarray]:
        """Known pixels and landslide pixels of squares, to a cell: (R, C) each.

        Args:
            rows, columns: where they begin.
            size: of their sides.
        """
        (top, bottom), (left, right) = (
            [
                np.minimum(np.rint((np.asarray(first) + more) / self.density.side).astype(int), cells)
                for more in (0, size)
            ]
            for first, cells in zip((rows, columns), self._weight.shape, strict=True)
        )
        strips = (table[bottom] - table[top] for table in self._sums)
        known, landslide = (strip[:, right] - strip[:, left] for strip in strips)
        return known, landslide

    def known_part(self, window: Window, least: int) -> Window:
        """The smallest part of a window, to a cell, that has all that is known of it; of ``least`` pixels a
        side, or of none."""
        side, shape = self.density.side, self.density.known.shape
        first = [window.row // side, window.column // side]
        last = [min(-(-window.end // side), shape[0]), min(-(-(window.column + window.width) // side), shape[1])]
        known = self.density.known[first[0] : last[0], first[1] : last[1]] > 0
        ends = []
        for axis, (start, length) in enumerate(((window.row, window.height), (window.column, window.width))):
            where = np.flatnonzero(known.any(axis=1 - axis)) + first[axis]
            if not len(where):
                return Window(window.row, window.column, 0, 0)
            low, high = max(start, int(where[0]) * side), min(start + length, (int(where[-1]) + 1) * side)
            low = max(start, min(low, high - least))
            ends.append((low, min(start + length, max(high, low + least)) - low))
        (row, height), (column, width) = ends
        return Window(row, column, height, width)

    def places(self, axis: int, shares: Sequence[float], within: tuple[int, int] | None = None) -> list[int]:
        """The rows (axis 0) or columns (1) that have these shares of the weight before them.

        Args:
            axis: along which is counted.
            shares: 0..1.
            within: which rows or columns of the other axis are counted; all where None.
        """
        weight = self._weight if axis == 0 else self._weight.T
        if within is not None:
            first, last = (round(place / self.density.side) for place in within)
            weight = weight[:, first : max(last, first + 1)]
        profile = weight.sum(axis=1) + 1e-9  # of nothing known too, so that every place has a share of its own
        cumulated = np.concatenate([[0.0], np.cumsum(profile)])
        ends = np.minimum(np.arange(len(cumulated)) * self.density.side, self.density.shape[axis])
        return [round(float(place)) for place in np.interp(np.multiply(shares, cumulated[-1]), cumulated, ends)]
