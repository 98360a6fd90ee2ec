import keras
import numpy as np
import pytest

from tf_landslide.core.errors import LandslideError
from tf_landslide.models.build import build_model
from tf_landslide.models.layers.norm import ChannelNormalization, all_layers
from tf_landslide.training.losses import BCEDice

# Scaled down where the architecture lets itself be.
MODELS = {
    "plain_unet": {"width": 4, "depth": 3},
    "plain_unet_bn": {"width": 4, "depth": 2, "batch_norm": True},
    "unet_resnet34": {"encoder": "resnet34", "filters": (16, 8, 8, 4, 4)},
}


def build(name, channels=6):
    keras.utils.set_random_seed(0)  # some random weights saturate every probability
    return build_model(name.split("_bn")[0].removesuffix("_resnet34"), channels=channels, **MODELS[name])


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    model = build(request.param)
    rng = np.random.default_rng(0)
    model.get_layer("normalization").adapt([rng.normal(3, 2, (2, 16, 16, 6))])
    return model


def predict(model, x):
    return keras.ops.convert_to_numpy(model(x, training=False))


@pytest.fixture(scope="module")
def channels():
    return np.random.default_rng(1).normal(3, 2, (2, 64, 96, 6)).astype(np.float32)


def test_output_is_a_probability_of_exactly_the_inputs_size(model):
    assert model.input_shape == (None, None, None, 6) and model.output_shape == (None, None, None, 1)
    assert [tensor.name for tensor in model.inputs] == ["channels"] and model.layers[-1].name == "probability"
    for height, width in ((32, 32), (64, 96), (160, 32)):
        y = predict(model, np.zeros((1, height, width, 6), np.float32))
        assert y.shape == (1, height, width, 1) and y.dtype == np.float32
        assert (y > 0).all() and (y < 1).all()


def test_saves_and_reloads_in_safe_mode(model, channels, tmp_path):
    model.save(tmp_path / "m.keras")
    reloaded = keras.saving.load_model(tmp_path / "m.keras", safe_mode=True)
    np.testing.assert_allclose(predict(reloaded, channels), predict(model, channels), atol=1e-5)
    assert not [layer for layer in all_layers(model) if isinstance(layer, keras.layers.Lambda)]


def test_missing_values_count_as_the_training_mean(model, channels):
    holes, filled = channels.copy(), channels.copy()
    holes[:, 10:20, 10:20, 3] = np.nan
    holes[:, 0, 0, 0] = np.inf
    filled[:, 10:20, 10:20, 3] = model.get_layer("normalization").mean.numpy()[3]
    filled[:, 0, 0, 0] = model.get_layer("normalization").mean.numpy()[0]
    np.testing.assert_allclose(predict(model, holes), predict(model, filled), atol=1e-5)


@pytest.mark.long
def test_a_few_steps_lower_the_loss():
    for name in ("plain_unet", "unet_resnet34"):
        keras.utils.set_random_seed(0)
        model = build(name, channels=3)
        rng = np.random.default_rng(0)
        x = rng.normal(size=(2, 32, 32, 3)).astype(np.float32)
        y = (x[..., :1] > 0).astype(np.float32)
        model.compile(optimizer=keras.optimizers.Adam(1e-2), loss=BCEDice(), jit_compile=False)
        losses = [model.train_on_batch(x, y) for _ in range(15)]
        assert losses[-1] < 0.9 * losses[0], name


@pytest.mark.parametrize("channels", [1, 3, 14])
def test_any_number_of_channels(channels):
    model = build("plain_unet", channels)
    assert predict(model, np.zeros((1, 32, 32, channels), np.float32)).shape == (1, 32, 32, 1)


def test_plain_unet_has_the_papers_layers():
    """Ronneberger's channel counts: two 3x3 convolutions a level, 2x2 transposed convolutions up, 1x1 at the end."""
    model = build_model("plain_unet", channels=6, width=64, depth=4)

    def block(inputs, outputs):
        return 9 * inputs * outputs + outputs + 9 * outputs**2 + outputs

    down = sum(block(i, o) for i, o in ((6, 64), (64, 128), (128, 256), (256, 512), (512, 1024)))
    up = sum(4 * 2 * w * w + w + block(2 * w, w) for w in (512, 256, 128, 64))
    normalization = 2 * 6
    assert model.count_params() == down + up + 64 + 1 + normalization
    assert not [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


def test_normalization_skips_missing_values_in_its_statistics():
    rng = np.random.default_rng(0)
    x = rng.normal([1000, -2], [50, 0.1], (7, 8, 8, 2))
    x[rng.random(x.shape) < 0.3] = np.nan
    layer = ChannelNormalization()
    layer.build((None, None, None, 2))
    layer.adapt([x[:3], (x[3:4], None), x[4:]])
    np.testing.assert_allclose(layer.mean.numpy(), np.nanmean(x, (0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(layer.variance.numpy(), np.nanvar(x, (0, 1, 2)), rtol=1e-5)
    z = keras.ops.convert_to_numpy(layer(x))
    assert (z[np.isnan(x)] == 0).all() and abs(z[~np.isnan(x)].std() - 1) < 0.01


def test_normalization_of_a_constant_channel_is_zero_and_of_an_empty_one_refused():
    layer = ChannelNormalization()
    layer.build((None, None, None, 1))
    layer.adapt([np.full((1, 4, 4, 1), 7.0)])
    assert not keras.ops.convert_to_numpy(layer(np.full((1, 4, 4, 1), 7.0))).any()
    with pytest.raises(LandslideError, match="no valid value"):
        layer.adapt([np.full((1, 4, 4, 1), np.nan)])


@pytest.mark.parametrize("noise", [0.0, 1e-4])
def test_a_channel_that_was_constant_is_zero_when_it_moves(noise):
    """0.1 is no float: its mean over many batches differs from it in the last place, its variance must not."""
    rng = np.random.default_rng(0)
    layer = ChannelNormalization()
    layer.build((None, None, None, 2))
    x = np.full((7, 9, 9, 2), 0.1, np.float32) + noise * rng.normal(size=(7, 9, 9, 2)).astype(np.float32)
    x[..., 1] = rng.normal(size=(7, 9, 9))
    layer.adapt([x[:2], x[2:3], x[3:]])
    assert layer.constant_channels == ([] if noise else [0])
    moved = np.full((1, 2, 2, 2), 0.3, np.float32)
    expected = (0.3 - x[..., 0].mean(dtype=np.float64)) / x[..., 0].std(dtype=np.float64) if noise else 0
    np.testing.assert_allclose(layer(moved)[..., 0], expected, rtol=1e-4)
    np.testing.assert_allclose(layer(moved)[..., 1], (0.3 - x[..., 1].mean()) / x[..., 1].std(), rtol=1e-4)


@pytest.mark.parametrize(
    ("channels", "count"),
    [("six", 6), ("fourteen", 14), ("legacy_ratio", 6), (np.int64(5), 5), (["red", "dem"], 2), (("red",), 1)],
)
def test_channels_are_a_number_a_recipe_or_names(channels, count):
    assert build_model("plain_unet", channels=channels, width=2, depth=1).input_shape[-1] == count
    assert build_model("plain_unet", channels=np.array(["red", "dem"]), width=2, depth=1).input_shape[-1] == 2


@pytest.mark.parametrize(
    ("channels", "said"),
    [("sic", "did you mean 'six'"), (True, "got True"), (3.0, "got 3.0"), (None, "got None"), (-1, "at least one")],
)
def test_channels_that_are_neither_are_refused(channels, said):
    with pytest.raises(LandslideError, match=said):
        build_model("plain_unet", channels=channels, width=2, depth=1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("unett",), "did you mean 'unet'"),
        (("unet",), "needs an encoder"),
        (("unet", "resnet43"), "did you mean 'resnet34'"),
        (("plain_unet", "resnet34"), "takes no encoder"),
    ],
)
def test_unknown_models_are_refused_by_name(arguments, said):
    with pytest.raises(LandslideError, match=said):
        build_model(*arguments)


@pytest.mark.parametrize("options", [{"width": "abc"}, {"width": 0}, {"depth": 6}, {"width": 2.5}])
def test_senseless_options_are_refused(options):
    with pytest.raises(LandslideError):
        build_model("plain_unet", **options)


def test_unknown_options_and_no_channels_are_refused():
    with pytest.raises(LandslideError, match="did you mean 'width'"):
        build_model("plain_unet", widht=3)
    with pytest.raises(LandslideError, match="at least one channel"):
        build_model("plain_unet", channels=0)
