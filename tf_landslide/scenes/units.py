"""The units of heights and angles, by GDAL's names and by those that people write."""

from __future__ import annotations

_METRES = frozenset(("", "m", "metre", "metres", "meter", "meters"))
_FEET = frozenset(("ft", "foot", "feet", "international foot", "international feet"))
_SURVEY_FEET = frozenset(
    ("us survey foot", "us survey feet", "us foot", "us feet", "us-ft", "us ft", "ftus", "survey foot")
)
_DEGREES = frozenset(("degrees", "degree", "deg", "°"))
FOOT, SURVEY_FOOT = 0.3048, 1200 / 3937  # in metres: the international one, and that of the United States' surveys


def metres_of(unit: str | None) -> float | None:
    """How many metres one of a unit is; 1 where none is stated, None of one that is not known."""
    name = " ".join((unit or "").lower().replace("_", " ").split())
    if name in _METRES:
        return 1.0
    if name in _FEET:
        return FOOT
    return SURVEY_FOOT if name in _SURVEY_FEET else None


def same_unit(one: str, other: str) -> bool:
    """Whether two words mean the same unit."""
    return one == other or any({one.lower(), other.lower()} <= names for names in (_METRES, _DEGREES))
