"""Multiply-adds of a model, counted layer by layer from its shapes."""

from __future__ import annotations

from math import ceil, prod

import keras
from keras import layers

from tf_landslide.models._keras_compat import walk
from tf_landslide.models.encoders.mix_transformer import EfficientAttention
from tf_landslide.models.layers.conv import AtrousConv2D, AtrousDepthwiseConv2D, GroupedConv2D


def multiply_adds(model: keras.Model, height: int = 128, width: int = 128) -> int:
    """Multiplications for one image in convolutions, dense layers and attention; all else is left out, as is usual.

    Args:
        model: a functional model with one image input; models may be nested in it.
        height: of the image, in pixels.
        width: of the image, in pixels.
    """
    return _count(model, (1, height, width, model.inputs[0].shape[-1]))


def _count(model: keras.Model, shape: tuple[int, ...]) -> int:
    """Walk the model with a probe of a fixed size: every layer is asked for its output's shape, in order."""
    total = 0

    def visit(layer):
        def call(*args, **kwargs):
            nonlocal total
            output = layer.compute_output_spec(*args, **kwargs)
            if isinstance(layer, keras.Model):
                total += _count(layer, args[0].shape)
            elif type(layer) in _COUNTERS:
                total += _COUNTERS[type(layer)](layer, args[0].shape, output.shape)
            return output

        return call

    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs, model.outputs)
    walk(model, [keras.KerasTensor(shape)], visit)
    return total


def _by_output(layer, _, output: tuple[int, ...]) -> int:
    """Each output pixel costs as many multiplications as the kernel has numbers."""
    return prod(output[1:-1]) * prod(layer.kernel.shape)


def _separable(layer, _, output: tuple[int, ...]) -> int:
    return prod(output[1:-1]) * (prod(layer.depthwise_kernel.shape) + prod(layer.pointwise_kernel.shape))


def _transposed(layer, given: tuple[int, ...], _) -> int:
    return prod(given[1:-1]) * prod(layer.kernel.shape)


def _attention(layer, given: tuple[int, ...], _) -> int:
    height, width, filters = given[1:]
    queries = height * width
    keys = ceil(height / layer.reduction) * ceil(width / layer.reduction)
    dense = filters**2 * 2 * (queries + keys)
    reduce = keys * (filters * layer.reduction) ** 2 if layer.reduction > 1 else 0
    return dense + reduce + 2 * queries * keys * filters


_COUNTERS = {
    layers.Conv2D: _by_output,
    layers.DepthwiseConv2D: _by_output,
    layers.Dense: _by_output,
    layers.SeparableConv2D: _separable,
    GroupedConv2D: _by_output,
    AtrousConv2D: _by_output,
    AtrousDepthwiseConv2D: _by_output,
    layers.Conv2DTranspose: _transposed,
    EfficientAttention: _attention,
}
