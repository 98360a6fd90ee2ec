"""Judging: what a predictor makes of a split, reduced to counts, and the scores that follow from them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tf_landslide.core.progress import progress
from tf_landslide.data.source import PatchSource
from tf_landslide.metrics.counts import Histograms, best_threshold, judge
from tf_landslide.predict.predictor import Predictor


@dataclass(frozen=True)
class Judgement:
    """A split that was judged.

    Attributes:
        split: its name.
        source: its patches.
        histograms: pixels of each patch by probability.
        scores: at the threshold it was judged by, as ``metrics.counts.judge`` gives them.
    """

    split: str
    source: PatchSource
    histograms: Histograms
    scores: dict[str, Any]


def judge_split(predictor: Predictor, source: PatchSource, split: str, threshold: float) -> Judgement:
    """Judge one split with a threshold that was chosen elsewhere."""
    histograms = _histograms(predictor, source, split)
    return Judgement(split, source, histograms, judge(histograms, threshold))


def judge_splits(predictor: Predictor, sources: dict[str, PatchSource]) -> dict[str, Judgement]:
    """Choose the threshold on the split ``valid``, and judge every split with it."""
    histograms = {split: _histograms(predictor, source, split) for split, source in sources.items()}
    threshold = best_threshold(histograms["valid"])
    return {
        split: Judgement(split, source, histograms[split], judge(histograms[split], threshold))
        for split, source in sources.items()
    }


def _histograms(predictor: Predictor, source: PatchSource, split: str) -> Histograms:
    return Histograms.of(predictions(predictor, source, split))


def predictions(predictor: Predictor, source: PatchSource, label: str = "") -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(probability, mask) of every patch of a split, in order, (H, W) each."""
    step = predictor.batch_of(4 * math.prod(source.shape))
    for start in progress(range(0, len(source), step), label=f"judging {label}", unit="batch"):
        channels, masks = source.fetch(np.arange(start, min(start + step, len(source))))
        yield from zip(predictor(channels)[..., 0], masks[..., 0], strict=True)
