"""Dropout before the last convolution: the same network without it, and Monte-Carlo dropout for any architecture."""

import json
from functools import partial
from itertools import product

import keras
import numpy as np
import pytest

from tests.models.test_encoders import SMALL
from tests.models.test_twins import ENCODER
from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError
from tf_landslide.models.build import ARCHITECTURES, build_model
from tf_landslide.models.combine import combined
from tf_landslide.models.encoders import ENCODERS
from tf_landslide.models.encoders.contract import Encoder
from tf_landslide.models.torch_names import state_dict_of
from tf_landslide.models.uncertainty import _with_dropout, of_votes, uncertainty
from tf_landslide.predict.export import save_model, verify
from tf_landslide.predict.load import load_predictor
from tf_landslide.runs.card import ModelCard

SMALLEST = {
    "unet": {"filters": (16, 8, 8, 4, 4)},
    "deeplabv3plus": {"filters": 16, "skip_filters": 8, "dropout": 0.0},
    "segformer": {"filters": 16, "dropout": 0.0},
    "plain_unet": {"width": 4, "depth": 2},
    "smp_unet": {"filters": (16, 8, 8, 4, 4)},
    "smp_deeplabv3plus": {"filters": 16, "dropout": 0.0},
    "hf_segformer": {"filters": 16, "dropout": 0.0},
}


@pytest.fixture
def build(monkeypatch):
    monkeypatch.setitem(ENCODERS, "tiny", SMALL["resnet18"])
    for name, twin in (("tiny_smp", "unet_resnet34"), ("tiny_hf", "segformer_mit_b2")):
        own = partial(ENCODER[twin], name=name)
        strides = (4, 8, 16, 32) if name == "tiny_hf" else (2, 4, 8, 16, 32)
        monkeypatch.setitem(ENCODERS, name, Encoder(own, "", "", strides=strides))

    def build(architecture, **options):
        encoder = {"plain": None, "smp": "tiny_smp", "hf": "tiny_hf"}.get(architecture.partition("_")[0], "tiny")
        keras.utils.set_random_seed(3)
        return build_model(architecture, encoder, channels=3, **SMALLEST[architecture], **options)

    return build


def image(height=32, width=64):
    return np.random.default_rng(0).normal(size=(2, height, width, 3)).astype(np.float32)


def answer(model, x):
    return keras.ops.convert_to_numpy(model(x, training=False))


@pytest.mark.parametrize(
    "architecture",
    [
        name if name in ("plain_unet", "smp_unet") else pytest.param(name, marks=pytest.mark.long)
        for name in ARCHITECTURES
    ],
)
def test_weights_and_answers_are_those_of_the_network_without_it(build, architecture):
    plain, dropping, x = build(architecture), build(architecture, head_dropout=0.3), image()
    assert [(w.path, w.shape) for w in plain.weights] == [(w.path, w.shape) for w in dropping.weights]
    assert "head_dropout" not in [layer.name for layer in plain.layers]
    dropping.set_weights(plain.get_weights())
    np.testing.assert_array_equal(answer(dropping, x), answer(plain, x))
    found = uncertainty(dropping)(x).numpy()
    np.testing.assert_allclose(found[..., :1], answer(plain, x), atol=1e-6)
    assert found[..., 1].max() > 1e-4 and found[..., 2].max() > 0


@pytest.mark.long
@pytest.mark.parametrize("architecture", ["smp_unet", "smp_deeplabv3plus", "hf_segformer"])
def test_what_pytorch_is_given_is_the_same(build, architecture):
    plain, dropping = build(architecture), build(architecture, head_dropout=0.3)
    dropping.set_weights(plain.get_weights())
    expected, found = state_dict_of(plain, architecture), state_dict_of(dropping, architecture)
    assert list(found) == list(expected)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])


def test_whole_maps_of_features_are_left_out_and_the_others_scaled_up(build):
    """Four maps give sixteen answers, by NumPy; every pass is one of them in each image, and they differ."""
    rate, x = 0.4, image()
    model = build("plain_unet", head_dropout=rate)
    logits = model.get_layer("logits")
    features = answer(keras.Model(model.inputs, model.get_layer("head_dropout").input), x)
    kernel, bias = np.asarray(logits.kernel)[0, 0, :, 0], np.asarray(logits.bias)[0]
    kept = np.array(list(product((0, 1), repeat=4)))  # (16, 4)
    possible = 1 / (1 + np.exp(-(np.einsum("nhwc,kc,c->knhw", features, kept / (1 - rate), kernel) + bias)))
    chosen = []
    for _ in range(12):
        found = keras.ops.convert_to_numpy(_with_dropout(model, x))[..., 0]
        errors = np.abs(possible - found).max((2, 3))  # (16, images)
        assert errors.min(0).max() < 1e-5
        chosen += errors.argmin(0).tolist()
    assert len(set(chosen)) > 3


def test_it_is_saved_exported_and_combined(build, tmp_path):
    model, x = build("plain_unet", head_dropout=0.3), image()
    model.save(tmp_path / "m.keras")
    reloaded = keras.saving.load_model(tmp_path / "m.keras", safe_mode=True)
    assert reloaded.get_layer("head_dropout").rate == 0.3
    np.testing.assert_allclose(answer(reloaded, x), answer(model, x), atol=1e-6)
    card = ModelCard("m", "plain_unet", None, "mmls", ("red", "green", "blue"), 0.5)
    save_model(model, card, tmp_path / "saved")
    assert verify(model, card, tmp_path / "saved") < 1e-5
    cooled = combined([model], temperature=2.0)  # one answer, so that its dropout tells how sure it is
    logit = lambda p: np.log(p / (1 - p))  # noqa: E731
    np.testing.assert_allclose(logit(answer(cooled, x)), logit(answer(model, x)) / 2, atol=1e-4)
    assert of_votes(cooled) is None and uncertainty(cooled)(x).numpy()[..., 1].max() > 1e-4


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_a_share_that_cannot_be_is_refused(rate):
    with pytest.raises(LandslideError, match="head_dropout is a share of features, 0 or more and below 1"):
        build_model("plain_unet", channels=3, width=4, depth=2, head_dropout=rate)


@pytest.mark.long
def test_a_run_with_it_tells_how_sure_it_is(config_file, sample, tmp_path, capsys):
    run = tmp_path / "run"
    more = ["model.head_dropout=0.25", "training.epochs=1"]
    assert main(["train", str(config_file), "--data", str(sample), "--out", str(run), *more]) == 0
    predictor = load_predictor(run)
    assert predictor.card.training["head_dropout"] == 0.25
    x = image(64, 64)[..., [0, 1, 2, 0, 1, 2]]
    found = predictor.uncertainty(x)
    np.testing.assert_allclose(found.probability, predictor(x), atol=1e-6)
    assert found.deviation.max() > 1e-4
    capsys.readouterr()
    assert main(["train", str(config_file), "--data", str(sample), "--out", str(run), "model.head_dropout=1.0"]) == 2
    assert "model.head_dropout" in capsys.readouterr().err
    assert json.loads((run / "metrics.json").read_text())["valid"]["f1"] >= 0
