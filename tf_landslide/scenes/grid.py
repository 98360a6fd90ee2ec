"""The grid of a scene: all arithmetic between pixels and the map, in one place.

Pixel (row, column) covers the map from its upper left corner ``transform @ (column, row)`` on; its centre lies half a
pixel further. Windows are pieces of a grid, and grids themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import CRSError, ProjError
from rasterio import Affine
from rasterio.windows import Window as RasterioWindow

from tf_landslide.core.errors import LandslideError, first_line
from tf_landslide.scenes.source import Source, file

LENGTHS = 0.01
"""Up to which error a projected map's metres are taken for the ground's."""

_LONGITUDE_LATITUDE = CRS.from_epsg(4326)
_STEP = 100.0  # metres that scale is measured over, at least: inverse projections are right to a millimetre


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

    @property
    def end(self) -> int:
        """The row behind its last one."""
        return self.row + self.height

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
    def of(cls, path: str | Path | Source) -> Grid:
        """The grid of a raster file.

        Raises:
            LandslideError: no raster, or one without a coordinate reference system of the Earth, or rotated.
        """
        source = path if isinstance(path, Source) else file(path)
        with source.open() as raster:
            crs, transform, shape = raster.crs, raster.transform, (raster.height, raster.width)
        if crs is None or transform.is_identity:
            raise LandslideError(f"{path}: has no coordinate reference system; a scene must say where it lies")
        if transform.b or transform.d:
            raise LandslideError(f"{path}: is rotated; warp it to a grid whose rows run east first")
        if transform.a <= 0 or transform.e >= 0:
            raise LandslideError(f"{path}: is stored upside down or mirrored; warp it so that row 0 lies in the north")
        try:
            known = CRS.from_user_input(crs.to_wkt())
        except CRSError as error:
            raise LandslideError(
                f"{path}: has a coordinate reference system unknown here ({first_line(error)})"
            ) from None
        require_earth(path, known)
        return cls(transform, known, shape)

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
        """Fractional (row, column) of map coordinates; a pixel's centre has whole numbers.

        A longitude may be given a turn further east or west: it is taken where the grid lies, so that one which reaches
        over the antimeridian, or counts from 0 to 360, is whole.
        """
        t, x = self.transform, np.asarray(x)
        if self.is_geographic:
            turn = self.columns_of_a_turn * t.a
            x = x - turn * np.round((x - (t.c + self.shape[1] * t.a / 2)) / turn)
        return (np.asarray(y) - t.f) / t.e - 0.5, (x - t.c) / t.a - 0.5

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north, in map coordinates."""
        t, (rows, columns) = self.transform, self.shape
        return t.c, t.f + rows * t.e, t.c + columns * t.a, t.f

    @cached_property
    def is_geographic(self) -> bool:
        """Whether map coordinates are degrees of longitude and latitude."""
        return bool(self.crs.is_geographic)

    @property
    def columns_of_a_turn(self) -> float:
        """How many columns of a geographic grid go once around the Earth."""
        return float(2 * np.pi / self.crs.axis_info[0].unit_conversion_factor / self.transform.a)

    def pixel_sizes(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ground size of the pixels of some rows: (height, width) in metres, each of the rows' shape.

        A projected grid has one size, by the unit of its axes, where its map keeps lengths to a hundredth, as UTM does.
        Where it does not (Web Mercator draws all 1 / cos latitude too large) the sizes are those at the middle column.
        Of a geographic grid they are measured on the ellipsoid: the radius of the meridian (M) and of the parallel
        (N cos latitude) at each row's centre.
        """
        rows = np.asarray(rows, np.float64)
        _, y = self.centres(rows, np.zeros(1))
        t = self.transform
        if not self.is_geographic:
            metres = self.crs.axis_info[0].unit_conversion_factor
            size = np.array([[-t.e * metres], [t.a * metres]])
            sizes = size * (np.ones_like(rows) if self._keeps_lengths else self._ground_lengths(rows))
            return sizes[0], sizes[1]
        radians = self.crs.axis_info[0].unit_conversion_factor
        geod = self.crs.get_geod() or Geod(ellps="WGS84")
        latitude = y * radians
        w = np.sqrt(1 - geod.es * np.sin(latitude) ** 2)
        meridian, parallel = geod.a * (1 - geod.es) / w**3, geod.a / w * np.cos(latitude)
        return -t.e * radians * meridian, t.a * radians * parallel

    @cached_property
    def _keeps_lengths(self) -> bool:
        """Whether a metre of a projected map is one on the ground, to ``LENGTHS``, from its first row to its last."""
        return bool((np.abs(self._ground_lengths(np.linspace(0, self.shape[0] - 1, 9)) - 1) <= LENGTHS).all())

    def _ground_lengths(self, rows: np.ndarray) -> np.ndarray:
        """(2, rows) metres of the ellipsoid to one of a projected map, down and across, at the middle of each row.

        Measured along the grid's own axes, which need not run north and east. 1 where the map has no such place.
        """
        to_geodetic, degrees, geod = _on_the_ellipsoid(self.crs)
        metres = self.crs.axis_info[0].unit_conversion_factor
        x, y = self.centres(rows, np.full(1, (self.shape[1] - 1) / 2))
        lengths = []
        for dx, dy in ((0.0, max(-self.transform.e, _STEP / metres)), (max(self.transform.a, _STEP / metres), 0.0)):
            ends = [np.broadcast_arrays(x + i * dx / 2, y + i * dy / 2) for i in (-1, 1)]
            lonlat = np.concatenate([np.multiply(to_geodetic.transform(px, py), degrees) for px, py in ends])
            known = np.isfinite(lonlat).all(axis=0)
            length = np.ones(rows.shape)
            length[known] = np.asarray(geod.inv(*lonlat[:, known])[2]) / ((dx + dy) * metres)
            lengths.append(length)
        return np.stack(lengths)

    def blocks(self, core: int) -> Iterator[Window]:
        """Cores of ``core`` x ``core`` pixels, row by row; the last of a row or column may be smaller."""
        rows, columns = self.shape
        for top in range(0, rows, core):
            for left in range(0, columns, core):
                yield Window(top, left, min(core, rows - top), min(core, columns - left))


def require_earth(path: str | Path | Source, crs: CRS) -> None:
    """Refuse what has no longitudes and latitudes of the Earth, as a drawing's or another planet's system.

    Raises:
        LandslideError: it has none.
    """
    if crs.is_projected or crs.is_geographic:
        try:
            Transformer.from_crs(crs, _LONGITUDE_LATITUDE)
            return
        except ProjError:
            pass  # another celestial body, or nothing leads from there
    raise LandslideError(f"{path}: lies in {crs.name!r}, which is no system of the Earth")


@lru_cache(maxsize=8)
def _on_the_ellipsoid(crs: CRS) -> tuple[Transformer, float, Geod]:
    """From a projected system to its own longitudes and latitudes, their unit in degrees, and its ellipsoid."""
    geodetic = crs.geodetic_crs or CRS.from_epsg(4326)
    degrees = float(np.degrees(geodetic.axis_info[0].unit_conversion_factor))
    return Transformer.from_crs(crs, geodetic, always_xy=True), degrees, crs.get_geod() or Geod(ellps="WGS84")
