"""Whether what a model says of its uncertainty is worth anything: errors among the pixels it is surest of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tf_landslide.core.errors import LandslideError
from tf_landslide.metrics import IGNORED
from tf_landslide.metrics.counts import scores


@dataclass(frozen=True)
class RiskCoverage:
    """Errors among the surest pixels, by how many are kept.

    Attributes:
        coverage: (k,) share of the pixels that is kept, rising to 1; a point for each value of the uncertainty.
        risk: (k,) share of those that is marked wrongly.
        f1: (k,) F1 of the landslide class among them.
        aurc: area under the risk, the mean risk over every number of pixels kept, equal uncertainties in random order
            (Geifman & El-Yaniv 2017, NeurIPS); None without a pixel.
        excess: ``aurc`` less that of the best order there is, all errors last (Geifman et al. 2019, ICLR).
    """

    coverage: np.ndarray
    risk: np.ndarray
    f1: np.ndarray
    aurc: float | None
    excess: float | None


def risk_coverage(probability: np.ndarray, uncertainty: np.ndarray, mask: np.ndarray, threshold: float) -> RiskCoverage:
    """The risk-coverage curve of pixels.

    Args:
        probability, uncertainty, mask: of one shape; a higher uncertainty is less sure, in any unit. Pixels whose mask
            is ``IGNORED`` are left out.
        threshold: a pixel is marked from this probability on.

    Raises:
        LandslideError: shapes differ, or an uncertainty is NaN.
    """
    shapes = {np.shape(part) for part in (probability, uncertainty, mask)}
    if len(shapes) > 1:
        raise LandslideError(f"probability, uncertainty and mask have shapes {sorted(shapes)}; they must be equal")
    known = np.asarray(mask) != IGNORED
    unsure, truth = np.asarray(uncertainty)[known], np.asarray(mask)[known] == 1
    if np.isnan(unsure).any():
        raise LandslideError("an uncertainty is NaN; it must be a number wherever there is a mask")
    marked = np.asarray(probability, np.float32)[known] >= np.float32(threshold)
    if not len(unsure):
        return RiskCoverage(np.empty(0), np.empty(0), np.empty(0), None, None)
    order = np.argsort(unsure, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(unsure[order])), len(order) - 1)  # the last pixel of each value
    parts = (marked & truth, marked & ~truth, ~marked & truth)
    tp, fp, fn = (np.cumsum(part[order], dtype=np.int64)[ends] for part in parts)
    kept, wrong = ends + 1, fp + fn
    aurc = _area(kept, wrong)
    errors = int(wrong[-1])
    ideal = _area(np.array([len(order) - errors, len(order)]), np.array([0, errors]))
    return RiskCoverage(kept / len(order), wrong / kept, scores(tp, fp, fn)["f1"], aurc, aurc - ideal)


def _area(kept: np.ndarray, wrong: np.ndarray) -> float:
    """Mean risk over 1, 2, … pixels, errors spread evenly between the given points, as random order does on average."""
    numbers = np.arange(1, kept[-1] + 1)
    return float((np.interp(numbers, np.append(0, kept), np.append(0, wrong)) / numbers).mean())
