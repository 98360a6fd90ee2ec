"""Layers that every model shares."""

from __future__ import annotations

from collections.abc import Iterable

import keras
import numpy as np
from keras import ops

from tf_landslide.errors import LandslideError


@keras.saving.register_keras_serializable(package="tf_landslide")
class Normalization(keras.layers.Layer):
    """``(x - mean) / std`` per channel, with statistics kept among the weights; a missing value becomes zero.

    Zero after normalisation is the training mean, so a missing pixel is an ordinary pixel to the convolutions. NaN and
    infinite values count as missing, both here and in ``adapt``. Statistics start at mean 0 and variance 1.

    Call with ``(N, H, W, C)`` channels in physical units; gives the same shape.
    """

    epsilon = 1e-6  # of the standard deviation: a channel that never varies gives zero

    def build(self, input_shape):
        channels = (input_shape[-1],)
        self.mean = self.add_weight(name="mean", shape=channels, initializer="zeros", trainable=False, dtype="float32")
        self.variance = self.add_weight(
            name="variance", shape=channels, initializer="ones", trainable=False, dtype="float32"
        )

    def adapt(self, batches: Iterable) -> None:
        """Set mean and variance from data, in float64, skipping missing values.

        Args:
            batches: arrays (N, H, W, C), or (channels, mask) pairs as a dataset gives them.

        Raises:
            LandslideError: a channel has no valid value at all.
        """
        count = mean = squares = np.zeros(self.mean.shape[0])
        for batch in batches:
            x = np.asarray(batch[0] if isinstance(batch, (tuple, list)) else batch, np.float64)
            x = x.reshape(-1, x.shape[-1])
            valid = np.isfinite(x)
            new = valid.sum(0)
            total = np.maximum(count + new, 1)
            batch_mean = np.where(valid, x, 0).sum(0) / np.maximum(new, 1)
            squares = squares + np.where(valid, (x - batch_mean) ** 2, 0).sum(0)
            squares = squares + (batch_mean - mean) ** 2 * count * new / total
            mean = mean + (batch_mean - mean) * new / total
            count = count + new
        if not np.all(count):
            empty = np.flatnonzero(count == 0).tolist()
            raise LandslideError(f"channels {empty} (from 0) hold no valid value at all; leave them out")
        self.mean.assign(mean.astype(np.float32))
        self.variance.assign((squares / count).astype(np.float32))

    def call(self, x):
        x = ops.cast(x, "float32")
        z = (x - self.mean) / ops.maximum(ops.sqrt(self.variance), self.epsilon)
        return ops.cast(ops.where(ops.isfinite(z), z, 0.0), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape
