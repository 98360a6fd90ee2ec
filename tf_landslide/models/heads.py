"""From a decoder's features to a probability for every pixel."""

from __future__ import annotations

import keras
from keras import layers

from tf_landslide.models.layers.resize import BilinearUpsampling


def probability_head(features: keras.KerasTensor, stride: int, kernel_size: int) -> keras.KerasTensor:
    """One convolution to logits, brought to full resolution, and a sigmoid; float32 whatever the model computes in.

    Args:
        features: (N, H / stride, W / stride, C).
        stride: of the features.
        kernel_size: side of the convolution's window.

    Returns:
        (N, H, W, 1), 0..1.
    """
    logits = layers.Conv2D(1, kernel_size, padding="same", dtype="float32", name="logits")(features)
    if stride > 1:
        logits = BilinearUpsampling(stride, dtype="float32", name="logits_up")(logits)
    return layers.Activation("sigmoid", dtype="float32", name="probability")(logits)
