"""Which units a bootstrap sample draws: whole patches, or whole groups of them (regions, source scenes)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def bootstrap(n: int, resamples: int, seed: int, groups: Sequence[str] | np.ndarray | None = None) -> np.ndarray:
    """(resamples, n) how often each of n patches is drawn.

    Args:
        n: patches.
        resamples: samples, each of as many units as there are.
        seed: of the draw.
        groups: (n,) name of each patch's group, which is then drawn as a whole: patches of one region or scene are
            alike, and an interval that takes them for independent ones is too narrow (Cameron et al. 2008, Rev. Econ.
            Stat. 90, "pairs cluster bootstrap"). None draws single patches.
    """
    of_patch = np.arange(n) if groups is None else group_codes(groups)
    units = int(of_patch.max(initial=-1)) + 1
    if not units:
        return np.zeros((resamples, n), np.int64)
    drawn = np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), size=resamples)
    return drawn if groups is None else drawn[:, of_patch]


def group_codes(groups: Sequence[str] | np.ndarray) -> np.ndarray:
    """(n,) 0, 1, … for names of groups, equal ones alike."""
    return np.unique(np.asarray(groups), return_inverse=True)[1].reshape(-1)


def interval(sampled: np.ndarray) -> list[float]:
    """The middle 95 % of the bootstrap samples that have a value; zeros where none has one, as of nothing at all.

    A sample may miss the few patches that a score is of. What it says then is nothing, not zero.
    """
    known = sampled[np.isfinite(sampled)]
    return [float(q) for q in np.quantile(known, (0.025, 0.975))] if len(known) else [0.0, 0.0]
