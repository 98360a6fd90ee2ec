"""The U-Net decoder (Ronneberger et al. 2015), as it is used with pretrained-style encoders."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from tf_landslide.core.errors import LandslideError, lookup
from tf_landslide.models.decoders.context import CONTEXTS
from tf_landslide.models.options import Width


def conv_block(x, filters: int, name: str, *, batch_norm: bool = True):
    """Two 3 x 3 convolutions, each with batch norm (where asked for) and ReLU."""
    for i in (1, 2):
        x = layers.Conv2D(
            filters, 3, padding="same", use_bias=not batch_norm, kernel_initializer="he_normal", name=f"{name}_conv{i}"
        )(x)
        if batch_norm:
            x = layers.BatchNormalization(name=f"{name}_bn{i}")(x)
        x = layers.ReLU(name=f"{name}_relu{i}")(x)
    return x


def unet_decoder(
    pyramid: dict[int, keras.KerasTensor],
    filters: Sequence[Width] = (256, 128, 64, 32, 16),
    context: str | None = None,
) -> tuple[keras.KerasTensor, int]:
    """Double the resolution from the deepest map up to the input's, joining the encoder's map at each stride.

    Args:
        pyramid: feature maps by stride.
        filters: width of each block, deepest first; one a doubling.
        context: module on the deepest map: ``ppm`` (pyramid pooling), ``aspp``, or None.

    Returns:
        (N, H, W, filters[-1]) and its stride, 1.

    Raises:
        LandslideError: an unknown context module, or another number of filters than doublings.
    """
    stride = max(pyramid)
    if 2 ** len(filters) != stride:
        raise LandslideError(
            f"option filters: {len(filters)} widths given, one is needed for each halving up to {stride}"
        )
    x = pyramid[stride]
    if context is not None:
        x = lookup(CONTEXTS, context, "context module")(x)
    for i, width in enumerate(filters):
        stride //= 2
        x = layers.UpSampling2D(2, interpolation="nearest", name=f"decoder{i}_up")(x)
        if stride in pyramid:
            x = layers.Concatenate(name=f"decoder{i}_skip")([x, pyramid[stride]])
        x = conv_block(x, width, f"decoder{i}")
    return x, 1
