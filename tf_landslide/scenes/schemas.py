"""Field names of those who collect landslides, beside our own.

* ``plain``: all that is known, by the names of ``attributes.Attributes``.
* ``ems``: the layer ``observedEventA`` of Copernicus EMS Rapid Mapping, by the data model of 2020 (Manual for CEMS
  Rapid Mapping Products, JRC121741, section 4.2 and annexes 4 and 6): ``event_type obj_desc det_method notation
  dmg_src_id area``, the area in hectares.
* ``coolr``: NASA's Cooperative Open Online Landslide Repository, whose fields are those of the Global Landslide Catalog
  (Kirschbaum et al. 2010, doi:10.1007/s11069-009-9401-4; Juang et al. 2019, doi:10.1371/journal.pone.0218657, table 2).

What a map cannot know (trigger, setting, victims) is ``unknown`` or empty. The size classes of the catalogue are
judged by volume and damage, so that they are unknown too; the area stands in ``notes``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, get_args, get_type_hints

import numpy as np
from shapely import Point

from tf_landslide.core.errors import lookup
from tf_landslide.scenes.attributes import Attributes

Row = Callable[[Attributes, Point], dict[str, Any]]

COOLR_FIELDS = (
    *("source_name", "source_link", "event_id", "event_date", "event_time", "event_title", "event_description"),
    *("location_description", "location_accuracy", "landslide_category", "landslide_trigger", "landslide_size"),
    *("landslide_setting", "fatality_count", "injury_count", "storm_name", "photo_link", "notes"),
    *("event_import_source", "event_import_id", "country_name", "country_code", "admin_division_name"),
    *("admin_division_population", "gazeteer_closest_point", "gazeteer_distance", "submitted_date", "created_date"),
    *("last_edited_date", "longitude", "latitude"),
)
"""In the order of the catalogue's own export, and in its spelling."""


def _plain(found: Attributes, _: Point) -> dict[str, Any]:
    return asdict(found)


def _ems(found: Attributes, _: Point) -> dict[str, Any]:
    return {
        "event_type": "6-Mass movement",
        "obj_desc": "Landslide",
        "det_method": "Automatic extraction",
        "notation": _in_words(found),
        "dmg_src_id": SOURCE_ID,
        "area": found.area_ha,
    }


def _coolr(found: Attributes, place: Point) -> dict[str, Any]:
    known = {
        "source_name": found.source_ids,
        "event_id": found.id,
        "event_date": found.event_date_to or found.event_date_from,
        "event_title": f"Landslide {found.id}",
        "event_description": _in_words(found),
        "location_accuracy": "exact",
        "landslide_category": "landslide",
        "landslide_trigger": "unknown",
        "landslide_size": "unknown",
        "landslide_setting": "unknown",
        "notes": f"{found.area_ha:g} ha; between {found.event_date_from or '?'} and {found.event_date_to or '?'}",
        "event_import_source": found.det_method,
        "event_import_id": found.id,
        "longitude": round(place.x, 7),
        "latitude": round(place.y, 7),
    }
    return {name: known.get(name) for name in COOLR_FIELDS}


def _in_words(found: Attributes) -> str:
    """In a sentence, what the schema has no field for."""
    cut = "; goes on beyond the image" if found.truncated else ""
    return (
        f"{found.det_method}; probability {found.probability_mean:.2f} ({found.confidence} confidence); "
        f"{found.review_status}{cut}"
    )


_ROWS: Mapping[str, Row] = {"plain": _plain, "ems": _ems, "coolr": _coolr}
SCHEMAS = tuple(_ROWS)
SOURCE_ID = 1
"""The key of the images in ``ems``; ``summary.json`` names their files."""

_COUNTS = ("fatality_count", "injury_count", "admin_division_population", "gazeteer_distance")
"""Numbers that a map never knows."""


def as_columns(found: list[Attributes], places: list[Point], schema: str) -> dict[str, np.ndarray]:
    """The fields of a schema, in its order, each with the landslides' values, of the same types however many there are.

    Args:
        found: the landslides.
        places: a point inside each, in longitude and latitude.
        schema: one of ``SCHEMAS``.

    Raises:
        LandslideError: no such schema.
    """
    row_of = lookup(_ROWS, schema, "schema")
    rows = [row_of(row, place) for row, place in zip(found, places, strict=True)]
    kinds = {name: _kind(name, value) for name, value in row_of(_nothing(), Point(0, 0)).items()}
    return {name: np.array([row[name] for row in rows], kind) for name, kind in kinds.items()}


def _kind(name: str, value: Any) -> type:
    """The type of a field, of which one value is known; texts are objects, which may be None, as floats may be NaN."""
    if name in _COUNTS:
        return float
    return type(value) if isinstance(value, (bool, int, float)) else object


def _nothing() -> Attributes:
    """A landslide of zeros and empty texts, for its fields' names and types."""
    hints = get_type_hints(Attributes)
    values: dict[str, Any] = {name: (get_args(hint) or (hint,))[0]() for name, hint in hints.items()}
    return Attributes(**values)
