"""Losses of the overlap of two areas: what is true and what is predicted, each a sum over the whole batch.

A batch in which nothing is true has nothing to overlap with: the loss is 1 and teaches nothing. So give batches
landslides (``data.positive_fraction``), or add a loss of pixels.
"""

from __future__ import annotations

from typing import Any

import keras

from tf_landslide.training.losses.base import PixelLoss, batch_sums, require, safe_power


def dice(truth: Any, probability: Any, weight: Any) -> Any:
    """Dice loss of a batch, a scalar."""
    both, either = batch_sums(weight * truth * probability, weight * (truth + probability))
    return 1 - 2 * both / (either + keras.config.epsilon())


@keras.saving.register_keras_serializable(package="tf_landslide")
class Dice(PixelLoss):
    """Dice loss, ``1 - 2 Σ y p / Σ (y + p)``: one minus a soft F1.

    Milletari et al. 2016, V-Net, with sums of plain instead of squared terms below the line.

    See ``PixelLoss`` for how it is called.
    """

    def __init__(self, name: str = "dice", **kwargs: Any):
        super().__init__(name=name, **kwargs)

    def of_pixels(self, truth: Any, probability: Any, weight: Any) -> Any:
        return dice(truth, probability, weight)


@keras.saving.register_keras_serializable(package="tf_landslide")
class Tversky(PixelLoss):
    """Tversky loss, ``(1 - TP / (TP + alpha FP + beta FN))^gamma``, of soft counts.

    Salehi et al. 2017, Tversky loss function for image segmentation; with ``gamma`` other than 1 the focal Tversky loss
    of Abraham & Khan 2019, whose exponent is written 1/γ there (their 4/3 is 0.75 here). Alpha = beta = 0.5 is Dice,
    alpha = beta = 1 is soft IoU. (Keras's ``Tversky`` has the two the other way round.)

    Args:
        alpha: weight of false positives, 0 or more.
        beta: weight of false negatives, 0 or more; above alpha it favours recall.
        gamma: exponent, above 0.

    See ``PixelLoss`` for how it is called.

    Raises:
        LandslideError: a setting out of range, or ``alpha`` and ``beta`` both 0.
    """

    settings = ("alpha", "beta", "gamma")

    def __init__(self, alpha: float = 0.3, beta: float = 0.7, gamma: float = 1.0, name: str = "tversky", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        require("alpha", alpha)
        require("beta", beta)
        require("alpha + beta", alpha + beta, above=0)
        require("gamma", gamma, above=0)
        self.alpha, self.beta, self.gamma = alpha, beta, gamma

    def of_pixels(self, truth: Any, probability: Any, weight: Any) -> Any:
        both, invented, missed = batch_sums(
            weight * truth * probability, weight * (1 - truth) * probability, weight * truth * (1 - probability)
        )
        errors = self.alpha * invented + self.beta * missed
        return safe_power(1 - both / (both + errors + keras.config.epsilon()), self.gamma)


@keras.saving.register_keras_serializable(package="tf_landslide")
class SoftIoU(PixelLoss):
    """Soft IoU (Jaccard) loss, ``1 - Σ y p / Σ (y + p - y p)``.

    Rahman & Wang 2016, Optimizing Intersection-Over-Union in Deep Neural Networks for Image Segmentation.

    See ``PixelLoss`` for how it is called.
    """

    def __init__(self, name: str = "soft_iou", **kwargs: Any):
        super().__init__(name=name, **kwargs)

    def of_pixels(self, truth: Any, probability: Any, weight: Any) -> Any:
        both, either = batch_sums(weight * truth * probability, weight * (truth + probability - truth * probability))
        return 1 - both / (either + keras.config.epsilon())
