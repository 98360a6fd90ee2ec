"""Where a channel comes from: what a satellite's camera sees, radar, or the terrain."""

from __future__ import annotations

from collections.abc import Sequence

from tf_landslide.bands import kinds
from tf_landslide.bands.layout import Band, BandLayout

TERRAIN = ("slope", "dem")
_OTHER = {"thermal_inertia": "thermal"}


def source_of(name: str, layout: BandLayout) -> str:
    """What a channel of a layout's bands comes from: ``optical``, ``terrain``, ``sar``, ``thermal``, or a band's name.

    Of a band it is what the layout says; of an index, what its name says.
    """
    own = name.removesuffix("_stored").removesuffix("_ratio")
    band = next((band for band in layout.bands if band.name == own), Band(own))
    return _OTHER.get(own) or kinds.source_of(band)


def by_source(names: Sequence[str], layout: BandLayout) -> dict[str, list[str]]:
    """Channels by source, in their order."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(source_of(name, layout), []).append(name)
    return found
