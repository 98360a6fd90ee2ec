"""Whether two models differ on the same patches: paired differences, and how likely chance alone makes them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
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
    """Whether F1 of the same patches differs by more than chance; of several runs of a model, the mean of theirs.

    Two tests that ask the same in two ways. The bootstrap asks how often a sample of patches has the difference on the
    other side of zero. The permutation test (approximate randomisation; Noreen 1989, Yeh 2000, COLING) asks how often
    models that were swapped on patches by the toss of a coin differ as much; of few units every toss is tried. Of
    several runs each one of a model is swapped with each one of the other, and the mean of these pairs is what differs.

    Args:
        before, after: (n, 4) TP, FP, FN, TN of each patch, or (runs, n, 4) of a model's runs.
        resamples: bootstrap samples, and tosses.
        seed: of both.
        groups: (n,) name of each patch's group, then the units that are drawn and swapped.

    Returns:
        ``value`` (F1 of ``after`` less that of ``before``), ``interval`` (95 %), ``p_bootstrap`` and ``p_permutation``
        (both two-sided), ``units`` (patches or groups).
    """
    models = [counts if counts.ndim == 3 else counts[None] for counts in (before, after)]
    patches = models[0].shape[1]
    draws = bootstrap(patches, resamples, seed, groups)
    one, other = (np.mean([sampled_scores(draws, run)["f1"] for run in model], axis=0) for model in models)
    sampled = (other - one)[np.isfinite(other - one)]  # a sample may miss all that there is to find
    below, above = (int((sampled <= _TIE).sum()), int((sampled >= -_TIE).sum()))
    of_unit = np.arange(patches) if groups is None else group_codes(groups)
    units = int(of_unit.max()) + 1
    sums = [np.zeros((len(model), units, 3), np.int64) for model in models]
    for totals, model in zip(sums, models, strict=True):
        for total, counts in zip(totals, model, strict=True):
            np.add.at(total, of_unit, counts[:, :3])
    value = _f1(sums[1].sum(1)).mean() - _f1(sums[0].sum(1)).mean()
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
    """How often (runs, units, 3) counts that are swapped at random differ in mean F1 by ``value`` at least."""
    units = before.shape[1]
    every = units < 63 and 2**units <= tosses
    if every:
        coins = (np.arange(2**units)[:, None] >> np.arange(units)) & 1
    else:
        coins = np.random.default_rng(seed).integers(0, 2, (tosses, units))
    differences = np.zeros(len(coins))
    for one, other in product(before, after):
        moved = coins @ (other - one)
        differences += _f1(other.sum(0) - moved) - _f1(one.sum(0) + moved)
    found = np.abs(differences) / (len(before) * len(after)) >= abs(value) - _TIE
    return float(found.mean()) if every else (int(found.sum()) + 1) / (tosses + 1)
