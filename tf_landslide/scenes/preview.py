"""A map made small enough to look at: the scene's picture, the probability and the mask, means of whole pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import rasterio
from rasterio import Affine

from tf_landslide.figures.pictures import stretched
from tf_landslide.scenes.grid import Grid, Window
from tf_landslide.scenes.scene import DEM, SLOPE, Scene
from tf_landslide.scenes.writer import NO_DATA

SIDE = 2000  # pixels of the longer side, at most
_STRIP = 2**21  # pixels of the scene that are read at a time


@dataclass(frozen=True)
class Picture:
    """A scene, reduced.

    Attributes:
        factor: pixels of the scene along each side of one of the picture's.
        grid: of the picture.
        colours: (H, W, 3) uint8: natural colours, or what stands in for them, stretched.
        valid: (H, W) bool: where there is a picture.
    """

    factor: int
    grid: Grid
    colours: np.ndarray
    valid: np.ndarray


@dataclass(frozen=True)
class Preview:
    """A map, reduced.

    Attributes:
        scene: grid of the map.
        factor: pixels of the map along each side of one of the preview's.
        grid: of the preview.
        picture: (H, W, 3) uint8: natural colours, or what stands in for them, stretched.
        valid: (H, W) bool: where there is a picture.
        probability: (H, W) float32, NaN where nothing can be told.
        marked: (H, W) float32: the share of the pixels that are landslide, NaN where nothing can be told.
    """

    scene: Grid
    factor: int
    grid: Grid
    picture: np.ndarray
    valid: np.ndarray
    probability: np.ndarray
    marked: np.ndarray


def preview(scene: Scene, probability: Path, mask: Path, side: int = SIDE) -> Preview:
    """The preview of a finished map. Holds a strip of the scene at a time.

    Args:
        scene: that was mapped.
        probability, mask: the map's rasters.
        side: pixels of the preview's longer side, at most.
    """
    shown = picture(scene, side)
    with rasterio.open(probability) as p, rasterio.open(mask) as m:
        return Preview(
            scene=scene.grid,
            factor=shown.factor,
            grid=shown.grid,
            picture=shown.colours,
            valid=shown.valid,
            probability=reduced(lambda window: _within(p, window), shown.grid, shown.factor),
            marked=reduced(lambda window: _within(m, window, NO_DATA), shown.grid, shown.factor),
        )


def picture(scene: Scene, side: int = SIDE) -> Picture:
    """A scene as a picture of at most ``side`` pixels along its longer side. Holds a strip of the scene at a time."""
    factor = max(1, -(-max(scene.grid.shape) // side))
    rows, columns = (-(-size // factor) for size in scene.grid.shape)
    grid = Grid(scene.grid.transform @ Affine.scale(factor), scene.grid.crs, (rows, columns))
    bands = [reduced(partial(scene.read, name), grid, factor) for name in _shown(scene)]
    channels = np.stack((bands * 3)[:3], axis=-1)
    return Picture(factor, grid, stretched(channels), np.isfinite(channels).all(axis=-1))


def _shown(scene: Scene) -> list[str]:
    """Red, green and blue, or the scene's first three bands, or its first."""
    natural = ["red", "green", "blue"]
    if set(natural) <= set(scene.bands):
        return natural
    optical = [name for name in scene.bands if name not in (DEM, SLOPE)] or list(scene.bands)
    return optical[:3] if len(optical) >= 3 else optical[:1]


def _within(raster: rasterio.io.DatasetReader, window: Window, nodata: float | None = None) -> np.ndarray:
    """A window, which may reach beyond the raster: (H, W) float32, NaN there and where there is nothing."""
    inside = window.within(raster.shape)
    part = inside.relative_to(window)
    values = np.full(window.shape, np.nan, np.float32)
    found = raster.read(1, window=inside.for_rasterio()).astype(np.float32)
    if nodata is not None:
        found[found == nodata] = np.nan
    values[part.rows, part.columns] = found
    return values


def reduced(read: Callable[[Window], np.ndarray], grid: Grid, factor: int) -> np.ndarray:
    """Means of the valid ones of ``factor`` x ``factor`` pixels.

    Args:
        read: gives a window, which may reach beyond the raster, as (H, W) float, NaN where missing.
        grid: of the result.
        factor: pixels of the raster along each side of one of the result's.

    Returns:
        of the grid's shape, float32; NaN where no pixel is valid.
    """
    rows, columns = grid.shape
    result = np.empty(grid.shape, np.float32)
    step = max(1, _STRIP // (factor * factor * columns))
    for top in range(0, rows, step):
        count = min(step, rows - top)
        values = read(Window(top * factor, 0, count * factor, columns * factor))
        blocks = values.reshape(count, factor, columns, factor)
        valid = np.isfinite(blocks)
        total = np.where(valid, blocks, np.float32(0)).sum(axis=(1, 3), dtype=np.float64)
        with np.errstate(invalid="ignore"):
            result[top : top + count] = total / valid.sum(axis=(1, 3))
    return result
