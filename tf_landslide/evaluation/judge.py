"""Judging: what a predictor makes of a split, reduced to counts, and the scores that follow from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.progress import progress
from tf_landslide.data.source import PatchSource
from tf_landslide.evaluation.tally import Tally
from tf_landslide.metrics.calibration import calibration
from tf_landslide.metrics.counts import Histograms, best_threshold, judge, probability_bins, threshold_bin
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
            ``metrics.calibration.calibration`` does, and what ``Tally.scores`` adds.
        tally: what was counted beside the histograms.
        groups: (n,) name of each patch's group, where the config names groups.
    """

    split: str
    source: PatchSource
    histograms: Histograms
    scores: dict[str, Any]
    tally: Tally
    groups: np.ndarray | None = None


def judge_split(
    predictor: Predictor,
    source: PatchSource,
    split: str,
    threshold: float,
    look: Look | None = None,
    groups: np.ndarray | None = None,
) -> Judgement:
    """Judge one split with a threshold that was chosen elsewhere.

    Args:
        predictor: of the model.
        source: the split's patches.
        split: its name.
        threshold: a pixel is marked from this probability on.
        look: is shown every patch.
        groups: (n,) name of each patch's group; scores then have an interval over groups too.

    Raises:
        LandslideError: a threshold that scores are not kept for, before anything is predicted; or NaN is predicted.
    """
    threshold_bin(threshold)
    tally = Tally(predictor.card.channel_recipe)

    def seen() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for channels, probability, mask in predictions(predictor, source, split):
            if look:
                look(channels, probability, mask)
            tally.add(tally.codes(channels, mask), probability >= np.float32(threshold), mask)
            yield probability, mask

    return _judgement(split, source, Histograms.of(seen()), tally, threshold, groups)


def judge_splits(
    predictor: Predictor, sources: dict[str, PatchSource], groups: dict[str, np.ndarray] | None = None
) -> dict[str, Judgement]:
    """Choose the threshold on the split ``valid``, and judge every split with it; ``groups`` by split, as above."""
    groups = groups or {}
    valid = _judge_choosing(predictor, sources["valid"], "valid", groups.get("valid"))
    threshold = valid.scores["threshold"]
    return {
        split: valid if split == "valid" else judge_split(predictor, source, split, threshold, groups=groups.get(split))
        for split, source in sources.items()
    }


def _judge_choosing(
    predictor: Predictor, source: PatchSource, split: str, groups: np.ndarray | None = None
) -> Judgement:
    """Judge a split with the threshold that is best on it; its bins, masks and classes are kept meanwhile, 3 bytes a
    pixel and one for each way to divide them.
    """
    tally = Tally(predictor.card.channel_recipe)
    kept: list[tuple[list[np.ndarray], np.ndarray, np.ndarray]] = []

    def seen() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for channels, probability, mask in predictions(predictor, source, split):
            yield probability, mask
            bins = probability_bins(probability).astype(np.uint16)
            kept.append((tally.codes(channels, mask), bins, mask.astype(np.uint8)))

    histograms = Histograms.of(seen())
    threshold = best_threshold(histograms)
    for codes, bins, mask in kept:
        tally.add(codes, bins >= threshold_bin(threshold), mask)
    return _judgement(split, source, histograms, tally, threshold, groups)


def _judgement(
    split: str,
    source: PatchSource,
    histograms: Histograms,
    tally: Tally,
    threshold: float,
    groups: np.ndarray | None,
) -> Judgement:
    scores = {
        **judge(histograms, threshold, groups=groups),
        "calibration": calibration(histograms),
        **tally.scores(),
    }
    counted = sum(scores[name] for name in ("tp", "fp", "fn", "tn"))
    if counted != scores["pixels"] - scores["ignored"]:
        raise LandslideError(
            f"{source.data_dir}: {split}: counts sum to {counted:,}, its known pixels are "
            f"{scores['pixels'] - scores['ignored']:,}: not judged"
        )
    return Judgement(split, source, histograms, scores, tally, groups)


def predictions(
    predictor: Predictor, source: PatchSource, label: str = ""
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(channels, probability, mask) of every patch of a split, in order: (H, W, C), (H, W) and (H, W)."""
    step = predictor.batch_of(4 * math.prod(source.shape))
    for start in progress(range(0, len(source), step), label=f"judging {label}", unit="batch"):
        channels, masks = source.fetch(np.arange(start, min(start + step, len(source))))
        yield from zip(channels, predictor(channels)[..., 0], masks[..., 0], strict=True)
