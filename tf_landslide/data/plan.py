"""What an epoch draws: which patches, in which order, turned how."""

from __future__ import annotations

import numpy as np

from tf_landslide.core.errors import LandslideError


def epoch_plan(
    epoch: int,
    positive: np.ndarray,
    seed: int,
    *,
    shuffle: bool,
    augment: bool,
    positive_fraction: float | None = None,
    hard_share: float = 0,
    errors: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Which patches an epoch draws and how each is turned: a pure function of its arguments.

    Args:
        epoch: number of the epoch, from 0.
        positive: (n,) bool, the patches that hold a landslide.
        seed: of the run.
        shuffle: draw in random order, else 0..n-1.
        augment: draw a symmetry 0..7 for each, else 0.
        positive_fraction: share of positive patches in the epoch; both kinds are drawn in whole rounds, so that none
            is seen twice before all of its kind were seen once.
        hard_share: share of the epoch that is drawn anew where ``errors`` are given, each of them patch i with
            probability ``errors[i] / sum(errors)``; they take the place of as many of the others, at random.
        errors: (n,) of each patch, 0 or more; None, or 0 for all, draws none by them.

    Returns:
        (n,) int64 positions and (n,) int64 symmetries.
    """
    n = len(positive)
    rng = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    if not shuffle and (positive_fraction is not None or hard_share):
        raise LandslideError("positive_fraction and hard_share draw at random and need shuffle")
    positions = np.arange(n) if positive_fraction is None else _oversampled(positive, positive_fraction, rng)
    if shuffle:
        positions = rng.permutation(positions)
    if errors is not None and (hard := round(hard_share * n)) and (total := errors.sum()):
        positions[:hard] = rng.choice(n, hard, p=errors / total)
        positions = rng.permutation(positions)
    symmetries = rng.integers(0, 8, n) if augment else np.zeros(n, np.int64)
    return positions.astype(np.int64), symmetries.astype(np.int64)


def _oversampled(positive: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """(n,) positions of which a share is of patches with a landslide; see ``epoch_plan``."""
    if not 0 <= fraction <= 1:
        raise LandslideError(f"positive_fraction must lie in 0..1, got {fraction}")
    n, wanted = len(positive), round(fraction * len(positive))
    parts = []
    for what, kind, size in (
        ("with", np.flatnonzero(positive), wanted),
        ("without", np.flatnonzero(~positive), n - wanted),
    ):
        if size and not len(kind):
            raise LandslideError(f"positive_fraction {fraction} needs patches {what} landslides")
        rounds = [rng.permutation(kind) for _ in range(-(-size // len(kind)))] if size else []
        parts.append(np.concatenate([*rounds, np.empty(0, np.int64)])[:size])
    return np.concatenate(parts).astype(np.int64)
