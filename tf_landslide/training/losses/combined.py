"""Losses that are sums of losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tf_landslide.core.errors import LandslideError
from tf_landslide.training.losses.base import PixelLoss, require
from tf_landslide.training.losses.cross_entropy import cross_entropy
from tf_landslide.training.losses.overlap import dice


@keras.saving.register_keras_serializable(package="tf_landslide")
class BCEDice(PixelLoss):
    """``(1 - alpha) * cross_entropy_weight * BCE + alpha * Dice``: the paper's loss, of ``BCE`` and ``Dice`` here.

    Args:
        alpha: share of Dice, 0..1.
        positive_weight: weight of a landslide pixel in the cross-entropy.
        cross_entropy_weight: of the whole cross-entropy against Dice: every pixel counts that much, of either class.

    See ``PixelLoss`` for how it is called.

    Raises:
        LandslideError: ``alpha`` or a weight out of range.
    """

    settings = ("alpha", "positive_weight", "cross_entropy_weight")

    def __init__(
        self,
        alpha: float = 0.5,
        positive_weight: float = 1.0,
        cross_entropy_weight: float = 1.0,
        name: str = "bce_dice",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        require("alpha", alpha, high=1)
        require("positive_weight", positive_weight, above=0)
        require("cross_entropy_weight", cross_entropy_weight, above=0)
        self.alpha, self.positive_weight, self.cross_entropy_weight = alpha, positive_weight, cross_entropy_weight

    def of_pixels(self, truth: Any, probability: Any, weight: Any) -> Any:
        loss = 0.0
        if self.alpha < 1:
            share = (1 - self.alpha) * self.cross_entropy_weight
            loss += share * cross_entropy(truth, probability, weight, self.positive_weight)
        if self.alpha > 0:
            loss += self.alpha * dice(truth, probability, weight)
        return loss


@keras.saving.register_keras_serializable(package="tf_landslide")
class WeightedSum(PixelLoss):
    """``Σ weight * loss`` of any losses of this package.

    Args:
        losses: the terms.
        weights: of each, above 0.

    See ``PixelLoss`` for how it is called.

    Raises:
        LandslideError: no term, another number of weights, a weight that is not above 0, or a loss that is no
            ``PixelLoss``.

    Example:
        >>> loss = WeightedSum([Focal(gamma=2.0), Lovasz()], [0.7, 0.3])
    """

    def __init__(self, losses: Sequence[PixelLoss], weights: Sequence[float], name: str = "sum", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        if not losses or len(losses) != len(weights):
            raise LandslideError(f"a sum needs a weight for each of its losses, got {len(losses)} and {len(weights)}")
        for loss, weight in zip(losses, weights, strict=True):
            if not isinstance(loss, PixelLoss):
                raise LandslideError(f"a sum is of losses of tf_landslide.losses, got {type(loss).__name__}")
            require("a weight", weight, above=0)
        self.losses, self.weights = list(losses), list(weights)

    def of_pixels(self, truth: Any, probability: Any, weight: Any) -> Any:
        terms = zip(self.losses, self.weights, strict=True)
        return sum(share * loss.of_pixels(truth, probability, weight) for loss, share in terms)

    def get_config(self) -> dict[str, Any]:
        losses = [keras.saving.serialize_keras_object(loss) for loss in self.losses]
        return {**super().get_config(), "losses": losses, "weights": self.weights}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> WeightedSum:
        losses = [keras.saving.deserialize_keras_object(loss) for loss in config["losses"]]
        return cls(**{**config, "losses": losses})
