"""How a model is trained: what a config may say of it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tf_landslide.runs.sections.section import Section

StrategyName = Literal["none", "mirrored", "multi_worker"]
"""Which devices train; ``tf_landslide.training.team`` brings them together."""

Precision = Literal["float32", "mixed_float16", "mixed_bfloat16"]
"""What layers compute in; weights are always kept in float32."""


class TrainingConfig(Section):
    """How it is trained. The optimiser is Adam."""

    epochs: int = Field(50, ge=1, description="at most; early stopping may end sooner")
    batch_size: int = Field(16, ge=1, description="patches a step, of all devices together")
    learning_rate: float = Field(1e-3, gt=0, description="at its highest")
    schedule: Literal["constant", "cosine", "step"] = Field(
        "cosine", description="cosine decays to zero over all epochs; step multiplies by step_factor"
    )
    step_epochs: int = Field(30, ge=1, description="epochs between two steps of schedule step")
    step_factor: float = Field(0.1, gt=0, lt=1, description="of a step of schedule step")
    accumulate: int = Field(1, ge=1, description="batches whose gradients make one step of the optimiser")
    clip_norm: float | None = Field(
        None, gt=0, description="norm of all gradients together, over which they are scaled down to it"
    )
    encoder_learning_rate: float = Field(1.0, gt=0, description="of the encoder's layers, as a factor of learning_rate")
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="factor of a layer's rate for each layer that stands between it and the head"
    )
    freeze_encoder: int | None = Field(
        None, ge=1, description="first epochs, in which the encoder does not change, nor do its batch norms' statistics"
    )
    warmup_epochs: float = Field(0, ge=0, description="linear warm-up before the schedule")
    weight_decay: float = Field(0, ge=0, description="decoupled weight decay (AdamW); 0 for plain Adam")
    ema: float | None = Field(None, gt=0, lt=1, description="momentum of an average of the weights, judged and kept")
    early_stopping: int | None = Field(None, ge=1, description="epochs without a better one before stopping")
    precision: Precision = Field("float32", description="of the layers' computations: float32 or mixed_(b)float16")
    gradient_checkpointing: bool = Field(
        False, description="compute activations again rather than keep them: larger patches or batches, slower steps"
    )
    strategy: StrategyName = Field(
        "none", description="one device; mirrored: all GPUs here; multi_worker: those of all machines in TF_CONFIG"
    )
    jit_compile: bool = Field(False, description="XLA: a long first step, then faster ones where it suits the machine")
    trackers: list[Literal["tensorboard", "wandb", "mlflow"]] = Field(
        ["tensorboard"], description="that follow the run; Weights & Biases and MLflow where they are installed"
    )
    images: int = Field(0, ge=0, description="validation patches that trackers show with mask and probability")
    images_every: int = Field(5, ge=1, description="epochs from one such picture to the next")
    seed: int = Field(0, ge=0, lt=2**32, description="of weights, order, oversampling and flips")
    deterministic: bool = Field(False, description="the same weights, bit for bit, from the same seed; slower")

    @model_validator(mode="after")
    def _shown_somewhere(self) -> TrainingConfig:
        if self.images and not self.trackers:
            raise ValueError(
                f"images {self.images} are shown by trackers, and there are none; name one, or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _one_device(self) -> TrainingConfig:
        used = {
            "accumulate": self.accumulate > 1,
            "clip_norm": self.clip_norm is not None,
            "gradient_checkpointing": self.gradient_checkpointing,
        }
        for key in (key for key, value in used.items() if value and self.strategy != "none"):
            raise ValueError(f"{key} is for one device, and strategy is {self.strategy!r}; leave one of the two out")
        return self

    @model_validator(mode="after")
    def _warm_in_time(self) -> TrainingConfig:
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"warmup_epochs {self.warmup_epochs:g} is longer than the run, of {self.epochs} epochs")
        if self.warmup_epochs and self.schedule == "step":
            raise ValueError("schedule step has no warm-up; leave warmup_epochs out, or take cosine or constant")
        return self
