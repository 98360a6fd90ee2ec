"""Calibration: whether of the pixels that a model gives 0.3, three in ten are landslide.

Everything comes from the histograms that scores come from. A pixel counts with the middle of its bin of 1 / ``BINS``,
so that a mean probability, and with it each error here, is known to 1 / (2 ``BINS``), Brier's to 1 / ``BINS``;
frequencies are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tf_landslide.metrics.counts import BINS, THRESHOLDS, Histograms
from tf_landslide.metrics.resampling import bootstrap, interval

RELIABILITY_BINS = 10
MIDDLES = np.minimum(THRESHOLDS + 0.5 / BINS, 1)
"""(BINS + 1,) the probability that each bin of a histogram stands for; its last one holds 1 alone."""


@dataclass(frozen=True)
class Reliability:
    """Pixels by probability, in bins of any width that holds a pixel.

    Attributes:
        low, high: (b,) ends of each bin.
        pixels: (b,) int64, more than 0.
        landslide: (b,) int64, how many of them are.
        probability: (b,) their mean probability.
    """

    low: np.ndarray
    high: np.ndarray
    pixels: np.ndarray
    landslide: np.ndarray
    probability: np.ndarray

    @property
    def frequency(self) -> np.ndarray:
        """(b,) the share of each bin's pixels that is landslide."""
        return self.landslide / self.pixels

    def rows(self) -> list[dict[str, float | int]]:
        """A row for each bin, for JSON."""
        return [
            {
                "low": float(self.low[i]),
                "high": float(self.high[i]),
                "pixels": int(self.pixels[i]),
                "landslide": int(self.landslide[i]),
                "probability": float(self.probability[i]),
                "frequency": float(self.frequency[i]),
            }
            for i in range(len(self.pixels))
        ]


def equal_width(bins: int = RELIABILITY_BINS) -> np.ndarray:
    """Where bins of one width begin, as positions in a histogram; their number must divide ``BINS``."""
    if bins < 1 or BINS % bins:
        raise ValueError(f"{bins} bins do not divide {BINS}")
    return np.arange(bins) * (BINS // bins)


def equal_mass(histograms: Histograms, bins: int = RELIABILITY_BINS) -> np.ndarray:
    """Where bins of as equal a number of pixels as can be begin; fewer where many pixels have one probability."""
    below = (histograms.landslide.sum(0) + histograms.other.sum(0)).cumsum()
    last = np.searchsorted(below * bins, below[-1] * np.arange(1, bins))  # of each bin, at its quantile
    starts = np.unique(np.concatenate([[0], last + 1]))
    return starts[starts <= BINS]


def reliability(histograms: Histograms, starts: np.ndarray) -> Reliability:
    """The reliability curve of a split; bins without a pixel are left out.

    Args:
        histograms: of the split.
        starts: where bins begin, from ``equal_width`` or ``equal_mass``.
    """
    landslide, other = histograms.landslide.sum(0), histograms.other.sum(0)
    pixels, positive, probability = _binned(landslide, other, starts)
    low, high = THRESHOLDS[starts], np.append(THRESHOLDS[starts[1:]], 1.0)
    held = pixels > 0
    return Reliability(low[held], high[held], pixels[held], positive[held], (probability[held] / pixels[held]))


def calibration(
    histograms: Histograms,
    *,
    bins: int = RELIABILITY_BINS,
    resamples: int = 1000,
    seed: int = 0,
    groups: Sequence[str] | np.ndarray | None = None,
) -> dict[str, Any]:
    """Errors of calibration of a split, over all its pixels.

    Args:
        histograms: of the split.
        bins: of the reliability curve.
        resamples: bootstrap samples, of whole patches or of whole ``groups`` of them.
        seed: of the bootstrap.
        groups: (n,) name of each patch's group.

    Returns:
        ``ece`` (expected calibration error, bins of equal width; Naeini et al. 2015, AAAI), ``ece_mass`` (bins of equal
        mass), ``rms_ce`` (root mean square, equal width; Hendrycks et al. 2019, ICLR), ``mce`` (the largest gap of any
        bin), ``brier`` (mean squared error of the probability), ``mean_probability`` and ``share`` (of landslide
        pixels), which are equal where a model is right on the whole; None each without a pixel. ``interval`` holds low
        and high of ``ece`` and ``brier``, ``bins`` the rows of the reliability curve.
    """
    names = ("ece", "ece_mass", "rms_ce", "mce", "brier", "mean_probability", "share")
    starts = equal_width(bins)
    landslide, other = histograms.landslide.sum(0), histograms.other.sum(0)
    if not (landslide.sum() + other.sum()):
        return {**dict.fromkeys(names), "interval": {}, "bins": []}
    wide = _errors(*_binned(landslide, other, starts))
    mass = _errors(*_binned(landslide, other, equal_mass(histograms, bins)))
    total = landslide.sum() + other.sum()
    values = (
        *(wide["ece"], mass["ece"], wide["rms_ce"], wide["mce"], _brier(landslide, other)),
        *(((landslide + other) @ MIDDLES) / total, landslide.sum() / total),
    )
    draws = bootstrap(len(histograms), resamples, seed, groups)
    sampled = {
        "ece": sampled_ece(histograms, draws, bins),
        "brier": _sampled_brier(histograms, draws),
    }
    return {
        **{name: float(value) for name, value in zip(names, values, strict=True)},
        "interval": {name: interval(of_draws) for name, of_draws in sampled.items()},
        "bins": reliability(histograms, starts).rows(),
    }


def sampled_ece(histograms: Histograms, draws: np.ndarray, bins: int = RELIABILITY_BINS) -> np.ndarray:
    """(resamples,) ECE, bins of equal width, of samples of patches; NaN of one without a pixel.

    Args:
        histograms: of n patches.
        draws: (resamples, n) of ``resampling.bootstrap``.
        bins: of the reliability curve.
    """
    parts = _binned(histograms.landslide, histograms.other, equal_width(bins))
    return _errors(*(draws @ part for part in parts))["ece"]


def _binned(landslide: np.ndarray, other: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels, landslide pixels and summed probability of (…, BINS + 1) histograms, in bins that begin at ``starts``."""
    both = landslide + other
    pixels, positive, probability = (np.add.reduceat(part, starts, -1) for part in (both, landslide, both * MIDDLES))
    return pixels, positive, probability


def _errors(pixels: np.ndarray, landslide: np.ndarray, probability: np.ndarray) -> dict[str, np.ndarray]:
    """ECE, RMS-CE and MCE of (…, b) bins; NaN without a pixel."""
    with np.errstate(divide="ignore", invalid="ignore"):
        total = pixels.sum(-1, dtype=np.float64)
        gap = np.where(pixels > 0, np.abs(landslide - probability) / pixels, 0)
        return {
            "ece": (gap * pixels).sum(-1) / total,
            "rms_ce": np.sqrt((gap**2 * pixels).sum(-1) / total),
            "mce": gap.max(-1),
        }


def _squares(landslide: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Summed squared error of the probability, of (…, BINS + 1) histograms."""
    return landslide @ (1 - MIDDLES) ** 2 + other @ MIDDLES**2


def _brier(landslide: np.ndarray, other: np.ndarray) -> np.ndarray:
    return _squares(landslide, other) / (landslide.sum() + other.sum())


def _sampled_brier(histograms: Histograms, draws: np.ndarray) -> np.ndarray:
    pixels = histograms.landslide.sum(1) + histograms.other.sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (draws @ _squares(histograms.landslide, histograms.other)) / (draws @ pixels)
