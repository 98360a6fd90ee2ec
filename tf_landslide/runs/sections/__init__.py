"""What a training config may say: its sections and keys and their defaults. The descriptions document the keys."""

from __future__ import annotations

import yaml
from pydantic import Field

from tf_landslide.runs.sections.data import DataConfig
from tf_landslide.runs.sections.loss import BCEDiceConfig, LossConfig
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

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(), sort_keys=False)


__all__ = ["Config", "DataConfig", "LossConfig", "ModelConfig", "TrainingConfig"]
