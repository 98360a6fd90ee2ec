"""Conditions of rules: straight ramps over an object's attributes, joined in sets that support or reject."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict

from tf_landslide.core.errors import LandslideError
from tf_landslide.objects.vocabulary import OTHERS, require_attribute

Table = Mapping[str, np.ndarray]
"""Attributes of N objects by name, (N,) float64 each, NaN where they cannot be told."""

OURS = "ours"
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Condition:
    """How true something is of an object, by one of its attributes.

    Attributes:
        attribute: its name, as ``attributes.measure`` gives it.
        rises: (a, b): 0 up to a, 1 from b on.
        falls: (a, b): 1 up to a, 0 from b on; a condition either rises or falls.
        weight: among the conditions of its set, where they are joined by their mean.
        needs: layers that it rests on, and the unit that each must have for the ramp to mean anything.
        reason: why, in words.
        source: key of the literature it is from, or ``ours``.
        fitted: whether fitting may move the ramp, or has.
        within: where fitting may move it to, so that it still says what its reason says; None is anywhere.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    attribute: str
    rises: tuple[float, float] | None = None
    falls: tuple[float, float] | None = None
    weight: float = 1.0
    needs: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    source: str = OURS
    fitted: bool = False
    within: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        require_attribute(self.attribute)
        others = [layer for layer in self.needs if not self.attribute.startswith(f"{layer}_")]
        if others and self.attribute not in OTHERS:
            raise LandslideError(f"{self.attribute}: needs: expected the layer it is of, found {others[0]!r}")
        if (self.rises is None) == (self.falls is None):
            raise LandslideError(f"{self.attribute}: expected either rises or falls, [low, high]")
        low, high = self.ramp
        if not (np.isfinite([low, high]).all() and low < high):
            raise LandslideError(f"{self.attribute}: expected a ramp [low, high] with low < high, found {[low, high]}")
        if self.within is not None and not self.within[0] <= low < high <= self.within[1]:
            raise LandslideError(f"{self.attribute}: expected a ramp within {list(self.within)}, found {[low, high]}")
        if not (np.isfinite(self.weight) and self.weight > 0):
            raise LandslideError(f"{self.attribute}: weight: expected a number above 0, found {self.weight}")

    @property
    def ramp(self) -> tuple[float, float]:
        found = self.rises if self.rises is not None else self.falls
        assert found is not None
        return found

    @property
    def direction(self) -> int:
        """1 where the degree of truth rises with the attribute, -1 where it falls."""
        return 1 if self.rises is not None else -1

    def with_ramp(self, low: float, high: float) -> Condition:
        """The same condition on another ramp."""
        ramp = float(low), float(high)
        return replace(self, rises=ramp) if self.rises is not None else replace(self, falls=ramp)

    def degree(self, values: np.ndarray) -> np.ndarray:
        """(N,) degree of truth, 0..1; NaN where the attribute is."""
        low, high = self.ramp
        with np.errstate(over="ignore"):
            share = np.clip((np.asarray(values, np.float64) - low) / (high - low), 0.0, 1.0)
        return share if self.rises is not None else 1.0 - share


@dataclass(frozen=True)
class ConditionSet:
    """Conditions that say one thing together.

    Attributes:
        name: of it.
        decides: whether it supports that an object is a landslide, or rejects it.
        conditions: of it.
        weight: among the sets that support; of one that rejects, the share of the confidence that it takes, 0..1.
        combine: by the weighted ``mean`` of the conditions that can be told, by ``any`` (the greatest of them), or by
            ``all`` (the least; nothing can be told where one of them cannot).
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    name: str
    decides: Literal["support", "reject"]
    conditions: tuple[Condition, ...]
    weight: float = 1.0
    combine: Literal["mean", "all", "any"] = "mean"

    def __post_init__(self) -> None:
        most = 1.0 if self.decides == "reject" else float("inf")
        if not (np.isfinite(self.weight) and 0 <= self.weight <= most):
            span = "0 to 1" if self.decides == "reject" else "from 0 on"
            raise LandslideError(f"set {self.name!r}: weight: expected a number {span}, found {self.weight}")
        if not self.conditions:
            raise LandslideError(f"set {self.name!r}: has no conditions")

    def degree(self, table: Table, rows: int) -> np.ndarray:
        """(N,) degree of truth, 0..1; NaN where nothing can be told."""
        missing = np.full(rows, np.nan)
        degrees = np.stack([c.degree(table.get(c.attribute, missing)) for c in self.conditions])
        return self.joined(degrees)

    def joined(self, degrees: np.ndarray) -> np.ndarray:
        """(N,) of the degrees (C, N) of its conditions."""
        known = np.isfinite(degrees)
        if self.combine == "all":
            return np.where(known.all(0), np.where(known, degrees, 1.0).min(0), np.nan)
        if self.combine == "any":
            return np.where(known.any(0), np.where(known, degrees, 0.0).max(0), np.nan)
        weights = known * np.array([c.weight for c in self.conditions])[:, None]
        return weighted_mean(np.where(known, degrees, 0.0), weights)


@dataclass(frozen=True)
class Marks:
    """Which pixels of an object are marked.

    Attributes:
        accepted: of an accepted one, those whose probability reaches this share of the model's threshold; 0 marks
            the whole object.
        rejected: of any other, those whose probability lies this share of the way between the threshold and 1; 1
            marks none. ``accepted: 1, rejected: 0`` is what the network marks by itself.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    accepted: float = 0.0
    rejected: float = 1.0

    def __post_init__(self) -> None:
        for name in ("accepted", "rejected"):
            if not 0 <= getattr(self, name) <= 1:
                raise LandslideError(f"marks: {name}: expected a number 0 to 1, found {getattr(self, name)}")

    def levels(self, threshold: float) -> tuple[float, float]:
        """From which probability on pixels of accepted and of other objects are marked; infinity is never."""
        rejected = float("inf") if self.rejected == 1 else threshold + self.rejected * (1 - threshold)
        return self.accepted * threshold, rejected


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(N,) weighted mean over the first axis; NaN where all weights are 0."""
    total = weights.sum(0, dtype=np.float64)
    return np.divide((values * weights).sum(0), total, out=np.full(total.shape, np.nan), where=total > 0)


def stated(item: Any, *but: str) -> dict[str, Any]:
    """What a dataclass says that is not so by default, as plain values; the fields ``but`` are left out."""
    found = {}
    for f in fields(item):
        default = f.default if f.default_factory is MISSING else f.default_factory()
        if f.name not in but and (value := getattr(item, f.name)) != default:
            found[f.name] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return dict(value) if isinstance(value, Mapping) else value
