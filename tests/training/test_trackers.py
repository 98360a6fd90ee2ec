"""What trackers are told, by fakes of their modules' interfaces; and that training does not end for one that fails."""

import importlib
import re
import sys
import tomllib
import types
from pathlib import Path

import keras
import numpy as np
import pytest

from tf_landslide.bands.layouts import LANDSLIDE4SENSE
from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError, LandslideWarning
from tf_landslide.data.source import PatchSource
from tf_landslide.figures.shown import ShownPatches
from tf_landslide.metrics import IGNORED
from tf_landslide.runs.config import check_config
from tf_landslide.runs.folder import Run
from tf_landslide.training.callbacks import Pictures
from tf_landslide.training.trackers import Trackers, imported, tracking

ROOT = Path(__file__).parents[2]
PICTURE = np.zeros((4, 12, 3), np.uint8)


class Heard(list):
    """Calls, as (name, arguments)."""

    def taker(self, name, gives=None):
        def take(*arguments, **named):
            self.append((name, arguments, named))
            return gives

        return take


@pytest.fixture
def heard(monkeypatch):
    """Both modules, faked with the signatures that theirs have."""
    heard = Heard()
    wandb, mlflow = types.ModuleType("wandb"), types.ModuleType("mlflow")
    names = {name: heard.taker(f"wandb.{name}") for name in ("log", "finish")}
    wandb.run = types.SimpleNamespace(summary=types.SimpleNamespace(update=heard.taker("wandb.summary")), **names)

    def init(*, project, name, id, resume, dir, config, settings):
        heard.append(("wandb.init", (name, settings), {"project": project, "id": id, "resume": resume}))
        heard[-1][2].update(config=config, dir=dir)
        return wandb.run

    wandb.init, wandb.Settings = init, lambda *, silent, console: (silent, console)
    wandb.Image = lambda picture: ("image", picture.shape)
    for name in ("set_experiment", "log_params", "log_metrics", "log_image", "end_run"):
        setattr(mlflow, name, heard.taker(f"mlflow.{name}"))

    def start_run(run_id=None, *, run_name=None):
        heard.append(("mlflow.start_run", (), {"run_id": run_id, "run_name": run_name}))
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id="abc"))

    mlflow.start_run = start_run
    for module in (wandb, mlflow):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    for variable in ("WANDB_DIR", "WANDB_PROJECT", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(variable, raising=False)
    heard.mlflow = mlflow
    return heard


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run").mkdir()
    return Run(tmp_path / "run", check_config({"training": {"trackers": ["tensorboard", "wandb", "mlflow"]}}, "test"))


def followed(run):
    with tracking(run, imported(run.config.training.trackers)) as trackers:
        trackers.tell("epoch", 3, {"loss": 0.5, "val_f1": 0.25})
        trackers.tell("pictures", 3, {"image_1": PICTURE})
        trackers.tell("scores", {"valid_f1_at_threshold": 0.75})


def test_each_is_told_what_its_interface_takes(heard, run):
    followed(run)
    calls = {name: (arguments, named) for name, arguments, named in heard}
    of = [call for call in heard if call[0] == "wandb.log"]
    assert of[0][1:] == (({"loss": 0.5, "val_f1": 0.25},), {"step": 3})
    assert of[1][1:] == (({"image_1": ("image", (4, 12, 3))},), {"step": 3})
    assert calls["wandb.summary"][0] == ({"valid_f1_at_threshold": 0.75},)
    assert calls["wandb.finish"] == ((), {"exit_code": 0}) and calls["mlflow.end_run"] == ((), {"status": "FINISHED"})
    begun = calls["wandb.init"][1]
    assert begun["project"] == "tf-landslide" and begun["config"]["training"]["epochs"] == 50
    assert begun["dir"] == str(run.path / "logs") and begun["resume"] == "allow"
    metrics = [call[1:] for call in heard if call[0] == "mlflow.log_metrics"]
    assert metrics == [(({"loss": 0.5, "val_f1": 0.25},), {"step": 3}), (({"valid_f1_at_threshold": 0.75},), {})]
    assert calls["mlflow.log_params"][0][0]["training.epochs"] == "50"
    assert calls["mlflow.log_image"][1] == {"artifact_file": "image_1/epoch_0003.png"}
    assert list((run.path / "logs/pictures").glob("events.out.tfevents.*"))


def test_a_run_that_is_gone_on_with_is_the_same_run_there(heard, run):
    followed(run)
    first = next(named for name, _, named in heard if name == "wandb.init")["id"]
    heard.clear()
    with pytest.raises(KeyboardInterrupt), tracking(run, imported(run.config.training.trackers)):
        raise KeyboardInterrupt
    calls = {name: (arguments, named) for name, arguments, named in heard}
    assert calls["wandb.init"][1]["id"] == first and calls["mlflow.start_run"][1]["run_id"] == "abc"
    assert "mlflow.log_params" not in calls  # which may not change
    assert calls["wandb.finish"] == ((), {"exit_code": 1}) and calls["mlflow.end_run"] == ((), {"status": "KILLED"})


def test_one_that_fails_is_told_of_once_and_left_out(heard, run):
    def broken(*_, **__):
        raise ConnectionError("no route to host\nand more")

    heard.mlflow.log_metrics = broken
    with tracking(run, imported(["wandb", "mlflow"])) as trackers:
        with pytest.warns(LandslideWarning, match=r"^mlflow does not answer \(no route to host\); the run goes on"):
            trackers.tell("epoch", 0, {"loss": 1.0})
        trackers.tell("epoch", 1, {"loss": 0.5})
        trackers.tell("epoch", 2, {"loss": 0.4})  # nor is it asked again, which would warn again
    assert [named["step"] for name, _, named in heard if name == "wandb.log"] == [0, 1, 2]
    heard.mlflow.start_run = broken
    with pytest.raises(LandslideError, match=r"training\.trackers: mlflow cannot begin: no route to host"):
        followed(run)


def test_one_that_is_not_installed_is_refused_before_anything_is_read(config_file, tmp_path, capsys, monkeypatch):
    real = importlib.import_module

    def missing(name, *more):
        if name == "wandb":
            raise ModuleNotFoundError("No module named 'wandb'")
        return real(name, *more)

    monkeypatch.setattr(importlib, "import_module", missing)
    (tmp_path / "data/TrainData/img").mkdir(parents=True)
    words = ["train", str(config_file), "--data", str(tmp_path / "data"), "--out", str(tmp_path / "r")]
    assert main([*words, "training.trackers=[wandb]"]) == 2
    said = "training.trackers: wandb cannot be imported (No module named 'wandb'); "
    said += "pip install 'tf-landslide[trackers]', or leave it out"
    assert capsys.readouterr().err == f"error: {said}\n" and not (tmp_path / "r").exists()


def test_patches_are_drawn_as_picture_mask_and_probability(sample):
    source = PatchSource.open(sample, "valid", check_config({}, "test").data.recipe)
    shown = ShownPatches.of(source, LANDSLIDE4SENSE, 3)
    numbers = [int(name.removeprefix("image_")) for name in shown.names]
    assert len(numbers) == min(3, source.positive.sum()) and all(source.positive[number - 1] for number in numbers)
    shown.masks[0, 0, 0], shown.masks[0, 0, 1], shown.masks[0, 0, 2] = 0, 1, IGNORED
    drawn = shown.drawn(np.linspace(0, 1, shown.masks.size, dtype=np.float32).reshape(shown.masks.shape))
    first, last = drawn[shown.names[0]], drawn[shown.names[-1]]
    assert first.shape == (128, 384, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first[:, :128], shown.pictures[0])
    assert first[0, 128:131, 0].tolist() == [0, 255, 128]
    assert first[0, 256].tolist() == [13, 8, 135] and last[-1, -1].tolist() == [240, 249, 33]  # plasma's ends


def test_pictures_come_every_so_many_epochs_of_any_size_and_of_the_averaged_weights():
    seen = []
    shown = types.SimpleNamespace(channels=np.ones((2, 20, 33, 1), np.float32), drawn=lambda p: seen.append(p) or {})
    inputs = keras.Input((None, None, 1))
    model = keras.Model(inputs, keras.layers.Conv2D(1, 1, use_bias=False)(inputs))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.set_weights([np.full((1, 1, 1, 1), 0.5)])

    class Averaging:
        def on_test_begin(self):
            model.set_weights([np.full((1, 1, 1, 1), 0.75)])

        def on_test_end(self):
            model.set_weights([np.full((1, 1, 1, 1), 0.5)])

    for averaging, expected in ((None, 0.5), (Averaging(), 0.75)):
        seen.clear()
        callback = Pictures(Trackers([]), shown, 3, averaging)
        callback.set_model(model)
        for epoch in range(5):
            callback.on_epoch_end(epoch)
        assert [p.shape for p in seen] == [(2, 20, 33)] * 2  # of the epochs 0 and 3
        np.testing.assert_allclose(seen[0], expected)
        assert model.get_weights()[0] == 0.5


def test_the_extra_that_is_named_brings_them():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {re.split("[<>=]", name)[0] for name in extras["trackers"]} == {"wandb", "mlflow-skinny"}
