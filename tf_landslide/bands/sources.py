"""Where a channel comes from: what a satellite's camera sees, radar, or the terrain."""

from __future__ import annotations

from collections.abc import Sequence

from tf_landslide.bands import kinds
from tf_landslide.bands.layout import Band

TERRAIN = ("slope", "dem")
_OTHER = {"thermal_inertia": "thermal"}


def source_of(name: str) -> str:
    """``optical``, ``terrain``, ``sar`` or ``thermal``, by the name of a band or channel."""
    band = name.removesuffix("_stored").removesuffix("_ratio")
    return _OTHER.get(band) or kinds.source_of(Band(band))


def by_source(names: Sequence[str]) -> dict[str, list[str]]:
    """Channels by source, in their order."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(source_of(name), []).append(name)
    return found
