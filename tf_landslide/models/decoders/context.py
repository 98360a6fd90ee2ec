"""Context modules: what a pixel learns from the wide surroundings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
from keras import layers

from tf_landslide.core.errors import LandslideError
from tf_landslide.models.layers.conv import AtrousConv2D
from tf_landslide.models.layers.resize import AdaptivePooling, ResizeLike


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
    if len(set(rates)) < len(rates):
        raise LandslideError(f"rates: expected each dilation once, found {', '.join(map(str, rates))}")
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


CONTEXTS: dict[str, Callable[[keras.KerasTensor], keras.KerasTensor]] = {"aspp": aspp, "ppm": pyramid_pooling}
