"""A georeferenced scene of the SYNTHETIC sample landscape, with its landslides known: stack, terrain model, truth.

The landscape is ``data.synthetic``'s; here it is laid on the map (in the open Atlantic, where no landslide is), stored
as Sentinel-2 stores a scene, cut by the edge of a swath, and its terrain is given in another reference system and
resolution, as terrain models come. Nothing in it was measured anywhere on Earth.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
from pyproj import CRS, Transformer
from rasterio import Affine

from tf_landslide.bands.layouts import LANDSLIDE4SENSE, REFLECTANCE_SCALE
from tf_landslide.core.errors import LandslideError, lookup
from tf_landslide.core.files import replacing
from tf_landslide.data.synthetic import PATCH, PIXEL_SIZE, SCENE, Scene, make_scene
from tf_landslide.metrics.counts import scores
from tf_landslide.scenes.grid import Grid, Window
from tf_landslide.scenes.polygons import WGS84, measured, traced
from tf_landslide.scenes.sampler import sampler
from tf_landslide.scenes.scene import Scene as LaidOut
from tf_landslide.scenes.vectors import write_geopackage
from tf_landslide.scenes.writer import NO_DATA

LARGEST = 1024  # pixels a side: placing its landslides takes half a minute
_BORDER = PATCH // 4  # pixels of the landscape around the scene, for the terrain model to reach beyond it
_UTM = CRS.from_epsg(32626)  # zone 26 north
_CORNER = 500_000.0, 4_983_000.0  # of the landscape, in it: 27 degrees west, 45 north
_DEM_METRES = 12.5  # as ALOS PALSAR's
_MARK = "SYNTHETIC sample landscape of tf_landslide, not measured anywhere on Earth"
_OPTICAL = LANDSLIDE4SENSE.names[:12]


@dataclass(frozen=True)
class SceneFiles:
    """The files of a synthetic scene.

    Attributes:
        scene: stack of uint16 digital numbers, its bands named by their descriptions; 0 beyond the swath's edge.
        dem: metres, float32, on a grid of its own.
        truth: 1 on landslides, else 0, on the scene's grid.
        polygons: the same as polygons.
    """

    scene: Path
    dem: Path
    truth: Path
    polygons: Path


def write_scene(path: Path, *, size: int = SCENE, system: str = "utm", seed: int = 0) -> SceneFiles:
    """Write a scene and what belongs to it, beside it, by its name: ``_dem.tif``, ``_truth.tif``, ``_truth.gpkg``.

    Args:
        path: of the stack.
        size: pixels of 10 m along each side.
        system: ``utm``, with a terrain model in degrees; or ``geographic``, with one in UTM.
        seed: equal seeds give equal scenes.

    Raises:
        LandslideError: a size, system or seed that cannot be, or a file that is no GeoTIFF by its name.
    """
    if not PATCH <= size <= LARGEST:
        raise LandslideError(f"a synthetic scene has {PATCH} to {LARGEST} pixels a side, got {size}")
    if seed < 0:
        raise LandslideError(f"the seed must not be negative, got {seed}")
    if path.suffix.lower() not in (".tif", ".tiff"):
        raise LandslideError(f"{path}: a scene is a GeoTIFF; name it ….tif")
    layout = lookup({"utm": _in_utm, "geographic": _in_degrees}, system, "reference system")
    whole, dem_grid = layout(size + 2 * _BORDER)
    inner = Window(_BORDER, _BORDER, size, size)
    grid = whole.of_window(inner)
    landscape = _landscape(seed, inner)
    stored = landscape.original[inner.rows, inner.columns, :12].astype(np.uint16)
    stored[_beyond_the_swath(size)] = 0
    truth = landscape.mask[inner.rows, inner.columns]
    elevation = landscape.original[..., 13].astype(np.float32)
    dem = sampler(whole, dem_grid)(dem_grid.window, lambda window: elevation[window.rows, window.columns])
    files = SceneFiles(path, *(path.with_name(path.stem + end) for end in ("_dem.tif", "_truth.tif", "_truth.gpkg")))
    _write(files.scene, np.moveaxis(stored, -1, 0), grid, nodata=None, names=_OPTICAL, scale=REFLECTANCE_SCALE)
    _write(files.dem, dem[None], dem_grid, nodata=float("nan"), names=("dem",))
    _write(files.truth, truth[None], grid, nodata=None, names=("landslide",))
    _write_polygons(files.polygons, files.truth, grid)
    return files


def _landscape(seed: int, inner: Window) -> Scene:
    """A landscape with landslides in that part of it; a small one may have none at the first attempt."""
    size = inner.height + 2 * _BORDER
    for attempt in range(20):
        made = make_scene([seed, 3, size, attempt], size)
        if made.mask[inner.rows, inner.columns].any():
            break
    return made


def _in_utm(size: int) -> tuple[Grid, Grid]:
    """Grids of the landscape and of its terrain model, in degrees."""
    grid = Grid(Affine(PIXEL_SIZE, 0, _CORNER[0], 0, -PIXEL_SIZE, _CORNER[1]), _UTM, (size, size))
    west, south, east, north = _inside(grid, WGS84)
    height, width = _degree(north)
    dy, dx = _DEM_METRES / height, _DEM_METRES / width
    shape = int((north - south) / dy), int((east - west) / dx)
    return grid, Grid(Affine(dx, 0, west, 0, -dy, north), WGS84, shape)


def _in_degrees(size: int) -> tuple[Grid, Grid]:
    """Grids of the landscape, its pixels 10 m in its middle, and of its terrain model, in UTM."""
    longitude, latitude = Transformer.from_crs(_UTM, WGS84, always_xy=True).transform(*_CORNER)
    height, width = _degree(latitude)
    dy, dx = PIXEL_SIZE / height, PIXEL_SIZE / width
    grid = Grid(Affine(dx, 0, longitude, 0, -dy, latitude), WGS84, (size, size))
    west, south, east, north = _inside(grid, _UTM)
    shape = int((north - south) / _DEM_METRES), int((east - west) / _DEM_METRES)
    return grid, Grid(Affine(_DEM_METRES, 0, west, 0, -_DEM_METRES, north), _UTM, shape)


def _degree(latitude: float) -> tuple[float, float]:
    """Metres of a degree of latitude and of longitude at a latitude."""
    height, width = Grid(Affine(1, 0, 0, 0, -1, latitude + 0.5), WGS84, (1, 1)).pixel_sizes(np.zeros(1))
    return float(height[0]), float(width[0])


def _inside(grid: Grid, crs: CRS) -> tuple[float, float, float, float]:
    """West, south, east, north of a rectangle in another system that lies within a grid."""
    west, south, east, north = grid.bounds
    to = Transformer.from_crs(grid.crs, crs, always_xy=True)
    (west, west2, east, east2), (south, north, south2, north2) = to.transform(
        [west, west, east, east], [south, north, south, north]
    )
    return max(west, west2), max(south, south2), min(east, east2), min(north, north2)


def _beyond_the_swath(size: int) -> np.ndarray:
    """(size, size, 12) bool: a slanted edge in the east, which each band meets some pixels further on."""
    rows, columns = np.indices((size, size))
    edge = size * 0.97 - 0.06 * rows
    return np.stack([columns > edge + 3 * (band % 4) for band in range(12)], axis=-1)


def _write(
    path: Path,
    values: np.ndarray,
    grid: Grid,
    *,
    nodata: float | None,
    names: tuple[str, ...],
    scale: float | None = None,
) -> None:
    profile: dict[str, Any] = {"driver": "GTiff", "count": len(values), "dtype": values.dtype.name, "nodata": nodata}
    profile |= {"height": grid.shape[0], "width": grid.shape[1], "crs": grid.crs.to_wkt(), "transform": grid.transform}
    with (
        replacing(path) as partial,
        rasterio.open(
            partial, "w", **profile, tiled=True, blockxsize=256, blockysize=256, compress="DEFLATE"
        ) as raster,
    ):
        raster.write(values)
        raster.update_tags(TIFFTAG_IMAGEDESCRIPTION=_MARK)
        for number, name in enumerate(names, 1):
            raster.set_band_description(number, name)
        if scale is not None:
            raster.scales = (scale,) * len(names)


def _write_polygons(path: Path, truth: Path, grid: Grid) -> None:
    shapes = sorted((measured(geometry, grid) for geometry in traced(truth)), key=lambda shape: -shape.area)
    columns = {
        "id": np.arange(1, len(shapes) + 1),
        "area_m2": [round(shape.area, 1) for shape in shapes],
        "det_method": [_MARK] * len(shapes),
    }
    frame = geopandas.GeoDataFrame(columns, geometry=[shape.geometry for shape in shapes], crs=grid.crs.to_wkt())
    write_geopackage(path, frame)


def is_synthetic(scene: LaidOut) -> bool:
    """Whether a scene has a band of the sample landscape, by what its file says of itself."""
    sources = {source for band in scene.bands.values() for source in band.sources}
    for source in sources:
        with source.environment(), source.open() as raster:
            if raster.tags().get("TIFFTAG_IMAGEDESCRIPTION") == _MARK:
                return True
    return False


def score(mask: Path, truth: Path) -> dict[str, float]:
    """F1, precision, recall and IoU of a map's mask, over the pixels where something can be told.

    Args:
        mask: of the map.
        truth: 1 on landslides, else 0, on the same grid.

    Raises:
        LandslideError: two grids.
    """
    if Grid.of(mask) != Grid.of(truth):
        raise LandslideError(f"{truth}: has another grid than {mask}")
    with rasterio.open(mask) as found, rasterio.open(truth) as known:
        marked, true = found.read(1), known.read(1) == 1
    told = marked != NO_DATA
    hit = marked == 1
    counts = [np.count_nonzero(told & part) for part in (hit & true, hit & ~true, ~hit & true)]
    return {name: float(value) for name, value in scores(*counts).items()}
