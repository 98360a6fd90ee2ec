"""The DeepLabV3+ decoder (Chen et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from tf_landslide.models.decoders.context import aspp, conv_norm_relu
from tf_landslide.models.layers.resize import BilinearUpsampling
from tf_landslide.models.options import Share, Width


def deeplab_decoder(
    pyramid: dict[int, keras.KerasTensor],
    filters: Width = 256,
    skip_filters: Width = 48,
    rates: Sequence[Width] = (6, 12, 18),
    dropout: Share = 0.1,
) -> tuple[keras.KerasTensor, int]:
    """Atrous spatial pyramid pooling on the deepest map, joined with the map at stride 4.

    Args:
        pyramid: feature maps by stride, with 4 among them.
        filters: width of the pyramid pooling and of the decoder.
        skip_filters: width of the reduced map at stride 4.
        rates: dilations of the pyramid pooling, meant for a deepest map at stride 16.
        dropout: after the pyramid pooling.

    Returns:
        (N, H / 4, W / 4, filters) and its stride, 4.
    """
    deepest = max(pyramid)
    x = aspp(pyramid[deepest], filters, rates, dropout)
    x = BilinearUpsampling(deepest // 4, name="decoder_up")(x)
    skip = conv_norm_relu(pyramid[4], skip_filters, 1, "decoder_skip")
    x = layers.Concatenate(name="decoder_join")([x, skip])
    for i in (1, 2):
        x = conv_norm_relu(x, filters, 3, f"decoder{i}")
    return x, 4
