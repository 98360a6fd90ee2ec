"""torchvision's VGG, DenseNet and MobileNetV2 as smp's encoders."""

from __future__ import annotations

import keras
from keras import layers

from tf_landslide.models.layers.torch_like import batch_norm, conv, kaiming_fan_in, kaiming_fan_out, max_pool

VGG = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
DENSENET = {"densenet121": (6, 12, 24, 16), "densenet169": (6, 12, 32, 32)}
_MOBILENET_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def vgg(channels: int, *, convolutions: tuple[int, ...], name: str, width: int = 64) -> keras.Model:
    """VGG (Simonyan & Zisserman 2015): the maps before each pooling but the first, and after the last.

    Args:
        channels: number of input channels.
        convolutions: of each block.
        name: of the model.
        width: filters of the first block; doubles up to eightfold.

    Returns:
        A model from (N, H, W, channels) to the maps at stride 2, 4, 8, 16 and 32.
    """
    x = inputs = keras.Input((None, None, channels), name="channels")
    pyramid, index = [], 0
    for block, count in enumerate(convolutions):
        for _ in range(count):
            x = conv(x, width * min(2**block, 8), 3, f"features.{index}", bias=True, init=kaiming_fan_out)
            x = layers.ReLU(name=f"features.{index + 1}")(x)
            index += 2
        if block:
            pyramid.append(x)
        x = layers.MaxPooling2D(2, name=f"features.{index}")(x)
        index += 1
    return keras.Model(inputs, [*pyramid, x], name=name)


def densenet(channels: int, *, blocks: tuple[int, ...], name: str, growth: int = 32, stem: int = 64) -> keras.Model:
    """DenseNet (Huang et al. 2017): the maps after the stem, before each transition's convolution, and the last norm's.

    Args:
        channels: number of input channels.
        blocks: layers of each dense block.
        name: of the model.
        growth: filters that a layer adds.
        stem: filters of the first convolution.

    Returns:
        A model from (N, H, W, channels) to the maps at stride 2, 4, 8, 16 and 32.
    """
    inputs = keras.Input((None, None, channels), name="channels")
    x = batch_norm(conv(inputs, stem, 7, "features.conv0", strides=2, init=kaiming_fan_in), "features.norm0")
    pyramid = [x]
    x = max_pool(x, "features.pool0")
    for block, count in enumerate(blocks, 1):
        for index in range(1, count + 1):
            name_ = f"features.denseblock{block}.denselayer{index}"
            y = conv(batch_norm(x, f"{name_}.norm1"), 4 * growth, 1, f"{name_}.conv1", init=kaiming_fan_in)
            y = conv(batch_norm(y, f"{name_}.norm2"), growth, 3, f"{name_}.conv2", init=kaiming_fan_in)
            x = layers.Concatenate(name=f"{name_}.join")([x, y])
        if block == len(blocks):
            x = batch_norm(x, "features.norm5", activation=None)
            pyramid.append(x)
        else:
            transition = f"features.transition{block}"
            x = batch_norm(x, f"{transition}.norm")
            pyramid.append(x)
            x = conv(x, x.shape[-1] // 2, 1, f"{transition}.conv", init=kaiming_fan_in)
            x = layers.AveragePooling2D(2, name=f"{transition}.pool")(x)
    return keras.Model(inputs, pyramid, name=name)


def mobilenet_v2(channels: int, *, name: str, width: float = 1.0) -> keras.Model:
    """MobileNetV2 (Sandler et al. 2018): the maps after its blocks, not inside them.

    Args:
        channels: number of input channels.
        name: of the model.
        width: that every number of filters is multiplied by.

    Returns:
        A model from (N, H, W, channels) to the maps at stride 2, 4, 8, 16 and 32.
    """

    def conv_norm(x, filters, size, name, activation="relu6", norm=None, **options):
        x = conv(x, filters, size, f"{name}.0" if norm is None else name, init=kaiming_fan_out, **options)
        return batch_norm(x, norm or f"{name}.1", activation=activation)

    def scaled(filters):
        return max(8, int(filters * width))

    inputs = keras.Input((None, None, channels), name="channels")
    x = conv_norm(inputs, scaled(32), 3, "features.0", strides=2)
    maps = []
    for expansion, filters, repeats, strides in _MOBILENET_V2:
        for repeat in range(repeats):
            maps.append(x)
            shortcut, name_, part = x, f"features.{len(maps)}.conv", 0
            step = strides if not repeat else 1
            if expansion > 1:
                x = conv_norm(x, x.shape[-1] * expansion, 1, f"{name_}.0")
                part = 1
            x = conv_norm(x, x.shape[-1], 3, f"{name_}.{part}", strides=step, groups=x.shape[-1])
            x = conv_norm(x, scaled(filters), 1, f"{name_}.{part + 1}", None, f"{name_}.{part + 2}")
            if step == 1 and shortcut.shape[-1] == x.shape[-1]:
                x = layers.Add(name=f"{name_}.add")([shortcut, x])
    maps.append(x)
    last = conv_norm(x, scaled(1280), 1, f"features.{len(maps)}")
    return keras.Model(inputs, [*(maps[i] for i in (1, 3, 6, 13)), last], name=name)
