"""The rasters of a map, ``probability.tif``, ``mask.tif`` and ``uncertainty.tif``: cloud-optimised, written a row of
blocks at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError  # what rasterio.shutil raises has no public name
from rasterio.errors import RasterioError

from tf_landslide.core.errors import LandslideError, first_line
from tf_landslide.core.files import beside, require_space
from tf_landslide.scenes.grid import Grid

PROBABILITY, MASK, UNCERTAINTY = "probability.tif", "mask.tif", "uncertainty.tif"
UNCERTAINTY_BANDS = {"deviation": "probability", "mutual_information": "nat"}
"""Of that file, in order, with their units."""
NO_DATA = 255  # of the mask, which holds 0 and 1
_COLOURS = {0: (255, 255, 255, 0), 1: (214, 39, 40, 255), NO_DATA: (128, 128, 128, 0)}
_TILE = 512
_FULL = 2**22  # fewer free bytes than that, and what failed to be written failed for that


def bytes_needed(grid: Grid, unsure: bool = False) -> int:
    """Disk that the rasters take while they are written, at most: what is written first, the result, and overviews of
    all, a third more each, uncompressed.
    """
    pixel = 4 + 1 + 4 * len(UNCERTAINTY_BANDS) * unsure
    return round(grid.shape[0] * grid.shape[1] * pixel * 2 * 4 / 3)


def write_rasters(
    folder: Path,
    grid: Grid,
    rows: Iterable[tuple[int, np.ndarray]],
    threshold: float,
    tags: dict[str, str],
    names: tuple[str, str] = (PROBABILITY, MASK),
    first: Callable[[], None] | None = None,
) -> tuple[Path, Path]:
    """Write both rasters; they appear whole, one after the other, when both are, or not at all.

    Args:
        folder: to write to.
        grid: of the scene.
        rows: of probability, from north to south, as ``mapper.rows_of`` gives them.
        threshold: a pixel is a landslide from this probability on.
        tags: about the model, kept in both files.
        names: of the files.
        first: is done when both are whole, before any of them appears.

    Returns:
        the paths of the probability (float32, NaN where nothing can be told) and the mask (uint8: 0, 1 on landslides,
        255 where nothing can be told).
    """
    paths = folder / names[0], folder / names[1]
    tags = {**tags, "threshold": f"{threshold:g}"}
    with (
        _appearing(paths, first) as (of_probability, of_mask),
        _cloud_optimised(of_probability, paths[0], grid, "float32", float("nan"), tags) as probability,
        _cloud_optimised(of_mask, paths[1], grid, "uint8", NO_DATA, tags) as mask,
    ):
        mask.write_colormap(1, _COLOURS)
        for start, values in rows:
            require_space(folder, 2 * values.nbytes, "the next strip")  # GDAL would tell it less clearly
            window = rasterio.windows.Window(0, start, grid.shape[1], len(values))
            probability.write(values, 1, window=window)
            marked = (values >= np.float32(threshold)).astype(np.uint8)
            marked[np.isnan(values)] = NO_DATA
            mask.write(marked, 1, window=window)
    return paths


def write_mask(path: Path, grid: Grid, strips: Iterable[tuple[int, np.ndarray]], tags: dict[str, str]) -> Path:
    """Write a mask alone, whole or not at all.

    Args:
        path: of the file.
        grid: of the scene.
        strips: from north to south: the first row, and (h, W) uint8 of 0, 1 and ``NO_DATA``.
        tags: kept in the file.
    """
    with _appearing([path]) as (scratch,), _cloud_optimised(scratch, path, grid, "uint8", NO_DATA, tags) as mask:
        mask.write_colormap(1, _COLOURS)
        for start, values in strips:
            require_space(path.parent, values.nbytes, "the next strip")
            mask.write(values, 1, window=rasterio.windows.Window(0, start, grid.shape[1], len(values)))
    return path


def write_uncertainty(folder: Path, grid: Grid, rows: Iterable[tuple[int, np.ndarray]], tags: dict[str, str]) -> Path:
    """Write how sure a model is, whole or not at all.

    Args:
        folder: to write to.
        grid: of the scene.
        rows: from north to south: the first row, and (2, h, W) float32, NaN where nothing can be told.
        tags: kept in the file.

    Returns:
        the path; its bands are called and measured as ``UNCERTAINTY_BANDS`` says.
    """
    path = folder / UNCERTAINTY
    with (
        _appearing([path]) as (scratch,),
        _cloud_optimised(scratch, path, grid, "float32", float("nan"), tags, len(UNCERTAINTY_BANDS)) as raster,
    ):
        raster.descriptions, raster.units = tuple(UNCERTAINTY_BANDS), tuple(UNCERTAINTY_BANDS.values())
        for start, values in rows:
            require_space(folder, values.nbytes, "the next strip")
            raster.write(values, window=rasterio.windows.Window(0, start, grid.shape[1], values.shape[1]))
    return path


@contextmanager
def _appearing(paths: Sequence[Path], first: Callable[[], None] | None = None) -> Iterator[list[Path]]:
    """Give a folder for each file to be written to by its own name; when all are whole, they are moved to their places.

    What GDAL leaves in a folder when it fails goes with it.
    """
    with ExitStack() as stack:
        folders = [stack.enter_context(beside(path.with_suffix(""))) for path in paths]
        for folder in folders:
            folder.mkdir()
        yield folders
        if first:
            first()
        for folder, path in zip(folders, paths, strict=True):
            (folder / path.name).replace(path)


@contextmanager
def _cloud_optimised(
    scratch: Path, path: Path, grid: Grid, dtype: str, nodata: float, tags: dict[str, str], count: int = 1
) -> Iterator[rasterio.io.DatasetWriter]:
    """A plain tiled file to write to, which becomes a cloud-optimised one with overviews when it is whole.

    It lies in the folder ``scratch`` under the name of ``path``, where it is to appear.
    """
    profile = {
        "driver": "GTiff",
        "count": count,
        "dtype": dtype,
        "nodata": nodata,
        "height": grid.shape[0],
        "width": grid.shape[1],
        "crs": grid.crs.to_wkt(),
        "transform": grid.transform,
        "tiled": True,
        "blockxsize": _TILE,
        "blockysize": _TILE,
        "compress": "DEFLATE",
        "zlevel": 1,
        "BIGTIFF": "IF_SAFER",
    }
    with _told(path):
        plain = scratch / "plain.tif"
        with rasterio.open(plain, "w", **profile) as raster:
            raster.update_tags(**tags)
            yield raster
        require_space(path.parent, plain.stat().st_size * 2, f"{path.name} with its overviews")
        options = {"predictor": "YES", "overview_resampling": "MODE" if dtype == "uint8" else "AVERAGE"}
        rasterio.shutil.copy(
            plain, scratch / path.name, driver="COG", compress="DEFLATE", blocksize=_TILE, BIGTIFF="IF_SAFER", **options
        )
        plain.unlink()


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Tell in one line, with the path, why GDAL could not write a file."""
    try:
        yield
    except (RasterioError, CPLE_BaseError) as error:
        require_space(path.parent, _FULL, path.name)
        raise LandslideError(f"{path}: cannot be written ({first_line(error.__cause__ or error)})") from None
