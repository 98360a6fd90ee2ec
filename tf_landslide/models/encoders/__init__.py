"""Encoders, a file a family: each file's rows, merged."""

from __future__ import annotations

from tf_landslide.models.encoders import (
    inception_v4,
    keras_applications,
    keras_cv,
    mix_transformer,
    residual,
    segmentation_models,
    smp,
)
from tf_landslide.models.encoders.contract import Encoder

_FAMILIES = (segmentation_models, keras_applications, keras_cv, residual, inception_v4, mix_transformer, smp)

ENCODERS: dict[str, Encoder] = {name: encoder for family in _FAMILIES for name, encoder in family.ENCODERS.items()}
"""Every encoder by name. No two families may share one (a test)."""
