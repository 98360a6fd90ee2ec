"""Values of one raster at the pixels of another grid, the same whatever window asks.

GDAL's warper approximates its transformer anew for every window it is given, so that a windowed warp differs from a
whole one at nearly every pixel (by up to 2.4 m on a real 30 m terrain model). Here coordinates are transformed exactly
on a lattice that is anchored to the target grid, every few pixels, and interpolated between; the error of that is
measured when the sampler is made, and the lattice is made finer until it is below ``TOLERANCE``. So a pixel's value
depends on its row and column alone, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from pyproj import Transformer

from tf_landslide.core.errors import LandslideError
from tf_landslide.scenes.grid import Grid, Window

TOLERANCE = 1e-3  # pixels of the source
MOST_PIXELS = 2**26  # of the source that are read for one window
STEPS = (64, 16, 4, 1)  # pixels of the target between two nodes of the lattice

Read = Callable[[Window], np.ndarray]
"""Reads a window of the source, (H, W) float, NaN where missing; the window lies within the source."""


@dataclass(frozen=True)
class Sampler:
    """Bilinear samples of a source at the pixel centres of a target grid. Made by ``sampler``.

    Attributes:
        source: grid of what is sampled.
        target: grid of the samples.
        step: target pixels between two nodes of the lattice.
        error: the largest error of interpolated coordinates that was seen, in source pixels.
    """

    source: Grid
    target: Grid
    step: int
    error: float
    _transformer: Transformer

    def __call__(self, window: Window, read: Read) -> np.ndarray:
        """Samples of a window of the target, which may reach beyond it.

        A sample is missing where the source does not reach, or where one of the up to four pixels it is mixed from is
        missing.

        Args:
            window: of the target.
            read: of the source.

        Returns:
            (H, W) float32.
        """
        return self._sampled(window, read, bilinear)

    def nearest(self, window: Window, read: Read) -> np.ndarray:
        """As a call, but each value is that of the source pixel which the centre lies in: for classes, not amounts."""
        return self._sampled(window, read, _nearest)

    def _sampled(self, window: Window, read: Read, mix: Callable[..., np.ndarray]) -> np.ndarray:
        rows, columns = self.coordinates(window)
        inside = ((rows >= -0.5) & (rows <= self.source.shape[0] - 0.5) & (columns >= -0.5)) & (
            columns <= self.source.shape[1] - 0.5
        )
        result = np.full(window.shape, np.nan, np.float32)
        if not inside.any():
            return result
        needed = _around(rows[inside], columns[inside], self.source.shape)
        if needed.height * needed.width > MOST_PIXELS:
            raise LandslideError(
                f"a window of {window.height} x {window.width} pixels needs {needed.height:,} x {needed.width:,} of a "
                "raster that lies under it: it is far finer, or cut where the scene is not (at the antimeridian, "
                "say); warp it to the scene's grid first"
            )
        result[inside] = mix(read(needed), rows[inside], columns[inside], needed, self.source.shape)
        return result

    def coordinates(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Fractional source (row, column) of each pixel of a target window, (H, W) float64 each."""
        step = self.step
        first_row, first_column = window.row // step, window.column // step
        last_row, last_column = (
            (window.row + window.height - 1) // step + 1,
            (window.column + window.width - 1) // step + 1,
        )
        nodes = self._exact(np.arange(first_row, last_row + 1) * step, np.arange(first_column, last_column + 1) * step)
        if self.source.is_geographic and np.ptp(nodes[1]) > self.source.columns_of_a_turn / 2:
            raise LandslideError(
                "the scene lies where a raster of the whole Earth ends; cut it around the scene first: "
                "gdalwarp -te WEST SOUTH EAST NORTH, with longitudes that go on beyond 180"
            )
        rows, columns = (
            np.arange(window.row, window.row + window.height),
            np.arange(window.column, window.column + window.width),
        )
        i, u = rows // step - first_row, (rows % step / step)[:, None]
        j, v = columns // step - first_column, (columns % step / step)[None, :]
        mixed = []
        for values in nodes:
            upper = values[i][:, j] * (1 - v) + values[i][:, j + 1] * v
            lower = values[i + 1][:, j] * (1 - v) + values[i + 1][:, j + 1] * v
            mixed.append(_snapped(upper * (1 - u) + lower * u))
        return mixed[0], mixed[1]

    def _exact(self, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fractional source (row, column) of target pixels, (rows, columns) each, by the full transformation."""
        x, y = self.target.centres(rows, columns)
        x, y = (part.ravel() for part in np.meshgrid(x, y))
        x, y = self._transformer.transform(x, y)
        shape = (len(rows), len(columns))
        found = self.source.pixels(x, y)
        return found[0].reshape(shape), found[1].reshape(shape)


def sampler(source: Grid, target: Grid) -> Sampler:
    """A sampler whose coordinates are right to ``TOLERANCE`` source pixels.

    Raises:
        LandslideError: the target lies where one cannot be transformed to the other.
    """
    transformer = Transformer.from_crs(target.crs, source.crs, always_xy=True)
    for step in STEPS:
        made = Sampler(source, target, step, 0.0, transformer)
        error = _lattice_error(made)
        if not np.isfinite(error):
            raise LandslideError(f"coordinates of {target.crs.name} cannot be transformed to {source.crs.name} there")
        if error <= TOLERANCE or step == 1:
            return Sampler(source, target, step, error, transformer)
    raise AssertionError("unreachable")


def _lattice_error(made: Sampler, samples: int = 33) -> float:
    """The largest difference to the full transformation, in the middles of lattice cells all over the target."""
    if made.step == 1:
        return 0.0
    rows, columns = (
        np.unique(np.linspace(0, max(size - 1, 0) // made.step, samples).astype(int)) * made.step + made.step // 2
        for size in made.target.shape
    )
    exact = made._exact(rows, columns)
    worst = 0.0
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            found = made.coordinates(Window(int(row), int(column), 1, 1))
            worst = max(worst, *(abs(float(f[0, 0]) - float(e[i, j])) for f, e in zip(found, exact, strict=True)))
    return worst


def _snapped(coordinates: np.ndarray) -> np.ndarray:
    """Rounded to a millionth of a pixel, so that a centre which lies on another has a weight of exactly one there."""
    return np.round(coordinates * 2**20) / 2**20


def _around(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> Window:
    """The source pixels that some coordinates are mixed from."""
    top, left = int(np.floor(rows.min())), int(np.floor(columns.min()))
    bottom, right = int(np.floor(rows.max())) + 2, int(np.floor(columns.max())) + 2
    return Window(top, left, bottom - top, right - left).within(shape)


def _nearest(
    values: np.ndarray, rows: np.ndarray, columns: np.ndarray, window: Window, shape: tuple[int, int]
) -> np.ndarray:
    """The values of the pixels that coordinates lie in; arguments as of ``bilinear``."""
    i = np.clip(np.floor(rows + 0.5).astype(np.int64), 0, shape[0] - 1) - window.row
    j = np.clip(np.floor(columns + 0.5).astype(np.int64), 0, shape[1] - 1) - window.column
    return values[i, j]


def bilinear(
    values: np.ndarray, rows: np.ndarray, columns: np.ndarray, window: Window, shape: tuple[int, int]
) -> np.ndarray:
    """Mix the four pixels around each coordinate; beyond the outermost centres, the outermost pixels go on.

    Args:
        values: (H, W) of ``window``.
        rows, columns: fractional coordinates in the whole raster.
        window: of the raster.
        shape: of the raster.

    Returns:
        of the coordinates' shape, float64; NaN where a pixel of any weight is missing.
    """
    rows, columns = np.clip(rows, 0, shape[0] - 1), np.clip(columns, 0, shape[1] - 1)
    i, j = np.floor(rows).astype(np.int64), np.floor(columns).astype(np.int64)
    u, v = rows - i, columns - j
    i1, j1 = np.minimum(i + 1, shape[0] - 1) - window.row, np.minimum(j + 1, shape[1] - 1) - window.column
    i, j = i - window.row, j - window.column
    total = np.zeros(rows.shape)
    for y, x, weight in ((i, j, (1 - u) * (1 - v)), (i, j1, (1 - u) * v), (i1, j, u * (1 - v)), (i1, j1, u * v)):
        total = total + np.where(weight > 0, values[y, x] * weight, 0.0)
    return total
