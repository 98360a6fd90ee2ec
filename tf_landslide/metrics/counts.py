"""Dataset-level scores from integer counts, the choice of a threshold, and bootstrap intervals.

Each patch is reduced once to two histograms of probability (landslide and other pixels). Every score at every
threshold, every curve and every bootstrap sample comes from those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tf_landslide.core.errors import LandslideError
from tf_landslide.metrics import IGNORED, SCORES
from tf_landslide.metrics.resampling import bootstrap, interval

BINS = 1000
THRESHOLDS = np.arange(BINS + 1) / BINS


@dataclass(frozen=True)
class Histograms:
    """Pixels of each patch by probability: (n, BINS + 1) int64 each; bin k holds [k / BINS, (k + 1) / BINS)."""

    landslide: np.ndarray
    other: np.ndarray

    def __len__(self) -> int:
        return len(self.landslide)

    @classmethod
    def of(cls, pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> Histograms:
        """Build from (probability, mask) pairs, one patch each, arrays of any equal shape; ``IGNORED`` is left out.

        Raises:
            LandslideError: a pair whose shapes differ, or a probability that is NaN.
        """
        landslide, other = [], []
        for probability, mask in pairs:
            if np.shape(probability) != np.shape(mask):
                raise LandslideError(
                    f"probabilities have shape {np.shape(probability)}, masks {np.shape(mask)}; they must be equal"
                )
            bins = probability_bins(np.asarray(probability))
            truth, known = np.asarray(mask).astype(bool), np.asarray(mask) != IGNORED
            landslide.append(np.bincount(bins[truth & known].ravel(), minlength=BINS + 1))
            other.append(np.bincount(bins[~truth].ravel(), minlength=BINS + 1))
        return cls(np.array(landslide, np.int64), np.array(other, np.int64))

    def counts(self, threshold: float) -> np.ndarray:
        """(n, 4) int64: TP, FP, FN, TN of each patch, a pixel being marked where probability >= threshold."""
        k = threshold_bin(threshold)
        tp, fp = self.landslide[:, k:].sum(1), self.other[:, k:].sum(1)
        return np.stack([tp, fp, self.landslide.sum(1) - tp, self.other.sum(1) - fp], axis=1)


def probability_bins(probability: np.ndarray) -> np.ndarray:
    """The bin of each probability, such that ``bin >= k`` is exactly ``probability >= float32(k / BINS)``.

    Raises:
        LandslideError: a probability is NaN.
    """
    if np.isnan(probability).any():
        raise LandslideError("the model gives NaN for a probability; its training diverged, train it again")
    bins = np.searchsorted(THRESHOLDS.astype(np.float32), probability.astype(np.float32), side="right") - 1
    return np.maximum(bins, 0)  # some runtime's sigmoid rounds to just below 0


def threshold_bin(threshold: float) -> int:
    """The bin of a threshold. Raises ``LandslideError`` for one that does not lie on the grid of 1 / BINS."""
    if not 0 <= threshold <= 1 or abs(nearest_threshold(threshold) - threshold) > 1e-9:  # NaN is on neither side
        raise LandslideError(f"threshold {threshold}: expected a multiple of {1 / BINS}, from 0 to 1")
    return round(threshold * BINS)


def nearest_threshold(value: float) -> float:
    """The threshold of the grid that is nearest to a number."""
    return round(value * BINS) / BINS


def scores(tp: Any, fp: Any, fn: Any, *, empty: float = 0.0) -> dict[str, np.ndarray]:
    """F1, precision, recall and IoU of the landslide class; ``empty`` where a ratio has nothing to divide by."""

    def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
        out = np.full(np.shape(numerator), empty)
        return np.divide(numerator, denominator, out=out, where=np.asarray(denominator) > 0)

    tp, fp, fn = (np.asarray(v, np.float64) for v in (tp, fp, fn))
    return {
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
        "precision": ratio(tp, tp + fp),
        "recall": ratio(tp, tp + fn),
        "iou": ratio(tp, tp + fp + fn),
    }


def sampled_scores(draws: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of bootstrap samples (resamples, n) of (n, 4) counts; NaN of one in which a score has no value."""
    return scores(*(draws @ counts).T[:3], empty=np.nan)


def curve(histograms: Histograms) -> dict[str, np.ndarray]:
    """Scores at every threshold of ``THRESHOLDS``, over all pixels."""
    landslide, other = histograms.landslide.sum(0), histograms.other.sum(0)
    tp, fp = landslide[::-1].cumsum()[::-1], other[::-1].cumsum()[::-1]
    return {"threshold": THRESHOLDS, **scores(tp, fp, landslide.sum() - tp)}


def f1_band(histograms: Histograms, *, resamples: int = 200, seed: int = 0) -> np.ndarray:
    """(2, BINS + 1) low and high of F1 at every threshold: the middle 95 % of bootstrap samples of whole patches."""
    draws = bootstrap(len(histograms), resamples, seed).astype(np.float64)  # exact, and many times as fast to multiply
    landslide, other = (draws @ part for part in (histograms.landslide, histograms.other))
    tp, fp = (part[:, ::-1].cumsum(1)[:, ::-1] for part in (landslide, other))
    sampled = scores(tp, fp, landslide.sum(1, keepdims=True) - tp, empty=np.nan)["f1"]
    return np.stack([interval(sampled[:, k]) for k in range(sampled.shape[1])], axis=1)


def best_threshold(histograms: Histograms) -> float:
    """The threshold of highest F1, the middle of the first run of equal ones; 0.5 where there is no landslide."""
    if not histograms.landslide.sum():
        return 0.5
    f1 = curve(histograms)["f1"]
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    run = best[: np.argmax(np.append(np.diff(best), 2) > 1) + 1]
    return float(THRESHOLDS[run[len(run) // 2]])


def judge(
    histograms: Histograms,
    threshold: float,
    *,
    resamples: int = 1000,
    seed: int = 0,
    groups: Sequence[str] | np.ndarray | None = None,
) -> dict[str, Any]:
    """Scores of a split at a threshold, with a 95 % bootstrap interval over patches.

    Args:
        histograms: of the split.
        threshold: chosen elsewhere (on validation).
        resamples: bootstrap samples of whole patches.
        seed: of the bootstrap.
        groups: (n,) name of each patch's group, for an interval over groups too.

    Returns:
        ``f1 precision recall iou threshold``, the counts ``tp fp fn tn``, ``patches``, ``interval`` (low and high of
        each score), ``groups`` (their number) and ``interval_groups`` where there are groups, and ``at_0.5`` (the
        scores at threshold 0.5, to compare with work that does not choose one).
    """
    return {
        **judged_counts(histograms.counts(threshold), resamples=resamples, seed=seed, groups=groups),
        "threshold": threshold,
        "at_0.5": {k: float(v) for k, v in scores(*histograms.counts(0.5).sum(0)[:3]).items()},
    }


def judged_counts(
    counts: np.ndarray, *, resamples: int = 1000, seed: int = 0, groups: Sequence[str] | np.ndarray | None = None
) -> dict[str, Any]:
    """Scores of (n, 4) TP, FP, FN, TN of patches: ``f1 precision recall iou``, ``tp fp fn tn``, ``patches``,
    ``interval``, and with groups ``groups`` and ``interval_groups``, as ``judge`` gives them.
    """
    tp, fp, fn, tn = (int(v) for v in counts.sum(0))

    def intervals(groups: Sequence[str] | np.ndarray | None) -> dict[str, list[float]]:
        sampled = sampled_scores(bootstrap(len(counts), resamples, seed, groups), counts)
        return {name: interval(sampled[name]) for name in SCORES}

    return {
        **{name: float(value) for name, value in scores(tp, fp, fn).items()},
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "tn": tn,
        "patches": len(counts),
        "interval": intervals(None),
        **({} if groups is None else _over_groups(groups, intervals)),
    }


def _over_groups(
    groups: Sequence[str] | np.ndarray, intervals: Callable[[Sequence[str] | np.ndarray], dict[str, list[float]]]
) -> dict[str, Any]:
    """How many groups there are, and the interval over them: of a single one there is none."""
    number = len(np.unique(groups))
    return {"groups": number, **({"interval_groups": intervals(groups)} if number > 1 else {})}


def patch_f1(histograms: Histograms, threshold: float) -> np.ndarray:
    """(n,) F1 of each patch alone; NaN where it neither holds nor is given any landslide."""
    tp, fp, fn, _ = histograms.counts(threshold).T
    return np.where(tp + fp + fn > 0, scores(tp, fp, fn)["f1"], np.nan)
