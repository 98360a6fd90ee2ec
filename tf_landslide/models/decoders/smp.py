"""The decoders of smp's U-Net and DeepLabV3+, and SegFormer's head as transformers has it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import keras
from keras import layers

from tf_landslide.core.errors import LandslideError
from tf_landslide.models.layers.resize import AlignedUpsampling, BilinearUpsampling, ResizeLike
from tf_landslide.models.layers.torch_like import batch_norm, default_init, kaiming_uniform
from tf_landslide.models.layers.torch_like import conv as plain_conv
from tf_landslide.models.options import Share, Width

conv = partial(plain_conv, init=kaiming_uniform)


def _conv_relu(x, filters: int, name: str):
    return batch_norm(conv(x, filters, 3, f"{name}.0"), f"{name}.1")


def smp_unet_decoder(
    pyramid: dict[int, keras.KerasTensor],
    filters: Sequence[Width] = (256, 128, 64, 32, 16),
    center: bool = False,
) -> tuple[keras.KerasTensor, int]:
    """Double the resolution from the deepest map up to the input's, joining the encoder's map at each stride but 1.

    Args:
        pyramid: feature maps by stride.
        filters: width of each block, deepest first; one a doubling.
        center: two more convolutions on the deepest map, as smp has them on VGG.

    Returns:
        (N, H, W, filters[-1]) and its stride, 1.

    Raises:
        LandslideError: another number of filters than doublings.
    """
    stride = max(pyramid)
    if 2 ** len(filters) != stride:
        raise LandslideError(
            f"option filters: {len(filters)} widths given, one is needed for each halving up to {stride}"
        )
    x = pyramid[stride]
    for i in range(2 if center else 0):
        x = _conv_relu(x, x.shape[-1], f"decoder.center.{i}")
    for i, width in enumerate(filters):
        stride //= 2
        name = f"decoder.blocks.{i}"
        x = layers.UpSampling2D(2, interpolation="nearest", name=f"{name}.up")(x)
        if stride in pyramid and stride > 1:
            x = layers.Concatenate(name=f"{name}.skip")([x, pyramid[stride]])
        x = _conv_relu(_conv_relu(x, width, f"{name}.conv1"), width, f"{name}.conv2")
    return x, 1


def _separable(x, filters: int, name: str, rate: int = 1):
    """A depthwise and a 1 x 1 convolution."""
    x = conv(x, x.shape[-1], 3, f"{name}.0", groups=x.shape[-1], dilation=rate)
    return conv(x, filters, 1, f"{name}.1")


def smp_deeplab_decoder(
    pyramid: dict[int, keras.KerasTensor],
    filters: Width = 256,
    rates: Sequence[Width] = (12, 24, 36),
    dropout: Share = 0.5,
) -> tuple[keras.KerasTensor, int]:
    """Atrous spatial pyramid pooling of separable convolutions, joined with the map at stride 4.

    Args:
        pyramid: feature maps by stride, with 4 among them.
        filters: width of the pyramid pooling and of the decoder.
        rates: dilations of the pyramid pooling.
        dropout: after the pyramid pooling.

    Returns:
        (N, H / 4, W / 4, filters) and its stride, 4.
    """
    deepest = max(pyramid)
    features, aspp = pyramid[deepest], "decoder.aspp.0"
    branches = [batch_norm(conv(features, filters, 1, f"{aspp}.convs.0.0"), f"{aspp}.convs.0.1")]
    for i, rate in enumerate(rates, 1):
        branch = f"{aspp}.convs.{i}"
        branches.append(batch_norm(_separable(features, filters, f"{branch}.0", rate), f"{branch}.1"))
    pooled = f"{aspp}.convs.{len(rates) + 1}"
    image = layers.GlobalAveragePooling2D(keepdims=True, name=f"{pooled}.0")(features)
    image = batch_norm(conv(image, filters, 1, f"{pooled}.1"), f"{pooled}.2")
    branches.append(ResizeLike(name=f"{pooled}.resize")([image, features]))
    x = layers.Concatenate(name=f"{aspp}.join")(branches)
    x = batch_norm(conv(x, filters, 1, f"{aspp}.project.0"), f"{aspp}.project.1")
    x = layers.Dropout(dropout, name=f"{aspp}.project.3")(x) if dropout else x
    x = batch_norm(_separable(x, filters, "decoder.aspp.1"), "decoder.aspp.2")
    x = AlignedUpsampling(deepest // 4, name="decoder.up")(x)
    skip = batch_norm(conv(pyramid[4], 48, 1, "decoder.block1.0"), "decoder.block1.1")
    x = layers.Concatenate(name="decoder.join")([x, skip])
    return batch_norm(_separable(x, filters, "decoder.block2.0"), "decoder.block2.1"), 4


def hf_segformer_decoder(
    pyramid: dict[int, keras.KerasTensor], filters: Width = 768, dropout: Share = 0.1
) -> tuple[keras.KerasTensor, int]:
    """One dense layer a map, all brought to stride 4, joined from the deepest on, one more convolution.

    Args:
        pyramid: feature maps by stride; those from 4 on are used.
        filters: width of every layer (B0 and B1: 256, B2 to B5: 768).
        dropout: before the classifier.

    Returns:
        (N, H / 4, W / 4, filters) and its stride, 4.
    """
    strides = sorted(stride for stride in pyramid if stride >= 4)
    maps = []
    for i, stride in enumerate(strides):
        x = layers.Dense(filters, name=f"decode_head.linear_c.{i}.proj")(pyramid[stride])
        maps.append(BilinearUpsampling(stride // 4, name=f"decode_head.linear_c.{i}.up")(x) if stride > 4 else x)
    x = layers.Concatenate(name="decode_head.join")(maps[::-1])
    x = batch_norm(plain_conv(x, filters, 1, "decode_head.linear_fuse", init=default_init), "decode_head.batch_norm")
    return layers.Dropout(dropout, name="decode_head.dropout")(x), 4
