"""Any encoder with any decoder, scaled down: a few here, all by ``make test-models``."""

import dataclasses

import keras
import numpy as np
import pytest

from tests.models.test_encoders import SMALL, image
from tf_landslide.bands.recipes import RECIPES
from tf_landslide.core.errors import LandslideError
from tf_landslide.models.build import ARCHITECTURES, build_model
from tf_landslide.models.encoders import ENCODERS
from tf_landslide.models.layers.conv import AtrousConv2D
from tf_landslide.models.layers.resize import AdaptivePooling, BilinearUpsampling, ResizeLike
from tf_landslide.predict.export import save_model, verify
from tf_landslide.runs.card import ModelCard
from tf_landslide.training.losses import BCEDice

pytestmark = pytest.mark.slow

OPTIONS = {
    "unet": {"filters": (16, 8, 8, 4, 4)},
    "deeplabv3plus": {"filters": 16, "skip_filters": 8},
    "segformer": {"filters": 16},
}
PAIRS = [("unet", "mit"), ("segformer", "resnet18")]
FURTHER = [(decoder, encoder) for decoder in OPTIONS for encoder in SMALL if (decoder, encoder) not in PAIRS]
LONG = [("unet", "resnet18"), ("unet", "seresnext"), ("deeplabv3plus", "mobilenetv2")]  # the rest takes an hour


@pytest.fixture
def build(monkeypatch):
    for name, encoder in SMALL.items():
        monkeypatch.setitem(ENCODERS, name, encoder)

    def build(architecture, encoder, channels=6, **options):
        return build_model(architecture, encoder, channels=channels, **OPTIONS[architecture], **options)

    return build


@pytest.mark.parametrize(
    ("architecture", "encoder"),
    [*PAIRS, *(pytest.param(*pair, marks=pytest.mark.long if pair in LONG else pytest.mark.full) for pair in FURTHER)],
)
def test_every_encoder_meets_every_decoder_saves_reloads_and_exports(build, architecture, encoder, tmp_path):
    model = build(architecture, encoder)
    rng = np.random.default_rng(0)
    model.get_layer("normalization").adapt([rng.normal(3, 2, (2, 16, 16, 6))])
    for height, width in ((32, 32), (64, 96)):
        x = image(6, height, width) * 2 + 3
        y = keras.ops.convert_to_numpy(model(x, training=False))
        assert y.shape == (1, height, width, 1) and np.isfinite(y).all() and y.std() > 0
    model.save(tmp_path / "m.keras")
    reloaded = keras.saving.load_model(tmp_path / "m.keras", safe_mode=True)
    np.testing.assert_allclose(reloaded(x, training=False), y, atol=1e-5)
    card = ModelCard("m", architecture, encoder, "landslide4sense", RECIPES["six"], 0.5)
    save_model(model, card, tmp_path / "saved")
    assert verify(model, card, tmp_path / "saved") < 1e-5


@pytest.mark.parametrize(
    ("architecture", "encoder", "options"),
    [
        pytest.param("unet", "seresnext", {"context": "ppm"}, marks=pytest.mark.long),
        pytest.param("unet", "resnet18", {"context": "aspp"}, marks=pytest.mark.long),
        pytest.param("deeplabv3plus", "resnet18", {}, marks=pytest.mark.long),
        pytest.param("segformer", "mit", {}, marks=pytest.mark.long),
    ],
)
def test_a_few_steps_lower_the_loss(build, architecture, encoder, options):
    keras.utils.set_random_seed(1)
    model = build(architecture, encoder, channels=3, **options)
    x = np.random.default_rng(0).normal(size=(4, 64, 64, 3)).astype(np.float32)
    x[:, 16:48, 16:48] += 2
    y = np.zeros((4, 64, 64, 1), np.float32)
    y[:, 16:48, 16:48] = 1
    model.compile(optimizer=keras.optimizers.Adam(5e-3), loss=BCEDice(), jit_compile=False)
    losses = [model.train_on_batch(x, y) for _ in range(12)]
    assert losses[-1] < 0.8 * losses[0], losses


@pytest.mark.parametrize("factor", [2, 4])
def test_bilinear_upsampling_equals_keras_own(factor):
    x = image(3, 5, 7)
    theirs = keras.layers.UpSampling2D(factor, interpolation="bilinear")(x)
    np.testing.assert_allclose(BilinearUpsampling(factor)(x), theirs, atol=1e-6)


@pytest.mark.parametrize("rate", [2, 6, 18])
def test_atrous_convolution_equals_keras_own(rate):
    x = image(5, 12, 7)
    theirs = keras.layers.Conv2D(4, 3, padding="same", dilation_rate=rate, use_bias=False)
    ours = AtrousConv2D(4, 3, rate)
    expected = theirs(x)
    ours.build(x.shape)
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(ours(x), expected, atol=1e-5)
    assert AtrousConv2D.from_config(ours.get_config()).get_config() == ours.get_config()


@pytest.mark.parametrize("size", [(12, 7), (6, 6), (2, 3)])
def test_pyramid_pooling_pools_and_resizes_as_written(size):
    x = image(4, *size)
    for cells in (1, 2, 3, 6):
        pooled = np.asarray(AdaptivePooling(cells)(x))
        rows, columns = ([(i * n // cells, -(-(i + 1) * n // cells)) for i in range(cells)] for n in size)
        expected = [[x[0, a:b, c:d].mean((0, 1)) for c, d in columns] for a, b in rows]
        np.testing.assert_allclose(pooled[0], expected, atol=1e-6)
        resized = keras.ops.image.resize(pooled, size, interpolation="bilinear")
        np.testing.assert_allclose(ResizeLike()([pooled, x]), resized, atol=1e-5)


def test_deeplab_receives_stride_16_by_dilation_with_the_encoders_weights_unchanged(build):
    plain, dilated = (build(a, "resnet18").get_layer("resnet18") for a in ("unet", "deeplabv3plus"))
    assert [w.shape for w in dilated.get_weights()] == [w.shape for w in plain.get_weights()]
    x = image(6)
    assert [y.shape[1:3] for y in plain(x)][-2:] == [(4, 6), (2, 3)]
    assert [y.shape[1:3] for y in dilated(x)][-2:] == [(4, 6), (4, 6)]
    rates = {layer.dilation_rate for layer in dilated.layers if isinstance(layer, keras.layers.Conv2D)}
    assert rates == {(1, 1), (2, 2)}


def test_aspp_joins_the_image_level_branch_as_keras_cv_does():
    """Adding the projected image-level branch is what joining its resized map and projecting would give."""
    from tf_landslide.models.decoders.context import aspp

    inputs = keras.Input((None, None, 8))
    model = keras.Model(inputs, aspp(inputs, 4, (1, 2), dropout=0))
    x = image(8, 12, 10)
    get = {layer.name: layer for layer in model.layers}.__getitem__

    def branch(name, x):
        return get(f"{name}_relu")(get(f"{name}_bn")(get(f"{name}_conv")(x)))

    pooled = branch("aspp_image", x.mean((1, 2), keepdims=True))
    maps = [branch(name, x) for name in ("aspp_1x1", "aspp_rate1", "aspp_rate2")]
    joined = np.concatenate([*map(np.asarray, maps), np.broadcast_to(pooled, maps[0].shape)], axis=-1)
    kernel = np.concatenate([get("aspp_project1").get_weights()[0], get("aspp_project2").get_weights()[0]], axis=2)
    expected = np.maximum(np.asarray(get("aspp_bn")(joined @ kernel[0, 0])), 0)
    np.testing.assert_allclose(model(x), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"context": "pmp"}, "did you mean 'ppm'"),
        ({"filters": (8, 8)}, "one is needed for each halving"),
        ({"filters": (8, 8, 8, 8, -8)}, "option 'filters' of architecture 'unet': input should be greater than 0"),
        ({"filters": "wide"}, "option 'filters' of architecture 'unet': .*found 'wide'"),
        ({"filters": [8, 8, 8, 8, True]}, "option 'filters' of architecture 'unet': input should be a valid integer"),
        ({"context": 3}, "option 'context' of architecture 'unet'"),
        ({"filter": (8,)}, "unknown option of architecture 'unet' 'filter'; did you mean 'filters'"),
        ({"pyramid": {}}, "unknown option of architecture 'unet' 'pyramid'"),
    ],
)
def test_senseless_decoder_options_are_refused(options, said):
    with pytest.raises(LandslideError, match=said):
        build_model("unet", "resnet18", **options)


def test_a_dilation_that_is_named_twice_is_refused():
    with pytest.raises(LandslideError, match="rates: expected each dilation once, found 6, 6, 12"):
        build_model("deeplabv3plus", "resnet18", rates=[6, 6, 12])


def test_a_fault_of_a_decoder_is_not_told_as_a_wrong_option(monkeypatch):
    def broken(inputs, width: int = 3):
        return inputs + f"a fault of the code {width}"

    chosen = dataclasses.replace(ARCHITECTURES["plain_unet"], features=broken)
    monkeypatch.setitem(ARCHITECTURES, "plain_unet", chosen)
    with pytest.raises((TypeError, ValueError)):
        build_model("plain_unet", width=4)
