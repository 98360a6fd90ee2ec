"""What a combined model is built of: images turned and turned back, answers averaged, and a temperature."""

from __future__ import annotations

import keras
from keras import layers, ops

FLIPS = ((False, False), (True, False), (False, True), (True, True))
"""Of rows, of columns; the last is half a turn."""


def _flipped(x, rows: bool, columns: bool):
    return x[:, :: -1 if rows else 1, :: -1 if columns else 1]


def _swapped(x):
    return ops.transpose(x, (0, 2, 1, 3))


@keras.saving.register_keras_serializable(package="tf_landslide")
class Turned(layers.Layer):
    """An image four times along the batch: as it is, rows flipped, columns flipped, both; transposed first if asked.

    With and without transposing these are the eight flips and rotations of a square. Any height and width will do.

    Args:
        transposed: swap rows and columns first.

    Call with (N, H, W, C); gives (4 N, H, W, C), or (4 N, W, H, C).
    """

    def __init__(self, transposed: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.transposed = transposed

    def call(self, x):
        x = _swapped(x) if self.transposed else x
        return ops.concatenate([_flipped(x, *flips) for flips in FLIPS], axis=0)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch and 4 * batch, *((width, height) if self.transposed else (height, width)), channels)

    def get_config(self):
        return {**super().get_config(), "transposed": self.transposed}


@keras.saving.register_keras_serializable(package="tf_landslide")
class TurnedBack(layers.Layer):
    """The answers for ``Turned`` images, each turned back onto the image: one behind the other along the last axis.

    Args:
        transposed: as ``Turned`` was told.

    Call with (4 N, H, W, 1), or (4 N, W, H, 1); gives (N, H, W, 4).
    """

    def __init__(self, transposed: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.transposed = transposed

    def call(self, x):
        parts = [_flipped(part, *flips) for part, flips in zip(ops.split(x, 4, axis=0), FLIPS, strict=True)]
        x = ops.concatenate(parts, axis=-1)
        return _swapped(x) if self.transposed else x

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        return (batch and batch // 4, *((width, height) if self.transposed else (height, width)), 4)

    def get_config(self):
        return {**super().get_config(), "transposed": self.transposed}


@keras.saving.register_keras_serializable(package="tf_landslide")
class MeanOfVotes(layers.Layer):
    """The mean of all answers. Call with (N, H, W, V); gives (N, H, W, 1)."""

    def call(self, x):
        return ops.mean(x, axis=-1, keepdims=True)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 1)


@keras.saving.register_keras_serializable(package="tf_landslide")
class Temperature(layers.Layer):
    """Probabilities whose logits are divided by a temperature (Guo et al. 2017, arXiv:1706.04599).

    ``sigmoid(logit(p) / T)`` is ``p^(1/T) / (p^(1/T) + (1 - p)^(1/T))``, which is defined at 0 and 1 too.

    Args:
        temperature: above 1 for a model that is too sure of itself.

    Call with probabilities of any shape; gives the same shape.
    """

    def __init__(self, temperature: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.temperature = temperature

    def call(self, p):
        ours, others = (ops.power(part, 1 / self.temperature) for part in (p, 1 - p))
        return ours / (ours + others)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "temperature": self.temperature}


@keras.saving.register_keras_serializable(package="tf_landslide")
class Spread(layers.Layer):
    """How far answers are apart: their standard deviation, and the mutual information of answer and answerer, in nats.

    Mutual information is the entropy of the mean less the mean entropy (Houlsby et al. 2011, arXiv:1112.5745): high
    where each is sure and they disagree, near zero where all are unsure alike.

    Call with (N, H, W, V) probabilities; gives (N, H, W, 2).
    """

    def call(self, x):
        x = ops.cast(x, "float32")
        mean = ops.mean(x, axis=-1, keepdims=True)
        deviation = ops.sqrt(ops.mean((x - mean) ** 2, axis=-1, keepdims=True))
        information = _entropy(mean) - ops.mean(_entropy(x), axis=-1, keepdims=True)
        return ops.concatenate([deviation, ops.maximum(information, 0.0)], axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 2)


def _entropy(p):
    """Of yes and no, in nats; 0 where either is certain."""
    tiny = 1e-30
    return -p * ops.log(ops.maximum(p, tiny)) - (1 - p) * ops.log(ops.maximum(1 - p, tiny))
