"""The grid of a scene: all arithmetic between pixels and the map, in one place.

Pixel (row, column) covers the map from its upper left corner ``transform @ (column, row)`` on; its centre lies half a
pixel further. Windows are pieces of a grid, and grids themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import rasterio
from pyproj import CRS, Geod
from rasterio import Affine
from rasterio.windows import Window as RasterioWindow

from tf_landslide.core.errors import LandslideError


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels; it may reach beyond the grid it is of."""

    row: int
    column: int
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def rows(self) -> slice:
        return slice(self.row, self.row + self.height)

    @property
    def columns(self) -> slice:
        return slice(self.column, self.column + self.width)

    def padded(self, pixels: int) -> Window:
        """The window and a border around it."""
        return Window(self.row - pixels, self.column - pixels, self.height + 2 * pixels, self.width + 2 * pixels)

    def within(self, shape: tuple[int, int]) -> Window:
        """The part of it that lies in ``shape``; of height or width 0 where none does."""
        top, left = max(self.row, 0), max(self.column, 0)
        bottom, right = min(self.row + self.height, shape[0]), min(self.column + self.width, shape[1])
        return Window(top, left, max(0, bottom - top), max(0, right - left))

    def relative_to(self, other: Window) -> Window:
        """The same pixels, counted from the upper left corner of another window."""
        return Window(self.row - other.row, self.column - other.column, self.height, self.width)

    def for_rasterio(self) -> RasterioWindow:
        return RasterioWindow(self.column, self.row, self.width, self.height)


@dataclass(frozen=True)
class Grid:
    """Where the pixels of a raster lie.

    Attributes:
        transform: from (column, row) to map coordinates.
        crs: of the map.
        shape: (rows, columns).
    """

    transform: Affine
    crs: CRS
    shape: tuple[int, int]

    @classmethod
    def of(cls, path: str | Path) -> Grid:
        """The grid of a raster file.

        Raises:
            LandslideError: no raster, or one without a coordinate reference system, or rotated.
        """
        try:
            with rasterio.open(path) as raster:
                crs, transform, shape = raster.crs, raster.transform, (raster.height, raster.width)
        except rasterio.RasterioIOError as error:
            raise LandslideError(f"{path}: cannot be read as a raster ({_first_line(error)})") from None
        if crs is None or transform.is_identity:
            raise LandslideError(f"{path}: has no coordinate reference system; a scene must say where it lies")
        if transform.b or transform.d:
            raise LandslideError(f"{path}: is rotated; warp it to a grid whose rows run east first")
        if transform.a <= 0 or transform.e >= 0:
            raise LandslideError(f"{path}: is stored upside down or mirrored; warp it so that row 0 lies in the north")
        return cls(transform, CRS.from_user_input(crs.to_wkt()), shape)

    @property
    def window(self) -> Window:
        """All of it."""
        return Window(0, 0, *self.shape)

    def of_window(self, window: Window) -> Grid:
        """The grid of a window of this one."""
        return Grid(self.transform @ Affine.translation(window.column, window.row), self.crs, window.shape)

    def centres(self, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Map coordinates of pixel centres: x of each column and y of each row (the grid is not rotated)."""
        t = self.transform
        return t.c + (np.asarray(columns) + 0.5) * t.a, t.f + (np.asarray(rows) + 0.5) * t.e

    def pixels(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fractional (row, column) of map coordinates; a pixel's centre has whole numbers."""
        t = self.transform
        return (np.asarray(y) - t.f) / t.e - 0.5, (np.asarray(x) - t.c) / t.a - 0.5

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north, in map coordinates."""
        t, (rows, columns) = self.transform, self.shape
        return t.c, t.f + rows * t.e, t.c + columns * t.a, t.f

    @cached_property
    def is_geographic(self) -> bool:
        """Whether map coordinates are degrees of longitude and latitude."""
        return bool(self.crs.is_geographic)

    def pixel_sizes(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ground size of the pixels of some rows: (height, width) in metres, each of the rows' shape.

        A projected grid has one size, by the unit of its axes. Of a geographic one it is measured on the ellipsoid:
        the radius of the meridian (M) and of the parallel (N cos latitude) at each row's centre.
        """
        rows = np.asarray(rows, np.float64)
        _, y = self.centres(rows, np.zeros(1))
        t = self.transform
        if not self.is_geographic:
            metres = self.crs.axis_info[0].unit_conversion_factor
            return np.full(rows.shape, -t.e * metres), np.full(rows.shape, t.a * metres)
        radians = self.crs.axis_info[0].unit_conversion_factor
        geod = self.crs.get_geod() or Geod(ellps="WGS84")
        latitude = y * radians
        w = np.sqrt(1 - geod.es * np.sin(latitude) ** 2)
        meridian, parallel = geod.a * (1 - geod.es) / w**3, geod.a / w * np.cos(latitude)
        return -t.e * radians * meridian, t.a * radians * parallel

    def blocks(self, core: int) -> Iterator[Window]:
        """Cores of ``core`` x ``core`` pixels, row by row; the last of a row or column may be smaller."""
        rows, columns = self.shape
        for top in range(0, rows, core):
            for left in range(0, columns, core):
                yield Window(top, left, min(core, rows - top), min(core, columns - left))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
