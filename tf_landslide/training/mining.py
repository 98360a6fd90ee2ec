"""Hard patches: which ones the model gets wrong as it stands."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops


class PatchErrors:
    """The error of every patch of a dataset: the mean cross-entropy of its pixels that count, untouched by flips.

    It is of the weights that the model has when it is asked. So a run that goes on from these weights finds the same,
    and there is nothing to keep.

    Args:
        model: trained meanwhile.
        dataset: of ``as_dataset``, neither shuffled nor augmented.
    """

    def __init__(self, model: keras.Model, dataset: tf.data.Dataset):
        self.model, self.dataset = model, dataset
        self._of_batch = tf.function(self._errors, reduce_retracing=True)

    def __call__(self) -> np.ndarray:
        """(n,) float64; 0 where an error is no number."""
        errors = np.concatenate([self._of_batch(*batch).numpy() for batch in self.dataset]).astype(np.float64)
        return np.where(np.isfinite(errors), errors, 0.0)

    def _errors(self, channels: Any, mask: Any, weight: Any = None) -> Any:
        probability = ops.cast(self.model(channels, training=False), mask.dtype)
        error = ops.binary_crossentropy(mask, probability)
        weight = ops.ones_like(mask) if weight is None else weight
        pixels = (1, 2, 3)
        return ops.divide_no_nan(ops.sum(weight * error, pixels), ops.sum(weight, pixels))
