"""Landslide losses. Plain Dice and binary cross-entropy are Keras's own (``keras.losses``)."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import ops

from tf_landslide.core.errors import LandslideError, lookup


@keras.saving.register_keras_serializable(package="tf_landslide")
class BCEDice(keras.losses.Loss):
    """``(1 - alpha) * weighted binary cross-entropy + alpha * Dice``.

    The cross-entropy of a landslide pixel counts ``positive_weight`` times, and the mean is taken over the weights;
    Dice is taken over the whole batch, so that a patch without landslides does not make it jump.

    Args:
        alpha: share of Dice, 0..1.
        positive_weight: weight of a landslide pixel in the cross-entropy.

    Call with a mask and probabilities of one shape, (N, H, W, 1); gives a scalar.
    """

    def __init__(self, alpha: float = 0.5, positive_weight: float = 1.0, name: str = "bce_dice", **kwargs):
        super().__init__(name=name, **kwargs)
        if not 0 <= alpha <= 1:
            raise LandslideError(f"alpha must lie in 0..1, got {alpha}")
        if positive_weight <= 0:
            raise LandslideError(f"positive_weight must be above 0, got {positive_weight}")
        self.alpha, self.positive_weight = alpha, positive_weight

    def call(self, y_true, y_pred):
        y_pred = ops.convert_to_tensor(y_pred)
        y_true = ops.cast(y_true, y_pred.dtype)
        weight = 1 + (self.positive_weight - 1) * y_true
        cross_entropy = ops.binary_crossentropy(y_true, y_pred)
        weighted = ops.sum(weight * cross_entropy) / ops.sum(weight)
        return (1 - self.alpha) * weighted + self.alpha * keras.losses.dice(y_true, y_pred)

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha, "positive_weight": self.positive_weight}


LOSSES: dict[str, Callable[[float, float], keras.losses.Loss]] = {
    "bce": lambda _, positive_weight: BCEDice(0.0, positive_weight, name="bce"),
    "dice": lambda _, __: keras.losses.Dice(),
    "bce_dice": BCEDice,
}


def get_loss(name: str, alpha: float = 0.5, positive_weight: float = 1.0) -> keras.losses.Loss:
    """A loss by name: ``bce`` (weighted), ``dice`` or ``bce_dice``. Raises ``LandslideError`` for another name."""
    return lookup(LOSSES, name, "loss")(alpha, positive_weight)
