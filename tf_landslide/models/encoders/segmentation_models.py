"""Adapter: backbones of the segmentation-models package as encoders."""

from __future__ import annotations

import contextlib
import io
import os
from functools import partial
from pathlib import Path

import keras

from tf_landslide.core.errors import LandslideError
from tf_landslide.models._keras_compat import producer
from tf_landslide.models.encoders import papers
from tf_landslide.models.encoders.contract import Encoder
from tf_landslide.models.encoders.weights import RAW, fetch, read_h5_arrays, set_layer

PYRAMID_LAYERS = ("relu0", "stage2_unit1_relu1", "stage3_unit1_relu1", "stage4_unit1_relu1", "relu1")
"""The layers of its ResNets at stride 2, 4, 8, 16 and 32. These activate before they convolve, so a stage's output is
the first activation of the next stage's first unit."""


def original(name: str, channels: int, **options) -> keras.Model:
    """The untouched backbone, without its classifier; ``options`` as the package takes them."""
    os.environ.setdefault("SM_FRAMEWORK", "tf.keras")
    with contextlib.redirect_stdout(io.StringIO()):  # the package announces its framework on import
        import segmentation_models  # as heavy as TensorFlow

    return segmentation_models.Backbones.get_backbone(
        name,
        **{
            "input_shape": (None, None, channels),
            "weights": None,
            "include_top": False,
            "backend": keras.backend,
            "layers": keras.layers,
            "models": keras.models,
            "utils": keras.utils,
            **options,
        },
    )


def published_file(name: str) -> tuple[str, str]:
    """Address and MD5 of the ImageNet weights, without classifier, that the package publishes for a network."""
    with contextlib.redirect_stdout(io.StringIO()):
        from classification_models.weights import WEIGHTS_COLLECTION  # as heavy as TensorFlow

    for entry in WEIGHTS_COLLECTION:
        if entry["model"] == name and entry["dataset"] == "imagenet" and not entry["include_top"]:
            return entry["url"], entry["md5"]
    raise LandslideError(f"segmentation-models publishes no ImageNet weights for {name!r}")


def published_arrays(name: str, weights: str) -> dict[str, list]:
    """Arrays by layer of the published file of a network (``imagenet``), or of a file of that format (its path)."""
    return read_h5_arrays(fetch(*published_file(name)) if weights == "imagenet" else Path(weights))


def pretrained(name: str, weights: str) -> keras.Model:
    """The three-channel ``network`` with published weights (``imagenet``, or the path of their file)."""
    arrays, model = published_arrays(name, weights), network(name, 3)
    for layer in model.layers:
        if layer.weights:
            set_layer(layer, arrays.get(layer.name, []), weights)
    return model


def network(name: str, channels: int) -> keras.Model:
    """One of the package's ResNets as a model with the maps at stride 2, 4, 8, 16 and 32."""
    model = _without_padding(original(name, channels))
    return keras.Model(model.inputs[0], [model.get_layer(layer).output for layer in PYRAMID_LAYERS], name=name)


def _without_padding(model: keras.Model) -> keras.Model:
    """Have convolutions that do not stride pad for themselves: the same numbers, and no second copy of their input."""
    padded = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D) and set(layer.strides) == {1}:
            before = producer(layer.input)
            side = layer.kernel_size[0] // 2
            if isinstance(before, keras.layers.ZeroPadding2D) and before.padding == ((side, side), (side, side)):
                padded[layer.name] = before.name
    dropped = set(padded.values())

    def clone(layer):
        config = layer.get_config()
        if layer.name in padded:
            config["padding"] = "same"
        return layer.__class__.from_config(config)

    def call(layer, x, **options):
        return x if layer.name in dropped else layer(x, **options)

    return keras.models.clone_model(model, clone_function=clone, call_function=call)


ENCODERS = {
    f"resnet{n}": Encoder(
        partial(network, f"resnet{n}"),
        f"ResNet-{n}, activation first (segmentation-models)",
        papers.RESNET,
        pretrained=partial(pretrained, f"resnet{n}"),
        expects=RAW,
    )
    for n in (18, 34)
}
