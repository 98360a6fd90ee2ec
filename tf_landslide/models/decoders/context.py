"""Context modules: what a pixel learns from the wide surroundings."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers, ops

from tf_landslide.models.layers import AtrousConv2D


def conv_norm_relu(x, filters: int, size: int, name: str, dilation: int = 1):
    """A convolution without bias, batch norm, ReLU."""
    options = {"kernel_initializer": "he_normal", "name": f"{name}_conv"}
    if dilation > 1:
        x = AtrousConv2D(filters, size, dilation, **options)(x)
    else:
        x = layers.Conv2D(filters, size, padding="same", use_bias=False, **options)(x)
    return layers.ReLU(name=f"{name}_relu")(layers.BatchNormalization(name=f"{name}_bn")(x))


def aspp(x, filters: int = 256, rates: Sequence[int] = (6, 12, 18), dropout: float = 0.1, name: str = "aspp"):
    """Atrous spatial pyramid pooling with an image-level branch (Chen et al. 2018, DeepLabV3+).

    A 1 x 1 convolution over joined branches is the sum of one over each. So the image-level branch stays a single
    pixel and is added by broadcasting: the same numbers as resizing and joining it, for a map of any size.

    Args:
        x: (N, H, W, C) features.
        filters: width of each branch and of the result.
        rates: dilation of each 3 x 3 branch.
        dropout: after the projection.
        name: prefix of the layers.
    """
    branches = [conv_norm_relu(x, filters, 1, f"{name}_1x1")]
    branches += [conv_norm_relu(x, filters, 3, f"{name}_rate{rate}", rate) for rate in rates]
    image = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_image_pool")(x)
    image = conv_norm_relu(image, filters, 1, f"{name}_image")
    joined = layers.Concatenate(name=f"{name}_join")(branches)
    projected = [
        layers.Conv2D(filters, 1, use_bias=False, kernel_initializer="he_normal", name=f"{name}_project{i}")(part)
        for i, part in enumerate((joined, image), 1)
    ]
    x = layers.BatchNormalization(name=f"{name}_bn")(layers.Add(name=f"{name}_add")(projected))
    x = layers.ReLU(name=f"{name}_relu")(x)
    return layers.Dropout(dropout, name=f"{name}_dropout")(x) if dropout else x


@keras.saving.register_keras_serializable(package="tf_landslide")
class AdaptivePooling(layers.Layer):
    """Means over a grid of ``cells`` x ``cells`` parts of a map of any size; parts overlap where it is smaller.

    Part i covers rows floor(i H / cells) to ceil((i + 1) H / cells), as in PyTorch's ``AdaptiveAvgPool2d``.
    """

    def __init__(self, cells: int, **kwargs):
        super().__init__(**kwargs)
        self.cells = cells

    def call(self, x):
        shape = ops.shape(x)
        x = ops.einsum("ih,nhwc->niwc", self._parts(shape[1], x.dtype), x)
        return ops.einsum("jw,niwc->nijc", self._parts(shape[2], x.dtype), x)

    def _parts(self, length, dtype):
        """(cells, length) weights, each row summing to 1."""
        part, pixel = ops.arange(self.cells)[:, None], ops.arange(length)[None, :]
        inside = ops.logical_and(pixel >= part * length // self.cells, pixel < -(-(part + 1) * length // self.cells))
        weights = ops.cast(inside, dtype)
        return weights / ops.sum(weights, axis=1, keepdims=True)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.cells, self.cells, input_shape[-1])

    def get_config(self):
        return {**super().get_config(), "cells": self.cells}


@keras.saving.register_keras_serializable(package="tf_landslide")
class ResizeLike(layers.Layer):
    """Bilinear resize, pixel centres aligned, of the first map to the height and width of the second."""

    def call(self, inputs):
        x, like = inputs
        shape = ops.shape(like)
        x = ops.einsum("hi,nijc->nhjc", self._weights(x.shape[1], shape[1], x.dtype), x)
        return ops.einsum("wj,nhjc->nhwc", self._weights(x.shape[2], shape[2], x.dtype), x)

    @staticmethod
    def _weights(given: int, wanted, dtype):
        """(wanted, given) weights, each row summing to 1."""
        centre = (ops.cast(ops.arange(wanted), dtype) + 0.5) * given / ops.cast(wanted, dtype) - 0.5
        centre = ops.clip(centre, 0, given - 1)[:, None]
        return ops.relu(1 - ops.abs(centre - ops.cast(ops.arange(given), dtype)[None, :]))

    def compute_output_shape(self, input_shape):
        given, like = input_shape
        return (given[0], like[1], like[2], given[-1])


def pyramid_pooling(x, sizes: Sequence[int] = (1, 2, 3, 6), name: str = "ppm"):
    """Pyramid pooling (Zhao et al. 2017, PSPNet): means over a grid of each size, joined to the map they come from.

    Args:
        x: (N, H, W, C) features.
        sizes: cells along each side of the grids.
        name: prefix of the layers.

    Returns:
        (N, H, W, C).
    """
    filters = x.shape[-1]
    branches = [x]
    for size in sizes:
        y = AdaptivePooling(size, name=f"{name}{size}_pool")(x)
        y = conv_norm_relu(y, max(1, filters // len(sizes)), 1, f"{name}{size}")
        branches.append(ResizeLike(name=f"{name}{size}_resize")([y, x]))
    return conv_norm_relu(layers.Concatenate(name=f"{name}_join")(branches), filters, 1, name)


CONTEXTS = {"aspp": aspp, "ppm": pyramid_pooling}
