"""Outlines traced along pixels' edges, smoothed: corners cut, areas kept.

A ring of unit steps becomes the ring of its steps' midpoints, whose corners are cut once more (Chaikin 1974); so no
point moves by more than half a pixel, and landslides, which lie a pixel apart at least, do not come to overlap. Each
ring is then scaled about its centroid to the area that it had.
"""

from __future__ import annotations

import numpy as np
import shapely
from rasterio import Affine
from shapely import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

_STRAIGHT = 0.02  # pixels: points nearer to a straight line than that are left out


def smoothed(geometry: BaseGeometry, transform: Affine) -> BaseGeometry:
    """A landslide with its pixels' corners cut: as many holes, the same area, valid.

    Args:
        geometry: one or several polygons whose edges run along those of pixels.
        transform: of the grid.

    Returns:
        the smoothed geometry, or the given one where that would not be valid.
    """
    pixels = shapely.segmentize(_moved(geometry, ~transform), 1.0)
    parts = shapely.get_parts(pixels)
    rings, of = shapely.get_rings(parts, return_index=True)  # of each part, its outer ring first
    cut = _smooth_rings(rings)
    ends = np.flatnonzero(np.diff(of, append=len(parts))) + 1
    smooth = [Polygon(ring[0], list(ring[1:])) for ring in np.split(cut, ends[:-1])]
    result = smooth[0] if len(smooth) == 1 else MultiPolygon(smooth)
    return _moved(result, transform) if result.is_valid else geometry


def _moved(geometry: BaseGeometry, transform: Affine) -> BaseGeometry:
    t = transform
    return shapely.transform(
        geometry, lambda p: np.stack([t.c + t.a * p[:, 0] + t.b * p[:, 1], t.f + t.d * p[:, 0] + t.e * p[:, 1]], axis=1)
    )


def _smooth_rings(rings: np.ndarray) -> np.ndarray:
    """Closed rings of unit steps, smoothed, each of the same area."""
    points, ring = shapely.get_coordinates(rings, return_index=True)
    opens = np.diff(ring, append=-1) == 0  # all points but the last of each ring, which is its first again
    middles, ring = (points[opens] + points[1:][opens[:-1]]) / 2, ring[opens]
    first = np.flatnonzero(np.diff(ring, prepend=-1))
    following = np.arange(1, len(ring) + 1)
    following[np.append(first[1:], len(ring)) - 1] = first
    following = middles[following]
    cut = np.stack([0.75 * middles + 0.25 * following, 0.25 * middles + 0.75 * following], axis=1).reshape(-1, 2)
    slim = shapely.simplify(shapely.polygons(shapely.linearrings(cut, indices=np.repeat(ring, 2))), _STRAIGHT)
    centre = shapely.get_coordinates(shapely.centroid(slim))
    scale = np.sqrt(shapely.area(shapely.polygons(rings)) / shapely.area(slim))
    points, ring = shapely.get_coordinates(slim, return_index=True)
    return shapely.linearrings(centre[ring] + (points - centre[ring]) * scale[ring, None], indices=ring)
