"""Normalisation: of a model's channels, and of batches by TensorFlow's fused kernel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from tf_landslide.core.errors import LandslideError
from tf_landslide.models._keras_compat import saved_as, sublayers


@saved_as("Normalization")
class ChannelNormalization(keras.layers.Layer):
    """``(x - mean) / std`` per channel, with statistics kept among the weights; a missing value becomes zero.

    Zero after normalisation is the training mean, so a missing pixel is an ordinary pixel to the convolutions. NaN and
    infinite values count as missing, both here and in ``adapt``. Statistics start at mean 0 and variance 1. A channel
    whose variance is zero was constant in training, so that nothing was learned of it: it becomes zero, moved or not.

    Computed in float32 whatever the layer's dtype policy, which is that of the result: half precision cannot hold
    metres, nor the difference of two of them.

    Call with ``(N, H, W, C)`` channels in physical units; gives the same shape.
    """

    epsilon = 1e-6  # the smallest standard deviation that is divided by

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "autocast": False})  # which saved models may name as well

    def build(self, input_shape):
        options = {"shape": (input_shape[-1],), "trainable": False, "dtype": "float32", "autocast": False}
        self.mean = self.add_weight(name="mean", initializer="zeros", **options)
        self.variance = self.add_weight(name="variance", initializer="ones", **options)

    def reset(self) -> None:
        """Leave channels as they are: mean 0 and variance 1."""
        self.mean.assign(np.zeros(self.mean.shape, np.float32))
        self.variance.assign(np.ones(self.variance.shape, np.float32))

    def adapt(self, batches: Iterable) -> None:
        """Set mean and variance from data, in float64, skipping missing values.

        Args:
            batches: arrays (N, H, W, C), or (channels, mask) pairs as a dataset gives them.

        Raises:
            LandslideError: a channel has no valid value at all.
        """
        count = mean = squares = np.zeros(self.mean.shape[0])
        low, high = np.full(len(count), np.inf), np.full(len(count), -np.inf)
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
            low = np.minimum(low, np.where(valid, x, np.inf).min(0, initial=np.inf))
            high = np.maximum(high, np.where(valid, x, -np.inf).max(0, initial=-np.inf))
        if not np.all(count):
            empty = np.flatnonzero(count == 0).tolist()
            raise LandslideError(f"channels {empty} (from 0) hold no valid value at all; leave them out")
        self.mean.assign(mean.astype(np.float32))
        variance = np.where(low == high, 0, squares / count)  # of equal numbers exactly zero, not nearly
        self.variance.assign(variance.astype(np.float32))

    @property
    def constant_channels(self) -> list[int]:
        """The channels (from 0) that never varied in what the layer was adapted to."""
        return np.flatnonzero(ops.convert_to_numpy(self.variance) == 0).tolist()

    def call(self, x):
        x = ops.cast(x, "float32")
        z = (x - self.mean) / ops.maximum(ops.sqrt(self.variance), self.epsilon)
        known = ops.logical_and(ops.isfinite(z), self.variance > 0)
        return ops.cast(ops.where(known, z, 0.0), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape


@saved_as("BatchNormalization")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch norm, by TensorFlow's fused kernel where that can do it.

    Keras computes batch norm from a dozen elementwise operations. The fused kernel gives the same numbers and trains a
    U-Net/ResNet-34 1.2 times as fast on CPUs; a graph of it lets TensorFlow and OpenVINO fold it into the convolution
    before it. Other backends, ranks and types, and masks, go Keras's way, and so does training on several devices that
    share a batch, by the whole of which they normalise.
    """

    def call(self, inputs, training=None, mask=None):
        plain = not (self.synchronized or self.renorm) and mask is None and self.axis in (-1, 3)
        kept = self.variable_dtype == "float32" and self.compute_dtype in ("float16", "bfloat16", "float32")
        if keras.backend.backend() != "tensorflow" or not (plain and kept) or len(inputs.shape) != 4:
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf  # only where Keras runs on it

        context = tf.distribute.get_replica_context()
        if training and self.trainable and context is not None and context.num_replicas_in_sync > 1:
            return self._of_all_replicas(inputs)
        ones, zeros = ops.ones_like(self.moving_mean), ops.zeros_like(self.moving_mean)
        learning = bool(training and self.trainable)
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=ops.cast(inputs, self.compute_dtype),
            scale=self.gamma if self.scale else ones,
            offset=self.beta if self.center else zeros,
            mean=ops.convert_to_tensor(self.moving_mean),
            variance=ops.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            is_training=learning,
        )
        if learning:
            pixels = ops.cast(ops.prod(ops.shape(inputs)[:3]), variance.dtype)
            variance = variance * ops.maximum(pixels - 1, 1) / pixels  # of the batch itself, as Keras keeps it
            for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + batch * (1 - self.momentum))
        return y

    def _of_all_replicas(self, inputs: Any) -> Any:
        """The batch norm of a batch that several devices share, in training."""
        self.synchronized = True
        try:
            return super().call(inputs, training=True)
        finally:
            self.synchronized = False


def fuse_batch_norm(model: keras.Model, momentum: float) -> None:
    """Give every batch norm of a model, wherever its layers come from, the fused kernel and a momentum."""
    for layer in all_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.__class__ = FusedBatchNormalization  # the same weights and settings; only ``call`` differs
            layer.momentum = momentum


def in_float32(model: keras.Model) -> keras.Model:
    """A model whose layers compute in float32, whatever they were trained in; the weights are float32 in any case."""
    for layer in sublayers(model):
        if layer.compute_dtype in ("float16", "bfloat16"):
            layer.dtype_policy = keras.DTypePolicy("float32")
    return model


def input_normalization(model: keras.Model) -> ChannelNormalization:
    """The layer that normalises a model's channels; of a combined model, its first member's.

    Raises:
        LandslideError: it has none.
    """
    found = next((layer for layer in all_layers(model) if isinstance(layer, ChannelNormalization)), None)
    if found is None:
        raise LandslideError(f"model {model.name!r} does not normalise its channels; it is no model of ours")
    return found


def all_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """The layers of a model and of the models in it."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from all_layers(layer)
        else:
            yield layer
