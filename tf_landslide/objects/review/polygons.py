"""The polygons that are reviewed: candidates of ``annotate``, a map's landslides, or anybody's inventory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import shapely
from pyproj import CRS, Transformer
from rasterio import Affine
from shapely import Polygon, box
from shapely.geometry.base import BaseGeometry

from tf_landslide.core.errors import LandslideError, warn
from tf_landslide.objects.review.journal import Ring
from tf_landslide.scenes.antimeridian import laid_on
from tf_landslide.scenes.canvas import outlines
from tf_landslide.scenes.grid import Grid
from tf_landslide.scenes.inventory import read_inventory
from tf_landslide.scenes.polygons import WGS84, geodesic_area
from tf_landslide.scenes.viewer import SHOWN, in_words

FILES = ("candidates.gpkg", "landslides.gpkg")
"""Where polygons are looked for in a folder."""

MOST_POLYGONS = 100_000
MOST_CORNERS = 2000
"""Of a polygon that is drawn by hand."""

_CONFIDENCES = ("confidence", "probability_mean")
_WORDS = {"low": 0.3, "medium": 0.7, "high": 0.9}  # a map's, where it has no probabilities
_SIDE = 4096  # pixels of the longer side of a grid that no picture gives
_COLUMNS, _TEXT = 80, 300  # attributes that are shown, and characters of each


@dataclass(frozen=True)
class Polygons:
    """Polygons to be reviewed, numbered from 1 in the order of their file.

    Attributes:
        path: of the file.
        frame: valid polygons and multipolygons in the file's coordinates, with the file's attributes.
        grid: of the map they are drawn on: the pictures', or one around them.
    """

    path: Path
    frame: geopandas.GeoDataFrame
    grid: Grid

    @classmethod
    def read(cls, path: Path, grid: Grid | None = None) -> Polygons:
        """The polygons of a file.

        Args:
            path: as ``scenes.inventory.read_inventory`` takes it.
            grid: of the pictures; None without any.

        Raises:
            LandslideError: a file that cannot be read, or has too many polygons to look at.
        """
        inventory = read_inventory(path)
        frame = inventory.frame
        if len(frame) > MOST_POLYGONS:
            raise LandslideError(
                f"{path}: has {len(frame):,} polygons, at most {MOST_POLYGONS:,} can be reviewed; cut it into parts"
            )
        if inventory.invalid or inventory.dropped:
            warn(f"{path}: {inventory.in_words}")
        if grid is not None:
            _check_place(path, frame, grid)
        return cls(path, frame, grid or _grid_around(frame))

    @cached_property
    def fingerprint(self) -> str:
        """Of the polygons and their order; attributes and the file's form do not matter."""
        digest = hashlib.sha256(self.crs.to_wkt().encode())
        for geometry in self.frame.geometry:
            digest.update(shapely.to_wkb(geometry))
        return digest.hexdigest()

    @property
    def crs(self) -> CRS:
        """Of the file."""
        return CRS.from_user_input(self.frame.crs)

    def __len__(self) -> int:
        return len(self.frame)

    def shape(self, polygon: int) -> BaseGeometry:
        """The file's own shape of a polygon, in the file's coordinates."""
        return self.frame.geometry.iloc[polygon - 1]

    @cached_property
    def outlines(self) -> list[list[list[float]]]:
        """Of each polygon, its rings in the grid's pixels."""
        return list(outlines(_on(self.grid, self.frame), self.grid, digits=1))

    def outline_of(self, ring: Ring) -> list[list[float]]:
        """A drawn ring in the grid's pixels."""
        x, y = self._transformer(back=True).transform(*np.array(ring).T)
        polygon = laid_on(Polygon(np.stack([x, y], axis=1)), self.grid)
        return next(outlines([polygon], self.grid, tolerance=0))

    @cached_property
    def areas(self) -> list[float]:
        """Of each polygon, in square metres: as the file says, else on the ellipsoid."""
        if "area_m2" in self.frame and pd.api.types.is_numeric_dtype(self.frame["area_m2"]):
            stated = self.frame["area_m2"].to_numpy(np.float64)
            if np.isfinite(stated).all():
                return [round(value, 1) for value in stated.tolist()]
        return [round(geodesic_area(geometry, self._to_lonlat), 1) for geometry in self.frame.geometry]

    def area_of(self, ring: Ring) -> float:
        """Of a drawn ring, in square metres."""
        return round(geodesic_area(Polygon(ring), self._to_lonlat), 1)

    @cached_property
    def _to_lonlat(self) -> Transformer:
        return Transformer.from_crs(self.crs, WGS84, always_xy=True)

    @cached_property
    def confidences(self) -> list[float | None]:
        """Of each polygon, 0..1, None where the file does not say."""
        for name in _CONFIDENCES:
            if name not in self.frame:
                continue
            column = self.frame[name]
            values = column.map(_WORDS) if column.isin(_WORDS).any() else pd.to_numeric(column, errors="coerce")
            numbers = values.to_numpy(np.float64)
            if name == _CONFIDENCES[0] and column.isin(_WORDS).any() and _CONFIDENCES[1] in self.frame:
                continue  # words made of the numbers that the other column has
            if np.isfinite(numbers).any():
                return [round(v, 4) if 0 <= v <= 1 else None for v in numbers.tolist()]
        return [None] * len(self)

    def attributes(self, polygon: int) -> list[tuple[str, str]]:
        """What the file says of a polygon: names and values in words."""
        row = self.frame.drop(columns=self.frame.geometry.name).iloc[polygon - 1]
        told = []
        for name, value in list(row.items())[:_COLUMNS]:
            if name == "review_status":  # as it was; the page knows better
                continue
            label, unit = SHOWN.get(str(name), (str(name), ""))
            plain = _plain(value)
            text = str(int(plain)) if _is_whole(plain) and not unit else in_words(plain, unit)
            if text is not None:
                told.append((label[:_TEXT], text[:_TEXT]))
        return told

    def drawn(self, corners: list[list[float]]) -> Ring:
        """A ring drawn on the map, as columns and rows, in the file's coordinates.

        Raises:
            LandslideError: it is no polygon: what is wrong, in a sentence.
        """
        points = np.array(corners, np.float64)
        if points.ndim != 2 or points.shape[1:] != (2,) or not np.isfinite(points).all():
            raise LandslideError("the outline is not a list of corners")
        repeated = np.r_[False, (np.abs(np.diff(points, axis=0)) < 1e-9).all(axis=1)]
        points = points[~repeated]
        if len(points) > 1 and (points[0] == points[-1]).all():
            points = points[:-1]
        if not 3 <= len(points) <= MOST_CORNERS:
            raise LandslideError(f"the outline has {len(points):,} corners; a polygon has 3 to {MOST_CORNERS:,}")
        rows, columns = self.grid.shape
        if (points < -max(rows, columns)).any() or (points > 2 * max(rows, columns)).any():
            raise LandslideError("the outline lies far beyond the map")
        polygon = Polygon(points)
        if not polygon.is_valid:
            reason = shapely.is_valid_reason(polygon).partition("[")[0].lower()
            what = "crosses itself" if "self" in reason else f"is no polygon ({reason})"
            raise LandslideError(f"the outline {what}; take back corners with Backspace, or draw it anew")
        if polygon.area < 1e-3:
            raise LandslideError("the outline has no area")
        t = self.grid.transform
        x, y = self._transformer(back=False).transform(t.c + t.a * points[:, 0], t.f + t.e * points[:, 1])
        ring = np.stack([x, y], axis=1)
        if not np.isfinite(ring).all() or not Polygon(ring).is_valid:
            raise LandslideError(f"the outline has no place in the coordinates of {self.path.name}")
        return tuple((float(x), float(y)) for x, y in ring)

    def _transformer(self, *, back: bool) -> Transformer:
        """From the grid's coordinates to the file's, or back."""
        start, end = (self.crs, self.grid.crs) if back else (self.grid.crs, self.crs)
        return Transformer.from_crs(start, end, always_xy=True)


def _check_place(path: Path, frame: geopandas.GeoDataFrame, grid: Grid) -> None:
    """Say where polygons cannot be seen on the pictures. Raises ``LandslideError`` where none can."""
    beyond = ~shapely.intersects(_on(grid, frame), box(*grid.bounds))
    if beyond.all():
        raise LandslideError(f"{path}: lies elsewhere than the pictures; remove them, or make them of the right scenes")
    if beyond.any():
        warn(f"{path}: {int(beyond.sum()):,} of {len(frame):,} polygons lie beyond the pictures")


def _on(grid: Grid, frame: geopandas.GeoDataFrame) -> list[BaseGeometry]:
    """The polygons in a grid's coordinates."""
    return [laid_on(geometry, grid) for geometry in frame.geometry.to_crs(grid.crs)]


def _grid_around(frame: geopandas.GeoDataFrame) -> Grid:
    """A grid for polygons without a picture."""
    crs = CRS.from_user_input(frame.crs)
    west, south, east, north = frame.total_bounds
    if crs.is_geographic and east - west > 180:  # perhaps a few polygons on both sides of the antimeridian
        x = shapely.get_coordinates(frame.geometry.to_numpy())[:, 0]
        x = np.where(x < 0, x + 360, x)
        if np.ptp(x) < east - west:
            west, east = x.min(), x.max()
    border = 0.03 * max(east - west, north - south)
    size = (max(east - west, north - south) + 2 * border) / _SIDE
    rows, columns = (max(2, int(np.ceil((length + 2 * border) / size))) for length in (north - south, east - west))
    return Grid(Affine(size, 0, west - border, 0, -size, north + border), crs, (rows, columns))


def find_polygons(folder: Path, named: str | Path | None = None) -> Path:
    """The file of polygons: the one that is named, else a folder's own.

    Raises:
        LandslideError: there is none.
    """
    if named is not None:
        return Path(named)
    for name in FILES:
        if (folder / name).is_file():
            return folder / name
    raise LandslideError(
        f"{folder}: holds neither {' nor '.join(FILES)}; name a folder of annotate or map, or a file with --polygons"
    )


def _is_whole(value: Any) -> bool:
    """Whether a number is a whole one that files keep as a decimal one, as shapefiles keep years."""
    return isinstance(value, float) and value.is_integer()


def _plain(value: Any) -> Any:
    """A cell's value as one of Python's own; None where there is none."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and not np.isfinite(value)) or value is pd.NaT:
        return None
    return value if isinstance(value, (bool, int, float)) else str(value)
