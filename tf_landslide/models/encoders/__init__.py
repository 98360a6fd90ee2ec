"""Encoders: normalised channels in, a feature pyramid out.

Every encoder is a functional model from (N, H, W, C), any C, H and W, to one map for each of its strides, aligned with
the input: the map at stride s has H / s rows for H a multiple of 32. Adding one is a file here and an entry in
``ENCODERS``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import keras

from tf_landslide.errors import LandslideError
from tf_landslide.models.encoders import (
    inception_v4,
    keras_applications,
    keras_cv,
    mix_transformer,
    residual,
    segmentation_models,
)
from tf_landslide.models.encoders.dilation import with_output_stride
from tf_landslide.models.encoders.weights import CAFFE, HALVES, RAW, RGB, SYMMETRIC, TORCH, Pretrained, transfer


@dataclass(frozen=True)
class Encoder:
    """How an encoder is built and where it comes from.

    Attributes:
        build: ``(channels) -> keras.Model`` with one output for each stride.
        description: one line for people.
        paper: where it was published.
        strides: of the outputs.
        pretrained: ``(weights) -> keras.Model``, the same network for three channels with published weights, where
            ``weights`` is ``imagenet`` or the path of their file; None where nobody publishes any.
        expects: the scale and order of channels that those weights were trained with.
    """

    build: Callable[[int], keras.Model]
    description: str
    paper: str
    strides: tuple[int, ...] = (2, 4, 8, 16, 32)
    pretrained: Callable[[str], keras.Model] | None = None
    expects: Pretrained | None = None

    def pyramid(
        self, inputs, output_stride: int = 32, weights: str | None = None, channel_names: Sequence[str] = RGB
    ) -> dict[int, keras.KerasTensor]:
        """Apply the encoder.

        Args:
            inputs: (N, H, W, C) normalised channels.
            output_stride: 8 or 16 dilate instead of striding on, so that the deepest map is that fine.
            weights: ``imagenet``, the path of a file of published weights, or None for random ones.
            channel_names: of the C channels; red, green and blue take their own kernels.

        Returns:
            feature maps by stride; the deepest is at ``output_stride``.

        Raises:
            LandslideError: weights that nobody publishes, that cannot be downloaded, or that do not fit.
        """
        model = self.build(inputs.shape[-1])
        if weights:
            if self.pretrained is None:
                having = ", ".join(name for name, encoder in ENCODERS.items() if encoder.pretrained)
                raise LandslideError(
                    f"nobody publishes weights for {model.name!r} that fit; there are some for: {having}"
                )
            transfer(self.pretrained(weights), model, channel_names, self.expects.order)
            scale, offset = self.expects.input_scale(channel_names)
            inputs = keras.layers.Rescaling(scale, offset, name="pretrained_scale")(inputs)
        if output_stride < 32:
            model = with_output_stride(model, output_stride)
        maps = dict(zip(self.strides, model(inputs), strict=True))
        return {
            **{stride: x for stride, x in maps.items() if stride < output_stride},
            output_stride: maps[max(maps)],
        }


def _applications(name: str, description: str, paper: str, expects: Pretrained, **options) -> Encoder:
    module = keras_applications
    return Encoder(
        partial(module.network, name),
        f"{description} (keras.applications)",
        paper,
        pretrained=partial(module.pretrained, name),
        expects=expects,
        **options,
    )


def _residual(name: str, description: str, paper: str, expects: Pretrained) -> Encoder:
    return Encoder(
        partial(residual.residual_network, spec=residual.SPECS[name], name=name),
        description,
        paper,
        pretrained=partial(residual.pretrained, name),
        expects=expects,
    )


_RESNET = "He et al. 2016, arXiv:1512.03385"
_VGG = "Simonyan & Zisserman 2015, arXiv:1409.1556"
_DENSENET = "Huang et al. 2017, arXiv:1608.06993"
_EFFICIENTNET = "Tan & Le 2019, arXiv:1905.11946"
_EFFICIENTNET_V2 = "Tan & Le 2021, arXiv:2104.00298"
_RESNEXT = "Xie et al. 2017, arXiv:1611.05431"
_SENET = "Hu et al. 2018, arXiv:1709.01507"
_INCEPTION = "Szegedy et al. 2017, arXiv:1602.07261"
_SEGFORMER = "Xie et al. 2021, arXiv:2105.15203"

ENCODERS: dict[str, Encoder] = {
    **{
        f"resnet{n}": Encoder(
            partial(segmentation_models.network, f"resnet{n}"),
            f"ResNet-{n}, activation first (segmentation-models)",
            _RESNET,
            pretrained=partial(segmentation_models.pretrained, f"resnet{n}"),
            expects=RAW,
        )
        for n in (18, 34)
    },
    **{f"resnet{n}": _applications(f"resnet{n}", f"ResNet-{n}", _RESNET, CAFFE) for n in (50, 101, 152)},
    **{f"vgg{n}": _applications(f"vgg{n}", f"VGG-{n}", _VGG, CAFFE, strides=(1, 2, 4, 8, 16, 32)) for n in (16, 19)},
    **{f"densenet{n}": _applications(f"densenet{n}", f"DenseNet-{n}", _DENSENET, TORCH) for n in (121, 169, 201)},
    **{
        f"efficientnetb{n}": _applications(f"efficientnetb{n}", f"EfficientNet-B{n}", _EFFICIENTNET, TORCH)
        for n in range(8)
    },
    **{
        f"efficientnetv2{size}": _applications(
            f"efficientnetv2{size}", f"EfficientNetV2-{size.upper()}", _EFFICIENTNET_V2, expects
        )
        for size, expects in {
            **dict.fromkeys(("b0", "b1", "b2", "b3"), TORCH),
            **dict.fromkeys("sml", HALVES),
        }.items()
    },
    **{
        f"resnet{n}v2": _applications(
            f"resnet{n}v2", f"ResNet-{n} V2, activation first", "He et al. 2016, arXiv:1603.05027", SYMMETRIC
        )
        for n in (50, 101, 152)
    },
    **{
        f"convnext{size}": _applications(
            f"convnext{size}",
            f"ConvNeXt-{size.title()}",
            "Liu et al. 2022, arXiv:2201.03545",
            TORCH,
            strides=(4, 8, 16, 32),
        )
        for size in ("tiny", "small", "base", "large")
    },
    "xception": _applications("xception", "Xception, same-padded", "Chollet 2017, arXiv:1610.02357", SYMMETRIC),
    "mobilenet": _applications("mobilenet", "MobileNet", "Howard et al. 2017, arXiv:1704.04861", SYMMETRIC),
    **{
        f"mobilenetv3{size}": _applications(
            f"mobilenetv3{size}", f"MobileNetV3-{size.title()}", "Howard et al. 2019, arXiv:1905.02244", SYMMETRIC
        )
        for size in ("small", "large")
    },
    **{
        f"efficientnetlite{n}": Encoder(
            partial(keras_cv.network, f"efficientnetlite{n}"), f"EfficientNet-Lite{n} (keras-cv)", _EFFICIENTNET
        )
        for n in keras_cv.EFFICIENTNET_LITE
    },
    **{
        f"resnet{n}_v1": Encoder(
            partial(keras_cv.network, f"resnet{n}_v1"), f"ResNet-{n}, activation last (keras-cv)", _RESNET
        )
        for n in keras_cv.RESNET_BLOCKS
    },
    "mobilenetv2": _applications("mobilenetv2", "MobileNetV2", "Sandler et al. 2018, arXiv:1801.04381", SYMMETRIC),
    "inceptionresnetv2": _applications("inceptionresnetv2", "Inception-ResNet-v2, same-padded", _INCEPTION, SYMMETRIC),
    "inceptionv4": Encoder(
        partial(inception_v4.inception_v4, spec=inception_v4.InceptionV4Spec(), name="inceptionv4"),
        "Inception-v4, same-padded",
        _INCEPTION,
    ),
    "seresnet50": _residual("seresnet50", "SE-ResNet-50", _SENET, TORCH),
    "resnext50": _residual("resnext50", "ResNeXt-50 32x4d", _RESNEXT, RAW),
    "seresnext50": _residual("seresnext50", "SE-ResNeXt-50 32x4d", _SENET, TORCH),
    **{
        name: Encoder(
            partial(mix_transformer.mix_transformer, spec=spec, name=name),
            f"Mix Transformer {name[-2:].upper()}",
            _SEGFORMER,
            strides=(4, 8, 16, 32),
        )
        for name, spec in mix_transformer.SPECS.items()
    },
}
