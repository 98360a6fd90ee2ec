"""Losses of single pixels: cross-entropy and what weighs it."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tf_landslide.training.losses.base import PixelLoss, batch_sums, require, safe_power


def cross_entropy(truth: Any, probability: Any, weight: Any, positive_weight: float) -> Any:
    """Binary cross-entropy of each pixel; landslides count ``positive_weight`` times, the mean is over the weights."""
    balance = 1 + (positive_weight - 1) * truth
    total, balanced = batch_sums(weight, weight * balance)
    mean = ops.divide_no_nan(balanced, total)
    return ops.divide_no_nan(balance * ops.binary_crossentropy(truth, probability), mean)


@keras.saving.register_keras_serializable(package="tf_landslide")
class BCE(PixelLoss):
    """Binary cross-entropy, ``-Σ b log p_t / Σ b``: ``p_t`` is the probability of what is true, ``b`` a class's weight.

    Args:
        positive_weight: ``b`` of a landslide pixel; of any other it is 1.

    See ``PixelLoss`` for how it is called.

    Raises:
        LandslideError: a weight that is not above 0.
    """

    settings = ("positive_weight",)

    def __init__(self, positive_weight: float = 1.0, name: str = "bce", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        require("positive_weight", positive_weight, above=0)
        self.positive_weight = positive_weight

    def of_pixels(self, truth: Any, probability: Any, weight: Any) -> Any:
        return cross_entropy(truth, probability, weight, self.positive_weight)


@keras.saving.register_keras_serializable(package="tf_landslide")
class Focal(PixelLoss):
    """Focal loss, the mean over pixels of ``-a (1 - p_t)^gamma log p_t``: pixels that are easy count little.

    ``p_t`` is the probability of what is true, ``a`` is ``alpha`` of a landslide pixel and ``1 - alpha`` of any other.
    Lin et al. 2017, Focal Loss for Dense Object Detection, equation 5 (summed there over the positive anchors' number).

    Args:
        gamma: 0 or more; 0 is cross-entropy.
        alpha: 0..1; None weighs both classes with 1.

    See ``PixelLoss`` for how it is called.

    Raises:
        LandslideError: ``gamma`` or ``alpha`` out of range.
    """

    settings = ("gamma", "alpha")

    def __init__(self, gamma: float = 2.0, alpha: float | None = 0.25, name: str = "focal", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        require("gamma", gamma)
        if alpha is not None:
            require("alpha", alpha, high=1)
        self.gamma, self.alpha = gamma, alpha

    def of_pixels(self, truth: Any, probability: Any, weight: Any) -> Any:
        wrong = truth * (1 - probability) + (1 - truth) * probability
        loss = safe_power(wrong, self.gamma) * ops.binary_crossentropy(truth, probability)
        return loss if self.alpha is None else loss * (self.alpha * truth + (1 - self.alpha) * (1 - truth))
