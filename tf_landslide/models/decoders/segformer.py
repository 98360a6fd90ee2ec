"""SegFormer's MLP head (Xie et al. 2021)."""

from __future__ import annotations

import keras
from keras import layers

from tf_landslide.models.decoders.context import conv_norm_relu
from tf_landslide.models.layers.resize import BilinearUpsampling
from tf_landslide.models.options import Share, Width


def segformer_decoder(
    pyramid: dict[int, keras.KerasTensor], filters: Width = 256, dropout: Share = 0.1
) -> tuple[keras.KerasTensor, int]:
    """One dense layer a map, all brought to stride 4, joined, one more dense layer.

    Args:
        pyramid: feature maps by stride; those from 4 on are used.
        filters: width of every layer (the paper's B0 and B1: 256, B2 to B5: 768).
        dropout: before the classifier.

    Returns:
        (N, H / 4, W / 4, filters) and its stride, 4.
    """
    maps = []
    for stride in sorted((s for s in pyramid if s >= 4), reverse=True):
        x = layers.Dense(filters, name=f"mlp{stride}")(pyramid[stride])
        if stride > 4:
            x = BilinearUpsampling(stride // 4, name=f"mlp{stride}_up")(x)
        maps.append(x)
    x = conv_norm_relu(layers.Concatenate(name="mlp_join")(maps), filters, 1, "mlp_fuse")
    return layers.Dropout(dropout, name="mlp_dropout")(x), 4
