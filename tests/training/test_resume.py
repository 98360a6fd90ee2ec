"""A run that is killed and gone on with is the run that went through, bit for bit, with random numbers in its model."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.processes import this_process
from tf_landslide.jobs.train import _prepared as prepared
from tf_landslide.jobs.train import _run_folder as run_folder_of
from tf_landslide.jobs.train import judge_run
from tf_landslide.predict.load import load_model
from tf_landslide.runs import formats
from tf_landslide.runs.config import load_config
from tf_landslide.runs.folder import Run
from tf_landslide.runs.sections import Config
from tf_landslide.runs.splits import open_splits
from tf_landslide.runs.state import TrainingState, restore

# A child is forked when all is imported and TensorFlow has not begun, so that each takes a second or two.
DRIVER = Path(__file__).with_name("killed.py")


@pytest.mark.long
def test_a_run_killed_again_and_again_is_the_run_that_went_through(sample, tmp_path):
    """By SIGKILL at random moments, and inside the writing of its state, six times, in processes of its own."""
    done = subprocess.run(
        [sys.executable, str(DRIVER), str(sample), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    whole, killed = (Run.open(tmp_path / name) for name in ("whole", "killed"))
    assert len(whole.history) == 4 and killed.history == whole.history
    states = [TrainingState.load(run.state_path) for run in (whole, killed)]
    for ours, theirs in zip(*(state.model + state.optimizer for state in states), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    weights = [load_model(run.path).get_weights() for run in (whole, killed)]
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert killed.metrics() == whole.metrics()
    assert not list(tmp_path.rglob(".*"))  # nothing that a killed one had begun


def leftover(path, owner):
    """What a process that was killed while it wrote a file leaves behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{owner}-0123abcd.partial{path.suffix}")
    partial.write_bytes(b"half")
    return partial


def test_a_run_is_finished_when_its_report_is_written_and_not_before(run_folder, sample, tmp_path, monkeypatch):
    run = Run.open(shutil.copytree(run_folder, tmp_path / "run"))
    before = run.metrics()
    (run.path / formats.METRICS).unlink()  # as an epoch does
    shutil.rmtree(run.path / formats.REPORT)
    sources = open_splits(run.config, sample)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr("tf_landslide.jobs.train.write_report", killed)
        judge_run(run, sources)
    assert not formats.is_finished_run(run.path) and formats.judged_file(run.path, "test").is_file()
    judge_run(run, sources)
    assert formats.is_finished_run(run.path) and run.report_path.is_file() and run.metrics() == before


class Killed(BaseException):
    """Ends a process."""


def killed(*_):
    raise Killed


@pytest.fixture
def dead():
    """The name of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return f"{this_process().partition('-')[0]}-{process.pid}"


def test_a_folder_that_a_killed_run_left_without_a_config_is_trained_into(config_file, tmp_path, dead):
    config, path = load_config(config_file), tmp_path / "run"
    partial = leftover(path / formats.CONFIG, dead)
    with pytest.raises(LandslideError, match="there is nothing to go on with; leave out --resume"):
        prepared(config, path, resume=True)
    leftover(path / formats.CONFIG, dead)
    assert prepared(config, path, resume=False).path == path and not partial.exists()
    alive = leftover(path / formats.CONFIG, this_process())
    with pytest.raises(LandslideError, match="already exists"):
        prepared(config, path, resume=False)
    assert alive.exists()


def test_what_a_killed_run_had_begun_is_swept_when_it_is_gone_on_with(run_folder, tmp_path, dead):
    path = shutil.copytree(run_folder, tmp_path / "run")
    partials = [leftover(path / name, dead) for name in (formats.MODEL, formats.STATE, formats.REPORT + "/f1.png")]
    prepared(Run.open(path).config, path, resume=True)
    assert not [partial for partial in partials if partial.exists()] and (path / formats.STATE).exists()


def test_a_run_folder_appears_with_its_config_in_it(config_file, tmp_path, monkeypatch):
    """So that no kill leaves one that is no run."""
    path = tmp_path / "deep/run"
    run = Run(path, load_config(config_file))

    def killed(_):
        assert not path.exists()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Config, "to_yaml", killed)
        with run_folder_of(run):
            pass
    assert not path.exists()
    with run_folder_of(run):
        assert [file.name for file in path.iterdir()] == [formats.CONFIG]
    assert Run.open(path).config == run.config


def arrays(seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(np.float32) for shape in ((3, 4), (5,), ())] + [np.array([1, 2], np.uint32)]


@pytest.fixture
def state():
    return TrainingState([{"epoch": 0, "loss": 0.1 + 0.2}], arrays(), arrays(1)[:2])


def test_a_state_is_read_as_it_was_written(state, tmp_path):
    path = tmp_path / "last/state.npz"
    assert TrainingState.load(path) is None
    state.save(path)
    again = TrainingState.load(path)
    assert again.history == state.history
    for ours, theirs in zip(again.model + again.optimizer, state.model + state.optimizer, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    assert list(path.parent.iterdir()) == [path]


def test_the_state_before_stays_until_the_new_one_is_whole(state, tmp_path, monkeypatch):
    path = tmp_path / "state.npz"
    state.save(path)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(LandslideError, match="no space left on the disk"):
        TrainingState([], [], []).save(path)
    assert TrainingState.load(path).history == state.history


@pytest.mark.parametrize("damage", ["empty", "half", "a byte", "not ours", "pickle", "claims"])
def test_a_damaged_state_is_told_in_one_line(state, tmp_path, damage):
    path = tmp_path / "state.npz"
    state.save(path)
    data = path.read_bytes()
    if damage == "not ours":
        np.savez(path, other=np.zeros(3))
    elif damage == "pickle":
        np.savez(path, about=np.array([{"format": 1}], object))
    elif damage == "claims":  # a kilobyte that unpacks to a gigabyte
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("about.npy", bytes(10**8))
    else:
        flipped = bytearray(data)
        flipped[len(data) // 2] ^= 0xFF
        path.write_bytes({"empty": b"", "half": data[: len(data) // 2], "a byte": bytes(flipped)}[damage])
    with pytest.raises(LandslideError, match=re.escape(f"{path}: is damaged")) as error:
        TrainingState.load(path)
    assert "\n" not in str(error.value) and "remove it to train from the first epoch" in str(error.value)


def test_a_state_of_the_first_release_is_not_gone_on_with(tmp_path):
    (tmp_path / "training_metadata.json").write_text('{"epoch": 3}')
    with pytest.raises(LandslideError, match="is of the first release"):
        TrainingState.load(tmp_path / "state.npz")


def test_a_state_of_another_model_is_refused(tmp_path):
    variables = [keras.Variable(np.zeros((2, 3))), keras.Variable(np.zeros(2))]
    restore(variables, [np.ones((2, 3)), np.ones(2)], tmp_path)
    assert all(np.asarray(v).min() == 1 for v in variables)
    for wrong in ([np.zeros((2, 3))], [np.zeros((3, 2)), np.zeros(2)]):
        with pytest.raises(LandslideError, match="another model"):
            restore(variables, wrong, tmp_path)
    assert all(np.asarray(v).min() == 1 for v in variables)


def test_a_damaged_state_is_refused_before_any_data_are_read(run_folder, sample, config_file, tmp_path, capsys):
    from tf_landslide.cli.main import main

    folder = shutil.copytree(run_folder, tmp_path / "run")
    (folder / formats.STATE).write_bytes(b"PK")
    assert main(["train", str(config_file), "--data", str(sample), "--out", str(folder), "--resume"]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith(f"error: {folder / formats.STATE}: is damaged") and "\n" not in error
