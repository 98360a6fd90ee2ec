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
    warmup_epochs: float = Field(0, ge=0, description="linear warm-up before the schedule")
    weight_decay: float = Field(0, ge=0, description="decoupled weight decay (AdamW); 0 for plain Adam")
    ema: float | None = Field(None, gt=0, lt=1, description="momentum of an average of the weights, judged and kept")
    early_stopping: int | None = Field(None, ge=1, description="epochs without a better one before stopping")
    precision: Precision = Field("float32", description="of the layers' computations: float32 or mixed_(b)float16")
    strategy: StrategyName = Field(
        "none", description="one device; mirrored: all GPUs here; multi_worker: those of all machines in TF_CONFIG"
    )
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
