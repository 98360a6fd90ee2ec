"""Convolutions that are fast in both directions: grouped and dilated."""

from __future__ import annotations

import keras
from keras import ops

from tf_landslide.core.errors import LandslideError


@keras.saving.register_keras_serializable(package="tf_landslide")
class GroupedConv2D(keras.layers.Layer):
    """Grouped convolution whose gradient is as fast as its forward pass.

    ``Conv2D(groups=…)`` has no fast gradient on CPUs. Here neighbouring groups are merged into blocks of about
    ``BLOCK`` channels, and each block is one dense convolution with a block-diagonal kernel: a few more
    multiplications, all of them in the fast path. The kernel is stored as ``Conv2D(groups=…)`` stores it.

    Args:
        filters: output channels.
        kernel_size: side of the window.
        groups: channels and filters are split into so many independent groups.
        strides: step, in pixels.
        padding: ``valid`` or ``same``.
        dilation_rate: of the window.
        use_bias: whether a bias is added.
        kernel_initializer: as Keras has them.
    """

    BLOCK = 64

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        groups: int,
        strides: int = 1,
        padding: str = "valid",
        dilation_rate: int = 1,
        use_bias: bool = False,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if filters % groups:
            raise LandslideError(f"{filters} filters cannot be split into {groups} groups")
        self.filters, self.kernel_size, self.groups = filters, kernel_size, groups
        self.strides, self.padding, self.dilation_rate = strides, padding, dilation_rate
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape):
        inputs = input_shape[-1]
        if inputs % self.groups:
            raise LandslideError(f"{inputs} channels cannot be split into {self.groups} groups")
        self.group_inputs, self.group_filters = inputs // self.groups, self.filters // self.groups
        size = (self.kernel_size, self.kernel_size)
        shape = (*size, self.group_inputs, self.filters)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=self.kernel_initializer)
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")
        # The largest divisor of the number of groups whose block has no more than BLOCK input channels.
        fitting = [m for m in range(1, self.groups + 1) if self.groups % m == 0 and m * self.group_inputs <= self.BLOCK]
        self.merged = max(fitting, default=1)

    def call(self, x):
        size, merged = self.kernel_size, self.merged
        kernel = ops.reshape(self.kernel, (size, size, self.group_inputs, self.groups // merged, merged, -1))
        diagonal = ops.eye(merged, dtype=self.kernel.dtype)
        # (size, size, block, group in block, input, group in block, filter), zero off the diagonal
        blocks = ops.einsum("hwibgo,ag->hwbaigo", kernel, diagonal)
        inputs, filters = merged * self.group_inputs, merged * self.group_filters
        blocks = ops.reshape(blocks, (size, size, self.groups // merged, inputs, filters))
        outputs = [
            ops.conv(
                x[..., b * inputs : (b + 1) * inputs],
                blocks[:, :, b],
                strides=self.strides,
                padding=self.padding,
                dilation_rate=self.dilation_rate,
                data_format="channels_last",
            )
            for b in range(self.groups // merged)
        ]
        y = ops.concatenate(outputs, axis=-1) if len(outputs) > 1 else outputs[0]
        return y + self.bias if self.use_bias else y

    def compute_output_shape(self, input_shape):
        def length(n):
            if n is None:
                return None
            window = self.dilation_rate * (self.kernel_size - 1) + 1 if self.padding == "valid" else 1
            return -(-(n - window + 1) // self.strides)

        return (input_shape[0], length(input_shape[1]), length(input_shape[2]), self.filters)

    def get_config(self):
        keys = ("filters", "kernel_size", "groups", "strides", "padding", "dilation_rate", "use_bias")
        return {
            **super().get_config(),
            **{key: getattr(self, key) for key in keys},
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


@keras.saving.register_keras_serializable(package="tf_landslide")
class AtrousConv2D(keras.layers.Layer):
    """A dilated convolution, same-padded, whose cost does not grow with its rate.

    ``Conv2D(dilation_rate=18)`` on an 8 x 8 map spends on CPUs twenty times what it spends undilated, nearly all on
    padding. Here each tap of the window is one matrix product, shifted into place: the same numbers at the price of an
    undilated convolution. The kernel is stored as ``Conv2D`` stores it.

    Args:
        filters: output channels.
        kernel_size: side of the window, odd.
        rate: pixels between its taps.
        kernel_initializer: as Keras has them.
    """

    def __init__(self, filters: int, kernel_size: int, rate: int, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.filters, self.kernel_size, self.rate = filters, kernel_size, rate
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape):
        shape = (self.kernel_size, self.kernel_size, input_shape[-1], self.filters)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=self.kernel_initializer)

    def call(self, x):
        reach = self.kernel_size // 2
        taps = [
            _shifted(_shifted(ops.matmul(x, self.kernel[i, j]), (i - reach) * self.rate, 1), (j - reach) * self.rate, 2)
            for i in range(self.kernel_size)
            for j in range(self.kernel_size)
        ]
        return sum(taps[1:], taps[0])

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "rate": self.rate,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


@keras.saving.register_keras_serializable(package="tf_landslide")
class AtrousDepthwiseConv2D(keras.layers.Layer):
    """A dilated depthwise convolution, same-padded: each tap of the window is one product, shifted into place.

    The kernel is stored as ``DepthwiseConv2D`` stores it.

    Args:
        kernel_size: side of the window, odd.
        rate: pixels between its taps.
        depthwise_initializer: as Keras has them.
    """

    def __init__(self, kernel_size: int, rate: int, depthwise_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.kernel_size, self.rate = kernel_size, rate
        self.depthwise_initializer = keras.initializers.get(depthwise_initializer)

    def build(self, input_shape):
        shape = (self.kernel_size, self.kernel_size, input_shape[-1], 1)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=self.depthwise_initializer)

    def call(self, x):
        reach = self.kernel_size // 2
        taps = [
            _shifted(_shifted(x * self.kernel[i, j, :, 0], (i - reach) * self.rate, 1), (j - reach) * self.rate, 2)
            for i in range(self.kernel_size)
            for j in range(self.kernel_size)
        ]
        return sum(taps[1:], taps[0])

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "rate": self.rate,
            "depthwise_initializer": keras.initializers.serialize(self.depthwise_initializer),
        }


def _shifted(x, by: int, axis: int):
    """``y[i] = x[i + by]`` along a spatial axis, zero where that lies outside the map."""
    if not by:
        return x
    length = ops.shape(x)[axis]
    lost = min(abs(by), length) if isinstance(length, int) else ops.minimum(abs(by), length)  # JAX slices by numbers

    def cut(start, stop):
        return x[:, start:stop] if axis == 1 else x[:, :, start:stop]

    if by > 0:
        return ops.concatenate([cut(lost, length), ops.zeros_like(cut(0, lost))], axis=axis)
    return ops.concatenate([ops.zeros_like(cut(0, lost)), cut(0, length - lost)], axis=axis)
