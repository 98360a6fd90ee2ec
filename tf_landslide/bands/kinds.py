"""What a band measures, and at which wavelength: told by the layout, or by the band's name and unit."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tf_landslide.bands.layout import OPTICAL, Band
from tf_landslide.core.errors import LandslideError

WAVELENGTHS: dict[str, float] = {
    "coastal_aerosol": 443,
    "blue": 490,
    "green": 560,
    "red": 665,
    "red_edge_1": 705,
    "red_edge_2": 740,
    "red_edge_3": 783,
    "nir": 842,
    "nir_narrow": 865,
    "water_vapour": 945,
    "cirrus": 1375,
    "swir_1": 1610,
    "swir_2": 2190,
    "grey": 600,
}
"""Centre in nm of the bands that go by these names: ESA's nominal ones of Sentinel-2; grey: a panchromatic camera's."""

_BY_NAME = (
    ("direction", re.compile("aspect|northness|eastness|hill_?shade|illumination|flow_direction|azimuth")),
    ("sar", re.compile(r"(^|_)(vv|vh|hv|hh)(_|$)|^sar|^sigma0|^gamma0|^backscatter")),
    ("elevation", re.compile(r"^(dem|dsm|dtm|elevation|altitude|height)(_|$)")),
    ("slope", re.compile(r"^slope(_|$)")),
)
_SOURCES = {"elevation": "terrain", "slope": "terrain", "direction": "terrain"}


def kind_of(band: Band) -> str:
    """What a band measures: ``optical``, ``sar``, ``elevation``, ``slope``, ``direction`` or ``other``.

    The layout's own word counts; else the band's name; else a reflectance is optical, and any other unit is other.
    """
    if band.kind is not None:
        return band.kind
    for kind, pattern in _BY_NAME:
        if pattern.search(band.name.lower()):
            return kind
    return OPTICAL if band.name in WAVELENGTHS or band.unit == "reflectance" else "other"


def directions(bands: Iterable[Band]) -> list[str]:
    """The bands that are measured against north or the sun: a map of them that is turned is none of turned ground."""
    return [band.name for band in bands if kind_of(band) == "direction"]


def refuse_directions(bands: Iterable[Band], what: str) -> None:
    """Raise ``LandslideError`` for a band that tells a direction, which does not turn with its pixels."""
    for name in directions(bands):
        raise LandslideError(
            f"{what} moves pixels, and band {name!r} tells a direction, which would have to turn with them; leave the "
            f"band out, or {what} off"
        )


def source_of(band: Band) -> str:
    """What a band comes from, and is missing together with: all optical bands, radar, terrain; any other by itself."""
    kind = kind_of(band)
    return band.name if kind == "other" else _SOURCES.get(kind, kind)


def wavelength_of(band: Band) -> float | None:
    """Centre of an optical band in nm; None where nobody knows it."""
    return band.wavelength or WAVELENGTHS.get(band.name)
