"""What a training config may say: its sections and keys and their defaults. The descriptions document the keys."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    field_validator,
    model_validator,
)

from tf_landslide.bands.layouts import LANDSLIDE4SENSE, BandLayout, get_layout, stated
from tf_landslide.bands.recipes import ChannelRecipe, channel_recipe

LossName = Literal["bce", "dice", "bce_dice"]
"""The losses; ``tf_landslide.training.losses`` builds one for each."""

Precision = Literal["float32", "mixed_float16", "mixed_bfloat16"]
"""What layers compute in; weights are always kept in float32."""

Layout = Annotated[BandLayout, PlainValidator(get_layout), PlainSerializer(stated)]
"""A band layout: by name or as a mapping in YAML, and a ``BandLayout`` once it is read."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class MedianConfig(_Section):
    """Optional median filter on the bands, before the features."""

    size: int = Field(0, ge=0, description="side of the window in pixels, odd; 0 turns the filter off")
    bands: list[str] | None = Field(None, min_length=1, description="the bands to filter; null for all")

    @field_validator("size")
    @classmethod
    def _odd(cls, size: int) -> int:
        if size and size % 2 == 0:
            raise ValueError(f"a median filter's window has an odd side, found {size}")
        return size


class DataConfig(_Section):
    """From stored bands to batches."""

    layout: Layout = Field(LANDSLIDE4SENSE, description="band layout: a name, a YAML file's path, or keys and values")
    channels: str | list[str] = Field(
        "six", description="recipe (six, fourteen, fourteen_stored, legacy_ratio) or list"
    )
    median: MedianConfig = MedianConfig()
    augment: bool = Field(True, description="the eight flips and rotations")
    positive_fraction: float | None = Field(None, ge=0, le=1, description="share of patches with landslides an epoch")
    cache: Literal["memory", "disk", "none"] = Field(
        "memory", description="where the channels are kept: memory, disk (beside the run while it lasts) or none"
    )
    valid_share: float | None = Field(
        None, gt=0, lt=1, description="share of train to validate on where no validation split with masks is there"
    )
    allow_missing: bool = Field(False, description="take NaN as a missing value rather than as a fault")
    allow_duplicates: bool = Field(False, description="train although an image occurs twice, even in two splits")
    ignore: int | None = Field(
        None, description="value of mask pixels that are left out of loss, metrics and scores, e.g. 255"
    )
    normalise: bool = Field(True, description="channels by the training split's mean and deviation, inside the model")
    pad: bool = Field(False, description="mirror training patches at the bottom and right to a multiple of 32")
    strict: bool = Field(False, description="refuse values that are not those of the layout, rather than warn")

    @property
    def recipe(self) -> ChannelRecipe:
        """How the channels are made. Raises ``LandslideError`` for an unknown channel or band."""
        return channel_recipe(self.layout, self.channels, self.median.size, self.median.bands)


class ModelConfig(_Section):
    """Which model."""

    architecture: str = Field("unet", description="see tf_landslide.models")
    encoder: str | None = Field("resnet34", description="for architectures that take one, else null")
    encoder_weights: str = Field("none", description="none, imagenet (downloaded once), or a published file's path")
    init_from: str | None = Field(
        None, description="a finished run of the same model, whose weights this one starts with"
    )
    options: dict[str, Any] = Field({}, description="the architecture's own options, e.g. width and depth")


class LossConfig(_Section):
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


class TrainingConfig(_Section):
    """How it is trained. The optimiser is Adam."""

    epochs: int = Field(50, ge=1, description="at most; early stopping may end sooner")
    batch_size: int = Field(16, ge=1, description="patches a step")
    learning_rate: float = Field(1e-3, gt=0, description="at its highest")
    schedule: Literal["constant", "cosine", "step"] = Field(
        "cosine", description="cosine decays to zero over all epochs; step multiplies by step_factor"
    )
    step_epochs: int = Field(30, ge=1, description="epochs between two steps of schedule step")
    step_factor: float = Field(0.1, gt=0, lt=1, description="of a step of schedule step")
    warmup_epochs: float = Field(0, ge=0, description="linear warm-up before the schedule")
    weight_decay: float = Field(0, ge=0, description="decoupled weight decay (AdamW); 0 for plain Adam")
    ema: float | None = Field(None, gt=0, lt=1, description="momentum of an average of the weights, judged and kept")
    early_stopping: int | None = Field(None, ge=1, description="epochs without a better one before stopping")
    precision: Precision = Field("float32", description="of the layers' computations: float32 or mixed_(b)float16")
    jit_compile: bool = Field(False, description="XLA: a long first step, then faster ones where it suits the machine")
    seed: int = Field(0, ge=0, lt=2**32, description="of weights, order, oversampling and flips")
    deterministic: bool = Field(False, description="the same weights, bit for bit, from the same seed; slower")

    @model_validator(mode="after")
    def _warm_in_time(self) -> TrainingConfig:
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"warmup_epochs {self.warmup_epochs:g} is longer than the run, of {self.epochs} epochs")
        if self.warmup_epochs and self.schedule == "step":
            raise ValueError("schedule step has no warm-up; leave warmup_epochs out, or take cosine or constant")
        return self


class Config(_Section):
    """A whole run."""

    name: str = Field("landslide", pattern=r"^[A-Za-z0-9_-]+$", description="names the model when it is exported")
    description: str = Field("", description="one line for people")
    threshold: float | None = Field(
        None, ge=0, le=1, description="of a model that came from elsewhere; training chooses its own on validation"
    )
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    training: TrainingConfig = TrainingConfig()

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(), sort_keys=False)
