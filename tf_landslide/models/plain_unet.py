"""The paper's plain U-Net: no pretrained-style encoder, no batch norm."""

from __future__ import annotations

from typing import Annotated

import keras
from keras import layers
from pydantic import Field

from tf_landslide.models.decoders.unet import conv_block
from tf_landslide.models.options import Width

Depth = Annotated[int, Field(ge=1, le=5)]  # 5 poolings are what a size that is a multiple of 32 allows


def plain_unet(
    inputs: keras.KerasTensor, width: Width = 64, depth: Depth = 4, batch_norm: bool = False
) -> tuple[keras.KerasTensor, int]:
    """Two 3 x 3 convolutions with ReLU a level, max pooling down, transposed convolution up, concatenated skips.

    Args:
        inputs: (N, H, W, C) normalised channels; H and W multiples of 2 ** depth.
        width: filters of the first level; each level below has twice as many.
        depth: number of poolings.
        batch_norm: batch norm after each convolution (the paper's has none).

    Returns:
        (N, H, W, width) and its stride, 1.
    """
    x, skips = inputs, []
    for level in range(depth):
        x = conv_block(x, width * 2**level, f"down{level}", batch_norm=batch_norm)
        skips.append(x)
        x = layers.MaxPooling2D(2, name=f"down{level}_pool")(x)
    x = conv_block(x, width * 2**depth, "bottom", batch_norm=batch_norm)
    for level in reversed(range(depth)):
        x = layers.Conv2DTranspose(width * 2**level, 2, strides=2, name=f"up{level}_transpose")(x)
        x = layers.Concatenate(name=f"up{level}_skip")([x, skips[level]])
        x = conv_block(x, width * 2**level, f"up{level}", batch_norm=batch_norm)
    return x, 1
