"""Landslide losses, with Keras's sample weights: of samples, or of pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from tf_landslide.core.errors import LandslideError, lookup
from tf_landslide.metrics.pixels import aligned, pixel_weights
from tf_landslide.runs.sections.loss import unused_loss_setting


@keras.saving.register_keras_serializable(package="tf_landslide")
class BCEDice(keras.losses.Loss):
    """``(1 - alpha) * weighted binary cross-entropy + alpha * Dice``.

    The cross-entropy of a landslide pixel counts ``positive_weight`` times, and the mean is taken over the weights;
    Dice is taken over the whole batch, so that a patch without landslides does not make it jump. A batch that is
    shared among the replicas of a ``tf.distribute`` strategy is one batch.

    Sample weights act as in Keras's own losses: a pixel's share of the cross-entropy, of both sums of Dice and of the
    mean over pixels is multiplied by its weight, so that a pixel of weight 0 is as if it were not there, and weights
    twice as large double the loss.

    Args:
        alpha: share of Dice, 0..1.
        positive_weight: weight of a landslide pixel in the cross-entropy.
        cross_entropy_weight: of the whole cross-entropy against Dice: every pixel counts that much, of either class.

    Call with a mask and probabilities, (N, H, W, 1) or (N, H, W), and sample weights (N,), (N, H, W) or
    (N, H, W, 1); gives a scalar, or with ``reduction=None`` a number for each pixel.

    Raises:
        LandslideError: ``alpha`` or a weight out of range, or shapes that do not fit each other.
    """

    def __init__(
        self,
        alpha: float = 0.5,
        positive_weight: float = 1.0,
        cross_entropy_weight: float = 1.0,
        name: str = "bce_dice",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        if not 0 <= alpha <= 1:
            raise LandslideError(f"alpha must lie in 0..1, got {alpha}")
        if positive_weight <= 0:
            raise LandslideError(f"positive_weight must be above 0, got {positive_weight}")
        if cross_entropy_weight <= 0:
            raise LandslideError(f"cross_entropy_weight must be above 0, got {cross_entropy_weight}")
        self.alpha, self.positive_weight, self.cross_entropy_weight = alpha, positive_weight, cross_entropy_weight

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        truth, probability = aligned(y_true, y_pred, self.dtype)
        if sample_weight is None:
            return super().__call__(truth, probability)
        weight = pixel_weights(sample_weight, truth, self.dtype)
        # Keras weighs the mean over pixels; the sums inside need the weights too
        return super().__call__((truth, weight), probability, weight)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each pixel, of the mask's shape, whose weighted mean is the loss of the batch.

        Args:
            y_true: the mask, or the mask and a weight for each pixel.
            y_pred: probabilities.
        """
        truth, weight = y_true if isinstance(y_true, tuple) else (y_true, ops.ones_like(y_true))
        total = _of_all_replicas(ops.sum(weight))
        loss = 0.0
        if self.alpha < 1:
            balance = 1 + (self.positive_weight - 1) * truth
            mean = ops.divide_no_nan(_of_all_replicas(ops.sum(weight * balance)), total)
            share = (1 - self.alpha) * self.cross_entropy_weight
            loss += share * ops.divide_no_nan(balance * ops.binary_crossentropy(truth, y_pred), mean)
        if self.alpha > 0:
            sums = ops.stack([ops.sum(weight * truth * y_pred), ops.sum(weight * (truth + y_pred))])
            both, either = ops.unstack(_of_all_replicas(sums))
            loss += self.alpha * (1 - 2 * both / (either + keras.config.epsilon()))
        return ops.broadcast_to(loss, ops.shape(truth)) * _share_of_batch(truth)

    def get_config(self):
        settings = ("alpha", "positive_weight", "cross_entropy_weight")
        return {**super().get_config(), **{name: getattr(self, name) for name in settings}}


def _replica_context() -> Any:
    """TensorFlow's replica that is computing, where there are several; else None."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf  # only where Keras runs on it

    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None


def _of_all_replicas(value: Any) -> Any:
    """The sum of a value over the replicas that share a batch; its gradient reaches each of them."""
    context = _replica_context()
    return value if context is None else context.all_reduce("SUM", value)


def _share_of_batch(truth: Any) -> Any:
    """What a replica's mean must be multiplied by where it holds more or fewer pixels than the others."""
    context = _replica_context()
    if context is None:
        return 1.0
    own = ops.cast(ops.size(truth), truth.dtype)
    return ops.divide_no_nan(own * context.num_replicas_in_sync, context.all_reduce("SUM", own))


LOSSES: dict[str, Callable[[float, float, float], keras.losses.Loss]] = {
    "bce": lambda _, positive_weight, __: BCEDice(0.0, positive_weight, name="bce"),
    "dice": lambda *_: BCEDice(1.0, name="dice"),
    "bce_dice": BCEDice,
}


def get_loss(
    name: str, alpha: float = 0.5, positive_weight: float = 1.0, cross_entropy_weight: float = 1.0
) -> keras.losses.Loss:
    """A loss by name: ``bce`` (weighted), ``dice`` or ``bce_dice``.

    Raises:
        LandslideError: another name, or a setting that the loss has no use for.
    """
    loss = lookup(LOSSES, name, "loss")
    if problem := unused_loss_setting(name, alpha, positive_weight, cross_entropy_weight):
        raise LandslideError(problem)
    return loss(alpha, positive_weight, cross_entropy_weight)
