"""What a reviewer has decided, as files that others read."""

from __future__ import annotations

from pathlib import Path

import geopandas
from shapely import Polygon
from shapely.geometry.base import BaseGeometry

from tf_landslide.objects.review.journal import LANDSLIDES, REJECTED, Decision, Decisions
from tf_landslide.objects.review.polygons import Polygons
from tf_landslide.scenes.vectors import write_geojson, write_geopackage

REVIEWED = "reviewed.gpkg", "reviewed.geojson"
REJECTS = "rejected.gpkg"
_NULLABLE = {"i": "Int64", "u": "Int64", "b": "boolean"}  # whole numbers stay whole where some are missing
_OWN = ("review_id", "review_status", "reviewer", "review_time", "review_comment")


def export(folder: Path, polygons: Polygons, decisions: Decisions, reviewer: str) -> list[Path]:
    """Write ``reviewed.gpkg`` and ``reviewed.geojson``, the landslides, and ``rejected.gpkg``.

    The landslides are the accepted polygons, the redrawn ones and the added ones; those not reviewed are in no file.
    All have the attributes of their file, and ``review_id review_status reviewer review_time review_comment``. Decimal
    numbers (area, mean probability …) were measured over the file's shape and are left empty of what was redrawn.

    Args:
        folder: to write to.
        polygons, decisions: what was decided.
        reviewer: by whom.

    Returns:
        the files written. Where nothing was decided yet, they have no features.
    """
    standing = decisions.standing.values()
    found = as_frame(polygons, [decision for decision in standing if decision.status in LANDSLIDES], reviewer)
    rejected = as_frame(polygons, [decision for decision in standing if decision.status == REJECTED], reviewer)
    return [
        write_geopackage(folder / REVIEWED[0], found),
        write_geojson(folder / REVIEWED[1], found),
        write_geopackage(folder / REJECTS, rejected, layer="rejected"),
    ]


def as_frame(polygons: Polygons, decided: list[Decision], reviewer: str) -> geopandas.GeoDataFrame:
    """Polygons with what was decided of them, in the file's coordinates."""
    frame = polygons.frame.drop(columns=[polygons.frame.geometry.name, *(c for c in _OWN if c in polygons.frame)])
    whole = {name: _NULLABLE[kind] for name, dtype in frame.dtypes.items() if (kind := dtype.kind) in _NULLABLE}
    rows = frame.astype(whole).reindex([decision.polygon - 1 for decision in decided])  # of added ones, empty
    decimal = [name for name, dtype in frame.dtypes.items() if dtype.kind == "f"]
    rows.loc[[decision.ring is not None for decision in decided], decimal] = float("nan")
    own = {
        "review_id": [decision.polygon for decision in decided],
        "review_status": [decision.status for decision in decided],
        "reviewer": [reviewer] * len(decided),
        "review_time": [decision.time for decision in decided],
        "review_comment": [decision.comment for decision in decided],
    }
    columns = rows.reset_index(drop=True).assign(**own)
    shapes = geopandas.GeoSeries([shape_of(polygons, decision) for decision in decided], crs=polygons.frame.crs)
    return geopandas.GeoDataFrame(columns, geometry=shapes, crs=polygons.frame.crs)


def shape_of(polygons: Polygons, decision: Decision) -> BaseGeometry:
    """The shape that a reviewer gives a polygon: the drawn one, else the file's."""
    return Polygon(decision.ring) if decision.ring else polygons.shape(decision.polygon)
