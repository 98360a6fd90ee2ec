"""Is a model unsure where it is wrong? Risk and coverage of a split, by one or several measures of uncertainty."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.progress import progress
from tf_landslide.data.source import PatchSource
from tf_landslide.metrics.uncertainty import RiskCoverage, risk_coverage
from tf_landslide.predict.predictor import Predictor

CLOSENESS = "closeness to the threshold"
COVERAGES = tuple(k / 20 for k in range(1, 21))

Measures = Callable[[np.ndarray], tuple[np.ndarray, dict[str, np.ndarray]]]
"""(N, H, W, C) channels to (N, H, W) probabilities and, by name, uncertainties of that shape, more being less sure."""


def measures_of(predictor: Predictor, source: PatchSource, threshold: float) -> Measures:
    """All that a model can say of its uncertainty: the spread of the answers it averages where there are several, or of
    passes with dropout, and in any case ``closeness``.
    """
    try:
        predictor.uncertainty(source.fetch(np.array([0]))[0])
    except LandslideError:  # neither averages answers nor has dropout
        return closeness(predictor, threshold)

    def measure(channels: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        found = predictor.uncertainty(channels)
        probability = found.probability[..., 0]
        spread = {"deviation": found.deviation[..., 0], "mutual information": found.mutual_information[..., 0]}
        return probability, {CLOSENESS: _near(probability, threshold), **spread}

    return measure


def closeness(predictor: Predictor, threshold: float) -> Measures:
    """What any model says of itself: how near a probability lies to the threshold, less than 0 off it."""

    def measure(channels: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        probability = predictor(channels)[..., 0]
        return probability, {CLOSENESS: _near(probability, threshold)}

    return measure


def _near(probability: np.ndarray, threshold: float) -> np.ndarray:
    return -np.abs(probability - np.float32(threshold))


def unsureness(measures: Measures, source: PatchSource, threshold: float, batch: int = 16) -> dict[str, Any]:
    """Risk and coverage of a split, over all its pixels: of each 4 bytes a measure are kept meanwhile, and 5 more.

    Args:
        measures: probability and uncertainties of channels.
        source: the split's patches.
        threshold: the model's own.
        batch: patches at a time.

    Returns:
        by measure ``aurc``, ``excess`` (of ``metrics.uncertainty.RiskCoverage``; None without a pixel) and ``curve``, a
        row for each of ``COVERAGES`` or, where many are equally sure, the next share that can be told apart, with the
        error ``risk`` and ``f1`` among the share of pixels that is surest.
    """
    kept: list[tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]] = []
    for start in progress(range(0, len(source), batch), label="uncertainty", unit="batch"):
        channels, masks = source.fetch(np.arange(start, min(start + batch, len(source))))
        kept.append((*measures(channels), masks[..., 0]))
    probability, mask = (np.concatenate([part[i] for part in kept]) for i in (0, 2))
    return {
        name: _told(risk_coverage(probability, np.concatenate([part[1][name] for part in kept]), mask, threshold))
        for name in kept[0][1]
    }


def _told(found: RiskCoverage) -> dict[str, Any]:
    rows = []
    for share in COVERAGES if len(found.coverage) else ():  # pixels that are equally sure stand together
        i = min(int(np.searchsorted(found.coverage, share - 1e-12)), len(found.coverage) - 1)
        reached = float(found.coverage[i])
        rows.append({"coverage": reached, "risk": float(found.risk[i]), "f1": float(found.f1[i])})
    rows = [row for i, row in enumerate(rows) if not i or row["coverage"] > rows[i - 1]["coverage"]]
    return {"aurc": found.aurc, "excess": found.excess, "curve": rows}
