import json
import re
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT
from tf_landslide.cli.main import main

COMMANDS = [
    "synth",
    "download",
    "inspect",
    "train",
    "evaluate",
    "predict",
    "map",
    "export",
    "serve",
    "page",
    "models",
    "demo",
]


def python(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120)


def test_help_names_every_command_and_only_those(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    listed = re.findall(r"^    (\w+) ", capsys.readouterr().out, re.MULTILINE)
    assert listed == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0 and "usage: tf-landslide" in capsys.readouterr().out


def test_help_answers_at_once_and_imports_no_tensorflow():
    script = "import sys, tf_landslide.cli.main as c\ntry: c.main(['--help'])\nfinally: print(sorted(sys.modules))"
    times = []
    for _ in range(3):
        start = time.monotonic()
        done = python("-c", script)
        times.append(time.monotonic() - start)
    modules = done.stdout.splitlines()[-1]
    assert "'argparse'" in modules
    for heavy in ("tensorflow", "keras", "numpy", "h5py"):
        assert f"'{heavy}'" not in modules
    assert min(times) < 1


def test_models_are_listed_at_once_without_tensorflow():
    script = (
        "import sys, tf_landslide.cli.main as c; c.main(['models', '--json']);"
        "print(sorted(sys.modules), file=sys.stderr)"
    )
    times = []
    for _ in range(3):
        start = time.monotonic()
        done = python("-c", script)
        times.append(time.monotonic() - start)
    assert min(times) < 1 and "'tensorflow'" not in done.stderr and "'numpy'" not in done.stderr
    listed = json.loads(done.stdout)
    assert len(listed["models"]) == 14 and {"resnet34", "mit_b5"} <= {row["name"] for row in listed["encoders"]}
    assert "| unet_resnet34 | unet | resnet34 |" in python("-m", "tf_landslide", "models").stdout


def test_importing_the_package_does_nothing():
    done = python(
        "-c",
        "import os, sys; b = dict(os.environ); import tf_landslide; dir(tf_landslide); "
        "assert b == dict(os.environ); assert 'numpy' not in sys.modules; print(tf_landslide.__version__)",
    )
    assert done.returncode == 0 and done.stdout.strip() == "0.1.0" and not done.stderr


def test_python_m_is_the_same_program():
    done = python("-m", "tf_landslide", "--version")
    assert (done.returncode, done.stdout.strip()) == (0, "tf-landslide 0.1.0")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["foo"],
        ["train"],
        ["train", "c.yaml", "--data", "d"],
        ["train", "c.yaml", "--data", "d", "--out", "o", "--bogus"],
        ["synth", "d", "--train", "many"],
        ["inspect", "d", "key=value"],
    ],
    ids=" ".join,
)
def test_usage_mistakes_are_one_line_and_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.startswith("error: ") and error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "/nowhere"],
        ["train", "/nowhere.yaml", "--data", "/nowhere", "--out", "/nowhere/run"],
        ["evaluate", "/nowhere", "--data", "/nowhere"],
        ["predict", "/nowhere", "a.h5", "--out", "/nowhere/out"],
        ["export", "/nowhere", "--to", "/nowhere/models"],
        ["synth", "/proc/cannot/write"],
        ["download", "/nowhere/l4s", "--mirror", "example.com"],
        ["inspect", "/nowhere", "--patch", "train/1"],
        ["predict", "m", "--out", "o"],
        ["predict", "m", "a.h5", "--data", "d", "--out", "o"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_is_not_there_is_one_line_and_status_2(arguments, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and "Traceback" not in error


def test_the_current_folder_is_a_folder_like_any_other(sample, config_file, tmp_path, monkeypatch):
    for name in ("data", "run"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "data")
    assert main(["synth", ".", "--train", "1", "--valid", "0", "--test", "0"]) == 0
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["SYNTHETIC.txt", "TrainData"]
    monkeypatch.chdir(tmp_path / "run")
    assert main(["train", str(config_file), "--data", str(sample), "--out", ".", "training.epochs=1"]) == 0
    assert main(["evaluate", ".", "--data", str(sample), "--out", "report"]) == 0


def test_settings_may_stand_anywhere_on_the_line(sample, config_file, tmp_path, capsys):
    base = ["train", str(config_file)]
    files = ["--data", str(sample), "--out", str(tmp_path / "r")]
    for line in ([*base, "training.epochs=0", *files], [*base, *files, "training.epochs=0"]):
        assert main(line) == 2
        assert "training.epochs" in capsys.readouterr().err


def test_a_terminal_command_prints_no_start_up_noise(sample, run_folder, tmp_path):
    image = sample / "TestData/img/image_1.h5"
    done = python("-m", "tf_landslide", "predict", str(run_folder), str(image), "--out", str(tmp_path))
    assert done.returncode == 0 and done.stderr == ""
    assert "image_1.h5" in done.stdout and "results in" in done.stdout


def test_the_demo_runs_through(tmp_path, capsys, monkeypatch):
    from tf_landslide.jobs import demo

    small = {**demo.DEMO_CONFIG, "training": {"epochs": 1, "batch_size": 4}}
    small["model"] = {"architecture": "plain_unet", "encoder": None, "options": {"width": 4, "depth": 2}}
    monkeypatch.setattr(demo, "DEMO_CONFIG", small)
    monkeypatch.setattr(demo, "DEMO_PATCHES", {"train": 6, "valid": 5, "test": 5})
    out = tmp_path / "demo"
    for _ in range(2):  # a second demo replaces the first
        assert main(["demo", "--out", str(out), "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
    assert "U-Net" in result["scores"] and len(result["scores"]) == 4
    assert len(result["pictures"]) >= 6 and all((ROOT / path).exists() for path in result["pictures"])
    mine = tmp_path / "mine"
    (mine / "data").mkdir(parents=True)
    assert main(["demo", "--out", str(mine)]) == 2
    assert "holds something that no demo wrote" in capsys.readouterr().err and (mine / "data").exists()
