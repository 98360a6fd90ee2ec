"""Opening a scene from files: a stack whose bands have names, and a terrain model in its own grid."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import rasterio

from tf_landslide.bands.layouts import Band
from tf_landslide.core.errors import LandslideError, unknown
from tf_landslide.scenes.grid import Grid
from tf_landslide.scenes.raster import RasterBand
from tf_landslide.scenes.scene import DEM, SLOPE, Scene

TERRAIN_UNITS = {DEM: "metres", SLOPE: "degrees"}
MAX_PIXELS = 2**33  # of a scene: eighty Sentinel-2 tiles; more is a mistake


def open_scene(
    files: list[Path],
    needed: tuple[str, ...],
    *,
    bands: Mapping[str, int] | None = None,
    dem: Path | None = None,
    scale: float = 1e-4,
    offset: float = 0.0,
    nodata: float | None = 0.0,
) -> Scene:
    """A scene of the bands that a model needs.

    Args:
        files: rasters; the first one's grid is the scene's. Bands are named by their descriptions, or by ``bands``.
        needed: names of the model's bands.
        bands: of the first file, by name, from 1.
        dem: a terrain model, in its own grid; slope is computed from it.
        scale, offset: of the optical bands: physical = stored x scale + offset.
        nodata: stored value of the optical bands where there is nothing; None takes the file's own.

    Raises:
        LandslideError: a file that is no georeferenced raster, or a band that is not among them.
    """
    grid = Grid.of(files[0])
    if grid.shape[0] * grid.shape[1] > MAX_PIXELS:
        raise LandslideError(f"{files[0]}: has {grid.shape[0]} x {grid.shape[1]} pixels; map it in parts")
    found: dict[str, RasterBand] = {}
    for path in files:
        for name, index in (bands if bands and path == files[0] else _described(path)).items():
            terrain = name in TERRAIN_UNITS
            band = Band(name, 1.0, 0.0, None, TERRAIN_UNITS[name]) if terrain else Band(name, scale, offset, nodata)
            found[name] = RasterBand.open(path, index, band)
    if dem is not None:
        height, _ = grid.pixel_sizes(np.array([grid.shape[0] // 2]))
        model = RasterBand.open(dem, 1, Band(DEM, unit=TERRAIN_UNITS[DEM]))
        found[DEM] = model.averaged_for(float(height[0]))
        found.pop(SLOPE, None)  # of another model
    scene = Scene(grid, found)
    for name in needed:
        if name not in scene.names:
            hint = "; name a terrain model with --dem" if name in TERRAIN_UNITS else "; say which with --bands NAME=N"
            raise LandslideError(f"{files[0]}: {unknown(name, scene.names or ('none',), 'band of the scene')}{hint}")
    return scene


def _described(path: Path) -> dict[str, int]:
    """The bands of a file that have a description, by it."""
    Grid.of(path)  # says what is wrong with the file
    with rasterio.open(path) as raster:
        return {text.strip().lower(): i for i, text in enumerate(raster.descriptions, 1) if text and text.strip()}
