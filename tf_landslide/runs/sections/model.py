"""Which model: what a config may say of it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tf_landslide.runs.sections.section import Section


class ModelConfig(Section):
    """Which model."""

    architecture: str = Field("unet", description="see tf_landslide.models")
    encoder: str | None = Field("resnet34", description="for architectures that take one, else null")
    encoder_weights: str = Field("none", description="none, imagenet (downloaded once), or a published file's path")
    init_from: str | None = Field(
        None, description="a finished run of the same model, whose weights this one starts with"
    )
    head_dropout: float = Field(
        0.0, ge=0, lt=1, description="share of the features that the last convolution does without, in training"
    )
    options: dict[str, Any] = Field({}, description="the architecture's own options, e.g. width and depth")
