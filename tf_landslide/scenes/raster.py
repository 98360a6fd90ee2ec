"""One band of a raster file, read window by window in physical units."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
from rasterio import Affine

from tf_landslide.bands.layouts import Band
from tf_landslide.bands.terrain import slope_degrees
from tf_landslide.core.errors import LandslideError, first_line
from tf_landslide.scenes.grid import Grid, Window

_OF_THREAD = threading.local()  # a dataset of rasterio's may not be shared by threads


@dataclass(frozen=True)
class RasterBand:
    """A band, and how its stored values become physical ones.

    Attributes:
        path: of the file.
        index: of the band in it, from 1.
        band: scale, offset, no-data value and unit. No-data is a stored value: it is asked before the offset is added.
        grid: of the values that ``read`` gives.
        averaged: the file's pixels along each side of one of those, for a file much finer than what it is sampled to.
    """

    path: Path
    index: int
    band: Band
    grid: Grid
    averaged: int = 1

    @classmethod
    def open(cls, path: str | Path, index: int, band: Band) -> RasterBand:
        """A band of a file, whose own no-data value stands where the layout states none.

        Raises:
            LandslideError: no georeferenced raster, or no such band in it.
        """
        grid = Grid.of(path)
        with rasterio.open(path) as raster:
            if not 1 <= index <= raster.count:
                raise LandslideError(f"{path}: has {raster.count} bands, no band {index}")
            own = raster.nodatavals[index - 1]
        return cls(Path(path), index, band if band.nodata is not None else replace(band, nodata=own), grid)

    def averaged_for(self, metres: float) -> RasterBand:
        """The band on pixels of about ``metres``, each the mean of whole ones of the file, where those are finer.

        Sampling a fine raster at every tenth pixel would see one pixel in a hundred.
        """
        _, width = self.grid.pixel_sizes(np.array([self.grid.shape[0] // 2]))
        factor = math.floor(metres / float(width[0]) + 1e-6)
        if factor < 2:
            return self
        rows, columns = (size // factor for size in self.grid.shape)
        transform = self.grid.transform @ Affine.scale(factor)
        return replace(self, grid=Grid(transform, self.grid.crs, (rows, columns)), averaged=factor)

    def read(self, window: Window) -> np.ndarray:
        """A window, which lies within the grid: (H, W) float32 in the band's unit, NaN where missing.

        Raises:
            LandslideError: the file cannot be read there.
        """
        k = self.averaged
        stored = Window(window.row * k, window.column * k, window.height * k, window.width * k)
        try:
            values = _dataset(self.path).read(self.index, window=stored.for_rasterio())
        except (rasterio.RasterioIOError, ValueError) as error:
            raise LandslideError(f"{self.path}: band {self.index} cannot be read ({first_line(error)})") from None
        band = self.band
        missing = ~np.isfinite(values)
        if band.nodata is not None and math.isfinite(band.nodata):
            missing |= values == band.nodata
        physical = values.astype(np.float32) * np.float32(band.scale) + np.float32(band.offset)
        physical[missing] = np.nan
        if k > 1:
            physical = physical.reshape(window.height, k, window.width, k).mean(axis=(1, 3))
        return physical

    def read_slope(self, window: Window) -> np.ndarray:
        """Slope in degrees of a window of a terrain model, by Horn's method on its own grid; as ``read``.

        A value needs its pixel and all eight neighbours; at the model's edge the outermost pixels go on.
        """
        around = window.padded(1)
        inside = around.within(self.grid.shape)
        beyond = [
            (inside.row - around.row, around.row + around.height - inside.row - inside.height),
            (inside.column - around.column, around.column + around.width - inside.column - inside.width),
        ]
        dem = np.pad(self.read(inside), beyond, mode="edge")
        sizes = self.grid.pixel_sizes(np.arange(around.row, around.row + around.height))
        slope = np.where(np.isnan(dem), np.nan, slope_degrees(dem, sizes))  # Horn's method leaves out the pixel itself
        return slope[1:-1, 1:-1].astype(np.float32)


def _dataset(path: Path) -> rasterio.DatasetReader:
    """The thread's own open file."""
    files: dict[Path, rasterio.DatasetReader] = _OF_THREAD.__dict__.setdefault("files", {})
    if path not in files:
        files[path] = rasterio.open(path)
    return files[path]
