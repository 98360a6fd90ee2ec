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
    pixels = _moved(geometry, ~transform)
    parts = [_smooth_polygon(part) for part in shapely.get_parts(shapely.segmentize(pixels, 1.0))]
    result = parts[0] if len(parts) == 1 else MultiPolygon(parts)
    return _moved(result, transform) if result.is_valid else geometry


def _moved(geometry: BaseGeometry, transform: Affine) -> BaseGeometry:
    t = transform
    return shapely.transform(
        geometry, lambda p: np.stack([t.c + t.a * p[:, 0] + t.b * p[:, 1], t.f + t.d * p[:, 0] + t.e * p[:, 1]], axis=1)
    )


def _smooth_polygon(polygon: Polygon) -> Polygon:
    return Polygon(_smooth_ring(polygon.exterior), [_smooth_ring(ring) for ring in polygon.interiors])


def _smooth_ring(ring: shapely.LinearRing) -> np.ndarray:
    """(n, 2) points of a closed ring of unit steps, smoothed, of the same area."""
    points = np.asarray(ring.coords)[:-1]
    middles = (points + np.roll(points, -1, axis=0)) / 2
    following = np.roll(middles, -1, axis=0)
    cut = np.stack([0.75 * middles + 0.25 * following, 0.25 * middles + 0.75 * following], axis=1).reshape(-1, 2)
    slim = Polygon(cut).simplify(_STRAIGHT)
    centre = np.array(slim.centroid.coords[0])
    scale = np.sqrt(Polygon(ring).area / slim.area)
    return centre + (np.asarray(slim.exterior.coords) - centre) * scale
