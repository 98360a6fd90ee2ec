"""Outlines traced along pixels' edges, made valid in time that grows with their length.

An 8-connected landslide's rings touch at the corners where its pixels do, which OGC's simple features forbid.
``shapely.make_valid`` mends that for any geometry, but takes minutes for one of a hundred thousand holes. On a lattice
it is simpler: where four edges meet, a ring is led around the pixel that it came along, so that pixels that share an
edge stay together and those that share a corner part; a ring that still comes back to a corner is split there.
"""

from __future__ import annotations

import numpy as np
import shapely
from rasterio import Affine
from shapely import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry


def mended(polygon: Polygon, transform: Affine) -> BaseGeometry:
    """A landslide's pixels as a valid geometry, the same that ``shapely.make_valid`` gives.

    Args:
        polygon: as traced, 8-connected: every corner of its rings is a right angle on a pixel's corner.
        transform: of the grid, north up.

    Returns:
        a polygon for each group of pixels that share edges.
    """
    oriented = shapely.orient_polygons(polygon)  # the landslide lies to the left of every edge
    rings = [oriented.exterior, *oriented.interiors]  # closed: the first point again at the end
    points, ring = shapely.get_coordinates(rings, return_index=True)
    first = np.flatnonzero(np.diff(ring, prepend=-1))
    last = np.append(first[1:], len(ring)) - 1
    following = np.arange(1, len(ring) + 1)
    following[last - 1] = first
    kept = np.ones(len(ring), bool)
    kept[last] = False
    number = np.cumsum(kept) - 1
    points, following = points[kept], number[following[kept]]
    corner, met_again = _corners(points, transform)
    following = _led_around_pixels(points, following, corner, met_again)
    return _assembled(points, _loops(following.tolist(), corner.tolist(), met_again[corner].tolist()))


def _corners(points: np.ndarray, transform: Affine) -> tuple[np.ndarray, np.ndarray]:
    """(n,) which corner of the lattice each point is, and (corners,) bool: which are met twice."""
    t = ~transform
    columns, rows = np.rint(points[:, 0] * t.a + t.c), np.rint(points[:, 1] * t.e + t.f)
    place = (rows - rows.min()).astype(np.int64) * int(np.ptp(columns) + 1) + (columns - columns.min()).astype(np.int64)
    _, corner, count = np.unique(place, return_inverse=True, return_counts=True)
    return corner, count > 1


def _led_around_pixels(
    points: np.ndarray, following: np.ndarray, corner: np.ndarray, met_again: np.ndarray
) -> np.ndarray:
    """Which point follows each, where both ways through a corner turn left, around a pixel of the landslide."""
    before = np.empty_like(following)
    before[following] = np.arange(len(following))
    (x, y), (ahead_x, ahead_y) = (points - points[before]).T, (points[following] - points).T
    turns_right = x * ahead_y - y * ahead_x < 0
    wrong = np.flatnonzero(turns_right & met_again[corner])
    exchanged = wrong[np.argsort(corner[wrong], kind="stable")].reshape(-1, 2)  # both ways through a corner
    result = following.copy()
    result[exchanged] = following[exchanged[:, ::-1]]
    return result


def _loops(following: list[int], corner: list[int], met_again: list[bool]) -> list[list[int]]:
    """Rings that meet no corner twice, each by its points."""
    loops: list[list[int]] = []
    seen = [False] * len(following)
    place: dict[int, int] = {}  # on the path, of corners that are met twice
    for start in range(len(following)):
        if seen[start]:
            continue
        path: list[int] = []
        point = start
        while not seen[point]:
            seen[point] = True
            if met_again[point]:
                where = place.get(corner[point])
                if where is not None:
                    loops.append(path[where:])
                    for passed in path[where:]:
                        if met_again[passed]:
                            del place[corner[passed]]
                    del path[where:]
                place[corner[point]] = len(path)
            path.append(point)
            point = following[point]
        place.clear()
        loops.append(path)
    return loops


def _assembled(points: np.ndarray, loops: list[list[int]]) -> BaseGeometry:
    """Polygons of simple rings: those that run counter-clockwise, each with the holes that lie in it."""
    closed = [[*loop, loop[0]] for loop in loops]
    of = np.repeat(np.arange(len(closed)), [len(loop) for loop in closed])
    rings = shapely.linearrings(points[np.concatenate([np.array(loop) for loop in closed])], indices=of)
    outer = shapely.is_ccw(rings)
    shells, holes = rings[outer], rings[~outer]
    surfaces = shapely.polygons(shells)
    edges = np.array([loops[i][:2] for i in np.flatnonzero(~outer)], int).reshape(-1, 2)
    beside = shapely.points(points[edges].mean(axis=1))  # on the edge between a hole and the pixel that it belongs to
    shell, hole = shapely.STRtree(beside).query(surfaces, predicate="contains")
    order = np.argsort(-shapely.area(surfaces)[shell], kind="stable")  # of shells around one another, the innermost
    owner = np.zeros(len(holes), int)
    owner[hole[order]] = shell[order]
    by_owner = np.argsort(owner, kind="stable")
    cuts = np.searchsorted(owner[by_owner], np.arange(1, len(shells)))
    parts = [
        Polygon(exterior, list(inside))
        for exterior, inside in zip(shells, np.split(holes[by_owner], cuts), strict=True)
    ]
    return parts[0] if len(parts) == 1 else MultiPolygon(parts)
