"""From a decoder's features to a probability for every pixel."""

from __future__ import annotations

import keras
from keras import layers

from tf_landslide.models.layers.resize import AlignedUpsampling, BilinearUpsampling


def probability_head(
    features: keras.KerasTensor, stride: int, kernel_size: int, upsample: str = "logits", dropout: float = 0.0
) -> keras.KerasTensor:
    """One convolution to logits, brought to full resolution, and a sigmoid; float32 whatever the model computes in.

    Args:
        features: (N, H / stride, W / stride, C).
        stride: of the features.
        kernel_size: side of the convolution's window.
        upsample: what is brought to full resolution: ``logits``; ``aligned`` logits, the corners' pixels over each
            other; or the ``probability``.
        dropout: share of the features that are left out, whole maps of them (Tompson et al. 2015, arXiv:1411.4280),
            while it is trained or asked how sure it is.

    Returns:
        (N, H, W, 1), 0..1.
    """
    if dropout:
        features = layers.SpatialDropout2D(dropout, name="head_dropout")(features)
    x = layers.Conv2D(1, kernel_size, padding="same", dtype="float32", name="logits")(features)
    sigmoid = layers.Activation("sigmoid", dtype="float32", name="probability")
    if stride == 1:
        return sigmoid(x)
    if upsample == "probability":
        return BilinearUpsampling(stride, dtype="float32", name="probability_up")(sigmoid(x))
    upsampling = AlignedUpsampling if upsample == "aligned" else BilinearUpsampling
    return sigmoid(upsampling(stride, dtype="float32", name="logits_up")(x))
