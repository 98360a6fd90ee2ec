"""Several seeds of the same folds: what is trained, gone on with and summed up; training itself takes no time here."""

import json
import shutil
from statistics import mean, stdev

import numpy as np
import pytest

from tests.training.test_folds import ASKED, NAMES, grouped  # noqa: F401  (a fixture)
from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError
from tf_landslide.data.groups import balanced_folds
from tf_landslide.jobs import folds as jobs
from tf_landslide.jobs.compare import compare_runs
from tf_landslide.metrics import SCORES
from tf_landslide.metrics.counts import BINS, Histograms
from tf_landslide.runs.folder import Run


@pytest.fixture
def trained(monkeypatch):
    """Trainings that are asked for; each run marks a share of landslides that its seed says, and nothing else."""
    asked: list[tuple[int, str, bool]] = []
    failing: set[tuple[int, str]] = set()

    def train(config, _, path, *, resume):
        seed = config.training.seed
        asked.append((seed, path.name, resume))
        path.mkdir(parents=True, exist_ok=True)
        (path / "config.yaml").write_text(config.to_yaml())
        if (seed, path.name) in failing:
            raise LandslideError("the loss is no longer a number")
        row = {"f1": 0.5, "precision": 0.5, "recall": 0.5, "iou": 0.3, "threshold": 0.5, "patches": 6}
        (path / "metrics.json").write_text(
            json.dumps({"valid": {**row, "interval": {key: [0.4, 0.6] for key in SCORES}}})
        )
        return Run.open(path)

    def histograms(run, source):
        n, seed = len(source), run.config.training.seed
        landslide, other = (np.zeros((n, BINS + 1), np.int64) for _ in range(2))
        landslide[:, -1], landslide[:, 0], other[:, 0] = 10 * (seed + 1), 100 - 10 * (seed + 1), 128**2 - 100
        return Histograms(landslide, other)

    monkeypatch.setattr(jobs, "train_apart", train)
    monkeypatch.setattr(jobs, "_histograms", histograms)
    train.asked, train.failing = asked, failing
    return train


@pytest.fixture
def command(grouped, config_file, tmp_path):  # noqa: F811
    def command(*more, out="r", folds="2"):
        words = ["train", str(config_file), ASKED, "--data", str(grouped), "--out", str(tmp_path / out)]
        return main([*words, "--folds", folds, *more])

    return command


def f1(seed):
    """Of a share of landslides found, without a false alarm."""
    share = (seed + 1) / 10
    return 2 * share / (1 + share)


def test_every_seed_has_the_folds_of_the_configs_own_seed(trained, command, tmp_path, capsys):
    assert command("--seeds", "5,1,8", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((tmp_path / "r/seeds.json").read_text())
    assert told["folds"] == balanced_folds(np.array(NAMES), 2, 3)  # 3 is the config's seed
    for seed in (5, 1, 8):
        configs = [Run.open(tmp_path / f"r/seed_{seed}/fold_{i}").config for i in range(2)]
        assert [config.data.valid_groups for config in configs] == told["folds"]
        assert {config.training.seed for config in configs} == {seed}
        assert json.loads((tmp_path / f"r/seed_{seed}/folds.json").read_text())["scores"]["f1"] == pytest.approx(
            f1(seed)
        )
    pooled, values = told["splits"]["out of fold"]["f1"], [f1(5), f1(1), f1(8)]
    np.testing.assert_allclose(
        [pooled["mean"], pooled["sd"], *pooled["values"]], [mean(values), stdev(values), *values]
    )
    assert told["seeds"] == [5, 1, 8] and told["runs"] == {"5": "seed_5", "1": "seed_1", "8": "seed_8"}
    assert len(trained.asked) == 6


@pytest.mark.usefixtures("trained")
def test_what_is_out_of_fold_is_compared_like_runs(command, tmp_path):
    """Two seeds of one model beside two of another, over whole groups."""
    for out, more in (("one", []), ("two", ["training.epochs=7"])):
        assert command("--seeds", "1,2" if out == "one" else "4,5", *more, out=out) == 0
    paths = sorted(tmp_path.glob("*/seed_*/out_of_fold"))
    compared = compare_runs(paths, "valid", against=tmp_path / "one/seed_1/out_of_fold")
    two, one = compared["rows"]
    assert (two["seeds"], one["seeds"], compared["unit"], compared["units"]) == ([4, 5], [1, 2], "groups", 4)
    assert two["f1"] == pytest.approx(mean([f1(4), f1(5)])) and one["difference"] is None
    assert two["difference"]["value"] == pytest.approx(mean([f1(4), f1(5)]) - mean([f1(1), f1(2)]))
    assert any("Counts alone" in note for note in compared["notes"])


@pytest.mark.usefixtures("trained")
def test_the_table_has_the_mean_over_seeds(command, capsys):
    assert command("--seeds", "2") == 0
    out, values = capsys.readouterr().out, (f1(0), f1(1))
    assert f"out of fold  {mean(values):.4f} ± {stdev(values):.4f}" in out and "over seeds 0, 1" in out


def test_what_is_finished_is_left_and_the_rest_gone_on_with(trained, command, tmp_path, capsys):
    trained.failing.add((1, "fold_1"))
    assert command("--seeds", "3") == 2
    assert capsys.readouterr().err == "error: the loss is no longer a number\n"
    assert json.loads((tmp_path / "r/seeds.json").read_text())["seeds"] == [0]
    trained.failing.clear()
    trained.asked.clear()
    assert command("--seeds", "3") == 2 and "already exists" in capsys.readouterr().err
    assert command("--seeds", "3", "--resume") == 0
    assert trained.asked == [(1, "fold_1", True), (2, "fold_0", False), (2, "fold_1", False)]
    trained.asked.clear()
    assert command("--seeds", "4", "--resume") == 0
    assert trained.asked == [(3, "fold_0", False), (3, "fold_1", False)]


KILLED = "process 999999999 on nowhere, since 2020-01-01 00:00:00,\n"


@pytest.mark.parametrize(
    ("seeds", "locks"), [(["--seeds", "1"], [".seed_0.lock", "seed_0/.fold_0.lock"]), ([], [".fold_0.lock"])]
)
def test_what_was_killed_before_there_was_a_run_is_begun_again(trained, command, tmp_path, capsys, seeds, locks):
    for lock in locks:
        (tmp_path / "r" / lock).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "r" / lock).write_text(KILLED)
    if seeds:
        assert command(*seeds, "--resume") == 2 and "leave out --resume" in capsys.readouterr().err
    assert command(*seeds) == 0 and [name for _, name, _ in trained.asked] == ["fold_0", "fold_1"]
    assert not list((tmp_path / "r").rglob(".*"))


@pytest.mark.parametrize("seeds", [["--seeds", "2"], []])
def test_finished_folds_of_other_data_are_not_taken_for_those_of_these(
    trained,
    command,
    run_folder,
    grouped,  # noqa: F811
    tmp_path,
    capsys,
    seeds,
):
    assert command(*seeds) == 0
    first = tmp_path / "r/seed_1/fold_1" if seeds else tmp_path / "r/fold_1"
    shutil.copy(run_folder / "environment.json", first)
    trained.asked.clear()
    assert command(*seeds, "--resume") == 0 and not trained.asked
    mask = grouped / "TrainData/mask/mask_1.h5"
    mask.write_bytes(mask.read_bytes() + b"more")
    shutil.rmtree(tmp_path / ("r/seed_0/fold_0" if seeds else "r/fold_0"))
    capsys.readouterr()
    assert command(*seeds, "--resume") == 2 and not trained.asked
    error = capsys.readouterr().err
    assert f"{first}: was trained on" in error and error.count("\n") == 1


def test_what_cannot_be_meant_is_refused(trained, command, config_file, sample, tmp_path, capsys):
    assert command("--seeds", "2") == 0
    trained.asked.clear()

    def plain(*more):
        return main(["train", str(config_file), "--data", str(sample), "--out", str(tmp_path / "r"), *more])

    for said, call in {
        "holds runs of seeds that --seeds leaves out (1); name all": lambda: command("--seeds", "1", "--resume"),
        "is of another config or other folds": lambda: command("--seeds", "2", "--resume", folds="4"),
        "1 folds of 4 groups; expected 2 to 4": lambda: command("--seeds", "2", out="none", folds="1"),
        "there is nothing to go on with": lambda: command("--seeds", "2", "--resume", out="none"),
        "--seeds sets training.seed of each run": lambda: command("--seeds", "2", "training.seed=7", out="none"),
        "its runs of seed 0 have folds; give --folds too": lambda: plain("--seeds", "2", "--resume"),
    }.items():
        assert call() == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1
    (tmp_path / "s/seed_0").mkdir(parents=True)
    (tmp_path / "s/seed_0/config.yaml").write_text(config_file.read_text())
    assert command("--seeds", "2", "--resume", out="s") == 2
    assert "its runs of seed 0 have no folds; leave out --folds" in capsys.readouterr().err
    assert not trained.asked and not (tmp_path / "none").exists()
