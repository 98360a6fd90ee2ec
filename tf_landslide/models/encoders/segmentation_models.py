"""Adapter: backbones of the segmentation-models package as encoders."""

from __future__ import annotations

import contextlib
import io
import os

import keras

PYRAMID_LAYERS = {
    "resnet34": ("relu0", "stage2_unit1_relu1", "stage3_unit1_relu1", "stage4_unit1_relu1", "relu1"),
}
"""The layers at stride 2, 4, 8, 16 and 32. These ResNets activate before they convolve, so a stage's output is the
first activation of the next stage's first unit."""


def backbone(name: str, inputs) -> dict[int, keras.KerasTensor]:
    """Apply a segmentation-models backbone without its head.

    Args:
        name: a key of ``PYRAMID_LAYERS``.
        inputs: (N, H, W, C) normalised channels, any C, H and W multiples of 32.

    Returns:
        feature maps by stride.
    """
    os.environ.setdefault("SM_FRAMEWORK", "tf.keras")
    with contextlib.redirect_stdout(io.StringIO()):  # the package announces its framework on import
        import segmentation_models

    source = segmentation_models.Backbones.get_backbone(
        name,
        input_shape=(None, None, inputs.shape[-1]),
        weights=None,
        include_top=False,
        backend=keras.backend,
        layers=keras.layers,
        models=keras.models,
        utils=keras.utils,
    )
    outputs = [source.get_layer(layer).output for layer in PYRAMID_LAYERS[name]]
    encoder = keras.Model(source.inputs, outputs, name=name)
    return dict(zip((2, 4, 8, 16, 32), encoder(inputs), strict=True))
