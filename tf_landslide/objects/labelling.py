"""Checked polygons as a raster of labels over a scene: 1 on landslides, 0 beside them, 255 where nobody can say.

Nobody can say where a band is missing (no such pixel is mapped either), outside of the area that was looked at, and on
polygons that nobody has checked yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import rasterio
import rasterio.features
import shapely
from pyproj import CRS
from shapely.geometry.base import BaseGeometry

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.progress import progress
from tf_landslide.objects.density import Density
from tf_landslide.scenes.antimeridian import laid_on
from tf_landslide.scenes.grid import Grid, Window
from tf_landslide.scenes.inventory import Inventory, read_inventory
from tf_landslide.scenes.polygons import areal
from tf_landslide.scenes.scene import Scene

UNKNOWN = 255
STATUS = "review_status"
ACCEPTED, REJECTED, UNREVIEWED = ("accepted", "redrawn", "added"), ("rejected",), ("unreviewed", "")
_STRIP = 512  # rows that are rasterised at a time
_CELL = 16  # pixels along each side of what a density counts
_LONGEST = {True: 0.01, False: 1000.0}  # of an edge, in degrees or map units, that is as good as straight in any system


@dataclass(frozen=True)
class Checked:
    """What people say of a scene, in its map coordinates.

    Attributes:
        landslides: polygons and multipolygons.
        undecided: those that nobody has checked.
        found: how many polygons there were of each kind, for the record.
    """

    landslides: np.ndarray
    undecided: np.ndarray
    found: dict[str, int]


@dataclass(frozen=True)
class Labelled:
    """A raster of labels that was written.

    Attributes:
        density: of what is known.
        pixels, known: of each landslide polygon: that it covers, and how many of those are labelled.
    """

    density: Density
    pixels: np.ndarray
    known: np.ndarray


def checked_polygons(path: Path, grid: Grid, *, layer: str | None = None, unreviewed: bool = False) -> Checked:
    """The landslides of a file, as far as they were checked.

    A file without a column ``review_status`` is an inventory: all its polygons count. With one, those of ``accepted``,
    ``redrawn`` and ``added`` count, ``rejected`` are left out, and ``unreviewed`` are undecided.

    Args:
        path: as ``read_inventory`` takes it.
        grid: whose coordinates they are given in.
        layer: of the file.
        unreviewed: take those that nobody has checked for landslides.

    Raises:
        LandslideError: what ``read_inventory`` refuses, another status, or no polygon that counts.
    """
    inventory = read_inventory(path, layer)
    status = _statuses(path, inventory.frame)
    counts = Counter(dict.fromkeys(("accepted", "rejected", "unreviewed"), 0)) + Counter(status)
    kept = [word == "accepted" or (unreviewed and word == "unreviewed") for word in status]
    if not any(kept):
        remedy = "; --unreviewed takes those for landslides that nobody has checked" if counts["unreviewed"] else ""
        raise LandslideError(f"{path}: none of its {len(status):,} polygons is an accepted landslide{remedy}")
    geometries, lost = in_coordinates_of(grid, inventory)
    whole = np.array([not geometry.is_empty for geometry in geometries])
    wanted = np.array(kept)
    undecided = np.array([word == "unreviewed" and not unreviewed for word in status])
    found = {
        "read": len(status) + inventory.dropped,
        "without area": inventory.dropped,
        "mended": inventory.invalid,
        "of several parts": inventory.several,
        "not to be had in the scene's coordinates": lost,
        "rejected": counts["rejected"],
        "unreviewed": counts["unreviewed"],
        "landslides": int((wanted & whole).sum()),
    }
    return Checked(geometries[wanted & whole], geometries[undecided & whole], found)


def _statuses(path: Path, frame: geopandas.GeoDataFrame) -> list[str]:
    """``accepted``, ``rejected`` or ``unreviewed`` of each polygon."""
    if STATUS not in frame:
        return ["accepted"] * len(frame)
    found = []
    for value in frame[STATUS]:
        word = "" if pd.isna(value) else str(value).strip().lower()
        for meaning in (ACCEPTED, REJECTED, UNREVIEWED):
            if word in meaning:
                found.append(meaning[0])
                break
        else:
            known = ", ".join([*ACCEPTED, *REJECTED, UNREVIEWED[0]])
            raise LandslideError(f"{path}: {STATUS} {word[:40]!r} is none of {known}")
    return found


def in_coordinates_of(grid: Grid, inventory: Inventory) -> tuple[np.ndarray, int]:
    """Polygons in a grid's coordinates, valid; what cannot be had in them is empty, and counted.

    Long edges are straight in the file's own coordinates: they get more corners first.
    """
    system = CRS.from_user_input(inventory.frame.crs)
    longest = _LONGEST[bool(system.is_geographic)]
    frame = inventory.frame.geometry.segmentize(longest).to_crs(grid.crs.to_wkt())
    geometries = np.array([_sound(geometry, grid) for geometry in frame], dtype=object)
    return geometries, sum(geometry.is_empty for geometry in geometries)


def _sound(geometry: BaseGeometry, grid: Grid) -> BaseGeometry:
    """A geometry that was moved to other coordinates: valid, finite, and on the grid's turn of the Earth."""
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        return shapely.Polygon()
    geometry = laid_on(geometry, grid)
    return geometry if geometry.is_valid else areal(shapely.make_valid(geometry))


def rasterised(
    geometries: np.ndarray, grid: Grid, window: Window, tree: shapely.STRtree, *, all_touched: bool = False
) -> np.ndarray:
    """Which polygon covers each pixel of a window: its position from 1 on, 0 where none does; of several, the last.

    Args:
        geometries: in the grid's coordinates.
        grid: of the scene.
        window: of it, (H, W).
        tree: of the geometries.
        all_touched: pixels that a polygon touches are covered; else those whose centre lies within.

    Returns:
        (H, W) int32, as ``rasterio.features.rasterize`` of all polygons gives.
    """
    here = grid.of_window(window)
    near = np.sort(tree.query(shapely.box(*grid.of_window(window.padded(1)).bounds)))
    if not len(near):
        return np.zeros(window.shape, np.int32)
    shapes = ((geometries[i], int(i) + 1) for i in near.tolist())
    return rasterio.features.rasterize(
        shapes, out_shape=window.shape, transform=here.transform, all_touched=all_touched, dtype="int32"
    )


def write_labels(
    path: Path,
    scene: Scene,
    names: tuple[str, ...],
    checked: Checked,
    area: np.ndarray | None = None,
    *,
    all_touched: bool = False,
) -> Labelled:
    """Write the labels of a scene as a GeoTIFF, a strip at a time.

    Args:
        path: of the file, which does not exist yet.
        scene: to be labelled.
        names: of the bands that a pixel must have.
        checked: the polygons.
        area: polygons that were looked at; all of the scene where None.
        all_touched: see ``rasterised``.
    """
    grid, count = scene.grid, len(checked.landslides)
    pixels, known = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
    cells = tuple(-(-side // _CELL) for side in grid.shape)
    density = Density(grid.shape, _CELL, np.zeros(cells, np.int64), np.zeros(cells, np.int64))
    with rasterio.open(path, "w", **_profile(grid)) as raster:
        raster.update_tags(meaning="1 landslide, 0 none, 255 nobody can say")
        for window, numbers, labels in _strips(scene, names, checked, area, all_touched):
            raster.write(labels, 1, window=window.for_rasterio())
            pixels += np.bincount(numbers.ravel(), minlength=count + 1)
            known += np.bincount(numbers[labels != UNKNOWN], minlength=count + 1)
            first = window.row // _CELL
            for counts, marked in ((density.known, labels != UNKNOWN), (density.landslide, labels == 1)):
                of_strip = _counted(marked)
                counts[first : first + len(of_strip)] = of_strip
    return Labelled(density, pixels[1:], known[1:])


def _profile(grid: Grid) -> dict[str, object]:
    return {
        "driver": "GTiff",
        "count": 1,
        "dtype": "uint8",
        "nodata": UNKNOWN,
        "height": grid.shape[0],
        "width": grid.shape[1],
        "crs": grid.crs.to_wkt(),
        "transform": grid.transform,
        "compress": "DEFLATE",
        "tiled": True,
        "blockxsize": 512,
        "blockysize": _STRIP,
        "BIGTIFF": "IF_SAFER",
    }


def _strips(
    scene: Scene, names: tuple[str, ...], checked: Checked, area: np.ndarray | None, all_touched: bool
) -> Iterator[tuple[Window, np.ndarray, np.ndarray]]:
    """Windows from north to south: which polygon covers each pixel, and the labels."""
    rows, columns = scene.grid.shape
    trees = {"landslides": shapely.STRtree(checked.landslides), "undecided": shapely.STRtree(checked.undecided)}
    tree_of_area = None if area is None else shapely.STRtree(area)
    strips = [Window(row, 0, min(_STRIP, rows - row), columns) for row in range(0, rows, _STRIP)]
    for window in progress(strips, label="labelling", unit="strip"):
        numbers = rasterised(checked.landslides, scene.grid, window, trees["landslides"], all_touched=all_touched)
        open_question = rasterised(checked.undecided, scene.grid, window, trees["undecided"], all_touched=all_touched)
        told = (open_question == 0) | (numbers > 0)
        if area is not None and tree_of_area is not None:
            told &= rasterised(area, scene.grid, window, tree_of_area) > 0
        for name in names:
            if not told.any():
                break
            told &= np.isfinite(scene.read(name, window))
        yield window, numbers, np.where(told, numbers > 0, UNKNOWN).astype(np.uint8)


def _counted(marked: np.ndarray) -> np.ndarray:
    """Marked pixels of each cell of a strip."""
    rows, columns = (-(-side // _CELL) * _CELL for side in marked.shape)
    padded = np.zeros((rows, columns), bool)
    padded[: marked.shape[0], : marked.shape[1]] = marked
    return padded.reshape(rows // _CELL, _CELL, columns // _CELL, _CELL).sum(axis=(1, 3))
