"""How a scene is mapped, as a caller may choose it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tf_landslide.core.errors import LandslideError

if TYPE_CHECKING:
    from tf_landslide.objects.rules import Rules

Watch = Callable[[str, int, int], None]
"""Told the stage (``blocks``, ``objects``, ``polygons``, ``pictures``), and how many of its blocks, or tiles, are done,
of how many; what it raises ends the map."""


def unwatched(stage: str, done: int, total: int) -> None:
    """Nobody is told."""


@dataclass(frozen=True)
class MapOptions:
    """How a scene is mapped.

    Attributes:
        threshold: None takes the model's own.
        window, overlap, drop: of what the model is given, in pixels; see ``scenes.blocks``.
        minimum_area, fill_holes: of polygons, in square metres.
        smooth: cut the corners of the polygons' pixels; their areas stay.
        schema: whose field names the polygons have, one of ``scenes.schemas.SCHEMAS``.
        event_date_from, event_date_to: kept with every polygon; None takes the scene's own: what an image shows has
            happened by its date.
        unsure: map too how sure the model is.
        rules: refine the mask by its objects; None leaves it as the network marks it.
        model: how the caller named it, for the record.
        warnings: that were told before, for the record.
        whole_paths: name files in the record as the caller did; else by their names alone.
    """

    threshold: float | None = None
    window: int = 512
    overlap: int = 128
    drop: int = 32
    minimum_area: float = 500.0
    fill_holes: float = 0.0
    smooth: bool = False
    schema: str = "plain"
    event_date_from: str | None = None
    event_date_to: str | None = None
    unsure: bool = False
    rules: Rules | None = None
    model: str | None = None
    warnings: tuple[str, ...] = ()
    whole_paths: bool = True


def named_bands(text: str) -> dict[str, int]:
    """``NAME=N,…`` as a mapping. Raises ``LandslideError`` for anything else."""
    found: dict[str, int] = {}
    for part in filter(str.strip, text.split(",")):
        name, _, number = (piece.strip() for piece in part.partition("="))
        if not name or not number.isdecimal() or not 1 <= int(number[:9]) <= 65535:
            raise LandslideError(f"expected bands as NAME=N,…, e.g. red=3,green=2,blue=1, got {text[:200]!r}")
        if name.lower() in found:
            raise LandslideError(f"band {name.lower()!r} is given twice in {text[:200]!r}")
        found[name.lower()] = int(number)
    return found
