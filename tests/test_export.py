import json

import numpy as np
import pytest
import tensorflow as tf

from tf_landslide.bands.recipes import RECIPES
from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError
from tf_landslide.jobs.export import export_run
from tf_landslide.predict import export
from tf_landslide.predict.load import load_model
from tf_landslide.runs.card import ModelCard
from tf_landslide.runs.folder import Run

CARD = ModelCard("m", "plain_unet", None, "landslide4sense", RECIPES["six"], 0.5)


def test_signature_is_named_and_takes_any_size(exported):
    signature = tf.saved_model.load(str(exported)).signatures["serving_default"]
    inputs = signature.structured_input_signature[1]
    assert list(inputs) == ["channels"] and inputs["channels"].shape.as_list() == [None, None, None, 6]
    assert inputs["channels"].dtype == tf.float32
    outputs = signature.structured_outputs
    assert list(outputs) == ["probability"] and outputs["probability"].shape.as_list() == [None, None, None, 1]


def test_signature_keras_file_and_live_model_agree(exported, run_folder):
    model = load_model(run_folder)
    signature = tf.saved_model.load(str(exported)).signatures["serving_default"]
    normalization = model.get_layer("normalization")
    for shape in ((1, 32, 32), (3, 64, 96), (2, 128, 128)):
        noise = np.random.default_rng(0).standard_normal((*shape, 6))
        x = (noise * normalization.variance.numpy() ** 0.5 + normalization.mean.numpy()).astype(np.float32)
        x[0, :4, :4, 2] = np.nan
        served = signature(channels=tf.constant(x))["probability"].numpy()
        np.testing.assert_allclose(served, np.asarray(model(x, training=False)), atol=1e-5)
        assert served.std() > 1e-4


@pytest.mark.slow
def test_live_model_and_its_keras_file_agree(tmp_path, sample):
    import keras

    from tf_landslide.data.pipeline import load_dataset
    from tf_landslide.models.build import build_model

    data = load_dataset(sample, "test", batch_size=5)
    model = build_model("plain_unet", width=4, depth=2, batch_norm=True, adapt_to=data)
    model.compile(optimizer="adam", loss="binary_crossentropy", jit_compile=False)
    model.fit(data, verbose=0, shuffle=False)
    model.save(tmp_path / "m.keras")
    reloaded = keras.saving.load_model(tmp_path / "m.keras", safe_mode=True)
    x, _ = next(data.as_numpy_iterator())
    np.testing.assert_allclose(reloaded(x, training=False), model(x, training=False), atol=1e-5)
    assert export.verify(model, CARD, _saved(model, tmp_path / "saved")) < 1e-5


def test_layers_called_as_pytorch_s_modules_are_exported(tmp_path, monkeypatch):
    """No name in a graph may begin with ``_``, as those of EfficientNet's layers do."""
    import keras

    inputs = keras.Input((None, None, 6))
    x = keras.layers.BatchNormalization(name="_bn0")(keras.layers.Conv2D(2, 3, padding="same", name="_conv")(inputs))
    model = keras.Model(inputs, keras.layers.Conv2D(1, 1, activation="sigmoid", name="_head")(x))
    monkeypatch.setattr(export, "_write_reference", lambda *_: None)  # which asks for a normalisation
    signature = tf.saved_model.load(str(_saved(model, tmp_path / "saved"))).signatures["serving_default"]
    x = np.random.default_rng(0).random((1, 32, 32, 6), np.float32)
    np.testing.assert_allclose(signature(channels=x)["probability"], model(x, training=False), atol=1e-6)


def _saved(model, path):
    export.save_model(model, CARD, path)
    return path


@pytest.mark.slow
def test_versions_only_grow(run_folder, tmp_path, capsys):
    for version in ("1", "2"):
        assert main(["export", str(run_folder), "--to", str(tmp_path), "--name", "m", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["model"] == str(tmp_path / "m" / version)
    (tmp_path / "m" / "1").rename(tmp_path / "m" / "7")
    assert main(["export", str(run_folder), "--to", str(tmp_path), "--name", "m"]) == 0
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["2", "7", "8"]


def test_a_differing_export_is_not_published(run_folder, tmp_path, monkeypatch):
    original = export.save_model

    def save_another(model, card, path):
        model.layers[-2].bias.assign(model.layers[-2].bias + 1)
        original(model, card, path)
        model.layers[-2].bias.assign(model.layers[-2].bias - 1)

    monkeypatch.setattr(export, "save_model", save_another)
    with pytest.raises(LandslideError, match="differs from the live one"):
        export_run(Run.open(run_folder), tmp_path, "m")
    assert not list((tmp_path / "m").iterdir())


@pytest.mark.slow
def test_two_exports_at_the_same_time_get_a_version_each(run_folder, tmp_path, monkeypatch):
    original, made = export.verify, []

    def slow(model, card, path):
        if not made:  # while the first is being written, a second begins and ends
            made.append(None)
            made[0] = export_run(Run.open(run_folder), tmp_path, "m")
        return original(model, card, path)

    monkeypatch.setattr(export, "verify", slow)
    first = export_run(Run.open(run_folder), tmp_path, "m")
    assert (made[0], first) == (tmp_path / "m/1", tmp_path / "m/2")
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["1", "2"]
    assert (first / "saved_model.pb").is_file() and (made[0] / "saved_model.pb").is_file()


@pytest.mark.parametrize("name", ["a/b", "..", "with space", ""])
def test_a_name_that_is_no_folder_name_is_refused(run_folder, tmp_path, name):
    with pytest.raises(LandslideError, match="model name"):
        export_run(Run.open(run_folder), tmp_path, name or " ")
    assert not list(tmp_path.iterdir())


def test_an_export_that_answers_nothing_but_nan_is_not_published(run_folder, tmp_path, monkeypatch):
    original = export.signatures

    def broken(model, card):
        made = original(model, card)
        serve, inputs = made["serving_default"]
        made["serving_default"] = (lambda channels: {"probability": serve(channels)["probability"] * np.nan}, inputs)
        return made

    monkeypatch.setattr(export, "signatures", broken)
    with pytest.raises(LandslideError, match="differs from the live one by nan"):
        export_run(Run.open(run_folder), tmp_path, "m")
