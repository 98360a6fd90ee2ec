"""A map on a canvas, which ``map.html`` and the page of reviews share: markup, ``canvas.js``, ``canvas.css``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from markupsafe import Markup
from shapely.geometry.base import BaseGeometry

from tf_landslide.core.templates import render
from tf_landslide.scenes.grid import Grid
from tf_landslide.scenes.polygons import grid_north

SCRIPT, STYLE = (Path(__file__).with_name(f"canvas.{kind}") for kind in ("js", "css"))
FINEST = 0.25
"""Pixels by which an outline may be simplified in any case."""


def stage(label: str) -> Markup:
    """The markup of the map, its buttons, scale bar and arrow to the north, for an element of id ``stage``.

    Args:
        label: what the map is, for those who do not see it.
    """
    return Markup(render(Path(__file__).with_name("canvas.html.jinja"), label=label))


def map_geometry(grid: Grid) -> dict[str, Any]:
    """Where a grid's pixels lie: all that ``canvas.js`` needs for scale bar, north and coordinates."""
    rows, columns = grid.shape
    heights, widths = grid.pixel_sizes(np.linspace(0, rows - 1, 17))
    t = grid.transform
    return {
        "size": [columns, rows],
        "pixelWidths": [round(float(width), 6) for width in widths],
        "pixelHeight": float(heights[len(heights) // 2]),
        "transform": [t.a, t.c, t.e, t.f],
        "geographic": grid.is_geographic,
        "crs": grid.crs.to_string() if len(grid.crs.to_string()) < 40 else grid.crs.name,
        "north": -grid_north(grid, *(t @ (columns / 2, rows / 2))),
    }


def outlines(
    geometries: Sequence[BaseGeometry], grid: Grid, tolerance: float = FINEST, digits: int = 2
) -> Iterator[list[list[float]]]:
    """Of each polygon, its rings, each its columns and rows in turn, in pixels of a grid (0 at its upper left corner).

    Args:
        geometries: polygons and multipolygons, in the grid's map coordinates.
        grid: of the map.
        tolerance: pixels by which they may be simplified.
        digits: behind the point.
    """
    t = ~grid.transform
    several = np.array(geometries, dtype=object)
    moved = shapely.transform(several, lambda p: np.stack([t.a * p[:, 0] + t.c, t.e * p[:, 1] + t.f], axis=1))
    for simple in shapely.simplify(moved, tolerance).tolist():
        rings = [ring for part in shapely.get_parts(simple) for ring in (part.exterior, *part.interiors)]
        yield [np.round(shapely.get_coordinates(ring), digits).ravel().tolist() for ring in rings]
