"""Fitting: the ramps, the weights of sets, the marks and the confidence to accept that are best on validation.

A coordinate search: one number after another is moved to where the F1 of all pixels is best, until none moves it any
more. Only ramps that are marked ``fitted`` move, and only to quantiles of what is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from tf_landslide.core.errors import LandslideError
from tf_landslide.metrics.counts import scores
from tf_landslide.objects.conditions import Condition, ConditionSet, Marks
from tf_landslide.objects.counted import ACCEPTED, REJECTED, Counted, on_grid
from tf_landslide.objects.forest import Forest
from tf_landslide.objects.rules import Rules

ACCEPT = tuple(k / 20 for k in range(1, 20))
"""Confidences that an object may be accepted from."""

FOLDS = 5
_SUPPORT, _REJECT = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0), (0.0, 0.25, 0.5, 0.75, 1.0)
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_MIDDLE = (0.05, 0.95)
_ROUNDS = 4
_LEAST = 2e-4  # of F1, below which nothing is moved: noise
_MAJORITY = 0.5  # of an object's pixels, for it to be a landslide


@dataclass(frozen=True)
class Choice:
    """The best way to mark objects by their confidence, and its F1."""

    f1: float
    accept: float
    marks: Marks


def best_choice(confidence: np.ndarray, objects: Counted, marks: Marks | None = None) -> Choice:
    """The confidence to accept from and the marks that have the best F1 of all pixels; of equals the first.

    Args:
        confidence: (N,) of the objects.
        objects: of P patches.
        marks: to keep to; None tries all.
    """
    accepted, rejected = np.arange(len(ACCEPTED)), np.arange(len(REJECTED))
    if marks is not None:
        accepted, rejected = (np.array([place]) for place in on_grid(marks))
    places = np.searchsorted(ACCEPT, confidence, side="right")  # accepted at ACCEPT[k] where place > k
    total = objects.landslide.sum() + objects.outside[:, [0, 2]].sum()
    base = objects.outside[:, :2].sum(0)

    def above(counts: np.ndarray) -> np.ndarray:
        """(levels, 2, len(ACCEPT)): pixels of the objects that are accepted at each confidence."""
        flat = [
            np.bincount(places, row, len(ACCEPT) + 1)[::-1].cumsum()[::-1][1:]
            for row in counts.reshape(-1, counts.shape[-1])
        ]
        return np.reshape(flat, (*counts.shape[:2], len(ACCEPT)))

    taken = above(objects.accepted[accepted])
    refused = objects.rejected[rejected].sum(-1)[..., None] - above(objects.rejected[rejected])
    marked = taken[:, None] + refused[None] + base[:, None]  # (A, R, 2, accept)
    f1 = scores(marked[:, :, 0], marked[:, :, 1], total - marked[:, :, 0])["f1"]
    i, j, k = np.unravel_index(int(f1.argmax()), f1.shape)
    return Choice(float(f1.max()), ACCEPT[k], Marks(ACCEPTED[accepted[i]], REJECTED[rejected[j]]))


def fit_rules(rules: Rules, objects: Counted) -> Rules:
    """The rules, fitted to objects.

    Args:
        rules: to begin with; a forest of theirs is left out.
        objects: of validation's patches.

    Raises:
        LandslideError: none of the patches holds any landslide.
    """
    _check(objects)
    search = _Search(replace(rules, forest=None), objects)
    for _ in range(_ROUNDS):
        before = search.best.f1
        for where, candidates in search.coordinates():
            search.move(where, candidates)
        search.choose_marks()
        if search.best.f1 - before < _LEAST:
            break
    return replace(search.rules, accept=search.best.accept, marks=search.best.marks)


def fit_forest(rules: Rules, objects: Counted, *, folds: int = FOLDS, seed: int = 0) -> Rules:
    """The rules with a forest that gives the confidence, grown on objects.

    What it says of objects it was grown on is worth little; so confidence to accept and marks are chosen by what
    forests grown on other patches say of each.
    """
    _check(objects)
    held_out = np.zeros(len(objects.patch))
    for inside, outside in folded(len(objects), folds, seed):
        there = np.isin(objects.patch, outside)
        part = {name: values[there] for name, values in objects.table.items()}
        held_out[there] = _grown(objects.subset(inside), seed).probability(part)
    choice = best_choice(held_out, objects)
    return replace(rules, forest=_grown(objects, seed), accept=choice.accept, marks=choice.marks)


def check_folding(folds: int, seed: int) -> None:
    """Raise ``LandslideError`` for fewer than two folds, or a seed that nothing can be drawn by."""
    if folds < 2:
        raise LandslideError(f"folds: expected two at least, to fit on some and judge by others; got {folds}")
    if not 0 <= seed < 2**32:
        raise LandslideError(f"seed: expected a whole number from 0 to {2**32 - 1}, got {seed}")


def folded(patches: int, folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Patches to fit on and patches to judge, for each fold; drawn by chance.

    Raises:
        LandslideError: fewer than two patches, or what ``check_folding`` refuses.
    """
    check_folding(folds, seed)
    if patches < 2:
        raise LandslideError(f"fitting needs two patches at least, one to fit on and one to judge by; found {patches}")
    order = np.random.default_rng(seed).permutation(patches)
    parts = [np.sort(part) for part in np.array_split(order, min(folds, patches))]
    return [(np.setdiff1d(order, part), part) for part in parts]


def cross_validated(
    fit: Callable[[Counted], Rules], objects: Counted, *, folds: int = FOLDS, seed: int = 0
) -> tuple[np.ndarray, list[tuple[np.ndarray, Rules]]]:
    """What fitting is worth: every patch is judged by rules that were fitted on others.

    Returns:
        (P, 4) TP, FP, FN, TN of each patch, and the patches of each fold with the rules they were judged by.

    Raises:
        LandslideError: nothing to fit to, in all patches or in those of a fold.
    """
    counts, fitted = np.zeros((len(objects), 4), np.int64), []
    holding = np.unique(objects.patch[objects.landslide > 0])
    for inside, outside in folded(len(objects), folds, seed):
        if len(holding) and not np.isin(holding, inside).any():
            raise LandslideError(_together(len(holding), len(objects)))
        rules = fit(objects.subset(inside))
        counts[outside] = objects.subset(outside).counts(rules)
        fitted.append((outside, rules))
    return counts, fitted


def _grown(objects: Counted, seed: int) -> Forest:
    known = objects.pixels > 0
    table = {name: values[known] for name, values in objects.table.items()}
    landslide = objects.landslide[known] > _MAJORITY * objects.pixels[known]
    return Forest.grown(table, landslide, objects.pixels[known], seed=seed)


def _together(holding: int, patches: int) -> str:
    """Why a fold has nothing to be fitted on, where there is something."""
    if holding == 1:
        return (
            f"only one of the {patches} validation patches has objects that hold landslides; fitting needs two at "
            "least, one to fit on and one to judge by"
        )
    return (
        f"all {holding} validation patches whose objects hold landslides fall into one fold, and the others have "
        "nothing to fit to; take more folds, or another seed"
    )


def _check(objects: Counted) -> None:
    if not objects.landslide.sum():
        raise LandslideError("no object of the validation patches holds any landslide; there is nothing to fit to")


Where = tuple[int, int | None]
"""A set, and a condition of it, or None for the set's weight."""


class _Search:
    """Rules on their way; degrees of what does not move are kept."""

    def __init__(self, rules: Rules, objects: Counted):
        self.rules, self.objects = rules, objects
        self._missing = np.full(len(objects.patch), np.nan)
        self._degrees = [np.stack([c.degree(self._column(c.attribute)) for c in s.conditions]) for s in rules.sets]
        self._joined = [s.joined(d) for s, d in zip(rules.sets, self._degrees, strict=True)]
        self.best = best_choice(rules.judged(self._joined), objects)

    def _column(self, name: str) -> np.ndarray:
        return self.objects.table.get(name, self._missing)

    def coordinates(self) -> Iterator[tuple[Where, list[tuple[float, ...]]]]:
        """What may move and where to: the weight of each set, and each ramp with its set's weight.

        Sets of which nothing can be told are left alone.
        """
        for i, s in enumerate(self.rules.sets):
            if not np.isfinite(self._joined[i]).any():
                continue
            weights = _SUPPORT if s.decides == "support" else _REJECT
            yield (i, None), [(w,) for w in weights]
            for j, c in enumerate(s.conditions):
                if c.fitted:  # of a set without weight a ramp alone changes nothing
                    given = (
                        [w for w in weights if w > 0] if self.rules.sets[i].weight == 0 else [self.rules.sets[i].weight]
                    )
                    ramps = _ramps(self._column(c.attribute), self.objects, c.within)
                    yield (i, j), [(*ramp, weight) for ramp in ramps for weight in given]

    def move(self, where: Where, candidates: list[tuple[float, ...]]) -> None:
        """Move one number to the best of the candidates, if that is better than where it is."""
        i, j = where
        for candidate in candidates:
            changed = _with(self.rules.sets[i], j, candidate)
            sets = (*self.rules.sets[:i], changed, *self.rules.sets[i + 1 :])
            if not any(s.decides == "support" and s.weight > 0 for s in sets):
                continue
            degrees = self._degrees[i].copy()
            if j is not None:
                condition = changed.conditions[j]
                degrees[j] = condition.degree(self._column(condition.attribute))
            joined = [*self._joined[:i], changed.joined(degrees), *self._joined[i + 1 :]]
            rules = replace(self.rules, sets=sets)
            found = best_choice(rules.judged(joined), self.objects, self.best.marks)
            if found.f1 > self.best.f1 + _LEAST:
                self.best, self.rules, self._joined = found, rules, joined
                self._degrees[i] = degrees

    def choose_marks(self) -> None:
        """Try all marks."""
        found = best_choice(self.rules.judged(self._joined), self.objects)
        if found.f1 > self.best.f1 + _LEAST:
            self.best = found


def _with(s: ConditionSet, j: int | None, values: tuple[float, ...]) -> ConditionSet:
    if j is None:
        return replace(s, weight=values[0])
    low, high, weight = values
    moved = s.conditions[j].with_ramp(low, high)
    return replace(s, weight=weight, conditions=(*s.conditions[:j], moved, *s.conditions[j + 1 :]))


def _ramps(values: np.ndarray, objects: Counted, within: tuple[float, float] | None) -> list[tuple[float, ...]]:
    """Pairs of quantiles of landslides' values and of all others', rounded to what a person reads."""
    finite, landslide = np.isfinite(values), objects.landslide > _MAJORITY * objects.pixels
    ends = {
        float(f"{end:.3g}")
        for group in (finite & landslide, finite & ~landslide)
        if group.any()
        for end in np.quantile(values[group], _QUANTILES)
    }
    least, most = within or (-np.inf, np.inf)
    ordered = sorted(end for end in ends if least <= end <= most)
    return [(low, high) for n, low in enumerate(ordered) for high in ordered[n + 1 :]]


def begun(rules: Rules, objects: Counted, units: Mapping[str, str]) -> Rules:
    """Rules to begin fitting with, on data whose layers may be in other units than the rules were written in.

    A ramp that is in another unit, and may be fitted, begins over the middle nine tenths of what is seen; its set
    begins without weight.
    """

    def restated(c: Condition) -> Condition:
        other = {layer: units[layer] for layer, unit in c.needs.items() if units.get(layer, unit) != unit}
        values = objects.table.get(c.attribute, np.empty(0))
        finite = values[np.isfinite(values)]
        if not (c.fitted and other and finite.size):
            return c
        low, high = (float(f"{end:.3g}") for end in np.quantile(finite, _MIDDLE))
        free = replace(c, within=None)
        return replace(free.with_ramp(low, high) if low < high else free, needs={**c.needs, **other})

    sets = []
    for s in rules.sets:
        conditions = tuple(map(restated, s.conditions))
        sets.append(s if conditions == s.conditions else replace(s, conditions=conditions, weight=0.0))
    return replace(rules, sets=tuple(sets))
