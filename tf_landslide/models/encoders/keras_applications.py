"""Adapter: the networks of ``keras.applications`` as encoders, without their own rescaling."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import keras

from tf_landslide.models.encoders import papers
from tf_landslide.models.encoders.contract import Encoder
from tf_landslide.models.encoders.weights import CAFFE, HALVES, SYMMETRIC, TORCH, Pretrained, explained

_EFFICIENTNET = (
    "block2a_expand_activation",
    "block3a_expand_activation",
    "block4a_expand_activation",
    "block6a_expand_activation",
    "top_activation",
)
_DENSENET = ("conv1_relu", "pool2_relu", "pool3_relu", "pool4_relu", "relu")
LAST = ""  # the network's own output, whose layer has a generated name
_VALID_PADDED = ("inceptionresnetv2", "xception")


def _efficientnet_v2(first: str, second: str):
    stem = f"block1{first}_project_activation" if first == "a" else f"block1{first}_add"
    return (stem, f"block2{second}_add", "block4a_expand_activation", "block6a_expand_activation", "top_activation")


def _resnet_v2(units):
    return ("conv1_conv", *(f"conv{stage}_block{last}_preact_relu" for stage, last in enumerate(units, 2)), "post_relu")


def _convnext(size: str, third: int):
    stages = ((0, 2), (1, 2), (2, third - 1))
    return (*(f"convnext_{size}_stage_{stage}_block_{last}_identity" for stage, last in stages), LAST)


def _vgg(convolutions):
    return (*(f"block{block}_conv{last}" for block, last in enumerate(convolutions, 1)), "block5_pool")


def _resnet(units):
    return ("conv1_relu", *(f"conv{stage}_block{last}_out" for stage, last in enumerate(units, 2)))


# name: (class in keras.applications, layers at stride 2, 4, 8, 16, 32; VGG, which pools behind its blocks, also at 1;
# ConvNeXt, which begins with patches of four pixels, from 4).
NETWORKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "vgg16": ("VGG16", _vgg((2, 2, 3, 3, 3))),
    "vgg19": ("VGG19", _vgg((2, 2, 4, 4, 4))),
    "resnet50": ("ResNet50", _resnet((3, 4, 6, 3))),
    "resnet101": ("ResNet101", _resnet((3, 4, 23, 3))),
    "resnet152": ("ResNet152", _resnet((3, 8, 36, 3))),
    "densenet121": ("DenseNet121", _DENSENET),
    "densenet169": ("DenseNet169", _DENSENET),
    "densenet201": ("DenseNet201", _DENSENET),
    "mobilenetv2": (
        "MobileNetV2",
        ("block_1_expand_relu", "block_3_expand_relu", "block_6_expand_relu", "block_13_expand_relu", "out_relu"),
    ),
    **{f"efficientnetb{i}": (f"EfficientNetB{i}", _EFFICIENTNET) for i in range(8)},
    **{
        f"efficientnetv2b{i}": (f"EfficientNetV2B{i}", _efficientnet_v2(*ends))
        for i, ends in enumerate(("ab", *["bc"] * 3))
    },
    "efficientnetv2s": ("EfficientNetV2S", _efficientnet_v2("b", "d")),
    "efficientnetv2m": ("EfficientNetV2M", _efficientnet_v2("c", "e")),
    "efficientnetv2l": ("EfficientNetV2L", _efficientnet_v2("d", "g")),
    "resnet50v2": ("ResNet50V2", _resnet_v2((3, 4, 6))),
    "resnet101v2": ("ResNet101V2", _resnet_v2((3, 4, 23))),
    "resnet152v2": ("ResNet152V2", _resnet_v2((3, 8, 36))),
    "mobilenet": ("MobileNet", tuple(f"conv_pw_{i}_relu" for i in (1, 3, 5, 11, 13))),
    "mobilenetv3small": (
        "MobileNetV3Small",
        ("conv_bn", "expanded_conv_project_bn", "expanded_conv_2_add", "expanded_conv_7_add", LAST),
    ),
    "mobilenetv3large": (
        "MobileNetV3Large",
        ("expanded_conv_add", "expanded_conv_2_add", "expanded_conv_5_add", "expanded_conv_11_add", LAST),
    ),
    **{
        f"convnext{size}": (f"ConvNeXt{size.title()}", _convnext(size, 9 if size == "tiny" else 27))
        for size in ("tiny", "small", "base", "large")
    },
    "xception": (
        "Xception",
        ("block2_sepconv2_bn", "block3_sepconv2_bn", "block4_sepconv2_bn", "block13_sepconv2_bn", LAST),
    ),
    "inceptionresnetv2": ("InceptionResNetV2", ("", "", "block35_10_ac", "block17_20_ac", "conv_7b_ac")),
}


def original(name: str, channels: int, weights: str | None = None) -> keras.Model:
    """The untouched network of ``keras.applications``, without its classifier, for any image size.

    ``weights`` is ``imagenet`` or the path of a file of that network; both need three channels.

    Raises:
        LandslideError: weights that cannot be downloaded or do not fit.
    """
    build = getattr(keras.applications, NETWORKS[name][0])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This model usually expects 1 or 3 input channels")
        if weights is None:
            return build(include_top=False, weights=None, input_shape=(None, None, channels))
        with explained(weights):
            return build(include_top=False, weights=weights, input_shape=(None, None, channels))


def pretrained(name: str, weights: str) -> keras.Model:
    """The three-channel ``network`` with published weights (``imagenet``, or the path of their file)."""
    model = network(name, 3)
    given = original(name, 3, weights)
    scaling = [
        w for layer in given.layers if isinstance(layer, keras.layers.Normalization) for w in layer.get_weights()
    ]
    model.set_weights(given.get_weights()[len(scaling) :])  # a network that scales pixels itself does so first
    return model


def network(name: str, channels: int, padding: str = "same") -> keras.Model:
    """A network of ``NETWORKS`` as a model with the maps at stride 2, 4, 8, 16 and 32 (VGG: 1 too, ConvNeXt: from 4).

    Args:
        name: a key of ``NETWORKS``.
        channels: number of input channels.
        padding: of Inception-ResNet-v2 and Xception, whose ``valid`` padding aligns with nothing; ``valid`` leaves it.
    """
    model = original(name, channels)
    if name in _VALID_PADDED and padding == "same":
        model = keras.models.clone_model(model, clone_function=_same_padded)
    model = keras.models.clone_model(model, clone_function=_not_rescaling)
    maps = [model.get_layer(layer).output for layer in pyramid_layers(name, model)]
    return keras.Model(model.inputs[0], maps, name=name)


def pyramid_layers(name: str, model: keras.Model) -> list[str]:
    """Names of the layers of ``NETWORKS[name]``, with those that Keras generates: the last, and those of a stem."""
    names = list(NETWORKS[name][1])
    if name == "inceptionresnetv2":  # the maps before its two max poolings
        pools = [i for i, layer in enumerate(model.layers) if isinstance(layer, keras.layers.MaxPooling2D)]
        names[:2] = [model.layers[i - 1].name for i in pools[:2]]
    return [layer or model.layers[-1].name for layer in names]


def _same_padded(layer: keras.layers.Layer) -> keras.layers.Layer:
    config = layer.get_config()
    if config.get("padding") == "valid":
        config["padding"] = "same"
    return layer.__class__.from_config(config)


def _not_rescaling(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A copy of the layer, or nothing in place of one that scales pixels: our inputs are normalised already."""
    if isinstance(layer, (keras.layers.Rescaling, keras.layers.Normalization)):
        return keras.layers.Identity(name=layer.name)
    return layer.__class__.from_config(layer.get_config())


def _encoder(name: str, description: str, paper: str, expects: Pretrained, **options: Any) -> Encoder:
    return Encoder(
        partial(network, name),
        f"{description} (keras.applications)",
        paper,
        pretrained=partial(pretrained, name),
        expects=expects,
        **options,
    )


_VGG_PAPER = "Simonyan & Zisserman 2015, arXiv:1409.1556"
_DENSENET_PAPER = "Huang et al. 2017, arXiv:1608.06993"
_EFFICIENTNET_V2_PAPER = "Tan & Le 2021, arXiv:2104.00298"
_MOBILENET_V3_PAPER = "Howard et al. 2019, arXiv:1905.02244"
_CONVNEXT_PAPER = "Liu et al. 2022, arXiv:2201.03545"
_EFFICIENTNET_V2 = {**dict.fromkeys(("b0", "b1", "b2", "b3"), TORCH), **dict.fromkeys("sml", HALVES)}

ENCODERS = {
    **{f"resnet{n}": _encoder(f"resnet{n}", f"ResNet-{n}", papers.RESNET, CAFFE) for n in (50, 101, 152)},
    **{f"vgg{n}": _encoder(f"vgg{n}", f"VGG-{n}", _VGG_PAPER, CAFFE, strides=(1, 2, 4, 8, 16, 32)) for n in (16, 19)},
    **{f"densenet{n}": _encoder(f"densenet{n}", f"DenseNet-{n}", _DENSENET_PAPER, TORCH) for n in (121, 169, 201)},
    **{
        f"efficientnetb{n}": _encoder(f"efficientnetb{n}", f"EfficientNet-B{n}", papers.EFFICIENTNET, TORCH)
        for n in range(8)
    },
    **{
        f"efficientnetv2{size}": _encoder(
            f"efficientnetv2{size}", f"EfficientNetV2-{size.upper()}", _EFFICIENTNET_V2_PAPER, expects
        )
        for size, expects in _EFFICIENTNET_V2.items()
    },
    **{
        f"resnet{n}v2": _encoder(f"resnet{n}v2", f"ResNet-{n} V2, activation first", papers.RESNET_V2, SYMMETRIC)
        for n in (50, 101, 152)
    },
    **{
        f"convnext{size}": _encoder(
            f"convnext{size}", f"ConvNeXt-{size.title()}", _CONVNEXT_PAPER, TORCH, strides=(4, 8, 16, 32)
        )
        for size in ("tiny", "small", "base", "large")
    },
    "xception": _encoder("xception", "Xception, same-padded", "Chollet 2017, arXiv:1610.02357", SYMMETRIC),
    "mobilenet": _encoder("mobilenet", "MobileNet", "Howard et al. 2017, arXiv:1704.04861", SYMMETRIC),
    "mobilenetv2": _encoder("mobilenetv2", "MobileNetV2", "Sandler et al. 2018, arXiv:1801.04381", SYMMETRIC),
    **{
        f"mobilenetv3{size}": _encoder(
            f"mobilenetv3{size}", f"MobileNetV3-{size.title()}", _MOBILENET_V3_PAPER, SYMMETRIC
        )
        for size in ("small", "large")
    },
    "inceptionresnetv2": _encoder("inceptionresnetv2", "Inception-ResNet-v2, same-padded", papers.INCEPTION, SYMMETRIC),
}
