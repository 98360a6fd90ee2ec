"""What is minimised: what a config may say of it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tf_landslide.runs.sections.section import Section

LossName = Literal["bce", "dice", "bce_dice"]
"""The losses; ``tf_landslide.training.losses`` builds one for each."""


class LossConfig(Section):
    """(1 - alpha) * weighted BCE + alpha * Dice, or one of the two."""

    name: LossName = Field("bce_dice", description="bce, dice or bce_dice")
    alpha: float = Field(0.5, ge=0, le=1, description="share of Dice")
    positive_weight: float = Field(1.0, gt=0, description="weight of a landslide pixel in the cross-entropy")
    cross_entropy_weight: float = Field(
        1.0, gt=0, description="of the whole cross-entropy, both classes, beside Dice: 5 in the paper's code"
    )

    @model_validator(mode="after")
    def _used(self) -> LossConfig:
        if problem := unused_loss_setting(self.name, self.alpha, self.positive_weight, self.cross_entropy_weight):
            raise ValueError(problem)
        return self


def unused_loss_setting(
    name: str, alpha: float, positive_weight: float, cross_entropy_weight: float = 1.0
) -> str | None:
    """What to say of a setting that a loss has no use for; None where each has its effect."""
    if name != "bce_dice" and cross_entropy_weight != 1:
        return (
            f"cross_entropy_weight {cross_entropy_weight} weighs the cross-entropy against Dice in 'bce_dice', and the "
            f"loss is {name!r}; leave it out"
        )
    if name == "dice" and positive_weight != 1:
        return f"positive_weight {positive_weight} weighs a cross-entropy, and loss 'dice' has none; leave it out"
    if name != "bce_dice" and alpha != LossConfig.model_fields["alpha"].default:
        return f"alpha {alpha} is the share of Dice in 'bce_dice', and the loss is {name!r}; leave it out"
    return None
