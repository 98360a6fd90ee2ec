"""Layers as PyTorch has them: padded alike on both sides, started as its networks start them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from tf_landslide.models.layers.conv import AtrousDepthwiseConv2D, GroupedConv2D

Initializer = Callable[[], keras.initializers.Initializer]


def default_init() -> keras.initializers.Initializer:
    """Of PyTorch's convolutions that nobody starts otherwise: uniform within 1 / sqrt(fan-in)."""
    return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")


def kaiming_fan_out() -> keras.initializers.Initializer:
    """He et al. 2015, by the fan-out, normal: torchvision's ResNet, VGG and MobileNet."""
    return keras.initializers.VarianceScaling(2, "fan_out", "untruncated_normal")


def kaiming_fan_in() -> keras.initializers.Initializer:
    """He et al. 2015, by the fan-in, normal: torchvision's DenseNet."""
    return keras.initializers.VarianceScaling(2, "fan_in", "untruncated_normal")


def kaiming_uniform() -> keras.initializers.Initializer:
    """He et al. 2015, by the fan-in, uniform: smp's decoders."""
    return keras.initializers.VarianceScaling(2, "fan_in", "uniform")


def conv(
    x,
    filters: int,
    size: int | tuple[int, int],
    name: str,
    *,
    strides: int = 1,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = False,
    init: Initializer = default_init,
    padding: str = "alike",
):
    """A convolution whose map has ``1 / strides`` of the rows and columns.

    Args:
        x: (N, H, W, C); H and W multiples of ``strides``.
        filters: output channels.
        size: of the window; a square one where it is grouped.
        name: of the layer.
        strides: step, in pixels.
        dilation: of the window.
        groups: independent groups of channels; as many as channels is a depthwise convolution.
        bias: whether a bias is added.
        init: of the kernel.
        padding: ``alike`` on both sides, as PyTorch pads, or ``same``, as TensorFlow does; they differ if it strides.
    """
    height, width = size if isinstance(size, tuple) else (size, size)
    if strides > 1 and (height, width) != (1, 1) and padding == "alike":
        x = layers.ZeroPadding2D((height // 2, width // 2), name=f"{name}.pad")(x)
        padding = "valid"
    options: dict[str, Any] = {"strides": strides, "use_bias": bias, "name": name}
    options["padding"] = "same" if padding == "alike" else padding
    if groups == 1:
        return layers.Conv2D(filters, size, dilation_rate=dilation, kernel_initializer=init(), **options)(x)
    if groups < x.shape[-1]:
        return GroupedConv2D(filters, height, groups, dilation_rate=dilation, kernel_initializer=init(), **options)(x)
    if dilation > 1:
        return AtrousDepthwiseConv2D(height, dilation, depthwise_initializer=init(), name=name)(x)
    return layers.DepthwiseConv2D(size, depthwise_initializer=init(), **options)(x)


def batch_norm(x, name: str, epsilon: float = 1e-5, activation: str | None = "relu"):
    """Batch norm, and an activation of Keras's."""
    x = layers.BatchNormalization(epsilon=epsilon, name=name)(x)
    return layers.Activation(activation, name=f"{name}.{activation}")(x) if activation else x


def max_pool(x, name: str, before: int = 1):
    """The largest of 3 x 3 pixels, every second one, of maps that are nowhere negative.

    Args:
        x: (N, H, W, C), even H and W.
        name: of the layer.
        before: pixels padded at the top and left; with none, one is at the bottom and right (PyTorch's ``ceil_mode``).
    """
    padding = ((before, before), (before, before)) if before else ((0, 1), (0, 1))
    x = layers.ZeroPadding2D(padding, name=f"{name}.pad")(x)
    return layers.MaxPooling2D(3, strides=2, name=name)(x)


def squeeze_excite(x, squeezed: int, reduce: str, expand: str, activation: str = "relu", init=default_init):
    """Weigh each channel by what the whole map says of it (Hu et al. 2018).

    Args:
        x: (N, H, W, C).
        squeezed: width of the bottleneck.
        reduce, expand: names of its two layers.
        activation: between them.
        init: of their kernels.
    """
    weight = layers.GlobalAveragePooling2D(keepdims=True, name=f"{reduce}.pool")(x)
    weight = conv(weight, squeezed, 1, reduce, bias=True, init=init)
    weight = layers.Activation(activation, name=f"{reduce}.{activation}")(weight)
    weight = conv(weight, x.shape[-1], 1, expand, bias=True, init=init)
    weight = layers.Activation("sigmoid", name=f"{expand}.sigmoid")(weight)
    return layers.Multiply(name=f"{expand}.scale")([x, weight])


def stochastic_depth(x, rate: float, name: str):
    """A dropout of whole samples (Huang et al. 2016)."""
    return layers.Dropout(rate, noise_shape=(None, 1, 1, 1), name=name)(x) if rate else x
