"""The pictures that are reviewed on, ``picture_before.tif`` and ``picture_after.tif``, and tiles cut from them.

Each is a cloud-optimised GeoTIFF of three bytes a pixel, compressed as JPEG, with overviews and a mask of what is
missing: one file that any GIS opens, and from which a tile of any scale is read without reading the rest.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from PIL import Image
from rasterio._err import CPLE_BaseError  # what rasterio.shutil raises has no public name
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError

from tf_landslide.core.errors import LandslideError, first_line
from tf_landslide.core.files import beside, require_space, telling_a_full_disk
from tf_landslide.figures.pictures import percentiles, stretched
from tf_landslide.scenes.grid import Grid, Window
from tf_landslide.scenes.scene import Scene
from tf_landslide.scenes.source import file

BEFORE, AFTER = "before", "after"
TILE = 256
"""Pixels along each side of a tile."""

Reader = Callable[[Window], np.ndarray]
"""Reads a window of the grid as (H, W, 3) float: red, green and blue in any unit, NaN where missing."""

COLOURS = "red", "green", "blue"
_BLOCK, _AT_ONCE = 512, 1024  # pixels along each side of the file's blocks, and of what is read at a time
_CACHE = 128  # megabytes of GDAL's, which takes a twentieth of the machine's memory otherwise
_ENDS = 1, 99.7  # percentiles of a stretch: fresh scars are the brightest there is, and must not burn out
_BRIGHTEST = 8  # times what lies between median and 84th percentile, above the median: beyond are clouds and snow
_LIGHTER = np.round(255 * (np.arange(256) / 255) ** 0.75).astype(np.uint8)  # so that shadows can be looked into
_SAMPLES, _SAMPLE = 12, 96  # windows along each side, and pixels along each of theirs, that a stretch is taken from


def scene_reader(scene: Scene, grid: Grid) -> Reader:
    """Reads red, green and blue of a scene on a grid, its own or another."""
    there = scene if scene.grid == grid else Scene(grid, scene.bands, scene.clouds, scene.origin)
    return lambda window: np.stack([there.read(name, window) for name in COLOURS], axis=-1)


def picture_path(folder: Path, when: str) -> Path:
    """Where the picture of ``before`` or ``after`` lies."""
    return folder / f"picture_{when}.tif"


def write_pictures(folder: str | Path, before: Reader | None, after: Reader | None, grid: Grid) -> list[Path]:
    """Write the pictures, each stretched between two percentiles of its own and made lighter, piece by piece.

    Args:
        folder: to write to, where ``tf-landslide review`` looks for them.
        before, after: read the scenes (see ``scene_reader``); None writes no picture.
        grid: of both.

    Returns:
        the files written.

    Raises:
        LandslideError: a file that cannot be written, or no room on the disk.
    """
    folder = Path(folder)
    paths = []
    for when, read in ((BEFORE, before), (AFTER, after)):
        if read is not None:
            paths.append(picture_path(folder, when))
            _write(paths[-1], read, grid)
    return paths


def _write(path: Path, read: Reader, grid: Grid) -> None:
    rows, columns = grid.shape
    require_space(path.parent, rows * columns * 4 * 2, path.name)
    ends = _stretch(_sample(read, grid))
    profile = {"driver": "GTiff", "count": 4, "dtype": "uint8", "height": rows, "width": columns}
    profile |= {"crs": grid.crs.to_wkt(), "transform": grid.transform, "tiled": True, "interleave": "pixel"}
    profile |= {"blockxsize": _BLOCK, "blockysize": _BLOCK, "compress": "DEFLATE", "zlevel": 1, "BIGTIFF": "IF_SAFER"}
    options = {"compress": "JPEG", "quality": 90, "blocksize": _BLOCK, "overview_resampling": "AVERAGE"}
    cache = rasterio.Env(GDAL_CACHEMAX=_CACHE)
    with cache, beside(path.with_suffix("")) as scratch, telling_a_full_disk(path):
        scratch.mkdir()  # what GDAL leaves there when it fails goes with it
        plain, whole = scratch / "plain.tif", scratch / path.name
        try:
            with rasterio.open(plain, "w", **profile) as raster:
                raster.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
                for window in grid.blocks(_AT_ONCE):
                    raster.write(_with_opacity(read(window), ends), window=window.for_rasterio())
            rasterio.shutil.copy(plain, whole, driver="COG", BIGTIFF="IF_SAFER", **options)
        except (RasterioError, CPLE_BaseError) as error:
            raise LandslideError(f"{path}: cannot be written ({first_line(error.__cause__ or error)})") from None
        whole.replace(path)


def _stretch(sample: np.ndarray) -> np.ndarray:
    """(3, 2): what becomes black and white; a few clouds do not leave all else in the dark."""
    ends = percentiles(sample, _ENDS)
    median, upper = percentiles(sample, (50, 84)).T
    ends[:, 1] = np.where(upper > median, np.minimum(ends[:, 1], median + _BRIGHTEST * (upper - median)), ends[:, 1])
    return ends


def _sample(read: Reader, grid: Grid) -> np.ndarray:
    """(N, 1, 3): small windows spread over the scene; all of a small one."""
    rows, columns = grid.shape
    if rows * columns <= (_SAMPLES * _SAMPLE) ** 2:
        return read(grid.window).reshape(-1, 1, 3)
    tops, lefts = (np.linspace(0, max(size - _SAMPLE, 0), _SAMPLES).astype(int).tolist() for size in grid.shape)
    windows = (Window(top, left, min(_SAMPLE, rows), min(_SAMPLE, columns)) for top in tops for left in lefts)
    return np.concatenate([read(window).reshape(-1, 1, 3) for window in windows])


def _with_opacity(channels: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(4, H, W) uint8: a picture and where it is."""
    there = np.isfinite(channels).all(axis=-1)
    picture = np.concatenate([_LIGHTER[stretched(channels, ends)], np.where(there, 255, 0)[..., None]], axis=-1)
    return np.moveaxis(picture, -1, 0).astype(np.uint8)


class Picture:
    """A picture of a scene, read tile by tile, by one thread at a time.

    A tile of level ``n`` has ``TILE`` x ``TILE`` pixels, each of 2^n x 2^n of the picture's; tiles are counted from the
    upper left corner, and the last of a row or column may be smaller.

    Args:
        path: of a GeoTIFF of three bytes a pixel, or of four, the last its opacity.

    Raises:
        LandslideError: no such file.
    """

    def __init__(self, path: Path):
        self.path = path
        self.grid = Grid.of(path)
        self._lock = threading.Lock()
        self._raster = file(path).open()
        if self._raster.count not in (3, 4) or set(self._raster.dtypes) != {"uint8"}:
            raise LandslideError(
                f"{path}: has {self._raster.count} bands of {self._raster.dtypes[0]}, expected a picture of three "
                "bands of bytes; remove it, and name the scene with --before or --after"
            )

    @property
    def version(self) -> str:
        """Another one where the file is another."""
        return f"{self.path.stat().st_mtime_ns:x}"

    @property
    def levels(self) -> int:
        """How many there are; all of the picture is one tile of the last."""
        return max(0, (max(self.grid.shape) - 1) // TILE).bit_length() + 1

    def tile(self, level: int, row: int, column: int) -> tuple[bytes, str] | None:
        """A tile's file and its media type: JPEG, or PNG where something is missing. None where there is none."""
        side = TILE << level if 0 <= level < self.levels else 0
        window = Window(row * side, column * side, side, side).within(self.grid.shape)
        if not (row >= 0 and column >= 0 and window.height and window.width):
            return None
        shape = -(-window.height // (1 << level)), -(-window.width // (1 << level))
        with self._lock:
            try:
                read = {"window": window.for_rasterio(), "resampling": Resampling.average}
                colours = self._raster.read((1, 2, 3), out_shape=(3, *shape), **read)
                opaque = self._raster.dataset_mask(out_shape=shape, window=window.for_rasterio())
            except RasterioError as error:
                raise LandslideError(f"{self.path}: cannot be read ({first_line(error)})") from None
        picture = np.moveaxis(colours, 0, -1)
        buffer = io.BytesIO()
        if opaque.all():
            Image.fromarray(picture).save(buffer, "jpeg", quality=90)
            return buffer.getvalue(), "image/jpeg"
        Image.fromarray(np.dstack([picture, opaque])).save(buffer, "png", compress_level=1)
        return buffer.getvalue(), "image/png"


def find_pictures(folder: Path) -> dict[str, Picture]:
    """The pictures of a folder by ``before`` and ``after``, as far as there are any.

    Raises:
        LandslideError: one that cannot be read, or two that lie on different grids.
    """
    found = {when: Picture(path) for when in (BEFORE, AFTER) if (path := picture_path(folder, when)).exists()}
    if len(found) == 2 and found[BEFORE].grid != found[AFTER].grid:
        raise LandslideError(
            f"{found[AFTER].path}: lies on another grid than {found[BEFORE].path.name}; remove both, and name the "
            "scenes with --before and --after"
        )
    return found
