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
_READ = 2**21  # pixels of the scene that are read at a time, whatever its form


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
    """The preview of a finished map. Holds a piece of the scene at a time.

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
            probability=reduced(partial(_read, p), scene.grid.shape, shown.factor),
            marked=reduced(partial(_read, m, nodata=NO_DATA), scene.grid.shape, shown.factor),
        )


def picture(scene: Scene, side: int = SIDE) -> Picture:
    """A scene as a picture of at most ``side`` pixels along its longer side. Holds a piece of the scene at a time."""
    factor = max(1, -(-max(scene.grid.shape) // side))
    shape = _divided(scene.grid.shape, factor)
    grid = Grid(scene.grid.transform @ Affine.scale(factor), scene.grid.crs, shape)
    colours, valid = np.zeros((*grid.shape, 3), np.uint8), np.ones(grid.shape, bool)
    shown = _shown(scene)
    for i, name in enumerate(shown):  # a band at a time: a tile's pictures would fill the memory
        band = reduced(partial(scene.read, name), scene.grid.shape, factor)
        colours[..., i : (i + 1 if len(shown) == 3 else 3)] = stretched(band[..., None])
        valid &= np.isfinite(band)
    return Picture(factor, grid, colours, valid)


def coarser(shown: Preview, side: int) -> Preview:
    """A preview of half its size, of a third …, until its longer side has at most ``side`` pixels."""
    factor = max(1, -(-max(shown.grid.shape) // side))
    if factor == 1:
        return shown
    shape = _divided(shown.grid.shape, factor)
    grid = Grid(shown.grid.transform @ Affine.scale(factor), shown.grid.crs, shape)

    def means(values: np.ndarray) -> np.ndarray:
        return reduced(lambda window: values[window.rows, window.columns], shown.grid.shape, factor)

    channels = [means(np.where(shown.valid, shown.picture[..., i], np.float32("nan"))) for i in range(3)]
    return Preview(
        scene=shown.scene,
        factor=shown.factor * factor,
        grid=grid,
        picture=np.stack([np.nan_to_num(channel).round().astype(np.uint8) for channel in channels], axis=-1),
        valid=np.isfinite(channels[0]),
        probability=means(shown.probability),
        marked=means(shown.marked),
    )


def _shown(scene: Scene) -> list[str]:
    """Red, green and blue, or the scene's first three bands, or its first."""
    natural = ["red", "green", "blue"]
    if set(natural) <= set(scene.bands):
        return natural
    optical = [name for name in scene.bands if name not in (DEM, SLOPE)] or list(scene.bands)
    return optical[:3] if len(optical) >= 3 else optical[:1]


def _read(raster: rasterio.io.DatasetReader, window: Window, nodata: float | None = None) -> np.ndarray:
    """A window of a raster: (H, W) float32, NaN where there is nothing."""
    found = raster.read(1, window=window.for_rasterio()).astype(np.float32)
    if nodata is not None:
        found[found == nodata] = np.nan
    return found


def reduced(read: Callable[[Window], np.ndarray], shape: tuple[int, int], factor: int) -> np.ndarray:
    """Means of the valid ones of ``factor`` x ``factor`` pixels; the last of a row or column may be of fewer.

    Args:
        read: gives a window of the raster as (H, W) float, NaN where missing; of ``_READ`` pixels, or what one of the
            result's is the mean of.
        shape: of the raster.
        factor: pixels of the raster along each side of one of the result's.

    Returns:
        (H, W) float32, rounded up; NaN where no pixel is valid.
    """
    rows, columns = _divided(shape, factor)
    result = np.empty((rows, columns), np.float32)
    across = min(columns, max(1, _READ // (factor * min(factor, shape[0]))))
    down = max(1, _READ // (factor * min(factor * across, shape[1])))
    for top in range(0, rows, down):
        for left in range(0, columns, across):
            window = Window(top * factor, left * factor, down * factor, across * factor).within(shape)
            values = read(window)
            valid = np.isfinite(values)
            total = _sums(np.where(valid, values, np.float32(0)), factor, np.float64)
            with np.errstate(invalid="ignore"):
                result[top : top + down, left : left + across] = total / _sums(valid, factor, np.int64)
    return result


def _sums(values: np.ndarray, factor: int, dtype: type) -> np.ndarray:
    """Of ``factor`` x ``factor`` values each, from the upper left corner on."""
    for axis in (0, 1):
        values = np.add.reduceat(values, np.arange(0, values.shape[axis], factor), axis=axis, dtype=dtype)
    return values


def _divided(shape: tuple[int, int], factor: int) -> tuple[int, int]:
    """How many pixels, rounded up, a raster has when each is ``factor`` x ``factor`` of its own."""
    return -(-shape[0] // factor), -(-shape[1] // factor)
