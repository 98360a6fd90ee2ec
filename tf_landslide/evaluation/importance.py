"""Permutation importance: what a model loses when a channel is that of other patches (Breiman 2001, Fisher 2019).

It says what this model leans on, not what a model trained without the channel would do. Channels that tell the same
thing stand in for each other; shuffling a whole source (optical, terrain) does not let them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tf_landslide.bands.sources import by_source
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.progress import progress
from tf_landslide.data.source import PatchSource
from tf_landslide.metrics.counts import Histograms, scores
from tf_landslide.metrics.significance import paired_difference
from tf_landslide.predict.predictor import Predictor

REPEATS = 3


def permutation_importance(
    predictor: Predictor,
    source: PatchSource,
    threshold: float,
    *,
    repeats: int = REPEATS,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> dict[str, Any]:
    """The drop of F1 when a channel, or all of a source, is taken from other patches of the split.

    Args:
        predictor: of the model.
        source: the split's patches, two at least.
        threshold: the model's own.
        repeats: shuffles of each.
        seed: of the shuffles; all channels are shuffled alike.
        groups: (n,) of each patch, for intervals over groups.

    Returns:
        ``f1`` of the patches as they are, ``repeats``, ``seed``, and ``channels`` and ``sources``, each the one that
        costs most first: ``name``, ``channels``, ``f1`` (of the counts of all repeats), ``drop`` and its 95 %
        ``interval`` over patches (or groups), paired.
    """
    n = len(source)
    if n < 2:
        raise LandslideError(f"{source.data_dir}: permutation importance needs two patches at least, found {n}")
    rng = np.random.default_rng(seed)
    donors = [other_patches(n, rng) for _ in range(repeats)]
    whole = _counts(predictor, source, threshold)
    names = list(source.channel_names)
    found = by_source(names, predictor.card.channel_recipe.layout)
    sources = {name: channels for name, channels in found.items() if 1 < len(channels) < len(names)}
    asked = [(name, [name]) for name in names] + list(sources.items())
    rows = []
    for name, channels in progress(asked, label="shuffling channels", unit="channel"):
        columns = [names.index(channel) for channel in channels]
        counts = np.sum([_counts(predictor, source, threshold, donor, columns) for donor in donors], axis=0)
        told = paired_difference(counts, repeats * whole, groups=groups)["f1"]
        f1 = float(scores(*counts.sum(0)[:3])["f1"])
        rows.append({"name": name, "channels": channels, "f1": f1, "drop": told["value"], "interval": told["interval"]})
    ranked = [sorted(part, key=lambda row: -row["drop"]) for part in (rows[: len(names)], rows[len(names) :])]
    f1 = float(scores(*whole.sum(0)[:3])["f1"])
    return {"f1": f1, "repeats": repeats, "seed": seed, "channels": ranked[0], "sources": ranked[1]}


def other_patches(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) for each patch another one, each taken once: a random cycle through all of them."""
    cycle = rng.permutation(n)
    donors = np.empty(n, np.int64)
    donors[cycle] = np.roll(cycle, 1)
    return donors


def _counts(
    predictor: Predictor,
    source: PatchSource,
    threshold: float,
    donors: np.ndarray | None = None,
    columns: Sequence[int] = (),
) -> np.ndarray:
    """(n, 4) TP, FP, FN, TN of each patch, with some channels taken from its donor."""

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        step = predictor.batch_of(4 * math.prod(source.shape))
        for start in range(0, len(source), step):
            places = np.arange(start, min(start + step, len(source)))
            channels, masks = source.fetch(places)
            if donors is not None:
                channels[..., columns] = source.fetch(donors[places])[0][..., columns]
            yield from zip(predictor(channels)[..., 0], masks[..., 0], strict=True)

    return Histograms.of(pairs()).counts(threshold)
