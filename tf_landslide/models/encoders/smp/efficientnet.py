"""EfficientNet as smp's encoders have it: TensorFlow's padding, and the maps after its stages."""

from __future__ import annotations

from functools import partial

import keras
from keras import layers

from tf_landslide.models.layers.torch_like import batch_norm, squeeze_excite, stochastic_depth
from tf_landslide.models.layers.torch_like import conv as torch_conv

# repeats, window, stride, expansion, filters
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_SHOWN = (2, 4, 8, 15)  # blocks whose maps are skips; that at stride 16 is not the last of its stride


def efficientnet_b0(channels: int, *, name: str, width: float = 1.0, drop: float = 0.2) -> keras.Model:
    """EfficientNet-B0 (Tan & Le 2019) without the layers behind its last stage, which smp keeps and never calls.

    Its larger kin are not here: smp fixes their padding for images of one size.

    Args:
        channels: number of input channels.
        name: of the model.
        width: that every number of filters is multiplied by.
        drop: of the last block's stochastic depth.

    Returns:
        A model from (N, H, W, channels) to the maps at stride 2, 4, 8, 16 and 32.
    """
    conv = partial(torch_conv, padding="same")
    norm = partial(batch_norm, epsilon=1e-3)
    inputs = keras.Input((None, None, channels), name="channels")
    x = norm(conv(inputs, _rounded(32 * width), 3, "_conv_stem", strides=2), "_bn0", activation="silu")
    pyramid, index = [x], 0
    total = sum(repeats for repeats, *_ in _STAGES)
    for repeats, size, strides, expansion, filters in _STAGES:
        for repeat in range(repeats):
            block, shortcut, step = f"_blocks.{index}", x, strides if not repeat else 1
            if expansion > 1:
                x = conv(x, x.shape[-1] * expansion, 1, f"{block}._expand_conv")
                x = norm(x, f"{block}._bn0", activation="silu")
            x = conv(x, x.shape[-1], size, f"{block}._depthwise_conv", strides=step, groups=x.shape[-1])
            x = norm(x, f"{block}._bn1", activation="silu")
            names = f"{block}._se_reduce", f"{block}._se_expand"
            x = squeeze_excite(x, max(1, shortcut.shape[-1] // 4), *names, activation="silu")
            x = conv(x, _rounded(filters * width), 1, f"{block}._project_conv")
            x = norm(x, f"{block}._bn2", activation=None)
            if step == 1 and shortcut.shape[-1] == x.shape[-1]:
                x = stochastic_depth(x, drop * index / total, f"{block}.drop")
                x = layers.Add(name=f"{block}.add")([x, shortcut])
            if index in _SHOWN:
                pyramid.append(x)
            index += 1
    return keras.Model(inputs, pyramid, name=name)


def _rounded(filters: float) -> int:
    """A number of filters that eight divides, and no more than a tenth smaller."""
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * filters else rounded
