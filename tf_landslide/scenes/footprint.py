"""Whether a raster lies under a scene at all, asked of corners and edges before any pixel is read."""

from __future__ import annotations

import numpy as np
import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from tf_landslide.core.errors import LandslideError, warn
from tf_landslide.scenes.grid import Grid
from tf_landslide.scenes.raster import RasterBand

_ALONG = 64  # points along each side of the scene: an edge of a tile bends by less than a pixel between them
_WHOLE = 0.99  # of the scene; a raster that ends some pixels short is not worth a word
_LONGITUDE_LATITUDE = CRS.from_epsg(4326)


def require_cover(name: str, band: RasterBand, scene: Grid, where: str, rest: str = "the rest is not mapped") -> None:
    """Refuse a band that does not meet the scene, and warn of one that covers only some of it.

    Args:
        name: of the band.
        band: in its files' own grid.
        scene: whose pixels are to be read of it.
        where: the scene's grid comes from, for errors.
        rest: what becomes of pixels that it does not cover, for the warning.

    Raises:
        LandslideError: the band lies elsewhere; both extents are told.
    """
    share = covered(band, scene)
    if share == 0:
        files = str(band.sources[0]) + (f" and {len(band.parts) - 1} more" if len(band.parts) > 1 else "")
        raise LandslideError(
            f"{files}: {name} does not meet the scene: it covers {extent(band.grid)}; the scene ({where}) covers "
            f"{extent(scene)}"
        )
    if share < _WHOLE:
        warn(f"{band.sources[0]}: {name} covers {100 * share:.3g} % of the scene; {rest}")


def covered(band: RasterBand, scene: Grid) -> float:
    """The share of a scene's area that a band's files cover, 0 to 1, by their outlines; 1 where it cannot be told."""
    if band.grid == scene and len(band.parts) == 1:
        return 1.0
    rows, columns = _outline(scene, band.grid)
    known = np.isfinite(rows) & np.isfinite(columns)
    if not known.any():
        return 0.0
    if not known.all():
        return 1.0
    if band.grid.is_geographic:  # an outline over the antimeridian is one piece
        columns = np.unwrap(columns, period=band.grid.columns_of_a_turn)
    outline = shapely.make_valid(shapely.Polygon(np.stack([columns, rows], axis=1)))
    both = outline.intersection(shapely.union_all(_boxes(band)))
    return float(both.area / outline.area) if outline.area else 1.0


def _outline(scene: Grid, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """The scene's outline as fractional (row, column) of a grid, pixels' corners whole; not finite where unknown."""
    west, south, east, north = scene.bounds
    along, level = np.linspace(0, 1, _ALONG, endpoint=False), np.ones(_ALONG)
    x = np.concatenate([west + (east - west) * along, east * level, east + (west - east) * along, west * level])
    y = np.concatenate([north * level, north + (south - north) * along, south * level, south + (north - south) * along])
    rows, columns = grid.pixels(*Transformer.from_crs(scene.crs, grid.crs, always_xy=True).transform(x, y))
    return rows + 0.5, columns + 0.5


def _boxes(band: RasterBand) -> list[shapely.Polygon]:
    """What a band's files cover, in its pixels; of a geographic grid also a turn further east and west."""
    turns = (-1, 0, 1) if band.grid.is_geographic else (0,)
    turn = band.grid.columns_of_a_turn if band.grid.is_geographic else 0.0
    return [
        shapely.box(left, part.window.row, left + part.window.width, part.window.end)
        for part in band.parts
        for left in (part.window.column + i * turn for i in turns)
    ]


def extent(grid: Grid) -> str:
    """Where a grid lies, in words: degrees of longitude and latitude, else coordinates of its own system."""
    try:
        to_degrees = Transformer.from_crs(grid.crs, _LONGITUDE_LATITUDE, always_xy=True)
        west, south, east, north = to_degrees.transform_bounds(*grid.bounds)
    except ProjError:
        west = float("nan")
    if not np.isfinite(west):
        west, south, east, north = grid.bounds
        return f"{west:.6g} to {east:.6g}, {south:.6g} to {north:.6g} of {grid.crs.name}"
    return f"{west:.4f} to {east:.4f} E, {south:.4f} to {north:.4f} N"
