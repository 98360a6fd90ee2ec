"""What polygons are described by: layers over a scene's grid, read window by window."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
import rasterio

from tf_landslide.bands.indices import INDICES
from tf_landslide.bands.recipes import channel
from tf_landslide.bands.terrain import downhill
from tf_landslide.scenes.grid import Window
from tf_landslide.scenes.scene import DEM, SLOPE, Scene

Layer = Callable[[Window], np.ndarray]
"""Reads a window as (H, W) float32, NaN where missing."""


def layers_of(scene: Scene, probability: rasterio.io.DatasetReader) -> dict[str, Layer]:
    """The probability, and what the scene can give of ``slope dem ndvi downhill_east downhill_north``.

    The last two are the unit vector down the slope: their means over an area are the circular mean of its aspect.
    """
    layers: dict[str, Layer] = {"probability": lambda window: probability.read(1, window=window.for_rasterio())}
    layers |= {name: partial(scene.read, name) for name in (SLOPE, DEM) if name in scene.names}
    if DEM in scene.names:
        layers |= _downhill(scene)
    index = INDICES["ndvi"]
    if {index.a, index.b} <= set(scene.names):

        def ndvi(window: Window) -> np.ndarray:
            with np.errstate(divide="ignore", invalid="ignore"):
                return channel({band: scene.read(band, window) for band in (index.a, index.b)}, "ndvi")

        layers["ndvi"] = ndvi
    return layers


def _downhill(scene: Scene) -> dict[str, Layer]:
    """East and north of the unit vector down the slope, by grid north; missing on flat ground."""

    @lru_cache(maxsize=1)  # both parts are asked for one window after the other
    def parts(window: Window) -> tuple[np.ndarray, np.ndarray]:
        around = window.padded(1)
        rows = np.arange(around.row, around.row + around.height)
        east, north = downhill(scene.read(DEM, around), scene.grid.pixel_sizes(rows))
        return east[1:-1, 1:-1].astype(np.float32), north[1:-1, 1:-1].astype(np.float32)

    return {"downhill_east": lambda window: parts(window)[0], "downhill_north": lambda window: parts(window)[1]}
