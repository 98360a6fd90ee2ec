"""Rules: which objects are landslides, as fuzzy conditions on their attributes that a geologist can read and change.

A condition gives an object a degree of truth between 0 and 1 (Zadeh 1965): a straight ramp over one attribute. Sets
join conditions and either support or reject. Confidence = (weighted mean of the sets that support) x (1 - weight x
degree) of every set that rejects: it rises and falls with each attribute as the ramps say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from tf_landslide.core.errors import LandslideError, lookup, require_known
from tf_landslide.core.safe_yaml import read_yaml
from tf_landslide.objects.conditions import OURS, Condition, ConditionSet, Marks, Table, stated, weighted_mean
from tf_landslide.objects.forest import Forest
from tf_landslide.objects.segmenting import Segmenting
from tf_landslide.runs.checked import checked

SHIPPED = Path(__file__).parent / "rules"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")


@dataclass(frozen=True)
class Rules:
    """What decides which objects are landslides. Attributes as in the YAML file; ``docs/objects.md`` describes it.

    Attributes:
        name: of the rules.
        sets: of conditions; at least one supports.
        segments: how the image is cut into objects.
        accept: an object is a landslide from this confidence on.
        marks: which of its pixels are.
        title: how they are shown.
        sources: the literature, by key.
        fit: what fitting them was done on, and saw; empty for rules that were not.
        forest: gives the confidence in place of the sets.
    """

    name: str
    sets: tuple[ConditionSet, ...]
    segments: Segmenting = field(default_factory=Segmenting)
    accept: float = 0.5
    marks: Marks = field(default_factory=Marks)
    title: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    fit: Mapping[str, Any] = field(default_factory=dict)
    forest: Forest | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise LandslideError(f"name: expected letters, digits, '_' and '-', found {self.name!r}")
        if not 0 < self.accept <= 1:
            raise LandslideError(f"accept: expected a confidence above 0, up to 1, found {self.accept}")
        names = [s.name for s in self.sets]
        if twice := [name for i, name in enumerate(names) if name in names[:i]]:
            raise LandslideError(f"sets: {twice[0]!r} is listed twice")
        if not any(s.decides == "support" and s.weight > 0 for s in self.sets):
            raise LandslideError("sets: none of them supports; nothing could ever be a landslide")
        for condition in self.conditions:
            if condition.source != OURS:
                require_known(condition.source, self.sources, f"source of {condition.attribute!r}")

    @property
    def conditions(self) -> list[Condition]:
        """Of all sets, in order."""
        return [condition for s in self.sets for condition in s.conditions]

    @classmethod
    def read(cls, rules: str | Path) -> Rules:
        """Rules by the name of shipped ones, or from a YAML file.

        Raises:
            LandslideError: none such, or a file that describes no rules; with the key.
        """
        shipped = {path.stem: path for path in SHIPPED.glob("*.yaml")}
        named = isinstance(rules, str) and not rules.endswith((".yaml", ".yml")) and "/" not in rules
        path = lookup(shipped, str(rules), "rules") if named else Path(rules)
        values = read_yaml(path, "rules")
        try:
            return cls.from_dict(values, path.parent)
        except LandslideError as error:
            raise LandslideError(f"{path}: {error}") from None

    @classmethod
    def from_dict(cls, values: Any, folder: Path | None = None) -> Rules:
        """Rules from plain values, as YAML holds them; a forest's file is looked for in ``folder``.

        Raises:
            LandslideError: a key that is not known, missing or wrong.
        """
        if not isinstance(values, Mapping):
            raise LandslideError("expected keys and values (name, accept, sets, …)")
        for key in values:
            require_known(key, [f.name for f in fields(cls)], "key of rules")
        for key in ("name", "sets"):
            if key not in values:
                raise LandslideError(f"{key}: is missing")
        known = {key: _checked_key(key, value) for key, value in values.items() if key in _ADAPTERS}
        if "segments" in values:
            known["segments"] = _segmenting(values["segments"])
        if "forest" in values:
            known["forest"] = Forest.beside(folder, values["forest"])
        return cls(**known)

    def as_dict(self) -> dict[str, Any]:
        """Plain values; ``from_dict`` takes them back, but for a forest. Conditions leave out what is as by default."""
        cut = self.segments
        return {
            "name": self.name,
            **({"title": self.title} if self.title else {}),
            "accept": self.accept,
            "marks": asdict(self.marks),
            "segments": asdict(self.segments) | {"layers": list(cut.layers), "spreads": dict(cut.spreads)},
            **({"fit": dict(self.fit)} if self.fit else {}),
            "sources": dict(self.sources),
            "sets": [
                stated(s, "conditions") | {"conditions": [stated(condition) for condition in s.conditions]}
                for s in self.sets
            ],
        }

    def for_units(self, units: Mapping[str, str]) -> tuple[Rules, dict[str, str]]:
        """The rules without conditions on layers that are measured in another unit than they need.

        Args:
            units: of the layers there are, by name.

        Returns:
            the rules, and why each attribute was left out.

        Raises:
            LandslideError: nothing that supports is left.
        """
        told: dict[str, str] = {}
        kept = []
        for s in self.sets:
            left = tuple(c for c in s.conditions if not _note_unfit(c, units, told))
            if left and (len(left) == len(s.conditions) or s.combine != "all"):
                kept.append(replace(s, conditions=left))
        if not any(s.decides == "support" and s.weight > 0 for s in kept):
            raise LandslideError(f"rules {self.name!r}: no condition that supports can be had of these data")
        return replace(self, sets=tuple(kept)), told

    def left_out(self, table: Table) -> list[str]:
        """Attributes that no object of a table has, in order; they are left out of its confidence."""
        names = dict.fromkeys(condition.attribute for condition in self.conditions)
        return [name for name in names if name not in table or not np.isfinite(table[name]).any()]

    def confidence(self, table: Table) -> np.ndarray:
        """(N,) float64 in 0..1 for each object; 0 where nothing that supports can be told of it."""
        if self.forest is not None:
            return self.forest.probability(table)
        rows = len(next(iter(table.values()), ()))
        return self.judged([s.degree(table, rows) for s in self.sets])

    def judged(self, degrees: Sequence[np.ndarray]) -> np.ndarray:
        """(N,) confidence of the degrees (N,) of each set."""
        support = [(s, d) for s, d in zip(self.sets, degrees, strict=True) if s.decides == "support"]
        stacked = np.stack([d for _, d in support])
        known = np.isfinite(stacked)
        weights = known * np.array([s.weight for s, _ in support])[:, None]
        confidence = np.nan_to_num(weighted_mean(np.where(known, stacked, 0.0), weights))
        for s, degree in zip(self.sets, degrees, strict=True):
            if s.decides == "reject":
                confidence *= 1.0 - s.weight * np.nan_to_num(degree)
        return np.clip(confidence, 0.0, 1.0)


def _note_unfit(condition: Condition, units: Mapping[str, str], told: dict[str, str]) -> bool:
    """Whether a condition cannot be asked of layers in these units; says why."""
    for layer, unit in condition.needs.items():
        if layer in units and units[layer] != unit:
            told[condition.attribute] = f"{layer} is in {units[layer]}, its ramp in {unit}"
            return True
    return False


_ADAPTERS: dict[str, TypeAdapter[Any]] = {
    "name": TypeAdapter(str),
    "title": TypeAdapter(str),
    "accept": TypeAdapter(float),
    "marks": TypeAdapter(Marks),
    "sources": TypeAdapter(dict[str, str]),
    "fit": TypeAdapter(dict[str, Any]),
    "sets": TypeAdapter(tuple[ConditionSet, ...]),
}


def _checked_key(key: str, value: Any) -> Any:
    """The value of a key of rules, as pydantic reads it; sets one by one, so that an error names the set."""
    if key != "sets":
        return checked(_ADAPTERS[key], value, key)
    if not isinstance(value, list):
        raise LandslideError(f"sets: expected a list, found {type(value).__name__}")
    one = TypeAdapter(ConditionSet)
    return tuple(checked(one, item, f"set {_name_of(item, number)}") for number, item in enumerate(value, 1))


def _name_of(item: Any, number: int) -> str:
    name = item.get("name") if isinstance(item, Mapping) else None
    return repr(name[:60]) if isinstance(name, str) else str(number)


def _segmenting(value: Any) -> Segmenting:
    if not isinstance(value, Mapping):
        raise LandslideError(f"segments: expected keys and values (method, size, layers, …), found {value!r:.60}")
    for key in value:
        require_known(key, [f.name for f in fields(Segmenting)], "key of segments")
    spreads = value.get("spreads", ())
    plain = {**value, "spreads": tuple(spreads.items()) if isinstance(spreads, Mapping) else spreads}
    found: Segmenting = checked(TypeAdapter(Segmenting), plain, "segments")
    return found
