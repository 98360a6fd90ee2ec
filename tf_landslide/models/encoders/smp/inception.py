"""Cadene's Inception-v4 and Inception-ResNet-v2 with smp's padding, as encoders."""

from __future__ import annotations

import keras
from keras import layers

from tf_landslide.models.layers.torch_like import batch_norm, max_pool
from tf_landslide.models.layers.torch_like import conv as plain_conv


def conv(x, filters: int, size, name: str, strides: int = 1):
    """A convolution, batch norm, ReLU."""
    x = plain_conv(x, filters, size, f"{name}.conv", strides=strides)
    return batch_norm(x, f"{name}.bn", epsilon=1e-3)


def _chain(x, name: str, *steps):
    """Convolutions in a row: (filters, size), or (filters, size, strides)."""
    for i, step in enumerate(steps):
        x = conv(x, step[0], step[1], f"{name}.{i}", *step[2:])
    return x


def _average(x, name: str):
    return layers.AveragePooling2D(3, strides=1, padding="same", name=f"{name}.0")(x)


def _join(name: str, *branches):
    return layers.Concatenate(name=f"{name}.join")(list(branches))


_WIDE, _TALL = (1, 7), (7, 1)


def _block_a(x, name, w):
    return _join(
        name,
        conv(x, w(96), 1, f"{name}.branch0"),
        _chain(x, f"{name}.branch1", (w(64), 1), (w(96), 3)),
        _chain(x, f"{name}.branch2", (w(64), 1), (w(96), 3), (w(96), 3)),
        conv(_average(x, f"{name}.branch3"), w(96), 1, f"{name}.branch3.1"),
    )


def _block_b(x, name, w):
    long = (w(192), 1), (w(192), _TALL), (w(224), _WIDE), (w(224), _TALL), (w(256), _WIDE)
    return _join(
        name,
        conv(x, w(384), 1, f"{name}.branch0"),
        _chain(x, f"{name}.branch1", (w(192), 1), (w(224), _WIDE), (w(256), _TALL)),
        _chain(x, f"{name}.branch2", *long),
        conv(_average(x, f"{name}.branch3"), w(128), 1, f"{name}.branch3.1"),
    )


def _block_c(x, name, w):
    def split(x, name):
        return [conv(x, w(256), size, f"{name}{letter}") for size, letter in (((1, 3), "a"), ((3, 1), "b"))]

    first = conv(x, w(384), 1, f"{name}.branch1_0")
    second = conv(x, w(384), 1, f"{name}.branch2_0")
    second = conv(conv(second, w(448), (3, 1), f"{name}.branch2_1"), w(512), (1, 3), f"{name}.branch2_2")
    return _join(
        name,
        conv(x, w(256), 1, f"{name}.branch0"),
        *split(first, f"{name}.branch1_1"),
        *split(second, f"{name}.branch2_3"),
        conv(_average(x, f"{name}.branch3"), w(256), 1, f"{name}.branch3.1"),
    )


def _mixed_3a(x, name, w):
    return _join(name, max_pool(x, f"{name}.maxpool"), conv(x, w(96), 3, f"{name}.conv", 2))


def _mixed_4a(x, name, w):
    left = _chain(x, f"{name}.branch0", (w(64), 1), (w(96), 3))
    right = _chain(x, f"{name}.branch1", (w(64), 1), (w(64), _WIDE), (w(64), _TALL), (w(96), 3))
    return _join(name, left, right)


def _mixed_5a(x, name, w):
    return _join(name, conv(x, w(192), 3, f"{name}.conv", 2), max_pool(x, f"{name}.maxpool"))


def _reduction_a(x, name, w):
    left = conv(x, w(384), 3, f"{name}.branch0", 2)
    middle = _chain(x, f"{name}.branch1", (w(192), 1), (w(224), 3), (w(256), 3, 2))
    return _join(name, left, middle, max_pool(x, f"{name}.branch2"))


def _reduction_b(x, name, w):
    left = _chain(x, f"{name}.branch0", (w(192), 1), (w(192), 3, 2))
    middle = _chain(x, f"{name}.branch1", (w(256), 1), (w(256), _WIDE), (w(320), _TALL), (w(320), 3, 2))
    return _join(name, left, middle, max_pool(x, f"{name}.branch2"))


def inception_v4(
    channels: int, *, name: str, blocks: tuple[int, int, int] = (4, 7, 3), thinner: int = 1
) -> keras.Model:
    """Inception-v4 (Szegedy et al. 2017).

    The maps are those that smp takes: of a stage's third A block, of its fourth B block, and the last.

    Args:
        channels: number of input channels.
        name: of the model.
        blocks: number of A, B and C blocks.
        thinner: a divisor of every width.

    Returns:
        A model from (N, H, W, channels) to the maps at stride 2, 4, 8, 16 and 32.
    """

    def w(filters):
        return filters // thinner

    inputs = keras.Input((None, None, channels), name="channels")
    maps = [conv(inputs, w(32), 3, "features.0", 2)]
    maps.append(conv(maps[-1], w(32), 3, "features.1"))
    maps.append(conv(maps[-1], w(64), 3, "features.2"))
    a, b, c = blocks
    parts = [_mixed_3a, _mixed_4a, _mixed_5a, *[_block_a] * a, _reduction_a, *[_block_b] * b, _reduction_b]
    for part in [*parts, *[_block_c] * c]:
        maps.append(part(maps[-1], f"features.{len(maps)}", w))
    first_a, first_b = 6, 7 + a
    shown = (2, 4, first_a + min(3, a) - 1, first_b + min(4, b) - 1, -1)
    return keras.Model(inputs, [maps[i] for i in shown], name=name)


def _residual(x, name, scale, branches, activation="relu"):
    """Add what the branches say together, scaled down."""
    y = _join(name, *branches)
    y = plain_conv(y, x.shape[-1], 1, f"{name}.conv2d", bias=True)
    y = layers.Rescaling(scale, name=f"{name}.scale")(y)
    y = layers.Add(name=f"{name}.add")([y, x])
    return layers.Activation(activation, name=f"{name}.{activation}")(y) if activation else y


def _block35(x, name, w):
    branches = [
        conv(x, w(32), 1, f"{name}.branch0"),
        _chain(x, f"{name}.branch1", (w(32), 1), (w(32), 3)),
        _chain(x, f"{name}.branch2", (w(32), 1), (w(48), 3), (w(64), 3)),
    ]
    return _residual(x, name, 0.17, branches)


def _block17(x, name, w):
    long = _chain(x, f"{name}.branch1", (w(128), 1), (w(160), _WIDE), (w(192), _TALL))
    return _residual(x, name, 0.10, [conv(x, w(192), 1, f"{name}.branch0"), long])


def _block8(x, name, w, scale=0.20, activation="relu"):
    long = _chain(x, f"{name}.branch1", (w(192), 1), (w(224), (1, 3)), (w(256), (3, 1)))
    return _residual(x, name, scale, [conv(x, w(192), 1, f"{name}.branch0"), long], activation)


def _mixed_5b(x, name, w):
    return _join(
        name,
        conv(x, w(96), 1, f"{name}.branch0"),
        _chain(x, f"{name}.branch1", (w(48), 1), (w(64), 5)),
        _chain(x, f"{name}.branch2", (w(64), 1), (w(96), 3), (w(96), 3)),
        conv(_average(x, f"{name}.branch3"), w(64), 1, f"{name}.branch3.1"),
    )


def _mixed_6a(x, name, w):
    return _join(
        name,
        conv(x, w(384), 3, f"{name}.branch0", 2),
        _chain(x, f"{name}.branch1", (w(256), 1), (w(256), 3), (w(384), 3, 2)),
        max_pool(x, f"{name}.branch2"),
    )


def _mixed_7a(x, name, w):
    return _join(
        name,
        _chain(x, f"{name}.branch0", (w(256), 1), (w(384), 3, 2)),
        _chain(x, f"{name}.branch1", (w(256), 1), (w(288), 3, 2)),
        _chain(x, f"{name}.branch2", (w(256), 1), (w(288), 3), (w(320), 3, 2)),
        max_pool(x, f"{name}.branch3"),
    )


def inception_resnet_v2(
    channels: int, *, name: str, blocks: tuple[int, int, int] = (10, 20, 9), thinner: int = 1
) -> keras.Model:
    """Inception-ResNet-v2 (Szegedy et al. 2017).

    Args:
        channels: number of input channels.
        name: of the model.
        blocks: number of 35, 17 and 8 blocks; one more of the last has no activation.
        thinner: a divisor of every width.

    Returns:
        A model from (N, H, W, channels) to the maps at stride 2, 4, 8, 16 and 32.
    """

    def w(filters):
        return filters // thinner

    inputs = keras.Input((None, None, channels), name="channels")
    x = conv(conv(inputs, w(32), 3, "conv2d_1a", 2), w(32), 3, "conv2d_2a")
    pyramid = [conv(x, w(64), 3, "conv2d_2b")]
    x = conv(max_pool(pyramid[-1], "maxpool_3a"), w(80), 1, "conv2d_3b")
    pyramid.append(conv(x, w(192), 3, "conv2d_4a"))
    x = _mixed_5b(max_pool(pyramid[-1], "maxpool_5a"), "mixed_5b", w)
    for i in range(blocks[0]):
        x = _block35(x, f"repeat.{i}", w)
    pyramid.append(x)
    x = _mixed_6a(x, "mixed_6a", w)
    for i in range(blocks[1]):
        x = _block17(x, f"repeat_1.{i}", w)
    pyramid.append(x)
    x = _mixed_7a(x, "mixed_7a", w)
    for i in range(blocks[2]):
        x = _block8(x, f"repeat_2.{i}", w)
    x = _block8(x, "block8", w, 1.0, None)
    pyramid.append(conv(x, w(1536), 1, "conv2d_7b"))
    return keras.Model(inputs, pyramid, name=name)
