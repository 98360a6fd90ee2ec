"""What a map says of each landslide."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shapely.geometry.base import BaseGeometry

from tf_landslide.bands.terrain import between_axes
from tf_landslide.scenes.grid import Grid
from tf_landslide.scenes.layers import Layer
from tf_landslide.scenes.polygons import (
    Shape,
    Statistic,
    grid_north,
    measured,
    touches_the_end,
    traced,
    without_small_holes,
    zonal_statistics,
)
from tf_landslide.scenes.smoothing import smoothed

CONFIDENCES = {"high": 0.8, "medium": 0.6, "low": 0.0}
"""What a mean probability is called, by the least it has to be."""

_SCATTERED = 0.1  # mean length of the unit vectors downhill below which there is no common aspect


@dataclass(frozen=True)
class Attributes:
    """Of one landslide; None where the scene cannot tell.

    Attributes:
        id: from 1, the largest first.
        area_m2, area_ha: on the ellipsoid.
        probability_mean, probability_max: of the model, over its pixels.
        slope_mean, slope_max: degrees.
        aspect_deg: the way down the slope, degrees clockwise from north; circular mean.
        elevation_min, elevation_max: metres.
        ndvi_mean: where there is near infrared.
        length_m, width_m, orientation_deg, compactness: of its form, see ``polygons.Shape``.
        off_aspect_deg: between its length and the way down the slope: 0 runs downhill, 90 along the contour.
        truncated: it goes on where the scene ends or has no data.
        confidence: the mean probability in words: low, medium, high.
        det_method: by what it was found.
        event_date_from, event_date_to: as far as the caller knows.
        source_ids: of the images.
        review_status: nobody has looked at it yet.
        rules_confidence: of the rules that refined the map, over its pixels; None where none did.
    """

    id: int
    area_m2: float
    area_ha: float
    probability_mean: float
    probability_max: float
    slope_mean: float | None
    slope_max: float | None
    aspect_deg: float | None
    elevation_min: float | None
    elevation_max: float | None
    ndvi_mean: float | None
    length_m: float
    width_m: float
    orientation_deg: float
    off_aspect_deg: float | None
    compactness: float
    truncated: bool
    confidence: str
    det_method: str
    event_date_from: str | None
    event_date_to: str | None
    source_ids: str
    review_status: str = "unreviewed"
    rules_confidence: float | None = None


@dataclass(frozen=True)
class Found:
    """Landslides of a map: geometries in the grid's coordinates, and what is said of each, the largest first."""

    geometries: list[BaseGeometry]
    attributes: list[Attributes]


def describe(
    mask: Path,
    grid: Grid,
    layers: Mapping[str, Layer],
    *,
    minimum_area: float = 0.0,
    fill_holes: float = 0.0,
    smooth: bool = False,
    common: Mapping[str, Any],
) -> Found:
    """Trace a mask's landslides and say what is known of them.

    Args:
        mask: the finished mask file.
        grid: of it.
        layers: as ``layers.layers_of`` gives them; ``probability`` at least, ``rules_confidence`` of a refined map.
        minimum_area: in square metres; smaller ones are left out.
        fill_holes: in square metres; smaller holes are filled, landslides within them too.
        smooth: cut the pixels' corners; areas stay.
        common: attributes that all share: ``det_method event_date_from event_date_to source_ids``.
    """
    geometries = list(traced(mask))
    if fill_holes > 0:
        geometries = without_small_holes(geometries, fill_holes, grid)
    shapes = [shape for shape in (measured(geometry, grid) for geometry in geometries) if shape.area >= minimum_area]
    shapes.sort(key=lambda shape: -shape.area)
    pixels = [shape.geometry for shape in shapes]
    statistics = zonal_statistics(pixels, grid, layers)
    truncated = touches_the_end(pixels, grid, mask)
    if smooth:
        shapes = [measured(smoothed(geometry, grid.transform), grid) for geometry in pixels]
    attributes = [
        _attributes(number, shape, of_layers, bool(cut), grid, common)
        for number, (shape, of_layers, cut) in enumerate(zip(shapes, statistics, truncated, strict=True), 1)
    ]
    return Found([shape.geometry for shape in shapes], attributes)


def _attributes(
    number: int, shape: Shape, of_layers: Mapping[str, Statistic], cut: bool, grid: Grid, common: Mapping[str, Any]
) -> Attributes:
    def value(layer: str, which: str) -> float | None:
        statistic = of_layers.get(layer)
        return round(float(getattr(statistic, which)), 4) if statistic and statistic.count else None

    mean = of_layers["probability"].mean
    aspect = _aspect(shape, of_layers, grid)
    return Attributes(
        id=number,
        area_m2=round(shape.area, 1),
        area_ha=round(shape.area / 1e4, 4),
        probability_mean=round(mean, 4),
        probability_max=round(of_layers["probability"].maximum, 4),
        slope_mean=value("slope", "mean"),
        slope_max=value("slope", "maximum"),
        aspect_deg=None if aspect is None else round(aspect, 1),
        elevation_min=value("dem", "minimum"),
        elevation_max=value("dem", "maximum"),
        ndvi_mean=value("ndvi", "mean"),
        length_m=round(shape.length, 1),
        width_m=round(shape.width, 1),
        orientation_deg=round(shape.orientation, 1),
        off_aspect_deg=None if aspect is None else round(float(between_axes(shape.orientation, aspect)), 1),
        compactness=round(shape.compactness, 3),
        truncated=cut,
        confidence=next((word for word, least in CONFIDENCES.items() if mean >= least), "low"),
        rules_confidence=value("rules_confidence", "mean"),
        **common,
    )


def _aspect(shape: Shape, of_layers: Mapping[str, Statistic], grid: Grid) -> float | None:
    """The circular mean of the aspect, degrees clockwise from true north; None without terrain, or without a way."""
    east, north = of_layers.get("downhill_east"), of_layers.get("downhill_north")
    if east is None or north is None or not east.count or math.hypot(east.mean, north.mean) < _SCATTERED:
        return None
    centre = shape.geometry.centroid
    return (math.degrees(math.atan2(east.mean, north.mean)) + grid_north(grid, centre.x, centre.y)) % 360
