"""Adapter: backbones of keras-cv that consist of Keras's own layers, so that a saved model loads without keras-cv."""

from __future__ import annotations

from functools import partial

import keras

from tf_landslide.models.encoders import papers
from tf_landslide.models.encoders.contract import Encoder

# Scaling of EfficientNet-Lite: width, depth.
EFFICIENTNET_LITE = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2), 3: (1.2, 1.4), 4: (1.4, 1.8)}
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
    model = original(name, channels)
    return keras.Model(model.inputs[0], [model.get_layer(layer).output for layer in pyramid_layers(model)], name=name)


ENCODERS = {
    **{
        f"efficientnetlite{n}": Encoder(
            partial(network, f"efficientnetlite{n}"), f"EfficientNet-Lite{n} (keras-cv)", papers.EFFICIENTNET
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
