"""Every encoder against its source: same weights in, same output out."""

import keras
import numpy as np
import pytest

from tf_landslide.models.encoders import ENCODERS, inception_v4, keras_applications, keras_cv, mix_transformer, residual
from tf_landslide.models.encoders import segmentation_models as adapter
from tf_landslide.models.encoders.dilation import with_output_stride
from tf_landslide.models.layers.conv import GroupedConv2D

# One small member of each family; the others differ in numbers only, and `make test-models` runs them all.
SMALL = {
    "resnet18": ENCODERS["resnet18"].build,
    "vgg16": ENCODERS["vgg16"].build,
    "mobilenetv2": ENCODERS["mobilenetv2"].build,
    "efficientnetb0": ENCODERS["efficientnetb0"].build,
    **{
        name: ENCODERS[name].build
        for name in ("efficientnetv2b0", "convnexttiny", "mobilenetv3small", "efficientnetlite0")
    },
    "seresnext": lambda c: residual.residual_network(
        c, residual.ResidualSpec((2, 1, 1, 1), 8, 16, squeeze=4, width=32), "seresnext"
    ),
    "seresnet": lambda c: residual.residual_network(
        c, residual.ResidualSpec((1, 1, 2, 1), base_width=8, squeeze=4, stride_first=True, width=32), "seresnet"
    ),
    "resnext": lambda c: residual.residual_network(
        c, residual.ResidualSpec((1, 1, 1, 1), 8, 16, input_norm=True, width=32), "resnext"
    ),
    "mit": lambda c: mix_transformer.mix_transformer(
        c, mix_transformer.MiTSpec((1, 1, 1, 1), (8, 16, 24, 32), (1, 2, 3, 4)), "mit"
    ),
    "inceptionv4": lambda c: inception_v4.inception_v4(c, inception_v4.InceptionV4Spec((1, 1, 1), 16), "inceptionv4"),
}


def image(channels, height=64, width=96, seed=0):
    return np.random.default_rng(seed).normal(size=(1, height, width, channels)).astype(np.float32)


def arrays(outputs):
    return [keras.ops.convert_to_numpy(x) for x in (outputs if isinstance(outputs, list) else [outputs])]


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


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("channels", [6, 14])
def test_maps_are_aligned_at_every_stride(name, channels):
    model = SMALL[name](channels)
    strides = (
        ENCODERS[name].strides if name in ENCODERS else {4: (4, 8, 16, 32)}.get(len(model.outputs), (2, 4, 8, 16, 32))
    )
    for height, width in ((32, 64), (96, 64)):
        shapes = [x.shape[1:3] for x in arrays(model(image(channels, height, width), training=False))]
        assert shapes == [(height // s, width // s) for s in strides]
    for x, s in zip(arrays(model(image(channels, 64, 64), training=False)), strides, strict=True):
        assert x.shape[1] == 64 // s and np.isfinite(x).all()


@pytest.mark.parametrize("name", SMALL)
def test_dilation_keeps_weights_and_all_finer_maps(name):
    model = SMALL[name](3)
    dilated = with_output_stride(model, 16)
    assert [w.shape for w in dilated.get_weights()] == [w.shape for w in model.get_weights()]
    x = image(3)
    strided, fine = arrays(model(x, training=False)), arrays(dilated(x, training=False))
    for before, after in zip(strided[:-1], fine[:-1], strict=True):
        np.testing.assert_array_equal(before, after)
    assert fine[-1].shape[1:3] == (4, 6)
    if name in ("resnet18", "vgg16", "resnext", "mobilenetv2", "efficientnetb0", "convnexttiny", "efficientnetlite0"):
        # Without image-wide pooling and with symmetric padding every second pixel sees exactly what it saw.
        tolerance = 1e-4 if name != "efficientnetb0" else 0.05
        assert difference(fine[-1][:, ::2, ::2], strided[-1]) < tolerance


def test_dilation_goes_further_to_stride_8():
    dilated = with_output_stride(SMALL["resnet18"](3), 8)
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
    source = adapter.original("resnet34", 3)
    weights = randomise_statistics(source)
    ours = ENCODERS["resnet34"].build(3)
    ours.set_weights(weights)
    named = keras.Model(source.inputs[0], [source.get_layer(layer).output for layer in adapter.PYRAMID_LAYERS])
    x = image(3)
    for mine, theirs in zip(arrays(ours(x, training=False)), arrays(named(x, training=False)), strict=True):
        assert difference(mine, theirs) < 1e-4
