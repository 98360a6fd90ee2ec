"""What a map says of each landslide, and the files that say it: GeoPackage and GeoJSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from tf_landslide.core.files import replacing
from tf_landslide.scenes.grid import Grid, Window
from tf_landslide.scenes.polygons import measured, touches_the_end, traced, without_small_holes, zonal_statistics

VECTORS = ("landslides.gpkg", "landslides.geojson")


@dataclass(frozen=True)
class Attributes:
    """Of one landslide; None where the scene cannot tell.

    Attributes:
        id: from 1, the largest first.
        area_m2, area_ha: on the ellipsoid.
        probability_mean, probability_max: of the model, over its pixels.
        slope_mean, slope_max: degrees.
        elevation_min, elevation_max: metres.
        ndvi_mean: where there is near infrared.
        length_m, width_m, orientation_deg, compactness: of its form, see ``polygons.Shape``.
        truncated: it goes on where the scene ends or has no data.
        confidence: the mean probability in words: low, medium, high.
        det_method: by what it was found.
        event_date_from, event_date_to: as far as the caller knows.
        source_ids: of the images.
        review_status: nobody has looked at it yet.
    """

    id: int
    area_m2: float
    area_ha: float
    probability_mean: float
    probability_max: float
    slope_mean: float | None
    slope_max: float | None
    elevation_min: float | None
    elevation_max: float | None
    ndvi_mean: float | None
    length_m: float
    width_m: float
    orientation_deg: float
    compactness: float
    truncated: bool
    confidence: str
    det_method: str
    event_date_from: str | None
    event_date_to: str | None
    source_ids: str
    review_status: str = "unreviewed"


@dataclass(frozen=True)
class Found:
    """Landslides of a map: geometries in the grid's coordinates, and what is said of each, the largest first."""

    geometries: list[BaseGeometry]
    attributes: list[Attributes]


def describe(
    mask: Path,
    grid: Grid,
    layers: Mapping[str, Callable[[Window], np.ndarray]],
    *,
    minimum_area: float = 0.0,
    fill_holes: float = 0.0,
    common: Mapping[str, Any],
) -> Found:
    """Trace a mask's landslides and say what is known of them.

    Args:
        mask: the finished mask file.
        grid: of it.
        layers: ``probability``, and ``slope``, ``dem``, ``ndvi`` where there are, each reading a window.
        minimum_area: in square metres; smaller ones are left out.
        fill_holes: in square metres; smaller holes are filled.
        common: attributes that all share: ``det_method event_date_from event_date_to source_ids``.
    """
    geometries = list(traced(mask))
    if fill_holes > 0:
        geometries = [without_small_holes(geometry, fill_holes, grid) for geometry in geometries]
    shapes = [shape for shape in (measured(geometry, grid) for geometry in geometries) if shape.area >= minimum_area]
    shapes.sort(key=lambda shape: -shape.area)
    kept = [shape.geometry for shape in shapes]
    statistics = zonal_statistics(kept, grid, layers)
    truncated = touches_the_end(kept, grid, mask)
    attributes = []
    for number, (shape, of_layers, cut) in enumerate(zip(shapes, statistics, truncated, strict=True), 1):

        def value(layer: str, which: str, of_layers: Mapping[str, Any] = of_layers) -> float | None:
            statistic = of_layers.get(layer)
            return round(float(getattr(statistic, which)), 4) if statistic and statistic.count else None

        mean = of_layers["probability"].mean
        attributes.append(
            Attributes(
                id=number,
                area_m2=round(shape.area, 1),
                area_ha=round(shape.area / 1e4, 4),
                probability_mean=round(mean, 4),
                probability_max=round(of_layers["probability"].maximum, 4),
                slope_mean=value("slope", "mean"),
                slope_max=value("slope", "maximum"),
                elevation_min=value("dem", "minimum"),
                elevation_max=value("dem", "maximum"),
                ndvi_mean=value("ndvi", "mean"),
                length_m=round(shape.length, 1),
                width_m=round(shape.width, 1),
                orientation_deg=round(shape.orientation, 1),
                compactness=round(shape.compactness, 3),
                truncated=bool(cut),
                confidence="high" if mean >= 0.8 else "medium" if mean >= 0.6 else "low",
                **common,
            )
        )
    return Found(kept, attributes)


def write_vectors(folder: Path, grid: Grid, found: Found) -> tuple[Path, Path]:
    """Write ``landslides.gpkg``, in the scene's coordinates, and ``landslides.geojson``, in longitude and latitude.

    The GeoJSON follows RFC 7946: WGS 84, seven decimals, outer rings counter-clockwise. A map without landslides gives
    files without features.
    """
    columns: dict[str, Sequence[Any]] = {
        field.name: [asdict(row)[field.name] for row in found.attributes] for field in fields(Attributes)
    }
    frame = geopandas.GeoDataFrame(columns, geometry=found.geometries, crs=grid.crs.to_wkt())
    for name in ("slope_mean", "slope_max", "elevation_min", "elevation_max", "ndvi_mean"):
        frame[name] = frame[name].astype("float64")
    paths = folder / VECTORS[0], folder / VECTORS[1]
    with replacing(paths[0]) as partial:
        frame.to_file(partial, driver="GPKG", layer="landslides", engine="pyogrio", geometry_type=_geometry_type(frame))
    with replacing(paths[1]) as partial:
        lonlat = frame.to_crs(4326)
        lonlat.geometry = shapely.orient_polygons(lonlat.geometry.array)
        lonlat.to_file(partial, driver="GeoJSON", engine="pyogrio", RFC7946="YES", COORDINATE_PRECISION=7)
    return paths


def _geometry_type(frame: geopandas.GeoDataFrame) -> str:
    return "MultiPolygon" if (frame.geom_type == "MultiPolygon").any() else "Polygon"
