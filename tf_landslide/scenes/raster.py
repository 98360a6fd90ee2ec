"""One band of a raster, or of several that lie side by side, read window by window in physical units."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pyproj import Transformer
from rasterio import Affine

from tf_landslide.bands.layouts import Band
from tf_landslide.bands.terrain import slope_degrees
from tf_landslide.core.errors import LandslideError, first_line
from tf_landslide.scenes.grid import Grid, Window
from tf_landslide.scenes.opened import Part, require_same, state_of, stored
from tf_landslide.scenes.source import Source, file
from tf_landslide.scenes.units import metres_of

MOST_AVERAGED = 256  # pixels of a file along each side of a scene's; a terrain model of 4 cm for one of 10 m
MOST_AT_ONCE = 2**24  # pixels of a file that are averaged at a time
EARTH_METRES = (-1000.0, 10_000.0)  # no land is lower or higher: -9999, -32768 and -3.4e38 are no-data values unstated
LARGEST = 1e6  # of any unit; 3.4e38 and 1e20 are no-data values unstated, and would blind the model to all around
_BYTES = ("int8", "uint8")


@dataclass(frozen=True)
class RasterBand:
    """A band, and how its stored values become physical ones.

    Attributes:
        parts: the files it is read from, mostly one.
        index: of the band in each, from 1.
        band: scale, offset and unit.
        missing: the stored values that mean nothing; they are asked before the offset is added, as NaN always is.
        grid: of the values that ``read`` gives.
        averaged: rows and columns of the files' pixels in one of those, for files finer than what they are sampled to.
    """

    parts: tuple[Part, ...]
    index: int
    band: Band
    missing: tuple[float, ...]
    grid: Grid
    averaged: tuple[int, int] = (1, 1)

    @classmethod
    def open(
        cls,
        path: str | Path | Source,
        index: int,
        band: Band,
        *,
        said: Collection[str] = ("scale", "offset"),
        missing: Sequence[float] = (),
    ) -> RasterBand:
        """A band of a file.

        Args:
            path: of the file.
            index: of the band in it, from 1.
            band: what is known of it. Its no-data value and the file's own both mean missing.
            said: which of scale and offset somebody states. A scale that nobody does gives way to the file's own, and
                so does the offset where neither is stated.
            missing: further stored values that mean nothing.

        Raises:
            LandslideError: no georeferenced raster, no such band in it, or another scale than the file states itself.
        """
        source = path if isinstance(path, Source) else file(path)
        state = state_of(source)
        grid = Grid.of(source)
        with source.open() as raster:
            if not 1 <= index <= raster.count:
                raise LandslideError(f"{source}: has {raster.count} bands, no band {index}")
            own, tags = raster.nodatavals[index - 1], (raster.scales[index - 1], raster.offsets[index - 1])
            dtype, unit = raster.dtypes[index - 1], raster.units[index - 1]
        if band.unit == "metres":
            tags = _to_metres(tags, unit, "scale" in said, f"{source}: band {index} ({band.name})")
        unknown = "scale" not in said and tags == (1.0, 0.0) and band.unit == "reflectance"
        if unknown and dtype.startswith("float"):
            raise LandslideError(
                f"{source}: stores {dtype} and nobody says in which unit; say --scale 1 for reflectance "
                "(1.0 = 100 %), --scale 0.0001 for reflectance x 10,000, or scale in its manifest or layout"
            )
        if unknown and dtype in _BYTES:
            raise LandslideError(
                f"{source}: stores {dtype}, too few numbers for reflectance x 10,000; it may be a picture: take the "
                "product's own bands, or say the unit with --scale, or scale in its manifest or layout"
            )
        if tags != (1.0, 0.0):
            if "scale" not in said:
                band = replace(band, scale=tags[0], offset=band.offset if said else tags[1])
            if said and not np.allclose(tags, (band.scale, band.offset), rtol=1e-5, atol=1e-9):
                raise LandslideError(
                    f"{source}: band {index} ({band.name}) states scale {tags[0]:g} and offset {tags[1]:g} in the "
                    f"file, but scale {band.scale:g} and offset {band.offset:g} are given; find out which is true"
                )
        if not (math.isfinite(band.scale) and band.scale and math.isfinite(band.offset)):
            raise LandslideError(
                f"{source}: band {index} ({band.name}) has scale {band.scale:g} and offset {band.offset:g}; expected "
                "finite numbers, the scale not 0"
            )
        values = [value for value in (band.nodata, own, *missing) if value is not None and math.isfinite(value)]
        return cls((Part(source, grid.window, state),), index, band, tuple(dict.fromkeys(values)), grid)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The files that it is read from."""
        return tuple(part.source for part in self.parts)

    def fingerprint(self) -> list[object]:
        """All that its values depend on."""
        parts = [[part.source.fingerprint(), str(part.window)] for part in self.parts]
        return [parts, self.index, str(self.band), list(self.missing), list(self.averaged)]

    def require_unchanged(self) -> None:
        """Raise ``LandslideError`` where a file is no longer the one that was opened."""
        for part in self.parts:
            require_same(part.source, state_of(part.source), part.state)

    def averaged_for(self, scene: Grid) -> RasterBand:
        """The band on pixels of about a scene's, each the mean of whole ones of the file, where those are finer.

        Sampling a fine raster at every tenth pixel would see one pixel in a hundred. Rows and columns are averaged each
        by what they measure on the ground in the middle of the scene: pixels of degrees are narrow far north.

        Raises:
            LandslideError: so fine that averaging it is a job of its own.
        """
        wanted = scene.pixel_sizes(np.array([scene.shape[0] // 2]))
        own = self.grid.pixel_sizes(np.array([self._row_under(scene)]))
        down, across = (max(1, math.floor(float(w[0] / o[0]) + 1e-3)) for w, o in zip(wanted, own, strict=True))
        if (down, across) == (1, 1):
            return self
        if max(down, across) > MOST_AVERAGED:
            t, (height, width) = self.grid.transform, (float(size[0]) for size in own)
            raise LandslideError(
                f"{self.sources[0]}: has pixels of {height:.3g} x {width:.3g} m, {down} x {across} to one of the "
                f"scene's; average it first: gdalwarp -tr {across * t.a:.9g} {-down * t.e:.9g} -r average"
            )
        rows, columns = self.grid.shape[0] // down, self.grid.shape[1] // across
        transform = self.grid.transform @ Affine.scale(across, down)
        return replace(self, grid=Grid(transform, self.grid.crs, (rows, columns)), averaged=(down, across))

    def _row_under(self, scene: Grid) -> float:
        """The row that lies under a scene's middle, or the next one to it."""
        west, south, east, north = scene.bounds
        to_own = Transformer.from_crs(scene.crs, self.grid.crs, always_xy=True)
        row, _ = self.grid.pixels(*to_own.transform((west + east) / 2, (south + north) / 2))
        last = self.grid.shape[0] - 1
        return float(np.clip(row, 0, last)) if np.isfinite(row) else last / 2

    def read(self, window: Window) -> np.ndarray:
        """A window, which lies within the grid: (H, W) float32 in the band's unit, NaN where missing.

        Raises:
            LandslideError: a file cannot be read there.
        """
        if self.averaged == (1, 1):
            return self._stored(window)
        down, across = self.averaged
        values = np.empty(window.shape, np.float32)
        side = max(1, math.isqrt(MOST_AT_ONCE) // max(down, across))
        for row in range(0, window.height, side):
            for column in range(0, window.width, side):
                height, width = min(side, window.height - row), min(side, window.width - column)
                top, left = (window.row + row) * down, (window.column + column) * across
                own = self._stored(Window(top, left, height * down, width * across))
                values[row : row + height, column : column + width] = _means(own, down, across)
        return values

    def _stored(self, window: Window) -> np.ndarray:
        """A window of the files' own pixels, in physical units."""
        if len(self.parts) == 1:
            return self._of_part(self.parts[0], window)
        values = np.full(window.shape, np.nan, np.float32)
        for part in self.parts:
            here = window.relative_to(part.window).within(part.window.shape)
            if here.height and here.width:
                there = Window(here.row + part.window.row, here.column + part.window.column, here.height, here.width)
                there = there.relative_to(window)
                found = self._of_part(part, here)
                np.copyto(values[there.rows, there.columns], found, where=np.isfinite(found))
        return values

    def _of_part(self, part: Part, window: Window) -> np.ndarray:
        try:
            values = stored(part.source, part.state, self.index, window)
        except (OSError, ValueError) as error:
            raise LandslideError(f"{part.source}: band {self.index} cannot be read ({first_line(error)})") from None
        missing = ~np.isfinite(values)
        for value in self.missing:
            missing |= values == value
        with np.errstate(over="ignore", invalid="ignore"):
            physical = values.astype(np.float32) * np.float32(self.band.scale) + np.float32(self.band.offset)
            missing |= ~(np.abs(physical) <= LARGEST)
        if self.band.unit == "metres":
            missing |= (physical < EARTH_METRES[0]) | (physical > EARTH_METRES[1])
        physical[missing] = np.nan
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


def _to_metres(tags: tuple[float, float], unit: str | None, scaled: bool, where: str) -> tuple[float, float]:
    """Scale and offset that give metres, of those that give the unit which a file states.

    Raises:
        LandslideError: a unit that is not known, where nobody says the scale.
    """
    metres = metres_of(unit)
    if metres is None and not scaled:
        raise LandslideError(
            f"{where} is in {str(unit)[:40]!r} by its file; expected metres or feet: convert it, or say in a manifest "
            "or layout by which scale its values become metres"
        )
    return tags[0] * (metres or 1.0), tags[1] * (metres or 1.0)


def mosaic(bands: Sequence[RasterBand]) -> RasterBand:
    """One band of several whose pixels lie on one lattice, as the tiles of Copernicus' terrain model do.

    Where several overlap, the last one that has a value there is read. What none of them has is missing.

    Raises:
        LandslideError: tiles of different lattices or values.
    """
    first = bands[0]
    if len(bands) == 1:
        return first
    places = []
    for band in bands:
        t, f = band.grid.transform, first.grid.transform
        row, column = (t.f - f.f) / f.e, (t.c - f.c) / f.a
        if first.grid.is_geographic:  # tiles of 179 degrees east and of 180 degrees west are neighbours
            column -= first.grid.columns_of_a_turn * round(column / first.grid.columns_of_a_turn)
        size = np.allclose((t.a, t.e), (f.a, f.e), rtol=1e-9)
        if (
            not size
            or band.grid.crs != first.grid.crs
            or max(abs(row - round(row)), abs(column - round(column))) > 1e-3
        ):
            raise LandslideError(
                f"{band.sources[0]}: its pixels do not continue those of {first.sources[0]}; warp them to one grid "
                "first: gdalwarp A.tif B.tif dem.tif"
            )
        if (band.band, band.missing) != (first.band, first.missing):
            raise LandslideError(
                f"{band.sources[0]}: has another scale, offset or no-data value than {first.sources[0]}"
            )
        places.append(Window(round(row), round(column), *band.grid.shape))
    top, left = min(place.row for place in places), min(place.column for place in places)
    rows = max(place.row + place.height for place in places) - top
    columns = max(place.column + place.width for place in places) - left
    origin = Window(top, left, rows, columns)
    parts = tuple(replace(b.parts[0], window=p.relative_to(origin)) for b, p in zip(bands, places, strict=True))
    return replace(first, parts=parts, grid=replace(first.grid.of_window(origin), shape=(rows, columns)))


def _means(values: np.ndarray, down: int, across: int) -> np.ndarray:
    """Of pieces of down x across pixels, added up in one order whatever the window's shape."""
    columns = np.zeros((values.shape[0], values.shape[1] // across))
    means = np.zeros((values.shape[0] // down, values.shape[1] // across))
    for i in range(across):
        columns += values[:, i::across]
    for i in range(down):
        means += columns[i::down] / (down * across)
    return means.astype(np.float32)
