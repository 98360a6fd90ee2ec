"""Resizing and pooling for maps of any size."""

from __future__ import annotations

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="tf_landslide")
class BilinearUpsampling(layers.Layer):
    """Bilinear upsampling by a whole factor, pixel centres aligned, for maps of any size.

    ``UpSampling2D(interpolation="bilinear")`` wants to know the size when it is exported. Each output pixel is a mix of
    the two nearest pixels along an axis, with weights that repeat every ``factor`` pixels.

    Args:
        factor: of height and width.

    Call with (N, H, W, C); gives (N, factor * H, factor * W, C).
    """

    def __init__(self, factor: int, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return self._along(self._along(x, 1), 2)

    def _along(self, x, axis: int):
        def cut(start, stop):
            return x[:, start:stop] if axis == 1 else x[:, :, start:stop]

        before = ops.concatenate([cut(0, 1), cut(0, -1)], axis=axis)
        after = ops.concatenate([cut(1, None), cut(-1, None)], axis=axis)
        phases = []
        for phase in range(self.factor):
            shift = (phase + 0.5) / self.factor - 0.5
            phases.append((1 - abs(shift)) * x + abs(shift) * (before if shift < 0 else after))
        shape = list(ops.shape(x))
        shape[axis], shape[-1] = shape[axis] * self.factor, x.shape[-1]
        return ops.reshape(ops.stack(phases, axis=axis + 1), shape)

    def compute_output_shape(self, input_shape):
        batch, height, width, filters = input_shape
        return (batch, *(n and n * self.factor for n in (height, width)), filters)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable(package="tf_landslide")
class AlignedUpsampling(BilinearUpsampling):
    """Bilinear upsampling by a whole factor, the corners' pixel centres aligned (PyTorch's ``align_corners``).

    Args:
        factor: of height and width.

    Call with (N, H, W, C); gives (N, factor * H, factor * W, C).
    """

    def call(self, x):
        shape = ops.shape(x)
        x = ops.einsum("hi,nijc->nhjc", ops.cast(self._weights(shape[1]), x.dtype), x)
        return ops.einsum("wj,nhjc->nhwc", ops.cast(self._weights(shape[2]), x.dtype), x)

    def _weights(self, given):
        """(factor * given, given) float32, each row summing to 1: half precision cannot count the pixels of a row."""
        wanted = given * self.factor
        step = ops.cast(given - 1, "float32") / ops.cast(ops.maximum(wanted - 1, 1), "float32")
        centre = ops.cast(ops.arange(wanted), "float32")[:, None] * step
        return ops.relu(1 - ops.abs(centre - ops.cast(ops.arange(given), "float32")[None, :]))


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
        x = ops.einsum("ih,nhwc->niwc", ops.cast(self._parts(shape[1]), x.dtype), x)
        return ops.einsum("jw,niwc->nijc", ops.cast(self._parts(shape[2]), x.dtype), x)

    def _parts(self, length):
        """(cells, length) float32 weights, each row summing to 1: half precision cannot count the pixels of a row."""
        part, pixel = ops.arange(self.cells)[:, None], ops.arange(length)[None, :]
        inside = ops.logical_and(pixel >= part * length // self.cells, pixel < -(-(part + 1) * length // self.cells))
        weights = ops.cast(inside, "float32")
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
        x = ops.einsum("hi,nijc->nhjc", ops.cast(self._weights(x.shape[1], shape[1]), x.dtype), x)
        return ops.einsum("wj,nhjc->nhwc", ops.cast(self._weights(x.shape[2], shape[2]), x.dtype), x)

    @staticmethod
    def _weights(given: int, wanted):
        """(wanted, given) float32 weights, each row summing to 1: half precision cannot count the pixels of a row."""
        centre = (ops.cast(ops.arange(wanted), "float32") + 0.5) * given / ops.cast(wanted, "float32") - 0.5
        centre = ops.clip(centre, 0, given - 1)[:, None]
        return ops.relu(1 - ops.abs(centre - ops.cast(ops.arange(given), "float32")[None, :]))

    def compute_output_shape(self, input_shape):
        given, like = input_shape
        return (given[0], like[1], like[2], given[-1])
