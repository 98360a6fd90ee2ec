"""What a reviewer has decided, as files that others read."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
from shapely import Polygon
from shapely.geometry.base import BaseGeometry

from tf_landslide.objects.review.journal import LANDSLIDES, UNREVIEWED, Decision, Decisions
from tf_landslide.objects.review.polygons import Polygons
from tf_landslide.scenes.vectors import VECTORS, write_geojson, write_geopackage

REVIEWED = "reviewed.gpkg"
_NULLABLE = {"i": "Int64", "u": "Int64", "b": "boolean"}  # whole numbers stay whole where some are missing
_OWN = ("review_id", "review_status", "reviewer", "review_time", "review_comment")
_RESERVED = ("fid", "geom")  # a GeoPackage's own columns: the number of each polygon, which no other has, and its shape


def export(folder: Path, polygons: Polygons, decisions: Decisions, reviewer: str) -> list[Path]:
    """Write ``reviewed.gpkg``: every polygon; and the landslides alone, ``landslides.gpkg`` and ``landslides.geojson``.

    All have the attributes of their file, and ``review_id review_status reviewer review_time review_comment``; of those
    that nobody has reviewed the status is ``unreviewed``, so that ``patches`` takes them for unknown, not for ground.
    Decimal numbers (area, mean probability …) were measured over the file's shape and are empty for what was redrawn.
    An attribute ``fid`` is called ``fid_1``, since a GeoPackage has numbers of its own under that name; ``geom`` and
    names that differ by their case alone likewise.

    Args:
        folder: to write to.
        polygons, decisions: what was decided.
        reviewer: by whom.

    Returns:
        the files written.
    """
    added = [number for number in decisions.standing if decisions.was_added(number)]
    every = [decisions.of(number) for number in (*range(1, len(polygons) + 1), *added)]
    found = [decision for decision in every if decision.status in LANDSLIDES]
    landslides = as_frame(polygons, found, reviewer)
    return [
        write_geopackage(folder / REVIEWED, as_frame(polygons, every, reviewer), layer="reviewed"),
        write_geopackage(folder / VECTORS[0], landslides),
        write_geojson(folder / VECTORS[1], landslides),
    ]


def as_frame(polygons: Polygons, decided: list[Decision], reviewer: str) -> geopandas.GeoDataFrame:
    """Polygons with what was decided of them, in the file's coordinates."""
    own_names = [name for name in polygons.frame if str(name).casefold() in _OWN]
    frame = _without_clashes(polygons.frame.drop(columns=[polygons.frame.geometry.name, *own_names]))
    whole = {name: _NULLABLE[kind] for name, dtype in frame.dtypes.items() if (kind := dtype.kind) in _NULLABLE}
    rows = frame.astype(whole).reindex([decision.polygon - 1 for decision in decided])  # of added ones, empty
    decimal = [name for name, dtype in frame.dtypes.items() if dtype.kind == "f"]
    if decimal:  # pandas fails where there are none
        rows.loc[[decision.ring is not None for decision in decided], decimal] = float("nan")
    texts = {
        "review_status": [decision.status for decision in decided],
        "reviewer": [None if decision.status == UNREVIEWED and not decision.time else reviewer for decision in decided],
        "review_time": [decision.time for decision in decided],
        "review_comment": [decision.comment for decision in decided],
    }
    own = {"review_id": np.array([decision.polygon for decision in decided], int)}
    own |= {name: np.array(values, object) for name, values in texts.items()}  # texts though there are none
    columns = rows.reset_index(drop=True).assign(**own)
    shapes = geopandas.GeoSeries([shape_of(polygons, decision) for decision in decided], crs=polygons.frame.crs)
    return geopandas.GeoDataFrame(columns, geometry=shapes, crs=polygons.frame.crs)


def _without_clashes(frame: pd.DataFrame) -> pd.DataFrame:
    """The attributes; names that a GeoPackage has for itself, or twice where case does not count, get a number."""
    names = {str(name).casefold() for name in frame}
    taken, renamed = {*_RESERVED}, {}
    for name in map(str, frame):
        if name.casefold() in taken:
            renamed[name] = next(new for n in count(1) if (new := f"{name}_{n}").casefold() not in taken | names)
        taken.add(renamed.get(name, name).casefold())
    return frame.rename(columns=renamed)


def shape_of(polygons: Polygons, decision: Decision) -> BaseGeometry:
    """The shape that a reviewer gives a polygon: the drawn one, else the file's."""
    return Polygon(decision.ring) if decision.ring else polygons.shape(decision.polygon)
