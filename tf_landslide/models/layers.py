"""Layers that every model shares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import keras
import numpy as np
from keras import ops

from tf_landslide.errors import LandslideError


@keras.saving.register_keras_serializable(package="tf_landslide")
class Normalization(keras.layers.Layer):
    """``(x - mean) / std`` per channel, with statistics kept among the weights; a missing value becomes zero.

    Zero after normalisation is the training mean, so a missing pixel is an ordinary pixel to the convolutions. NaN and
    infinite values count as missing, both here and in ``adapt``. Statistics start at mean 0 and variance 1.

    Call with ``(N, H, W, C)`` channels in physical units; gives the same shape.
    """

    epsilon = 1e-6  # of the standard deviation: a channel that never varies gives zero

    def build(self, input_shape):
        channels = (input_shape[-1],)
        self.mean = self.add_weight(name="mean", shape=channels, initializer="zeros", trainable=False, dtype="float32")
        self.variance = self.add_weight(
            name="variance", shape=channels, initializer="ones", trainable=False, dtype="float32"
        )

    def adapt(self, batches: Iterable) -> None:
        """Set mean and variance from data, in float64, skipping missing values.

        Args:
            batches: arrays (N, H, W, C), or (channels, mask) pairs as a dataset gives them.

        Raises:
            LandslideError: a channel has no valid value at all.
        """
        count = mean = squares = np.zeros(self.mean.shape[0])
        for batch in batches:
            x = np.asarray(batch[0] if isinstance(batch, (tuple, list)) else batch, np.float64)
            x = x.reshape(-1, x.shape[-1])
            valid = np.isfinite(x)
            new = valid.sum(0)
            total = np.maximum(count + new, 1)
            batch_mean = np.where(valid, x, 0).sum(0) / np.maximum(new, 1)
            squares = squares + np.where(valid, (x - batch_mean) ** 2, 0).sum(0)
            squares = squares + (batch_mean - mean) ** 2 * count * new / total
            mean = mean + (batch_mean - mean) * new / total
            count = count + new
        if not np.all(count):
            empty = np.flatnonzero(count == 0).tolist()
            raise LandslideError(f"channels {empty} (from 0) hold no valid value at all; leave them out")
        self.mean.assign(mean.astype(np.float32))
        self.variance.assign((squares / count).astype(np.float32))

    def call(self, x):
        x = ops.cast(x, "float32")
        z = (x - self.mean) / ops.maximum(ops.sqrt(self.variance), self.epsilon)
        return ops.cast(ops.where(ops.isfinite(z), z, 0.0), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable(package="tf_landslide")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch norm, by TensorFlow's fused kernel where that can do it.

    Keras computes batch norm from a dozen elementwise operations. The fused kernel gives the same numbers and trains a
    U-Net/ResNet-34 1.2 times as fast on CPUs; a graph of it lets TensorFlow and OpenVINO fold it into the convolution
    before it. Other backends, ranks and types, and masks, go Keras's way.
    """

    def call(self, inputs, training=None, mask=None):
        plain = not (self.synchronized or self.renorm) and mask is None and self.axis in (-1, 3)
        kept = self.variable_dtype == "float32" and self.compute_dtype in ("float16", "bfloat16", "float32")
        if keras.backend.backend() != "tensorflow" or not (plain and kept) or len(inputs.shape) != 4:
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        ones, zeros = ops.ones_like(self.moving_mean), ops.zeros_like(self.moving_mean)
        learning = bool(training and self.trainable)
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=ops.cast(inputs, self.compute_dtype),
            scale=self.gamma if self.scale else ones,
            offset=self.beta if self.center else zeros,
            mean=ops.convert_to_tensor(self.moving_mean),
            variance=ops.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            is_training=learning,
        )
        if learning:
            pixels = ops.cast(ops.prod(ops.shape(inputs)[:3]), variance.dtype)
            variance = variance * ops.maximum(pixels - 1, 1) / pixels  # of the batch itself, as Keras keeps it
            for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + batch * (1 - self.momentum))
        return y


def fuse_batch_norm(model: keras.Model, momentum: float) -> None:
    """Give every batch norm of a model, wherever its layers come from, the fused kernel and a momentum."""
    for layer in all_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.__class__ = BatchNormalization  # the same weights and settings; only ``call`` differs
            layer.momentum = momentum


def all_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """The layers of a model and of the models in it."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from all_layers(layer)
        else:
            yield layer


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
class BilinearUpsampling(keras.layers.Layer):
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


def _shifted(x, by: int, axis: int):
    """``y[i] = x[i + by]`` along a spatial axis, zero where that lies outside the map."""
    if not by:
        return x
    length = ops.shape(x)[axis]
    lost = ops.minimum(abs(by), length)

    def cut(start, stop):
        return x[:, start:stop] if axis == 1 else x[:, :, start:stop]

    if by > 0:
        return ops.concatenate([cut(lost, length), ops.zeros_like(cut(0, lost))], axis=axis)
    return ops.concatenate([ops.zeros_like(cut(0, lost)), cut(0, length - lost)], axis=axis)
