"""Landslides as polygons: traced from the finished mask, so that none is cut where blocks meet, and measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.features
import shapely
from pyproj import CRS, Geod, Transformer
from rasterio import Affine
from scipy.ndimage import binary_dilation
from shapely import LinearRing, MultiPolygon, Polygon
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from tf_landslide.scenes.antimeridian import whole
from tf_landslide.scenes.grid import Grid, Window
from tf_landslide.scenes.mending import mended
from tf_landslide.scenes.writer import NO_DATA

GEOD = Geod(ellps="WGS84")
WGS84 = CRS.from_epsg(4326)
_TILE = 1024  # side of the squares that statistics are counted in: sampling takes many times what it gives


@dataclass(frozen=True)
class Shape:
    """The geometry of one landslide.

    Attributes:
        geometry: valid, in the scene's map coordinates; pixels that touch at a corner belong together.
        area: on the ellipsoid, in square metres, holes left out.
        length, width: sides of the smallest rectangle around it, in metres.
        orientation: of its length, degrees clockwise from north, 0..180.
        compactness: 4 pi area / perimeter squared, 1 for a disc.
    """

    geometry: BaseGeometry
    area: float
    length: float
    width: float
    orientation: float
    compactness: float


def traced(mask: Path) -> Iterator[BaseGeometry]:
    """The landslides of a mask file (1), 8-connected and valid; streams, whatever the file's size."""
    with rasterio.open(mask) as raster:
        yield from _traced(rasterio.band(raster, 1), 1, 8, raster.transform)


def told_parts(mask: Path) -> Iterator[BaseGeometry]:
    """Where a mask file tells anything (0 or 1), 4-connected and valid; takes a byte of memory a pixel."""
    with rasterio.open(mask) as raster:
        transform = raster.transform
        known = (raster.read(1) != NO_DATA).view(np.uint8)
    yield from _traced(known, 1, 4, transform)


def _traced(source: Any, wanted: int, connectivity: int, transform: Affine) -> Iterator[BaseGeometry]:
    """What has the wanted value of an array or a band."""
    for geometry, value in rasterio.features.shapes(source, connectivity=connectivity, transform=transform):
        if value == wanted:
            found = shape(geometry)
            yield found if found.is_valid else mended(found, transform)


def areal(geometry: BaseGeometry) -> BaseGeometry:
    """What has an area of what ``make_valid`` gives."""
    parts = [part for part in shapely.get_parts(geometry) if isinstance(part, Polygon)]
    return parts[0] if len(parts) == 1 else MultiPolygon(parts)


def without_small_holes(geometries: Sequence[BaseGeometry], area: float, grid: Grid) -> list[BaseGeometry]:
    """Landslides with the holes below ``area`` square metres filled, and with them all that lies in these.

    A landslide within such a hole is one with that around it, so that no ground counts twice.
    """
    to_lonlat = _to_lonlat(grid)
    parts, owners = shapely.get_parts(np.array(geometries, dtype=object), return_index=True)
    filled: list[Polygon] = []
    holes: list[Polygon] = []
    for part in parts.tolist():
        rings = [Polygon(ring) for ring in part.interiors]
        small = [geodesic_area(ring, to_lonlat) < area for ring in rings]
        holes += [ring for ring, fills in zip(rings, small, strict=True) if fills]
        kept = [ring.exterior for ring, fills in zip(rings, small, strict=True) if not fills]
        filled.append(Polygon(part.exterior, kept))
    swallowed = set(shapely.STRtree(parts).query(np.array(holes, dtype=object), predicate="contains")[1].tolist())
    left: dict[int, list[Polygon]] = {}
    for i, owner in enumerate(owners.tolist()):
        if i not in swallowed:
            left.setdefault(owner, []).append(filled[i])
    return [of_one[0] if len(of_one) == 1 else MultiPolygon(of_one) for of_one in left.values()]


@lru_cache(maxsize=8)
def _to_lonlat(grid: Grid) -> Transformer:
    return Transformer.from_crs(grid.crs, WGS84, always_xy=True)


def geodesic_area(geometry: BaseGeometry, to_lonlat: Transformer) -> float:
    """Area on the WGS 84 ellipsoid in square metres; edges are as short as pixels, so none need be densified."""
    return _area(_in_lonlat(geometry, to_lonlat))


def _in_lonlat(geometry: BaseGeometry, to_lonlat: Transformer) -> BaseGeometry:
    """Longitudes and latitudes of a geometry, in one piece across the antimeridian."""
    return whole(shapely.transform(geometry, lambda x: np.stack(to_lonlat.transform(x[:, 0], x[:, 1]), axis=1)))


def _area(lonlat: BaseGeometry) -> float:
    """Square metres of longitudes and latitudes, ring by ring: so not even one around a pole counts wrongly."""

    def within(ring: LinearRing) -> float:
        return abs(float(GEOD.polygon_area_perimeter(*shapely.get_coordinates(ring).T)[0]))

    parts = shapely.get_parts(lonlat)
    return sum(within(part.exterior) - sum(map(within, part.interiors)) for part in parts)


def measured(geometry: BaseGeometry, grid: Grid) -> Shape:
    """A landslide's area and form.

    Lengths are measured in metres east and north of its centre, by the ellipsoid's radii there, so that they hold on a
    grid of degrees too; over the ten kilometres of the largest landslides that is right to a thousandth.
    """
    lonlat = _in_lonlat(geometry, _to_lonlat(grid))
    local = _in_metres(lonlat)
    corners = np.array(shapely.minimum_rotated_rectangle(local).exterior.coords)
    sides = np.diff(corners[:3], axis=0)
    lengths = np.hypot(*sides.T)
    along = sides[int(lengths.argmax())]
    return Shape(
        geometry=geometry,
        area=_area(lonlat),
        length=float(lengths.max()),
        width=float(lengths.min()),
        orientation=float(np.degrees(np.arctan2(along[0], along[1])) % 180),
        compactness=float(4 * np.pi * local.area / local.length**2),
    )


def outlines(geometries: Sequence[BaseGeometry], grid: Grid) -> list[np.ndarray]:
    """Every ring of polygons as (n, 2) columns and rows of a grid, whose pixels' centres have whole numbers."""
    t = ~grid.transform
    return [
        np.stack([t.a * x + t.c - 0.5, t.e * y + t.f - 0.5], axis=1)
        for geometry in geometries
        for part in shapely.get_parts(geometry)
        for x, y in (np.asarray(ring.coords).T for ring in (part.exterior, *part.interiors))
    ]


def grid_north(grid: Grid, x: float, y: float) -> float:
    """Where the grid's north points at a place, degrees clockwise from true north (the meridian convergence)."""
    step = -grid.transform.e
    longitudes, latitudes = _to_lonlat(grid).transform([x, x], [y, y + step])
    return float(GEOD.inv(longitudes[0], latitudes[0], longitudes[1], latitudes[1])[0])


def _in_metres(lonlat: BaseGeometry) -> BaseGeometry:
    """A geometry of longitudes and latitudes as metres east and north of its centre."""
    west, south, east, north = lonlat.bounds
    centre, latitude = ((west + east) / 2, (south + north) / 2), np.radians((south + north) / 2)
    w = np.sqrt(1 - GEOD.es * np.sin(latitude) ** 2)
    metres = np.radians(1) * GEOD.a * np.array([np.cos(latitude) / w, (1 - GEOD.es) / w**3])
    return shapely.transform(lonlat, lambda x: (x - centre) * metres)


@dataclass(frozen=True)
class Statistic:
    """Of a raster's values over a polygon: count of valid pixels, mean, minimum, maximum; NaN where there are none."""

    count: int
    mean: float
    minimum: float
    maximum: float


def zonal_statistics(
    geometries: Sequence[BaseGeometry], grid: Grid, layers: Mapping[str, Callable[[Window], np.ndarray]]
) -> list[dict[str, Statistic]]:
    """Statistics of every layer over every polygon's pixels, a square at a time.

    Args:
        geometries: in the grid's map coordinates; pixels whose centre lies inside belong to one.
        grid: of the layers.
        layers: by name, reading a window as (H, W) float32, NaN where missing.

    Returns:
        for each polygon, a ``Statistic`` of each layer.
    """
    n = len(geometries)
    sums = {name: np.zeros(n) for name in layers}
    counts = {name: np.zeros(n, np.int64) for name in layers}
    low, high = ({name: np.full(n, end) for name in layers} for end in (np.inf, -np.inf))
    bounds = shapely.bounds(np.array(geometries, dtype=object)).reshape(-1, 4)
    for window in grid.blocks(_TILE):
        labels = _labels(geometries, bounds, grid.of_window(window))
        if labels is None:
            continue
        inside = labels > 0
        for name, read in layers.items():
            values = read(window)
            valid = inside & np.isfinite(values)
            which, found = labels[valid] - 1, values[valid].astype(np.float64)
            sums[name] += np.bincount(which, found, n)
            counts[name] += np.bincount(which, minlength=n)
            np.minimum.at(low[name], which, found)
            np.maximum.at(high[name], which, found)

    def statistic(name: str, i: int) -> Statistic:
        count = int(counts[name][i])
        if not count:
            return Statistic(0, float("nan"), float("nan"), float("nan"))
        return Statistic(count, float(sums[name][i] / count), float(low[name][i]), float(high[name][i]))

    return [{name: statistic(name, i) for name in layers} for i in range(n)]


def _labels(geometries: Sequence[BaseGeometry], bounds: np.ndarray, tile: Grid) -> np.ndarray | None:
    """(H, W) int32: 0, or from 1 the polygon whose pixel it is; None where none reaches in."""
    west, south, east, north = tile.bounds
    reaching = (bounds[:, 0] < east) & (bounds[:, 1] < north) & (bounds[:, 2] > west) & (bounds[:, 3] > south)
    here = np.flatnonzero(reaching).tolist()
    if not here:
        return None
    numbered = ((geometries[i], i + 1) for i in here)
    return rasterio.features.rasterize(numbered, tile.shape, transform=tile.transform, dtype="int32")


def touches_the_end(geometries: Sequence[BaseGeometry], grid: Grid, mask: Path) -> np.ndarray:
    """(n,) bool: which polygons reach the scene's frame, or a pixel without data (a neighbour, at corners too)."""
    bounds = shapely.bounds(np.array(geometries, dtype=object)).reshape(-1, 4)
    result = np.zeros(len(geometries), bool)
    with rasterio.open(mask) as raster:
        for window in grid.blocks(_TILE):
            around = window.padded(1)
            inside = around.within(grid.shape)
            here = inside.relative_to(around)
            empty = np.ones(around.shape, bool)  # there is nothing beyond the frame
            empty[here.rows, here.columns] = raster.read(1, window=inside.for_rasterio()) == NO_DATA
            if not empty.any():
                continue
            labels = _labels(geometries, bounds, grid.of_window(window))
            if labels is not None:
                near = binary_dilation(empty, np.ones((3, 3)))[1:-1, 1:-1]
                result[labels[near & (labels > 0)] - 1] = True
    return result
