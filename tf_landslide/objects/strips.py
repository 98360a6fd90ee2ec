"""Labelled images read by strips of rows, so that a scene's segments are described without holding the scene."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

Rows = Callable[[int, int], np.ndarray]
"""Reads rows ``top`` to ``bottom`` of a plane, all columns, (bottom - top, W)."""


@dataclass(frozen=True)
class Image:
    """Segments and the layers over them.

    Attributes:
        shape: (H, W).
        count: of segments.
        labels: int, 0 where there is no segment, else 1..count.
        layers: by name, float, NaN where missing.
        heights, widths: (H,) ground size of the pixels of each row in metres; ones where it is not known.
        metric: whether it is known.
    """

    shape: tuple[int, int]
    count: int
    labels: Rows
    layers: Mapping[str, Rows]
    heights: np.ndarray
    widths: np.ndarray
    metric: bool

    @property
    def uniform(self) -> bool:
        """Whether all pixels have one size."""
        return bool((self.heights == self.heights[0]).all() and (self.widths == self.widths[0]).all())

    def strips(self, rows: int) -> Iterator[Strip]:
        """The image by strips of ``rows`` rows, from the first row on."""
        for top in range(0, self.shape[0], rows):
            yield Strip.of(self, top, min(top + rows, self.shape[0]))


@dataclass(frozen=True)
class Strip:
    """Some rows of an image, and the row above them, for pairs of neighbours across the strip's upper edge.

    Attributes:
        image: that it is of.
        top, bottom: its rows; ``bottom`` is no longer one of them.
        ids: (k,) segments here: label - 1, ascending.
        around: (h + 1, W) the row above (zeros where there is none) and the strip's rows: 0 where there is no segment,
            else 1..k for a position in ``ids``.
    """

    image: Image
    top: int
    bottom: int
    ids: np.ndarray
    around: np.ndarray

    @classmethod
    def of(cls, image: Image, top: int, bottom: int) -> Strip:
        """Rows ``top`` to ``bottom`` of an image."""
        labels = with_row_above(image.labels(max(top - 1, 0), bottom), top, 0)
        here = np.zeros(image.count + 1, bool)
        here[labels] = True
        here[0] = False
        ids = np.flatnonzero(here) - 1
        position = np.zeros(image.count + 1, np.intp)
        position[ids + 1] = np.arange(1, len(ids) + 1)
        return cls(image, top, bottom, ids, position[labels])

    @property
    def own(self) -> np.ndarray:
        """(h, W) as ``around``, of its rows alone."""
        return self.around[1:]

    def read(self, name: str, halo: int) -> tuple[np.ndarray, int]:
        """A layer's rows and ``halo`` more on either side as far as the image reaches, and the first one's number."""
        start, end = max(self.top - halo, 0), min(self.bottom + halo, self.image.shape[0])
        values = self.image.layers[name](start, end)
        return values if np.issubdtype(values.dtype, np.floating) else values.astype(np.float64), start

    def sum(self, values: np.ndarray | None = None) -> np.ndarray:
        """(k,) sums of ``values``, (h, W), over each segment's pixels here; their number where there are none."""
        weights = None if values is None else values.ravel()
        return np.bincount(self.own.ravel(), weights, len(self.ids) + 1)[1:]

    def extreme(self, values: np.ndarray, of: np.ufunc, start: float) -> np.ndarray:
        """(k,) ``np.minimum`` or ``np.maximum`` of each segment's pixels here and ``start``."""
        found = np.full(len(self.ids) + 1, start)
        of.at(found, self.own.ravel(), values.ravel())
        return found[1:]

    def column(self, rows: np.ndarray) -> np.ndarray:
        """(h, 1) what belongs to the strip's rows of something that each row of the image has."""
        return rows[self.top : self.bottom, None]


def with_row_above(rows: np.ndarray, top: int, fill: float) -> np.ndarray:
    """Rows from the one above ``top`` on; above an image's first row lies one of ``fill``."""
    return np.pad(rows, ((0 if top else 1, 0), (0, 0)), constant_values=fill)
