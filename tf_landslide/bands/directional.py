"""Channels that are measured against north or the sun: a map of them that is turned is not a map of turned ground."""

from __future__ import annotations

from collections.abc import Iterable

_WORDS = ("aspect", "northness", "eastness", "hillshade", "hill_shade", "illumination", "flow_direction", "azimuth")


def directional(names: Iterable[str]) -> list[str]:
    """The channels among some whose values would have to turn with the picture, told by their names."""
    return [name for name in names if any(word in name.lower() for word in _WORDS)]
