"""Judging: what a predictor makes of a split, reduced to counts, and the scores that follow from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tf_landslide.core.progress import progress
from tf_landslide.data.source import PatchSource
from tf_landslide.metrics.calibration import calibration
from tf_landslide.metrics.counts import Histograms, best_threshold, judge, probability_bins, threshold_bin
from tf_landslide.metrics.objects import ObjectCounts, object_scores
from tf_landslide.predict.predictor import Predictor

Look = Callable[[np.ndarray, np.ndarray, np.ndarray], None]
"""Sees each patch that is judged: channels (H, W, C), probability and mask (H, W)."""


@dataclass(frozen=True)
class Judgement:
    """A split that was judged.

    Attributes:
        split: its name.
        source: its patches.
        histograms: pixels of each patch by probability.
        scores: at the threshold it was judged by, as ``metrics.counts.judge`` gives them, ``calibration`` as
            ``metrics.calibration.calibration`` and ``objects`` as ``metrics.objects.object_scores`` do.
    """

    split: str
    source: PatchSource
    histograms: Histograms
    scores: dict[str, Any]


def judge_split(
    predictor: Predictor, source: PatchSource, split: str, threshold: float, look: Look | None = None
) -> Judgement:
    """Judge one split with a threshold that was chosen elsewhere; ``look`` is shown every patch of it."""
    objects: list[ObjectCounts] = []

    def seen() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for channels, probability, mask in predictions(predictor, source, split):
            if look:
                look(channels, probability, mask)
            objects.append(ObjectCounts.of([(probability >= np.float32(threshold), mask)]))
            yield probability, mask

    histograms = Histograms.of(seen())
    return _judgement(split, source, histograms, ObjectCounts.joined(objects), threshold)


def judge_splits(predictor: Predictor, sources: dict[str, PatchSource]) -> dict[str, Judgement]:
    """Choose the threshold on the split ``valid``, and judge every split with it."""
    valid = _judge_choosing(predictor, sources["valid"], "valid")
    threshold = valid.scores["threshold"]
    return {
        split: valid if split == "valid" else judge_split(predictor, source, split, threshold)
        for split, source in sources.items()
    }


def _judge_choosing(predictor: Predictor, source: PatchSource, split: str) -> Judgement:
    """Judge a split with the threshold that is best on it; its bins and masks are kept meanwhile, 3 bytes a pixel."""
    kept: list[tuple[np.ndarray, np.ndarray]] = []

    def seen() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for _, probability, mask in predictions(predictor, source, split):
            yield probability, mask
            kept.append((probability_bins(probability).astype(np.uint16), mask.astype(np.uint8)))

    histograms = Histograms.of(seen())
    threshold = best_threshold(histograms)
    objects = ObjectCounts.of((bins >= threshold_bin(threshold), mask) for bins, mask in kept)
    return _judgement(split, source, histograms, objects, threshold)


def _judgement(
    split: str, source: PatchSource, histograms: Histograms, objects: ObjectCounts, threshold: float
) -> Judgement:
    scores = {
        **judge(histograms, threshold),
        "calibration": calibration(histograms),
        "objects": object_scores(objects),
    }
    return Judgement(split, source, histograms, scores)


def predictions(
    predictor: Predictor, source: PatchSource, label: str = ""
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(channels, probability, mask) of every patch of a split, in order: (H, W, C), (H, W) and (H, W)."""
    step = predictor.batch_of(4 * math.prod(source.shape))
    for start in progress(range(0, len(source), step), label=f"judging {label}", unit="batch"):
        channels, masks = source.fetch(np.arange(start, min(start + step, len(source))))
        yield from zip(channels, predictor(channels)[..., 0], masks[..., 0], strict=True)
