"""Random numbers of augmentation: a pure function of (seed, epoch, patch, part).

A part's numbers depend neither on which other parts are on, nor on the batch or the order that a patch comes in, so
that a resumed run sees what it would have seen, and one part is compared with none on the same looks of all others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tf_landslide.data.augment.settings import PARTS

_PAIRS = 1 + len(PARTS)


@dataclass(frozen=True)
class Draw:
    """One drawing of a patch in an epoch.

    Attributes:
        seed: of the run.
        epoch: from 0.
        patch: its position in the split.
        repeat: how often the epoch drew it before (oversampling).
    """

    seed: int
    epoch: int
    patch: int
    repeat: int = 0

    def stream(self, part: str) -> np.random.Generator:
        """The random numbers of one part."""
        return _generator(self.seed, self.epoch, 1 + PARTS.index(part), self.patch, self.repeat)


def epoch_draws(positions: np.ndarray, symmetries: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """An epoch's patches, each with another one of the same epoch, that mix-up and cut-mix take from.

    Args:
        positions, symmetries: (n,) as ``epoch_plan`` draws them.
        seed: of the run.
        epoch: from 0.

    Returns:
        (n, 2, 3) int64: position, symmetry and how often the epoch drew that patch before; of the patch and the other.
    """
    draws = np.stack([positions, symmetries, repeats(positions)], axis=-1)
    other = _generator(seed, epoch, _PAIRS, 0, 0).permutation(len(draws))
    return np.stack([draws, draws[other]], axis=1)


def repeats(values: np.ndarray) -> np.ndarray:
    """How often each value stood before its place."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    counts = np.empty(len(values), np.int64)
    counts[order] = np.arange(len(values)) - np.searchsorted(ordered, ordered)
    return counts


def _generator(seed: int, epoch: int, part: int, patch: int, repeat: int) -> np.random.Generator:
    # The counter's lowest word counts; the others tell streams apart. Part 0 is epoch_plan's.
    return np.random.Generator(np.random.Philox(key=[seed, epoch], counter=[0, part, patch, repeat]))
