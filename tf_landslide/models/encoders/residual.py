"""SE-ResNet, ResNeXt and SE-ResNeXt from one residual builder.

Layer by layer those of the ``image-classifiers`` package (which segmentation-models uses), so that its published
ImageNet weights fit; without its Lambda layers, so that models reload, and with grouped convolutions whose gradient is
fast.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial

import keras
import numpy as np
from keras import layers

from tf_landslide.models.encoders.contract import Encoder
from tf_landslide.models.encoders.segmentation_models import published_arrays
from tf_landslide.models.encoders.weights import RAW, TORCH, Pretrained, set_layer
from tf_landslide.models.layers.conv import GroupedConv2D


@dataclass(frozen=True)
class ResidualSpec:
    """What sets one bottleneck residual network apart from another.

    Attributes:
        blocks: units of each of the four stages.
        groups: of the 3 x 3 convolution.
        base_width: width of the 3 x 3 convolution in the first stage, over all groups; doubles each stage.
        squeeze: reduction of the squeeze-and-excitation block (Hu et al. 2018), or None for none.
        stride_first: the first 1 x 1 convolution of a stage strides (as in Caffe), else the 3 x 3 one.
        input_norm: a batch norm without scale before the stem.
        epsilon: of the batch norms.
        width: output width of the first stage; doubles each stage.
    """

    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    groups: int = 1
    base_width: int = 64
    squeeze: int | None = None
    stride_first: bool = False
    input_norm: bool = False
    epsilon: float = 1e-5
    width: int = 256


SPECS = {
    "seresnet50": ResidualSpec(squeeze=16, stride_first=True),  # Hu et al. 2018
    "resnext50": ResidualSpec(groups=32, base_width=128, input_norm=True, epsilon=2e-5),  # Xie et al. 2017, 32x4d
    "seresnext50": ResidualSpec(groups=32, base_width=128, squeeze=16),  # Hu et al. 2018, 32x4d
}


def residual_network(channels: int, spec: ResidualSpec, name: str) -> keras.Model:
    """Build the network without its classifier.

    Args:
        channels: number of input channels.
        spec: which network.
        name: of the model.

    Returns:
        A model from (N, H, W, channels) to the maps at stride 2, 4, 8, 16 and 32.
    """

    def batch_norm(x, name, **options):
        return layers.BatchNormalization(epsilon=spec.epsilon, name=name, **options)(x)

    def conv(x, filters, size, name, strides=1):
        padding = "same" if strides == 1 else "valid"
        if size > 1 and strides > 1:  # pad as the published weights were trained: alike on both sides
            x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
        options = {"strides": strides, "padding": padding, "use_bias": False, "kernel_initializer": "he_uniform"}
        if spec.groups > 1 and size == 3:
            return GroupedConv2D(filters, size, spec.groups, name=name, **options)(x)
        return layers.Conv2D(filters, size, name=name, **options)(x)

    def squeeze_and_excite(x, name):
        filters = x.shape[-1]
        s = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
        s = layers.Conv2D(filters // spec.squeeze, 1, activation="relu", name=f"{name}_reduce")(s)
        s = layers.Conv2D(filters, 1, activation="sigmoid", name=f"{name}_expand")(s)
        return layers.Multiply(name=f"{name}_excite")([x, s])

    def unit(x, stage, index):
        name = f"stage{stage + 1}_unit{index + 1}"
        strides = 2 if stage and not index else 1
        first, second = (strides, 1) if spec.stride_first else (1, strides)
        shortcut = x
        y = conv(x, spec.base_width * 2**stage, 1, f"{name}_conv1", first)
        y = layers.ReLU(name=f"{name}_relu1")(batch_norm(y, f"{name}_bn1"))
        y = conv(y, spec.base_width * 2**stage, 3, f"{name}_conv2", second)
        y = layers.ReLU(name=f"{name}_relu2")(batch_norm(y, f"{name}_bn2"))
        y = batch_norm(conv(y, spec.width * 2**stage, 1, f"{name}_conv3"), f"{name}_bn3")
        if not index:
            shortcut = conv(x, spec.width * 2**stage, 1, f"{name}_shortcut", strides)
            shortcut = batch_norm(shortcut, f"{name}_shortcut_bn")
        if spec.squeeze:
            y = squeeze_and_excite(y, f"{name}_se")
        return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([y, shortcut]))

    inputs = keras.Input((None, None, channels), name="channels")
    x = batch_norm(inputs, "input_bn", scale=False) if spec.input_norm else inputs
    x = layers.ZeroPadding2D(3, name="stem_pad")(x)
    x = layers.Conv2D(spec.width // 4, 7, strides=2, use_bias=False, kernel_initializer="he_uniform", name="stem_conv")(
        x
    )
    x = layers.ReLU(name="stem_relu")(batch_norm(x, "stem_bn"))
    pyramid = [x]
    x = layers.ZeroPadding2D(1, name="pool_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool")(x)
    for stage, units in enumerate(spec.blocks):
        for index in range(units):
            x = unit(x, stage, index)
        pyramid.append(x)
    return keras.Model(inputs, pyramid, name=name)


def pretrained(name: str, weights: str) -> keras.Model:
    """The three-channel network with published weights (``imagenet``, or the path of their file)."""
    model = residual_network(3, SPECS[name], name)
    load_published(model, SPECS[name], published_arrays(name, weights), weights)
    return model


def load_published(model: keras.Model, spec: ResidualSpec, arrays: dict[str, list], origin: str) -> None:
    """Load weights as ``image-classifiers`` names them.

    Most of its layers have generated names (``conv2d_17``) that count their creation, so the next of its kind belongs
    to our next layer in the order in which it creates them; a grouped convolution is ``groups`` layers in a row.
    ResNeXt's other layers are named.

    Args:
        model: of three channels.
        spec: what it was built by.
        arrays: by layer name.
        origin: whose they are, for errors.

    Raises:
        LandslideError: they do not fit.
    """
    generated = {
        kind: iter(sorted((n for n in arrays if re.fullmatch(rf"{kind}(_\d+)?", n)), key=_creation))
        for kind in ("conv2d", "batch_normalization")
    }

    def take(kind, named):
        name = named if named in arrays else next(generated[kind], None)
        return arrays.get(name, [])

    for layer in _creation_order(model, spec):
        kind = "batch_normalization" if isinstance(layer, layers.BatchNormalization) else "conv2d"
        if isinstance(layer, GroupedConv2D):
            kernels = [take("conv2d", None) for _ in range(layer.groups)]
            set_layer(layer, [np.concatenate(parts, axis=-1) for parts in zip(*kernels, strict=True)], origin)
        else:
            set_layer(layer, take(kind, _published_name(layer.name)), origin)


def _creation(name: str) -> int:
    number = name.rpartition("_")[2]
    return int(number) if number.isdigit() else 0


def _published_name(name: str) -> str:
    """ResNeXt's name for a layer of ours."""
    fixed = {"input_bn": "bn_data", "stem_conv": "conv0", "stem_bn": "bn0"}
    return fixed.get(name, name.replace("_shortcut", "_sc"))


def _creation_order(model: keras.Model, spec: ResidualSpec):
    """Our layers with weights, in the order in which ``image-classifiers`` creates its own."""
    names = ["input_bn", "stem_conv", "stem_bn"]
    parts = ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "shortcut", "shortcut_bn", "se_reduce", "se_expand")
    for stage, units in enumerate(spec.blocks, 1):
        names += [f"stage{stage}_unit{unit}_{part}" for unit in range(1, units + 1) for part in parts]
    present = {layer.name: layer for layer in model.layers}
    return [present[name] for name in names if name in present]


def _encoder(name: str, description: str, paper: str, expects: Pretrained) -> Encoder:
    return Encoder(
        partial(residual_network, spec=SPECS[name], name=name),
        description,
        paper,
        pretrained=partial(pretrained, name),
        expects=expects,
    )


_SENET_PAPER = "Hu et al. 2018, arXiv:1709.01507"

ENCODERS = {
    "seresnet50": _encoder("seresnet50", "SE-ResNet-50", _SENET_PAPER, TORCH),
    "resnext50": _encoder("resnext50", "ResNeXt-50 32x4d", "Xie et al. 2017, arXiv:1611.05431", RAW),
    "seresnext50": _encoder("seresnext50", "SE-ResNeXt-50 32x4d", _SENET_PAPER, TORCH),
}
