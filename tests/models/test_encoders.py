"""Every encoder against its source: same weights in, same output out."""

from functools import partial

import keras
import numpy as np
import pytest

from tests.models.encoder_contract import EncoderContract, arrays, image
from tf_landslide.models.encoders import (
    ENCODERS,
    inception_v4,
    keras_applications,
    keras_cv,
    mix_transformer,
    residual,
    segmentation_models,
    smp,
)
from tf_landslide.models.encoders.contract import Encoder
from tf_landslide.models.encoders.dilation import with_output_stride
from tf_landslide.models.encoders.smp import classic, efficientnet, inception, mit, resnet
from tf_landslide.models.layers.conv import GroupedConv2D

pytestmark = pytest.mark.slow

_TOY = "of the tests"
# One small member of each family; the others differ in numbers only, and `make test-models` runs them all.
SMALL: dict[str, Encoder] = {
    **{
        name: ENCODERS[name]
        for name in (
            *("resnet18", "vgg16", "mobilenetv2", "efficientnetb0", "efficientnetv2b0", "convnexttiny"),
            *("mobilenetv3small", "efficientnetlite0"),
        )
    },
    "seresnext": Encoder(
        lambda c: residual.residual_network(
            c, residual.ResidualSpec((2, 1, 1, 1), 8, 16, squeeze=4, width=32), "seresnext"
        ),
        *("SE-ResNeXt", _TOY),
    ),
    "seresnet": Encoder(
        lambda c: residual.residual_network(
            c, residual.ResidualSpec((1, 1, 2, 1), base_width=8, squeeze=4, stride_first=True, width=32), "seresnet"
        ),
        *("SE-ResNet", _TOY),
    ),
    "resnext": Encoder(
        lambda c: residual.residual_network(
            c, residual.ResidualSpec((1, 1, 1, 1), 8, 16, input_norm=True, width=32), "resnext"
        ),
        *("ResNeXt", _TOY),
    ),
    "mit": Encoder(
        lambda c: mix_transformer.mix_transformer(
            c, mix_transformer.MiTSpec((1, 1, 1, 1), (8, 16, 24, 32), (1, 2, 3, 4)), "mit"
        ),
        *("Mix Transformer", _TOY),
        strides=(4, 8, 16, 32),
    ),
    "inceptionv4": Encoder(
        lambda c: inception_v4.inception_v4(c, inception_v4.InceptionV4Spec((1, 1, 1), 16), "inceptionv4"),
        *("Inception-v4", _TOY),
    ),
    **{
        f"smp_{name}": Encoder(partial(build, name=name), name, _TOY)
        for name, build in {
            "vgg": partial(classic.vgg, convolutions=(1, 1, 1, 1, 1), width=4),
            "densenet": partial(classic.densenet, blocks=(1, 2, 1, 1), growth=4, stem=8),
            "mobilenetv2": partial(classic.mobilenet_v2, width=0.25),
            "efficientnetb0": partial(efficientnet.efficientnet_b0, width=0.25),
            "inceptionv4": partial(inception.inception_v4, blocks=(1, 1, 1), thinner=16),
            "inceptionresnetv2": partial(inception.inception_resnet_v2, blocks=(1, 1, 1), thinner=16),
        }.items()
    },
    **{
        f"smp_{name}": Encoder(build, name, _TOY, dilated=build)
        for name, spec in {
            "resnet": resnet.ResNetSpec((1, 2, 1, 1), bottleneck=False, width=8),
            "seresnext": resnet.ResNetSpec((1, 1, 2, 1), groups=4, group_width=16, squeeze=4, width=8),
        }.items()
        for build in [partial(resnet.resnet, spec=spec, name=name)]
    },
    "smp_mit": Encoder(
        lambda c: mit.mix_transformer(
            c, spec=mix_transformer.MiTSpec((1, 1, 1, 1), (8, 16, 24, 32), (1, 2, 3, 4)), dialect=mit.SMP, name="mit"
        ),
        *("Mix Transformer (smp)", _TOY),
        strides=(4, 8, 16, 32),
    ),
}


class TestSmallEncoders(EncoderContract):
    @pytest.fixture(scope="class", params=SMALL)
    @classmethod
    def named(cls, request):
        return request.param, SMALL[request.param]


def test_no_two_families_name_an_encoder_alike():
    families = (segmentation_models, keras_applications, keras_cv, residual, inception_v4, mix_transformer, smp)
    assert sum(len(family.ENCODERS) for family in families) == len(ENCODERS) == 55 + len(smp.ENCODERS)


def difference(ours, theirs):
    scale = max(1.0, float(np.abs(theirs).max()))
    return float(np.abs(ours - theirs).max()) / scale


def randomise_statistics(model, seed=0):
    """Batch norms with statistics of their own, so that a wrong one shows."""
    rng = np.random.default_rng(seed)
    weights = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for weight in layer.weights:
                low, high = (0.5, 1.5) if weight.name in ("gamma", "moving_variance") else (-0.2, 0.2)
                weight.assign(rng.uniform(low, high, weight.shape))
        weights += layer.get_weights()
    return weights


def test_dilation_goes_further_to_stride_8():
    dilated = with_output_stride(SMALL["resnet18"].build(3), 8)
    assert [x.shape[1:3] for x in arrays(dilated(image(3)))] == [(32, 48), (16, 24), (8, 12), (8, 12), (8, 12)]


@pytest.mark.parametrize(
    ("groups", "inputs", "filters", "strides", "dilation"), [(32, 128, 128, 1, 1), (4, 8, 24, 2, 1), (8, 64, 64, 1, 2)]
)
def test_grouped_convolution_equals_keras_own(groups, inputs, filters, strides, dilation):
    x = image(inputs, 12, 10)
    options = {"strides": strides, "dilation_rate": dilation, "use_bias": True, "padding": "same"}
    if strides > 1:
        options["padding"] = "valid"
    theirs = keras.layers.Conv2D(filters, 3, groups=groups, **options)
    ours = GroupedConv2D(filters, 3, groups, **options)
    theirs.build(x.shape)
    ours.build(x.shape)
    ours.set_weights(theirs.get_weights())
    y = keras.ops.convert_to_numpy(theirs(x))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(ours(x)), y, atol=1e-4)
    assert ours.compute_output_shape(x.shape) == y.shape
    assert GroupedConv2D.from_config(ours.get_config()).get_config() == ours.get_config()


@pytest.mark.parametrize(
    "name",
    [
        "resnet50",
        "densenet121",
        "mobilenetv2",
        "efficientnetb0",
        "vgg16",
        "efficientnetv2b0",
        "mobilenetv3small",
        "resnet50v2",
        "convnexttiny",
        "xception",
    ],
)
def test_adapter_gives_the_named_layers_of_the_untouched_network(name):
    source = keras_applications.original(name, 3)
    weights = randomise_statistics(source)
    layers = keras_applications.pyramid_layers(name, source)
    scaling = []
    if name.startswith(("efficientnet", "mobilenetv3", "convnext")):
        # The untouched network scales pixels itself; from its stem on, both see the same.
        scaling = [
            layer for layer in source.layers if isinstance(layer, (keras.layers.Rescaling, keras.layers.Normalization))
        ]
        weights = weights[sum(len(layer.get_weights()) for layer in scaling) :]
    x = pixels = image(3) * 40 + 120 if scaling else image(3)
    for layer in scaling:
        x = keras.ops.convert_to_numpy(layer(x))
    ours = keras_applications.network(name, 3, padding="valid")
    ours.set_weights(weights)
    named = keras.Model(source.inputs[0], [source.get_layer(layer).output for layer in layers])
    for mine, theirs in zip(arrays(ours(x, training=False)), arrays(named(pixels, training=False)), strict=True):
        assert difference(mine, theirs) < 1e-4


@pytest.mark.parametrize("name", ["efficientnetlite0", "resnet18_v1"])
def test_keras_cv_adapter_gives_the_named_layers_of_the_untouched_backbone(name):
    source = keras_cv.original(name, 3)
    weights = randomise_statistics(source)
    ours = keras_cv.network(name, 3)
    ours.set_weights(weights)
    assert all(type(layer).__module__.startswith("keras.") for layer in ours.layers)  # loads without keras-cv
    named = keras.Model(source.inputs[0], [source.get_layer(n).output for n in keras_cv.pyramid_layers(source)])
    x = image(3)
    for mine, theirs in zip(arrays(ours(x, training=False)), arrays(named(x, training=False)), strict=True):
        assert difference(mine, theirs) < 1e-4


def test_resnet34_is_segmentation_models_own():
    source = segmentation_models.original("resnet34", 3)
    weights = randomise_statistics(source)
    ours = ENCODERS["resnet34"].build(3)
    ours.set_weights(weights)
    named = keras.Model(
        source.inputs[0], [source.get_layer(layer).output for layer in segmentation_models.PYRAMID_LAYERS]
    )
    x = image(3)
    for mine, theirs in zip(arrays(ours(x, training=False)), arrays(named(x, training=False)), strict=True):
        assert difference(mine, theirs) < 1e-4
