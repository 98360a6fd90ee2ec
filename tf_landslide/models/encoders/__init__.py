"""Encoders: normalised channels in, a feature pyramid out.

An encoder is a function ``(inputs) -> {stride: tensor}`` with strides 2, 4, 8, 16 and 32, each aligned to the input
(a map at stride s has ceil(H / s) rows). Adding one is a file here and an entry in ``ENCODERS``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tf_landslide.models.encoders.segmentation_models import backbone

ENCODERS: dict[str, Callable] = {
    "resnet34": partial(backbone, "resnet34"),
}
