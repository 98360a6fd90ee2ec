"""The learning-rate range test (Smith 2017, arXiv:1506.01186): the loss while the rate grows from batch to batch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from scipy.ndimage import gaussian_filter1d

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.progress import progress

_MEMORY = 0.9  # of the running mean that says when the loss has blown up
_BLOWN_UP = 4.0  # times its lowest
_WIDTH = 0.02  # of the smoothing, as a share of the steps


@dataclass(frozen=True)
class RateRange:
    """What the loss did.

    Attributes:
        rates: (n,) of the steps.
        losses: (n,) of the batches, each before its step.
        smoothed: (n,) by a Gaussian over the steps, which shifts nothing, as a running mean would.
        steepest: the rate at which it falls most for a factor of the rate.
        lowest: the rate at which it is lowest.
        diverges: the first rate behind that from which it is higher than where it began; None where none is.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    steepest: float
    lowest: float
    diverges: float | None

    @property
    def tenth(self) -> float:
        """A tenth of the rate at which the loss diverges, or is lowest where it does not."""
        return (self.diverges or self.lowest) / 10

    @property
    def suggestion(self) -> float:
        """The lower of the two rules' rates."""
        return min(self.steepest, self.tenth)

    def as_dict(self) -> dict[str, Any]:
        found = {name: getattr(self, name) for name in ("suggestion", "steepest", "tenth", "diverges", "lowest")}
        return {**found, **{name: getattr(self, name).tolist() for name in ("rates", "losses", "smoothed")}}


def exponential(low: float, high: float, steps: int) -> np.ndarray:
    """Rates that grow by one factor. Raises ``LandslideError`` where they do not, or are too few to say anything."""
    if not 0 < low < high or steps < 20:
        raise LandslideError(
            f"a range test goes from a rate to a higher one in 20 steps at least, got {low:g} to {high:g} in {steps}"
        )
    return np.geomspace(low, high, steps)


def sweep(model: keras.Model, batches: tf.data.Dataset, rates: np.ndarray, accumulate: int = 1) -> np.ndarray:
    """Train with a rate a step until the loss has blown up; the model is of no use afterwards.

    Args:
        model: compiled, its optimiser at a constant rate.
        batches: of an epoch; as many epochs are drawn as are needed.
        rates: of the steps.
        accumulate: batches that make a step.

    Returns:
        (k,) the losses of the first k steps, k = n where it did not blow up.
    """
    losses: list[float] = []
    mean = lowest = math.inf
    endless = _endless(batches)
    for rate in progress(rates, label="sweeping", unit="step"):
        model.optimizer.learning_rate = rate
        losses.append(float(np.mean([_trained_on(model, batch) for batch in islice(endless, accumulate)])))
        mean = losses[0] if math.isinf(mean) else _MEMORY * mean + (1 - _MEMORY) * losses[-1]
        if not math.isfinite(losses[-1]) or mean > _BLOWN_UP * lowest:
            break
        lowest = min(lowest, mean)
    return np.array(losses)


def _endless(batches: Iterable[Any]) -> Iterator[Any]:
    while True:
        yield from batches


def _trained_on(model: keras.Model, batch: Any) -> float:
    model.reset_metrics()  # else the loss told is the mean since the beginning
    return float(model.train_on_batch(*batch))


def judged(rates: np.ndarray, losses: np.ndarray) -> RateRange:
    """What a sweep says.

    Args:
        rates: (n,), of which the first k were tried.
        losses: (k,); the last may be no number.

    Raises:
        LandslideError: the loss never fell.
    """
    losses = losses[np.isfinite(losses)]
    rates = rates[: len(losses)]
    smoothed = gaussian_filter1d(losses, max(1.0, _WIDTH * len(losses)), mode="nearest") if len(losses) else losses
    low = int(np.argmin(smoothed)) if len(losses) else 0
    if low < 2:
        raise LandslideError("the loss never fell: sweep from a lower rate, or look at data and loss first")
    slope = np.gradient(smoothed, np.log(rates))
    above = np.flatnonzero(smoothed[low:] > smoothed[0])
    return RateRange(
        rates=rates,
        losses=losses,
        smoothed=smoothed,
        steepest=float(rates[int(np.argmin(slope[: low + 1]))]),
        lowest=float(rates[low]),
        diverges=float(rates[low + above[0]]) if len(above) else None,
    )
