"""A scene: bands from any files, brought onto one grid, and a model's channels of any window of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from tf_landslide.core.errors import LandslideError, unknown
from tf_landslide.scenes.grid import Grid, Window
from tf_landslide.scenes.raster import RasterBand
from tf_landslide.scenes.sampler import Sampler, sampler

DEM, SLOPE = "dem", "slope"


@dataclass(frozen=True)
class Scene:
    """Named bands over one grid.

    Attributes:
        grid: of everything that is read.
        bands: by name, each in the grid of its file. Slope is computed from ``dem`` where it is not among them.
    """

    grid: Grid
    bands: Mapping[str, RasterBand]
    _samplers: dict[Grid, Sampler] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The bands that can be read."""
        return (*self.bands, *((SLOPE,) if DEM in self.bands and SLOPE not in self.bands else ()))

    def read(self, name: str, window: Window) -> np.ndarray:
        """A band of a window, which may reach beyond the grid: (H, W) float32, NaN where missing.

        Slope is computed on the terrain model's own grid and sampled then, as Landslide4Sense's was.

        Raises:
            LandslideError: no such band, or a file that cannot be read.
        """
        if name not in self.names:
            raise LandslideError(unknown(name, self.names, "band of the scene"))
        computed = name not in self.bands
        band = self.bands[DEM if computed else name]
        read = band.read_slope if computed else band.read
        if band.grid == self.grid:
            inside = window.within(self.grid.shape)
            values = np.full(window.shape, np.nan, np.float32)
            part = inside.relative_to(window)
            if inside.height and inside.width:
                values[part.rows, part.columns] = read(inside)
            return values
        if band.grid not in self._samplers:
            self._samplers[band.grid] = sampler(band.grid, self.grid)
        return self._samplers[band.grid](window, read)
