"""A scene: bands from any files, brought onto one grid, and a model's channels of any window of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from tf_landslide.bands.layouts import TERRAIN_UNITS
from tf_landslide.core.errors import LandslideError, unknown
from tf_landslide.scenes.clouds import Clouds, RasterClouds
from tf_landslide.scenes.grid import Grid, Window
from tf_landslide.scenes.raster import RasterBand
from tf_landslide.scenes.sampler import Sampler, sampler

DEM, SLOPE = "dem", "slope"


@dataclass(frozen=True)
class Origin:
    """What is known of where a scene comes from.

    Attributes:
        ids: of products.
        level: ``1C`` (top of atmosphere) or ``2A`` (surface); None where nobody says.
        baseline: of the processing, ``05.09``.
        date: of the image, ``2018-09-19``.
        event_from, event_to: between which landslides have happened, where a manifest says so.
    """

    ids: tuple[str, ...] = ()
    level: str | None = None
    baseline: str | None = None
    date: str | None = None
    event_from: str | None = None
    event_to: str | None = None


@dataclass(frozen=True)
class Scene:
    """Named bands over one grid.

    Attributes:
        grid: of everything that is read.
        bands: by name, each in the grid of its file. Slope is computed from ``dem`` where it is not among them.
        clouds: under which optical bands are missing.
        origin: of the image.
    """

    grid: Grid
    bands: Mapping[str, RasterBand]
    clouds: Clouds | None = None
    origin: Origin = Origin()
    _samplers: dict[Grid, Sampler] = field(default_factory=dict, repr=False, compare=False)
    _masks: dict[Window, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The bands that can be read."""
        return (*self.bands, *((SLOPE,) if DEM in self.bands and SLOPE not in self.bands else ()))

    @property
    def source_ids(self) -> tuple[str, ...]:
        """The products, else the files in their order, that it is made of."""
        files = dict.fromkeys(source.id for band in self.bands.values() for source in band.sources)
        return self.origin.ids or tuple(files)

    def fingerprint(self) -> dict[str, object]:
        """All that its values depend on, as plain values."""
        return {
            "bands": {name: band.fingerprint() for name, band in self.bands.items()},
            "clouds": None if self.clouds is None else self.clouds.fingerprint(),
            "grid": [list(self.grid.transform), self.grid.crs.to_wkt(), list(self.grid.shape)],
        }

    def require_unchanged(self) -> None:
        """Raise ``LandslideError`` where a file that it is read from is no longer the one that was opened."""
        masks = [band for band, _ in self.clouds.bands] if isinstance(self.clouds, RasterClouds) else []
        for band in (*self.bands.values(), *masks):
            band.require_unchanged()

    def read(self, name: str, window: Window) -> np.ndarray:
        """A band of a window, which may reach beyond the grid: (H, W) float32, NaN where missing or under clouds.

        Slope is computed on the terrain model's own grid and sampled then, as Landslide4Sense's was.

        Raises:
            LandslideError: no such band, or a file that cannot be read.
        """
        if name not in self.names:
            raise LandslideError(unknown(name, self.names, "band of the scene"))
        values = self._read(name, window)
        if self.clouds is not None and name not in TERRAIN_UNITS:
            values[self._hidden(self.clouds, window)] = np.nan
        return values

    def _hidden(self, clouds: Clouds, window: Window) -> np.ndarray:
        """What clouds hide of a window; the last ones are kept, since band after band is read of each."""
        hidden = self._masks.get(window)
        if hidden is None:
            for old in list(self._masks)[:-3]:
                self._masks.pop(old, None)  # another thread may have been quicker
            hidden = self._masks[window] = clouds(window)
        return hidden

    def _read(self, name: str, window: Window) -> np.ndarray:
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
