"""A run a seed: each like any other, gone on with, summed up."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pytest

from tf_landslide.cli.main import main, parse
from tf_landslide.core.errors import LandslideError
from tf_landslide.jobs import seeds as jobs
from tf_landslide.metrics import SCORES
from tf_landslide.predict.load import load_model
from tf_landslide.runs.config import load_config
from tf_landslide.runs.folder import Run

CLI = [sys.executable, "-m", "tf_landslide", "train"]


@pytest.fixture
def trained(monkeypatch):
    """Training that takes no time: what it is asked to do, and how it ends by seed."""
    asked: list[tuple[int, bool]] = []
    failing: set[int] = set()
    row = {"f1": 0.5, "precision": 0.5, "recall": 0.5, "iou": 0.3, "threshold": 0.4, "patches": 6}
    row |= {"interval": {key: [0.4, 0.6] for key in SCORES}, "objects": {"at": {"0.3": {"f1": 0.25}}}}

    def train(config, _, path, *, resume):
        seed = config.training.seed
        asked.append((seed, resume))
        path.mkdir(parents=True, exist_ok=True)
        (path / "config.yaml").write_text(config.to_yaml())
        if seed in failing:
            raise LandslideError("the loss is no longer a number")
        rows = ["epoch,val_best_f1,val_loss", *(f"{i},0.5,0.1" for i in range(config.training.epochs))]
        (path / "history.csv").write_text("\n".join(rows) + "\n")
        scores = {"valid": {**row, "f1": 0.1 * seed, "iou": 0.5 + 0.01 * seed**2}}
        (path / "metrics.json").write_text(json.dumps(scores | ({"test": row} if seed != 2 else {})))
        return Run.open(path)

    monkeypatch.setattr(jobs, "train_apart", train)
    train.asked, train.failing = asked, failing
    return train


@pytest.fixture
def command(config_file, sample):
    def command(out, *more, data=sample):
        return main(["train", str(config_file), "--data", str(data), "--out", str(out), *more])

    return command


def test_a_number_or_names_of_seeds():
    base = ["train", "c", "--data", "d", "--out", "o", "--seeds"]
    assert [parse([*base, text]).seeds for text in ("3", "0,1,2", "7,", "5,3")] == [(0, 1, 2), (0, 1, 2), (7,), (5, 3)]
    for text in ("0", "-1", "a", "1,1", "1,,2", "", ",", "4294967296,", "1.5", "2000000000"):
        with pytest.raises(SystemExit) as end:
            parse([*base, text])
        assert end.value.code == 2


@pytest.mark.usefixtures("trained")
def test_the_summary_is_mean_and_deviation_of_the_sample(command, tmp_path, capsys):
    assert command(tmp_path / "r", "--seeds", "1,4,2", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((tmp_path / "r/seeds.json").read_text())
    assert told["seeds"] == [1, 4, 2] and told["runs"] == {"1": "seed_1", "4": "seed_4", "2": "seed_2"}
    values = [0.1, 0.4, 0.2]
    f1 = told["splits"]["valid"]["f1"]
    np.testing.assert_allclose([f1["mean"], f1["sd"], *f1["values"]], [mean(values), stdev(values), *values])
    assert told["splits"]["valid"]["objects_f1"] == {"mean": 0.25, "sd": 0.0, "values": [0.25] * 3}
    assert list(told["splits"]) == ["valid"]  # seed 2 has no test split
    assert [Run.open(tmp_path / f"r/seed_{seed}").config.training.seed for seed in (1, 4, 2)] == [1, 4, 2]


@pytest.mark.usefixtures("trained")
def test_the_table(command, tmp_path, capsys):
    assert command(tmp_path / "r", "--seeds", "2") == 0
    out = capsys.readouterr().out
    assert "valid  0.0500 ± 0.0707" in out and "over seeds 0, 1" in out
    assert command(tmp_path / "one", "--seeds", "1") == 0
    assert "±" not in capsys.readouterr().out.splitlines()[2]


def test_finished_runs_are_left_and_the_others_gone_on_with(trained, command, tmp_path, capsys):
    out = tmp_path / "r"
    trained.failing.add(1)
    assert command(out, "--seeds", "3") == 2
    assert capsys.readouterr().err == "error: the loss is no longer a number\n"
    assert json.loads((out / "seeds.json").read_text())["seeds"] == [0]
    trained.failing.clear()
    trained.asked.clear()
    assert command(out, "--seeds", "3") == 2 and "already exists" in capsys.readouterr().err
    assert command(out, "--seeds", "3", "--resume") == 0
    assert trained.asked == [(1, True), (2, False)]
    trained.asked.clear()
    assert command(out, "--seeds", "4", "--resume", "training.epochs=3") == 0
    assert trained.asked == [(0, True), (1, True), (2, True), (3, False)]


def test_what_cannot_be_meant_is_refused(trained, command, tmp_path, capsys):
    assert command(tmp_path / "r", "--seeds", "2") == 0
    trained.asked.clear()
    for out, words, said in (
        (tmp_path / "r", ["--seeds", "1", "--resume"], "holds runs of seeds that --seeds leaves out (1); name all"),
        (tmp_path / "r", ["--resume"], "it holds a run a seed, as train --seeds makes them: name one, or "),
        (tmp_path / "r/seed_0", ["--seeds", "2", "--resume"], "is a run of one seed"),
        (tmp_path / "none", ["--seeds", "2", "--resume"], "holds no run of a seed, there is nothing to go on with"),
        (tmp_path / "none", ["--seeds", "2", "training.seed=3"], "--seeds sets training.seed of each run"),
    ):
        assert command(out, *words) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1
    assert not trained.asked and not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "options", [["--seeds", "2"], ["--folds", "2"], ["--seeds", "2", "--folds", "2"]], ids=" ".join
)
def test_several_workers_train_one_run_at_a_time(command, tmp_path, capsys, options):
    assert command(tmp_path / "r", "training.strategy=multi_worker", *options) == 2
    said = capsys.readouterr().err
    assert f"error: {options[-2]} trains its runs on this machine, one after another" in said
    assert "training.strategy is multi_worker" in said and said.count("\n") == 1 and not (tmp_path / "r").exists()


KILLED = "process 999999999 on nowhere, since 2020-01-01 00:00:00,\n"


def test_what_was_killed_before_there_was_a_run_is_begun_again(trained, command, tmp_path, capsys):
    """A lock is all that it leaves: nothing to go on with, and nothing in the way."""
    out = tmp_path / "r"
    out.mkdir()
    (out / ".seed_0.lock").write_text(KILLED)
    assert command(out, "--seeds", "2", "--resume") == 2
    assert "there is nothing to go on with; leave out --resume" in capsys.readouterr().err
    (out / ".seed_0.lock").write_text(KILLED)
    (out / ".DS_Store").touch()
    assert command(out, "--seeds", "2") == 0 and trained.asked == [(0, False), (1, False)]
    assert not (out / ".seed_0.lock").exists()


@pytest.mark.parametrize("more", [[], ["--resume"]])
def test_a_folder_of_something_else_is_not_sent_round(trained, command, tmp_path, capsys, more):
    (tmp_path / "notes.txt").touch()
    assert command(tmp_path, "--seeds", "2", *more) == 2 and not trained.asked
    assert capsys.readouterr().err.endswith("already holds something, and no run of a seed; name another folder\n")


def test_finished_runs_of_other_data_are_not_taken_for_those_of_these(
    trained, command, run_folder, copy, tmp_path, capsys
):
    out = tmp_path / "r"
    trained.failing.add(1)
    assert command(out, "--seeds", "2") == 2
    trained.failing.clear()
    trained.asked.clear()
    shutil.copy(run_folder / "environment.json", out / "seed_0")
    capsys.readouterr()
    image = copy / "TrainData/img/image_1.h5"
    image.write_bytes(image.read_bytes() + b"more")
    assert command(out, "--seeds", "2", "--resume", data=copy) == 2
    error = capsys.readouterr().err
    assert f"{out}/seed_0: was trained on" in error and f"{copy} (" in error and error.count("\n") == 1
    assert not trained.asked
    assert command(out, "--seeds", "2", "--resume") == 0 and trained.asked == [(1, True)]


def pid_of(lock: Path) -> int:
    return int(lock.read_text().split()[1])


def until(condition, seconds=600):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


@pytest.mark.slow
def test_a_run_killed_before_it_began_is_not_said_to_be_gone_on_with(config_file, sample, tmp_path):
    from tf_landslide.jobs.apart import train_apart

    lock = tmp_path / ".run.lock"
    killer = threading.Thread(
        target=lambda: os.kill(pid_of(until(lambda: lock.exists() and lock.read_text() and lock)), signal.SIGKILL)
    )
    killer.start()
    with pytest.raises(LandslideError, match="was killed by signal 9 before it began; run the same command again"):
        train_apart(load_config(config_file), sample, tmp_path / "run")
    killer.join()
    assert not (tmp_path / "run").exists()


@pytest.fixture
def begin(sample, config_file, tmp_path):
    def begin(*words):
        arguments = [str(config_file), "--data", str(sample), "--out", str(tmp_path / "r"), "--seeds", "0,5", *words]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.Popen(
            [*CLI, *arguments], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
        )

    return begin


@pytest.mark.long
def test_a_killed_seed_loses_its_own_epoch_alone(begin, sample, config_file, tmp_path):
    """And each run is, bit for bit, what training it alone gives."""
    from tf_landslide.jobs.apart import train_apart

    settings = ["training.deterministic=true", "training.epochs=3"]
    process = begin(*settings)
    first, second = tmp_path / "r/seed_0", tmp_path / "r/seed_5"
    until(lambda: (second / "last/state.npz").exists())
    os.kill(pid_of(tmp_path / "r/.seed_5.lock"), signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    killed = f"error: {second}: the process that trained it was killed by signal 9; go on with --resume"
    assert said.splitlines()[-1] == killed
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*")}
    assert first / "metrics.json" in before and not (second / "metrics.json").exists()
    process = begin(*settings, "--resume", "--json")
    told, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*")} == before
    assert json.loads(told)["seeds"] == [0, 5]
    alone = train_apart(load_config(config_file, [*settings, "training.seed=5"]), sample, tmp_path / "alone")
    for ours, theirs in zip(load_model(second).get_weights(), load_model(alone.path).get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert Run.open(second).history == alone.history and Run.open(second).config == alone.config


@pytest.mark.long
@pytest.mark.parametrize("whom", ["the group", "the parent"])
def test_the_processes_end_together(begin, tmp_path, whom):
    process = begin("training.epochs=500")
    child = until(lambda: (path := tmp_path / "r/.seed_0.lock").exists() and path.read_text() and pid_of(path))
    until(lambda: (tmp_path / "r/seed_0/last/state.npz").exists())
    if whom == "the group":  # as a terminal does it
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.kill()
    _, said = process.communicate(timeout=60)
    until(lambda: not Path(f"/proc/{child}").exists(), 30)
    lines = [line for line in said.splitlines() if not line.startswith("epoch ")]
    if whom == "the group":
        assert process.returncode == 130
        assert lines == ["error: interrupted; it goes on from its last epoch with --resume"]
    assert not list((tmp_path / "r/seed_0").rglob("*.partial*"))
