"""Adapter: the networks of ``keras.applications`` as encoders, without their own rescaling."""

from __future__ import annotations

import warnings

import keras

from tf_landslide.models.encoders.weights import explained

_EFFICIENTNET = (
    "block2a_expand_activation",
    "block3a_expand_activation",
    "block4a_expand_activation",
    "block6a_expand_activation",
    "top_activation",
)
_DENSENET = ("conv1_relu", "pool2_relu", "pool3_relu", "pool4_relu", "relu")


def _vgg(convolutions):
    return (*(f"block{block}_conv{last}" for block, last in enumerate(convolutions, 1)), "block5_pool")


def _resnet(units):
    return ("conv1_relu", *(f"conv{stage}_block{last}_out" for stage, last in enumerate(units, 2)))


# name: (class in keras.applications, layers at stride 2, 4, 8, 16, 32; VGG, which pools behind its blocks, also at 1).
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
    "inceptionresnetv2": ("InceptionResNetV2", ("", "", "block35_10_ac", "block17_20_ac", "conv_7b_ac")),
}


def source(name: str, channels: int, weights: str | None = None) -> keras.Model:
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
    given = source(name, 3, weights)
    scaling = [
        w for layer in given.layers if isinstance(layer, keras.layers.Normalization) for w in layer.get_weights()
    ]
    model.set_weights(given.get_weights()[len(scaling) :])  # a network that scales pixels itself does so first
    return model


def network(name: str, channels: int, padding: str = "same") -> keras.Model:
    """A network of ``NETWORKS`` as a model with the maps at stride 2, 4, 8, 16 and 32 (VGG: 1 too).

    Args:
        name: a key of ``NETWORKS``.
        channels: number of input channels.
        padding: of InceptionResNetV2, whose ``valid`` padding aligns with nothing; ``valid`` leaves it as it is.
    """
    model = source(name, channels)
    outputs = NETWORKS[name][1]
    if name == "inceptionresnetv2":
        outputs = inception_resnet_outputs(model)
        if padding == "same":
            model = keras.models.clone_model(model, clone_function=_same_padded)
    elif name.startswith("efficientnet"):
        model = keras.models.clone_model(model, clone_function=_not_rescaling)
    return keras.Model(model.inputs[0], [model.get_layer(output).output for output in outputs], name=name)


def inception_resnet_outputs(model: keras.Model) -> list[str]:
    """Names of the layers before each halving. Those of the stem have generated names: they feed the max poolings."""
    pools = [i for i, layer in enumerate(model.layers) if isinstance(layer, keras.layers.MaxPooling2D)]
    stem = [model.layers[i - 1].name for i in pools[:2]]
    return [*stem, *NETWORKS["inceptionresnetv2"][1][2:]]


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
