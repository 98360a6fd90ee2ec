"""torchvision's ResNets and ResNeXts, and Cadene's SE-ResNets and SE-ResNeXts, as smp's encoders."""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import layers

from tf_landslide.models.layers.torch_like import (
    batch_norm,
    conv,
    default_init,
    kaiming_fan_out,
    max_pool,
    squeeze_excite,
)


@dataclass(frozen=True)
class ResNetSpec:
    """What sets one residual network apart from another.

    Attributes:
        blocks: of each of the four stages.
        bottleneck: blocks of 1 x 1, 3 x 3 and 1 x 1 convolutions, else of two 3 x 3 ones.
        groups: of the 3 x 3 convolution of a bottleneck.
        group_width: of one group in the first stage; doubles each stage.
        squeeze: reduction of the squeeze-and-excitation block, or None for none; such a network is Cadene's.
        stride_first: the first convolution of a stage strides (as in Caffe), else the 3 x 3 one.
        width: filters of the first stage.
    """

    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    bottleneck: bool = True
    groups: int = 1
    group_width: int = 64
    squeeze: int | None = None
    stride_first: bool = False
    width: int = 64


SPECS = {
    "resnet18": ResNetSpec((2, 2, 2, 2), bottleneck=False),
    "resnet34": ResNetSpec((3, 4, 6, 3), bottleneck=False),
    "resnet50": ResNetSpec(),
    "resnet101": ResNetSpec((3, 4, 23, 3)),
    "resnext50": ResNetSpec(groups=32, group_width=4),
    "seresnet50": ResNetSpec(squeeze=16, stride_first=True),
    "seresnext50": ResNetSpec(groups=32, group_width=4, squeeze=16),
}


def resnet(channels: int, output_stride: int = 32, *, spec: ResNetSpec, name: str) -> keras.Model:
    """Build the network without its classifier.

    Args:
        channels: number of input channels.
        output_stride: of the last map: 8 or 16 dilate every 3 x 3 convolution of the stages that no longer stride.
        spec: which network.
        name: of the model.

    Returns:
        A model from (N, H, W, channels) to the maps after the stem and each stage.
    """
    stem, pool_before = ("layer0.", 0) if spec.squeeze else ("", 1)
    init = default_init if spec.squeeze else kaiming_fan_out
    inputs = keras.Input((None, None, channels), name="channels")
    x = batch_norm(conv(inputs, spec.width, 7, f"{stem}conv1", strides=2, init=init), f"{stem}bn1")
    pyramid = [x]
    x = max_pool(x, "pool", pool_before)
    stride = 4
    for stage, blocks in enumerate(spec.blocks):
        strides, dilation = 1, max(1, 4 * 2**stage // output_stride)
        if stage and stride < output_stride:
            strides, stride = 2, 2 * stride
        for index in range(blocks):
            x = _block(x, spec, stage, f"layer{stage + 1}.{index}", strides if not index else 1, dilation, init)
        pyramid.append(x)
    return keras.Model(inputs, pyramid, name=name)


def _block(x, spec: ResNetSpec, stage: int, name: str, strides: int, dilation: int, init):
    """One residual block."""
    width = spec.width * 2**stage
    filters = 4 * width if spec.bottleneck else width
    shortcut = x
    if strides > 1 or x.shape[-1] != filters:
        shortcut = conv(x, filters, 1, f"{name}.downsample.0", strides=strides, init=init)
        shortcut = batch_norm(shortcut, f"{name}.downsample.1", activation=None)
    if spec.bottleneck:
        inner = width * spec.group_width // 64 * spec.groups
        first, second = (strides, 1) if spec.stride_first else (1, strides)
        y = batch_norm(conv(x, inner, 1, f"{name}.conv1", strides=first, init=init), f"{name}.bn1")
        options = {"strides": second, "dilation": dilation, "groups": spec.groups, "init": init}
        y = batch_norm(conv(y, inner, 3, f"{name}.conv2", **options), f"{name}.bn2")
        y = batch_norm(conv(y, filters, 1, f"{name}.conv3", init=init), f"{name}.bn3", activation=None)
    else:
        y = conv(x, filters, 3, f"{name}.conv1", strides=strides, dilation=dilation, init=init)
        y = conv(batch_norm(y, f"{name}.bn1"), filters, 3, f"{name}.conv2", dilation=dilation, init=init)
        y = batch_norm(y, f"{name}.bn2", activation=None)
    if spec.squeeze:
        y = squeeze_excite(y, filters // spec.squeeze, f"{name}.se_module.fc1", f"{name}.se_module.fc2")
    y = layers.Add(name=f"{name}.add")([y, shortcut])
    return layers.ReLU(name=f"{name}.relu")(y)
