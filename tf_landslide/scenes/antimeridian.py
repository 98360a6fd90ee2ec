"""Polygons of longitudes and latitudes where longitudes jump from 180 to -180."""

from __future__ import annotations

import numpy as np
import shapely
from shapely import MultiPolygon, Polygon, box
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from tf_landslide.scenes.grid import Grid


def whole(lonlat: BaseGeometry, turn: float = 360.0) -> BaseGeometry:
    """A geometry in one piece: one that spans more than half the globe is taken to jump, and goes on beyond 180.

    Args:
        lonlat: longitudes and latitudes; one that holds a pole cannot be had in one piece.
        turn: once around the Earth, in the unit of the longitudes.
    """
    west, _, east, _ = lonlat.bounds or (0.0,) * 4
    if not east - west > turn / 2:
        return lonlat
    return shapely.transform(lonlat, lambda x: np.where([[True, False]] & (x < 0), x + turn, x))


def laid_on(geometry: BaseGeometry, grid: Grid) -> BaseGeometry:
    """A geometry of a grid's coordinates, in one piece and on the turn of the Earth where a grid of degrees lies."""
    if not grid.is_geographic or geometry.is_empty:
        return geometry
    turn = grid.columns_of_a_turn * grid.transform.a
    geometry = whole(geometry, turn)
    west, _, east, _ = grid.bounds
    there = (geometry.bounds[0] + geometry.bounds[2]) / 2
    away = turn * round((there - (west + east) / 2) / turn)
    return shapely.transform(geometry, lambda x: x - [away, 0.0]) if away else geometry


def cut_at_antimeridian(geometry: BaseGeometry) -> BaseGeometry:
    """A geometry of longitudes and latitudes, no part of which crosses 180 degrees (RFC 7946, section 3.1.9)."""
    parts: list[Polygon] = []
    for part in map(whole, shapely.get_parts(geometry)):
        west, _, east, _ = part.bounds
        if west >= -180 and east <= 180:
            parts.append(part)
            continue
        for turn in (-1, 0, 1):
            inside = part.intersection(box(360 * turn - 180, -90, 360 * turn + 180, 90))
            pieces = (piece for piece in shapely.get_parts(inside) if isinstance(piece, Polygon) and piece.area)
            parts += [translate(piece, -360 * turn) for piece in pieces]
    return parts[0] if len(parts) == 1 else MultiPolygon(parts)
