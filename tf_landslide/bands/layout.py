"""What a band layout is, and how one is written as plain values (in YAML, in a model card's JSON).

Plain data; nothing here computes: ``recipes`` does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from tf_landslide.core.errors import LandslideError, require_known

_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")
OPTICAL = "optical"
KINDS = (OPTICAL, "sar", "elevation", "slope", "direction", "other")
"""What a band may measure; ``direction``: aspect, or anything else that turns with the ground."""
TERRAIN_UNITS = {"dem": "metres", "slope": "degrees"}
"""What terrain that goes by these names is in where nothing else is stated; other bands are a reflectance."""


@dataclass(frozen=True)
class Band:
    """One stored band: ``physical = stored * scale + offset``.

    Attributes:
        name: by which channels name it.
        scale, offset: of the stored values.
        nodata: the stored value that means missing, as NaN always does.
        unit: of the physical values.
        range: the least and the greatest physical value that are to be expected; None where nobody knows.
        kind: what it measures, one of ``KINDS``; None leaves it to its name and unit (``bands.kinds``).
        wavelength: centre of an optical band in nm; None leaves it to its name.
    """

    name: str
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None
    unit: str = "reflectance"
    range: tuple[float, float] | None = None
    kind: str | None = None
    wavelength: float | None = None


@dataclass(frozen=True)
class BandLayout:
    """The bands of a source, in stored order.

    Attributes:
        name: the key a config names.
        title: how it is shown to people.
        bands: the bands in stored order.
        pixel_size: ground size of a pixel in metres, where the source states one.
        reference: where the facts come from.
        caveat: what a score on such data does not say; shown with every score.
    """

    name: str
    title: str
    bands: tuple[Band, ...]
    pixel_size: float | None
    reference: str
    caveat: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(band.name for band in self.bands)

    def index(self, name: str) -> int:
        """Position of a band, by name. Raises ``LandslideError`` for a name the layout does not have."""
        require_known(name, self.names, f"band of layout {self.name!r}")
        return self.names.index(name)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, without those that are as by default; ``from_dict`` takes them back."""
        return _stated(self) | {"bands": [_stated(band) for band in self.bands]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BandLayout:
        """The layout that a mapping describes.

        Args:
            values: ``name`` and ``bands`` (a list of names, or of mappings with ``name`` and, where they differ from
                the default, ``scale``, ``offset``, ``nodata``, ``unit``, ``range: [low, high]``, ``kind`` and
                ``wavelength``), and optionally
                ``title``, ``pixel_size``, ``reference`` and ``caveat``.

        Raises:
            LandslideError: an unknown key, or a value that makes no sense.
        """
        _check_keys(values, cls, "key of a band layout")
        name = _name(values.get("name"), "a band layout's name")
        where, bands, size = f"band layout {name!r}", values.get("bands"), values.get("pixel_size")
        if not isinstance(bands, (list, tuple)) or not bands:
            raise LandslideError(f"{where}: bands: expected a list of bands in stored order")
        found = tuple(parse_band(band, f"{where}: band {i}") for i, band in enumerate(bands))
        names = [band.name for band in found]
        if twice := [name for i, name in enumerate(names) if name in names[:i]]:
            raise LandslideError(f"{where}: band {twice[0]!r} is listed twice")
        if size is not None and _number(size, f"{where}: pixel_size") <= 0:
            raise LandslideError(f"{where}: pixel_size: expected metres above 0, found {size}")
        texts = {key: _text(values.get(key, ""), f"{where}: {key}") for key in ("title", "reference", "caveat")}
        return cls(
            name=name,
            title=texts["title"] or name,
            bands=found,
            pixel_size=None if size is None else float(size),
            reference=texts["reference"],
            caveat=texts["caveat"],
        )


def _stated(item: Band | BandLayout) -> dict[str, Any]:
    """The fields that differ from what ``parse_band`` takes where they lack, tuples as lists."""
    values = {field.name: getattr(item, field.name) for field in fields(item) if field.name != "bands"}
    default = {field.name: field.default for field in fields(item) if field.default is not MISSING}
    if item.name in TERRAIN_UNITS:
        default |= {"unit": TERRAIN_UNITS[item.name]}
    stated = {key: value for key, value in values.items() if key not in default or value != default[key]}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in stated.items()}


def parse_band(values: Any, where: str) -> Band:
    """The band that a name, or a mapping of the keys of ``Band``, describes; raises ``LandslideError`` if none."""
    if isinstance(values, str):
        values = {"name": values}
    if not isinstance(values, Mapping):
        raise LandslideError(f"{where}: expected a name or keys and values")
    _check_keys(values, Band, f"key in {where}")
    name = _name(values.get("name"), f"{where}: name")
    scale, offset = (_number(values.get(key, default), f"{where}: {key}") for key, default in _SCALING.items())
    if scale == 0:
        raise LandslideError(f"{where}: scale: must not be 0")
    usual = TERRAIN_UNITS.get(name, "reflectance")
    nodata, unit = values.get("nodata"), _text(values.get("unit", usual), f"{where}: unit")
    kind, wavelength = values.get("kind"), values.get("wavelength")
    if kind is not None:
        require_known(_text(kind, f"{where}: kind"), KINDS, f"kind of band in {where}")
    if wavelength is not None and _number(wavelength, f"{where}: wavelength") <= 0:
        raise LandslideError(f"{where}: wavelength: expected nanometres above 0, found {_short(wavelength)}")
    return Band(
        name,
        scale,
        offset,
        None if nodata is None else _number(nodata, f"{where}: nodata"),
        unit,
        None if values.get("range") is None else _range(values["range"], f"{where}: range"),
        kind,
        None if wavelength is None else float(wavelength),
    )


_SCALING = {"scale": 1.0, "offset": 0.0}


def _check_keys(values: Any, of: type, what: str) -> None:
    if not isinstance(values, Mapping):
        raise LandslideError("a band layout: expected its name, or keys and values (name, bands, …)")
    for key in values:
        require_known(key, [field.name for field in fields(of)], what)


def _name(value: Any, where: str) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise LandslideError(f"{where}: expected letters, digits, '_' and '-', found {_short(value)}")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise LandslideError(f"{where}: expected text, found {_short(value)}")
    return value


def _number(value: Any, where: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # YAML takes 1e-4 for text
        if math.isfinite(number):
            return number
    except (TypeError, ValueError, OverflowError):
        pass
    raise LandslideError(f"{where}: expected a number, found {_short(value)}")


def _range(value: Any, where: str) -> tuple[float, float]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise LandslideError(f"{where}: expected [low, high], found {_short(value)}")
    low, high = (_number(v, where) for v in value)
    if low >= high:
        raise LandslideError(f"{where}: expected [low, high], found {_short(value)}")
    return low, high


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python prints
        return "a very long number"
    return text if len(text) <= 60 else f"{text[:57]}..."
