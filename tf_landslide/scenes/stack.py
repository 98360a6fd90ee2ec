"""A scene from raster files: which band is which, and all of them brought together with a terrain model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from tf_landslide.bands.layouts import REFLECTANCE_SCALE, TERRAIN_UNITS, Band
from tf_landslide.core.errors import LandslideError, unknown
from tf_landslide.scenes import sentinel2
from tf_landslide.scenes.clouds import Clouds
from tf_landslide.scenes.footprint import require_cover
from tf_landslide.scenes.grid import Grid
from tf_landslide.scenes.raster import RasterBand, mosaic
from tf_landslide.scenes.scene import DEM, SLOPE, Origin, Scene
from tf_landslide.scenes.source import Source, file

MAX_PIXELS = 2**33  # of a scene: eighty Sentinel-2 tiles; more is a mistake
MAX_BANDS = 1000  # of a file, to be looked through for names
HINT = "; say which with --bands NAME=N, or give NAME=FILE"


def open_scene(
    files: Sequence[str | Path],
    needed: tuple[str, ...],
    *,
    bands: Mapping[str, int] | None = None,
    dem: Path | Sequence[Path] = (),
    scale: float | None = None,
    offset: float | None = None,
    nodata: float | None = sentinel2.NODATA,
) -> Scene:
    """A scene of the bands that a model needs, from raster files.

    Args:
        files: rasters, or ``NAME=FILE`` for one band each. Bands of the others are named by ``bands``, by their
            descriptions, or by a file name that carries a code of Sentinel-2's (``post_B04.tif``).
        needed: names of the model's bands.
        bands: of the first file, by name, from 1.
        dem: a terrain model, or tiles of one, in its own grid; slope is computed from it.
        scale, offset: of the optical bands: physical = stored x scale + offset. None takes what the file states, else
            0.0001 and 0.
        nodata: stored value of the optical bands where there is nothing, besides the file's own.

    Raises:
        LandslideError: a file that is no georeferenced raster, or a band that is not among them.
    """
    found: dict[str, RasterBand] = {}
    for i, word in enumerate(files):
        for name, (path, index) in _named(word, bands if i == 0 else None).items():
            if name in found:
                raise LandslideError(f"{path}: band {name!r} is also in {found[name].sources[0]}; name one of them")
            found[name] = open_band(path, index, name, scale, offset, nodata)
    models = [dem] if isinstance(dem, Path) else list(dem)
    return assemble(found, needed, str(files[0]), dem=open_dem([file(path) for path in models]), hint=HINT)


def open_band(
    path: str | Path | Source,
    index: int,
    name: str,
    scale: float | None = None,
    offset: float | None = None,
    nodata: float | None = sentinel2.NODATA,
) -> RasterBand:
    """A band by its name; terrain has the scale that its file states. Arguments as of ``open_scene``."""
    if name in TERRAIN_UNITS:
        return RasterBand.open(path, index, Band(name, unit=TERRAIN_UNITS[name]), said=())
    band = Band(name, REFLECTANCE_SCALE if scale is None else scale, offset or 0.0, nodata)
    said = [key for key, value in (("scale", scale), ("offset", offset)) if value is not None]
    return RasterBand.open(path, index, band, said=said)


def open_dem(files: Sequence[Source]) -> RasterBand | None:
    """A terrain model of one file or of tiles side by side; None of none.

    Raises:
        LandslideError: no raster, a band of an image, or tiles that do not continue one another.
    """
    for source in files:
        with source.open() as raster:
            text = raster.descriptions[0]
        if text and (name := sentinel2.band_of_description(text)) in sentinel2.CODES:
            raise LandslideError(f"{source}: is no terrain model: its band 1 is {name!r} by its description")
    return mosaic([open_band(path, 1, DEM) for path in files]) if files else None


def assemble(
    bands: Mapping[str, RasterBand],
    needed: Sequence[str],
    where: str,
    *,
    dem: RasterBand | None = None,
    clouds: Callable[[Grid], Clouds | None] | None = None,
    origin: Origin | None = None,
    hint: str = "",
) -> Scene:
    """Bands over the grid of the finest of them, the first of equals, with a terrain model.

    Args:
        bands: by name; terrain among them is averaged where its pixels are finer than the scene's.
        needed: names of the bands that must be there.
        where: the scene comes from, for errors.
        dem: a terrain model, in place of one among the bands.
        clouds: gives the mask on a grid.
        origin: of the scene.
        hint: what to do about a band that is not there.

    Raises:
        LandslideError: a band that is needed and not there, or lies elsewhere; or too many pixels.
    """
    found = dict(bands)
    optical = [band for name, band in found.items() if name not in TERRAIN_UNITS] or list(found.values())
    if not optical:
        raise LandslideError(f"{where}: no band of it has a name{hint}")
    finest = min(optical, key=lambda band: _pixel_size(band.grid))
    grid = finest.grid
    if grid.shape[0] * grid.shape[1] > MAX_PIXELS:
        raise LandslideError(f"{where}: has {grid.shape[0]:,} x {grid.shape[1]:,} pixels; map it in parts")
    for name, band in (found if dem is None else found | {DEM: dem}).items():
        if name in needed or name == DEM:
            require_cover(name, band, grid, str(finest.sources[0]))
    if dem is not None:
        found[DEM] = dem
        found.pop(SLOPE, None)  # of another model
    found |= {name: found[name].averaged_for(grid) for name in TERRAIN_UNITS if name in found}
    scene = Scene(grid, found, clouds(grid) if clouds else None, origin or Origin())
    for name in needed:
        if name not in scene.names:
            told = "; name a terrain model with --dem" if name in TERRAIN_UNITS else hint
            raise LandslideError(f"{where}: {unknown(name, scene.names or ('none',), 'band of the scene')}{told}")
    return scene


def _pixel_size(grid: Grid) -> float:
    """The height of a pixel in the middle of a grid, in metres, to a millimetre."""
    height, _ = grid.pixel_sizes(np.array([grid.shape[0] // 2]))
    return round(float(height[0]), 3)


def _named(word: str | Path, given: Mapping[str, int] | None) -> dict[str, tuple[str | Path, int]]:
    """The bands of a word of the command line: file and index by name; ``given`` are those of a file without a name.

    Raises:
        LandslideError: no name or no file, or a name beside bands that are given.
    """
    name, equals, path = str(word).partition("=")
    if equals and not Path(word).exists():
        if not name.strip() or not path.strip():
            raise LandslideError(f"{word}: expected NAME=FILE, e.g. red=post_B04.tif")
        if given:
            raise LandslideError(f"{word}: names its band itself; leave --bands out, or give the file without a name")
        name = name.strip().lower()
        return {name: (path, _band_called(name, path))}
    if given:
        return {name: (word, index) for name, index in given.items()}
    return {name: (word, index) for name, index in _told_by(word).items()}


def _band_called(name: str, path: str) -> int:
    """The band that ``NAME=FILE`` means: the file's only one, or the one that is described so."""
    with file(path).open() as raster:
        texts = raster.descriptions[:MAX_BANDS]
    found = [i for i, text in enumerate(texts, 1) if text and sentinel2.band_of_description(text) == name]
    if len(texts) > 1 and len(found) != 1:
        raise LandslideError(
            f"{name}={path}: the file holds {len(texts)} bands, of which {len(found) or 'none'} are called {name!r}; "
            f"give the file without a name, and --bands {name}=N"
        )
    return found[0] if len(texts) > 1 else 1


def _told_by(path: str | Path) -> dict[str, int]:
    """The bands of a file by their descriptions, or by the file's name where it holds one band.

    Raises:
        LandslideError: two bands of one name, or a description that the file's name contradicts.
    """
    with file(path).open() as raster:
        texts = raster.descriptions[:MAX_BANDS]
    found: dict[str, int] = {}
    for index, text in enumerate(texts, 1):
        if text and text.strip():
            name = sentinel2.band_of_description(text)
            if name in found:
                raise LandslideError(f"{path}: bands {found[name]} and {index} are both called {name!r}{HINT}")
            found[name] = index
    by_name = sentinel2.band_of_file(path) if len(texts) == 1 else None
    if by_name is None or by_name in found:
        return found
    if known := set(found) & set(sentinel2.CODES):
        raise LandslideError(
            f"{path}: holds {known.pop()!r} by its description, {by_name!r} by its name; say "
            f"NAME={path} for what is true"
        )
    return {by_name: 1}
