"""Two patches in one, and bands that go missing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tf_landslide.data.augment.settings import CutMix, Dropout, MixUp
from tf_landslide.metrics import IGNORED

Pair = tuple[np.ndarray, np.ndarray]
"""(K, H, W) float32 bands and an (H, W) float32 mask of 0 to 1 and ``IGNORED``."""


def mixed_up(settings: MixUp, patch: Pair, other: Pair, rng: np.random.Generator) -> Pair:
    """``share * patch + (1 - share) * other`` in place, bands and masks alike, ``share`` of Beta(alpha, alpha).

    (Zhang et al. 2018, mixup: Beyond empirical risk minimization.) Masks become soft. What is missing or ignored in
    either is so in both.
    """
    share = _share(settings.strength, rng)
    if share == 1:
        return patch
    ignored = (patch[1] == IGNORED) | (other[1] == IGNORED)
    for kept, given in zip(
        (*patch[0], patch[1]), (*other[0], other[1]), strict=True
    ):  # plane by plane, as memory costs
        kept *= share
        kept += (1 - share) * given
    patch[1][ignored] = IGNORED
    return patch


def cut_mixed(settings: CutMix, patch: Pair, other: Pair, rng: np.random.Generator) -> Pair:
    """A patch with a rectangle of another in place, bands and mask alike.

    (Yun et al. 2019, CutMix.) Its share of the area is 1 - Beta(alpha, alpha), its centre lies anywhere, and what lies
    beyond the edges is cut off.
    """
    height, width = patch[1].shape
    side = math.sqrt(1 - _share(settings.strength, rng))
    rows, columns = (_interval(size, side * size, rng) for size in (height, width))
    for kept, given in zip(patch, other, strict=True):
        kept[..., rows, columns] = given[..., rows, columns]
    return patch


def dropped(settings: Dropout, sources: Sequence[str], rng: np.random.Generator) -> np.ndarray:
    """Which bands go missing, (K,) bool: some by themselves, or by the chance of ``settings.source`` a whole source.

    Args:
        settings: of this part.
        sources: what each band comes from.
        rng: of the numbers.
    """
    given, whole = list(dict.fromkeys(sources)), rng.random() < settings.source
    gone = np.zeros(len(sources), bool)
    if not settings.strength:
        return gone
    if whole and len(given) > 1:
        return np.array(sources) == given[rng.integers(len(given))]
    gone[rng.permutation(len(sources))[: min(settings.strength, len(sources) - 1)]] = True
    return gone


def _share(alpha: float, rng: np.random.Generator) -> np.float32:
    return np.float32(rng.beta(alpha, alpha)) if alpha else np.float32(1)


def _interval(size: int, length: float, rng: np.random.Generator) -> slice:
    """About ``length`` of ``size`` pixels around any of them."""
    first = round(rng.random() * size - length / 2)
    return slice(max(0, first), max(0, min(size, first + round(length))))
