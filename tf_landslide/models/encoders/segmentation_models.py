"""Adapter: backbones of the segmentation-models package as encoders."""

from __future__ import annotations

import contextlib
import io
import os

import keras

PYRAMID_LAYERS = ("relu0", "stage2_unit1_relu1", "stage3_unit1_relu1", "stage4_unit1_relu1", "relu1")
"""The layers of its ResNets at stride 2, 4, 8, 16 and 32. These activate before they convolve, so a stage's output is
the first activation of the next stage's first unit."""


def source(name: str, channels: int, **options) -> keras.Model:
    """The untouched backbone, without its classifier; ``options`` as the package takes them."""
    os.environ.setdefault("SM_FRAMEWORK", "tf.keras")
    with contextlib.redirect_stdout(io.StringIO()):  # the package announces its framework on import
        import segmentation_models

    return segmentation_models.Backbones.get_backbone(
        name,
        **{
            "input_shape": (None, None, channels),
            "weights": None,
            "include_top": False,
            "backend": keras.backend,
            "layers": keras.layers,
            "models": keras.models,
            "utils": keras.utils,
            **options,
        },
    )


def network(name: str, channels: int) -> keras.Model:
    """One of the package's ResNets as a model with the maps at stride 2, 4, 8, 16 and 32."""
    model = source(name, channels)
    return keras.Model(model.inputs[0], [model.get_layer(layer).output for layer in PYRAMID_LAYERS], name=name)
