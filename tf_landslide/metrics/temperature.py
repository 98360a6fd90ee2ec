"""Temperature scaling (Guo et al. 2017, arXiv:1706.04599): one number that divides every logit, fitted on validation.

It changes no order of probabilities, so that F1 stays what it was at the threshold that moves along.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import minimize_scalar

from tf_landslide.core.errors import LandslideError
from tf_landslide.metrics import IGNORED

LOWEST, HIGHEST = 0.05, 20.0
_FARTHEST, _STEPS = 17.0, 100  # float32 holds no probability below 1 of a logit beyond 16.6; bins of 1 / 100
_MIDDLES: np.ndarray = np.arange(-_FARTHEST * _STEPS, _FARTHEST * _STEPS + 1) / _STEPS


@dataclass
class LogitCounts:
    """Pixels by the logit of their probability, in bins of 0.01 from -17 to 17; what lies beyond is in the last ones.

    Attributes:
        landslide, other: (K,) int64.
    """

    landslide: np.ndarray = field(default_factory=lambda: np.zeros(len(_MIDDLES), np.int64))
    other: np.ndarray = field(default_factory=lambda: np.zeros(len(_MIDDLES), np.int64))

    def add(self, probability: np.ndarray, mask: np.ndarray) -> None:
        """Count the pixels of a patch: probability and mask of one shape; ``IGNORED`` is left out."""
        bins = np.rint((logit(probability) + _FARTHEST) * _STEPS).astype(np.int64)
        bins, mask = np.clip(bins, 0, len(_MIDDLES) - 1).ravel(), np.asarray(mask).ravel()
        for counts, known in ((self.landslide, (mask != 0) & (mask != IGNORED)), (self.other, mask == 0)):
            counts += np.bincount(bins[known], minlength=len(_MIDDLES))

    def nll(self, temperature: float) -> float:
        """Mean negative log-likelihood, in nats a pixel, where logits are divided by a temperature."""
        scaled = _MIDDLES / temperature
        total = self.landslide @ np.logaddexp(0, -scaled) + self.other @ np.logaddexp(0, scaled)
        return float(total / (self.landslide.sum() + self.other.sum()))

    def best_temperature(self) -> float:
        """The temperature of the lowest negative log-likelihood, 0.05..20.

        Raises:
            LandslideError: there are no landslide pixels, or nothing else: any temperature would do.
        """
        if not self.landslide.sum() or not self.other.sum():
            raise LandslideError("a temperature is fitted on pixels of both classes; validation holds one alone")
        found = minimize_scalar(
            lambda log: self.nll(float(np.exp(log))), bounds=np.log([LOWEST, HIGHEST]), method="bounded"
        )
        return float(np.exp(found.x))


def logit(probability: np.ndarray) -> np.ndarray:
    """``log(p / (1 - p))`` in float64, infinite at 0 and 1 no longer: they end at ±17."""
    p = np.asarray(probability, np.float64)
    with np.errstate(divide="ignore"):
        return np.clip(np.log(p) - np.log1p(-p), -_FARTHEST, _FARTHEST)


def scaled(probability: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities at a temperature, as ``models.layers.combining.Temperature`` computes them; float64."""
    p = np.asarray(probability, np.float64)
    ours, others = p ** (1 / temperature), (1 - p) ** (1 / temperature)
    return ours / (ours + others)
