"""What a model may answer, and what its card, scores and history may hold: anything else is refused in one line."""

import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError
from tf_landslide.predict.backends.keras import KerasBackend
from tf_landslide.predict.load import load_card, load_predictor
from tf_landslide.predict.predictor import Predictor
from tf_landslide.runs.card import ModelCard
from tf_landslide.runs.folder import Run
from tf_landslide.runs.formats import CARD

CARD_OF_ONE = ModelCard("broken", "a", None, "mmls", ("red",), 0.5)
X = np.random.default_rng(0).random((2, 64, 64, 1)).astype(np.float32)


def model_of(answer) -> keras.Model:
    """A Keras model that gives ``answer(channels)``."""
    inputs = keras.Input((None, None, 1))
    return keras.Model(inputs, answer(inputs))


class TimesNaN(keras.layers.Layer):
    def call(self, x):
        return x * np.float32("nan")


WRONG = {
    "two outputs": (keras.layers.Conv2D(2, 1, activation="sigmoid"), r"\(2, 64, 64, 2\).* expected \(2, 64, 64, 1\)"),
    "a smaller map": (keras.layers.MaxPool2D(2), r"\(2, 32, 32, 1\).* expected \(2, 64, 64, 1\)"),
    "one number an image": (keras.layers.GlobalAveragePooling2D(), r"\(2, 1\).* expected \(2, 64, 64, 1\)"),
    "logits": (keras.layers.Rescaling(10, -5), r"gives -\S+ to \S+, expected values in 0\.\.1"),
    "NaN": (TimesNaN(), "gives NaN for an image without missing values"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_probability_of_every_pixel_is_refused(kind):
    answer, said = WRONG[kind]
    with pytest.raises(LandslideError, match=f"model 'broken' gives.*{said}|model 'broken' {said}"):
        Predictor(CARD_OF_ONE, KerasBackend(model_of(answer)))(X)


def test_missing_values_may_have_no_answer_and_rounding_is_none():
    x = X.copy()
    x[0, :3, :3] = np.nan
    plain = Predictor(CARD_OF_ONE, KerasBackend(model_of(keras.layers.Rescaling(1.0))))
    np.testing.assert_array_equal(plain(x), x)
    above = Predictor(CARD_OF_ONE, KerasBackend(model_of(keras.layers.Rescaling(0.0, 1 + 1e-6))))
    assert above(x[1:]).max() > 1


@pytest.mark.parametrize("runtime", ["tensorflow", "openvino"])
def test_a_wrong_export_is_refused_by_every_runtime(runtime, exported, tmp_path):
    if runtime == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is optional: pip install openvino")
    model = model_of(keras.layers.Conv2D(2, 1, activation="sigmoid"))
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serving_default",
        lambda channels: {"probability": model(channels[..., :1])},
        input_signature=[tf.TensorSpec((None, None, None, 6), tf.float32, name="channels")],
    )
    archive.write_out(str(tmp_path / "1"), verbose=False)
    shutil.copytree(exported / "assets.extra", tmp_path / "1/assets.extra")
    x = np.zeros((1, 32, 32, 6), np.float32)
    np.savez(tmp_path / "1/assets.extra/reference.npz", channels=x, probability=np.asarray(model(x[..., :1])))
    with pytest.raises(LandslideError, match=r"model 'tiny' gives \(1, 32, 32, 2\)"):
        load_predictor(tmp_path / "1", runtime=runtime)(x)


def test_an_export_with_other_names_is_refused_when_loaded(exported, tmp_path):
    module = tf.Module()
    module.f = tf.function(lambda x: {"y": x}, input_signature=[tf.TensorSpec((None, 32, 32, 6), name="x")])
    tf.saved_model.save(module, str(tmp_path / "1"), signatures={"serving_default": module.f})
    shutil.copytree(exported / "assets.extra", tmp_path / "1/assets.extra")
    with pytest.raises(LandslideError, match=r"takes x and gives y; expected channels and probability"):
        load_predictor(tmp_path / "1", runtime="tensorflow")


def of_card(**changes):
    return lambda card: {**card, **changes}


BAD_CARDS = {
    "no object": (lambda _: [1], "expected a JSON object, found list"),
    "empty": (lambda _: {}, "name: missing|name: field required"),
    "a word for a number": (of_card(threshold="high"), "threshold: .*found 'high'"),
    "a threshold beyond 1": (of_card(threshold=1.5), r"threshold: expected 0\.\.1, found 1\.5"),
    "a NaN threshold": (of_card(threshold=float("nan")), r"threshold: expected 0\.\.1, found nan"),
    "a word for a list": (of_card(channels="red"), "channel_names: .*found 'red'"),
    "a list for a name": (of_card(name=["x" * 10_000]), "name: .*found"),
    "half scores": (of_card(scores={"valid": {"f1": 0.5}}), "valid.precision: field required"),
    "scores of a word": (of_card(scores={"valid": 3}), "valid: .*found 3"),
}


@pytest.mark.parametrize("kind", BAD_CARDS)
def test_a_card_that_does_not_hold_what_it_must_is_refused_by_file_and_key(kind, exported, tmp_path):
    change, said = BAD_CARDS[kind]
    version = shutil.copytree(exported, tmp_path / "1")
    path = version / CARD
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(LandslideError, match=f"{path}: ({said})") as caught:
        load_card(version)
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)


def changed(**changes):
    return lambda text: json.dumps({**json.loads(text), **changes})


BAD_FILES = {
    "metrics.json": [
        (lambda _: "[" * 100_000, "is nested too deeply"),
        (lambda _: "[]", "expected a JSON object"),
        (changed(valid={}), r"valid\.f1: field required"),
        (changed(valid=None), "valid: .*found None"),
        (lambda text: json.dumps({"test": json.loads(text)["test"]}), "has no split 'valid'"),
        (lambda text: text + " " * 2**24, "has more than the 16,777,216 bytes"),
    ],
    "environment.json": [(lambda _: "7" * 5000, "is not valid JSON"), (lambda _: "[]", "expected a JSON object")],
    "history.csv": [
        (lambda text: text.replace("0", "zero"), "line 2 is no row of numbers"),
        (lambda text: text + "1,2\n", "line 4 is no row of numbers"),
        (lambda text: text + "1," * 99 + "1\n", "line 4 is no row of numbers"),
        (lambda text: text + '"', "line 3 is no row of numbers"),
        (lambda text: text + " " * 2**24, "has more than the 16,777,216 bytes"),
    ],
}
CASES = [(name, case) for name, cases in BAD_FILES.items() for case in cases]


@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{name}: {said}" for name, (_, said) in CASES])
def test_a_run_whose_files_were_spoilt_is_refused_by_file(name, case, run_folder, tmp_path):
    change, said = case
    folder = shutil.copytree(run_folder, tmp_path / "run")
    (folder / name).write_text(change((folder / name).read_text()))
    run = Run.open(folder)
    with pytest.raises(LandslideError, match=f"{folder / name}: .*{said}|{folder / name}: {said}") as caught:
        _ = run.threshold, run.card(), run.history
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)


def test_the_command_line_tells_a_spoilt_card_in_one_line(exported, sample, tmp_path, capsys):
    version = shutil.copytree(exported, tmp_path / "1")
    (version / CARD).write_text("{" * 100_000)
    patch = next((sample / "TestData/img").glob("*.h5"))
    assert main(["predict", str(version), str(patch), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {version / CARD}: ") and error.count("\n") == 1
