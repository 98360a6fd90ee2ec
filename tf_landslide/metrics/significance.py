"""Whether two models differ on the same patches: paired differences, and how likely chance alone makes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_landslide.metrics import SCORES
from tf_landslide.metrics.counts import sampled_scores, scores
from tf_landslide.metrics.resampling import bootstrap, group_codes, interval

Groups = Sequence[str] | np.ndarray | None
_TIE = 1e-12


def paired_difference(
    before: np.ndarray, after: np.ndarray, *, resamples: int = 1000, seed: int = 0, groups: Groups = None
) -> dict[str, dict[str, Any]]:
    """How much each score of the same patches differs, ``value`` and its 95 % ``interval``: both drawn alike.

    Args:
        before, after: (n, 4) TP, FP, FN, TN of each patch.
        resamples: bootstrap samples, of whole patches or of whole ``groups`` of them.
        seed: of the bootstrap.
        groups: (n,) name of each patch's group.
    """
    one, other = (scores(*counts.sum(0)[:3]) for counts in (before, after))
    sampled = _differences(before, after, bootstrap(len(before), resamples, seed, groups))
    return {name: {"value": float(other[name] - one[name]), "interval": interval(sampled[name])} for name in SCORES}


def paired_significance(
    before: np.ndarray, after: np.ndarray, *, resamples: int = 10_000, seed: int = 0, groups: Groups = None
) -> dict[str, Any]:
    """Whether F1 of the same patches differs by more than chance.

    Two tests that ask the same in two ways. The bootstrap asks how often a sample of patches has the difference on the
    other side of zero. The permutation test (approximate randomisation; Noreen 1989, Yeh 2000, COLING) asks how often
    models that were swapped on patches by the toss of a coin differ as much; of few units every toss is tried.

    Args:
        before, after: (n, 4) TP, FP, FN, TN of each patch.
        resamples: bootstrap samples, and tosses.
        seed: of both.
        groups: (n,) name of each patch's group, then the units that are drawn and swapped.

    Returns:
        ``value`` (F1 of ``after`` less that of ``before``), ``interval`` (95 %), ``p_bootstrap`` and ``p_permutation``
        (both two-sided), ``units`` (patches or groups).
    """
    draws = bootstrap(len(before), resamples, seed, groups)
    sampled = _differences(before, after, draws)["f1"]
    sampled = sampled[np.isfinite(sampled)]  # a sample may miss all that there is to find
    below, above = (int((sampled <= _TIE).sum()), int((sampled >= -_TIE).sum()))
    of_unit = np.arange(len(before)) if groups is None else group_codes(groups)
    units = int(of_unit.max()) + 1
    sums = [np.zeros((units, 3), np.int64) for _ in range(2)]
    for total, counts in zip(sums, (before, after), strict=True):
        np.add.at(total, of_unit, counts[:, :3])
    value = _f1(sums[1].sum(0)) - _f1(sums[0].sum(0))
    return {
        "value": float(value),
        "interval": interval(sampled),
        "p_bootstrap": min(1.0, 2 * (min(below, above) + 1) / (len(sampled) + 1)),
        "p_permutation": _swapped(sums[0], sums[1], float(value), resamples, seed),
        "units": units,
    }


def holm(p: Sequence[float]) -> list[float]:
    """P values adjusted for that many of them being looked at (Holm 1979, Scand. J. Stat. 6), in the given order."""
    adjusted, highest = [0.0] * len(p), 0.0
    for rank, position in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        highest = max(highest, min(1.0, (len(p) - rank) * p[position]))
        adjusted[position] = highest
    return adjusted


def _differences(before: np.ndarray, after: np.ndarray, draws: np.ndarray) -> dict[str, np.ndarray]:
    one, other = (sampled_scores(draws, counts) for counts in (before, after))
    return {name: other[name] - one[name] for name in SCORES}


def _f1(sums: np.ndarray) -> np.ndarray:
    """F1 of (…, 3) TP, FP, FN."""
    return scores(*np.moveaxis(sums, -1, 0))["f1"]


def _swapped(before: np.ndarray, after: np.ndarray, value: float, tosses: int, seed: int) -> float:
    """How often (units, 3) counts that are swapped at random differ in F1 by ``value`` at least."""
    units = len(before)
    every = units < 63 and 2**units <= tosses
    if every:
        coins = (np.arange(2**units)[:, None] >> np.arange(units)) & 1
    else:
        coins = np.random.default_rng(seed).integers(0, 2, (tosses, units))
    moved = coins @ (after - before)
    found = np.abs(_f1(after.sum(0) - moved) - _f1(before.sum(0) + moved)) >= abs(value) - _TIE
    return float(found.mean()) if every else (int(found.sum()) + 1) / (tosses + 1)
