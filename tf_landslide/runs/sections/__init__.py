"""What a training config may say: its sections and keys and their defaults. The descriptions document the keys."""

from __future__ import annotations

import yaml
from pydantic import Field, model_validator

from tf_landslide.runs.sections.data import DataConfig
from tf_landslide.runs.sections.loss import BCEDiceConfig, LossConfig, of_hard_masks
from tf_landslide.runs.sections.model import ModelConfig
from tf_landslide.runs.sections.section import Section
from tf_landslide.runs.sections.training import TrainingConfig


class Config(Section):
    """A whole run."""

    name: str = Field("landslide", pattern=r"^[A-Za-z0-9_-]+$", description="names the model when it is exported")
    description: str = Field("", description="one line for people")
    threshold: float | None = Field(
        None, ge=0, le=1, description="of a model that came from elsewhere; training chooses its own on validation"
    )
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = BCEDiceConfig()
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _has_an_encoder(self) -> Config:
        training = self.training
        used = {"freeze_encoder": training.freeze_encoder, "encoder_learning_rate": training.encoder_learning_rate != 1}
        if self.model.encoder is None and (keys := [key for key, value in used.items() if value]):
            none = f"{self.model.architecture!r} has none; leave it out"
            raise ValueError(f"training.{keys[0]} is for a model with an encoder, and {none}")
        return self

    @model_validator(mode="after")
    def _takes_soft_masks(self) -> Config:
        if self.data.augmentation.mixup.probability and (hard := of_hard_masks(self.loss)):
            raise ValueError(
                f"data.augmentation.mixup makes soft masks, and loss {hard[0]!r} is of masks of 0 and 1; take cutmix, "
                "or another loss"
            )
        return self

    @property
    def split_seed(self) -> int:
        """Of what is drawn from the training split to validate on, and of folds."""
        return self.training.seed if self.data.split_seed is None else self.data.split_seed

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(), sort_keys=False)


__all__ = ["Config", "DataConfig", "LossConfig", "ModelConfig", "TrainingConfig"]
