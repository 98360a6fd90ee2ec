"""What a model loses from one set of patches to another: F1 and calibration, its threshold kept."""

from __future__ import annotations

from typing import Any

import numpy as np

from tf_landslide.metrics.calibration import calibration, sampled_ece
from tf_landslide.metrics.counts import Histograms, best_threshold, sampled_scores, scores
from tf_landslide.metrics.resampling import bootstrap, interval


def shift(
    before: Histograms, here: Histograms, threshold: float, *, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """How F1 and ECE differ between two sets of patches.

    Args:
        before: where the model was chosen, validation.
        here: another region, season or sensor.
        threshold: the model's own, kept.
        resamples: bootstrap samples; each set draws its own patches, since they are not the same ones.
        seed: of the bootstrap.

    Returns:
        ``f1`` and ``ece``, each with ``before``, ``here``, ``change`` and its 95 % ``interval`` (None without a pixel);
        ``own_best``, ``threshold`` and ``f1`` at the best threshold of ``here`` itself, which nobody can know
        beforehand: a bound, not a score; ``by_threshold``, the F1 that the kept threshold costs against it.
    """
    seeds = np.random.SeedSequence(seed).spawn(2)
    sampled = [
        _sampled(part, threshold, resamples, int(s.generate_state(1)[0]))
        for part, s in zip((before, here), seeds, strict=True)
    ]
    f1 = [_f1(part, threshold) for part in (before, here)]
    ece = [calibration(part, resamples=1)["ece"] for part in (before, here)]
    best = best_threshold(here)
    return {
        "f1": _changed(f1, [part["f1"] for part in sampled]),
        "ece": None if None in ece else _changed(ece, [part["ece"] for part in sampled]),
        "own_best": {"threshold": best, "f1": _f1(here, best)},
        "by_threshold": _f1(here, best) - f1[1],
    }


def _f1(histograms: Histograms, threshold: float) -> float:
    return float(scores(*histograms.counts(threshold).sum(0)[:3])["f1"])


def _sampled(histograms: Histograms, threshold: float, resamples: int, seed: int) -> dict[str, np.ndarray]:
    draws = bootstrap(len(histograms), resamples, seed)
    f1 = sampled_scores(draws, histograms.counts(threshold))["f1"]
    return {"f1": f1, "ece": sampled_ece(histograms, draws)}


def _changed(values: list[float], sampled: list[np.ndarray]) -> dict[str, Any]:
    change = sampled[1] - sampled[0]
    return {
        "before": values[0],
        "here": values[1],
        "change": values[1] - values[0],
        "interval": interval(change),
    }
