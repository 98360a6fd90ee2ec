import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tf_landslide.cli.main import build_parser, main, parse

COMMANDS = [
    "synth",
    "download",
    "inspect",
    "patches",
    "find-rate",
    "train",
    "evaluate",
    "compare",
    "convert",
    "combine",
    "adapt",
    "prove",
    "objects",
    "predict",
    "pseudo-label",
    "map",
    "annotate",
    "review",
    "search",
    "export",
    "serve",
    "page",
    "models",
    "demo",
]


def python(*arguments, timeout=120):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=timeout)


def test_help_names_every_command_and_only_those(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    listed = re.findall(r"^    ([\w-]+) ", capsys.readouterr().out, re.MULTILINE)
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
    assert min(times) < 0.5 and "'shtab'" not in modules


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
    assert len(listed["models"]) == 14 and {"resnet34", "smp_resnet34", "mit_b5"} <= {
        row["name"] for row in listed["encoders"]
    }
    assert "| unet_resnet34 | smp_unet | smp_resnet34 |" in python("-m", "tf_landslide", "models").stdout


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
        ["patches", "s.tif", "p.gpkg", "--out", "o", "--date", "yesterday"],
        ["patches", "s.tif", "p.gpkg", "--out", "o", "--negatives", "nan"],
        ["page", "--models", "m", "--max-loaded", "0"],
        ["page", "--models", "m", "--max-loaded", "-1"],
    ],
    ids=" ".join,
)
def test_usage_mistakes_are_one_line_and_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.startswith("error: ") and error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["annotate", "a.tif", "b.tif", "--out", "o", "--shift", "-0.4,.7"], "shift", (-0.4, 0.7)),
        (["synth", "--scene", "s.tif", "--before", "--before-shift", "-.4,-0.7"], "before_shift", (-0.4, -0.7)),
        (
            ["search", "-73.1,-37,-72.9,-36.5", "2018-01-01/2018-01-02", "--out", "o"],
            "bbox",
            (-73.1, -37, -72.9, -36.5),
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_values_may_begin_with_a_minus(arguments, name, value):
    assert tuple(vars(build_parser().parse_args(arguments))[name]) == value


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "/nowhere"],
        ["train", "/nowhere.yaml", "--data", "/nowhere", "--out", "/nowhere/run"],
        ["evaluate", "/nowhere", "--data", "/nowhere"],
        ["pseudo-label", "/nowhere", "--data", "/nowhere", "--out", "/nowhere/out"],
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["predict", "run", "a.h5", "--out", "o", "--split", "valid"], "--split is of a dataset, --data DIR"),
        (["synth", "d", "--before", "--scene-size", "64"], "--scene-size, --before: for a scene, --scene FILE.tif"),
        (["synth", "d", "--scene-crs", "utm"], "--scene-crs: for a scene, --scene FILE.tif"),
        (["synth", "--scene", "s.tif", "--before-shift", "1,1"], "--before-shift: for the scene before, --before"),
        (["synth", "--scene", "s.tif", "--train", "5", "--test", "0"], "--train, --test: for patches, DIR"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_an_option_without_what_it_is_for_is_refused_not_ignored(words, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2 and capsys.readouterr().err.startswith(f"error: {told}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_the_current_folder_is_a_folder_like_any_other(sample, config_file, tmp_path, monkeypatch):
    for name in ("data", "run"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "data")
    assert main(["synth", ".", "--train", "1", "--valid", "0", "--test", "0"]) == 0
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["SYNTHETIC.txt", "TrainData"]
    monkeypatch.chdir(tmp_path / "run")
    assert main(["train", str(config_file), "--data", str(sample), "--out", ".", "training.epochs=1"]) == 0
    assert main(["evaluate", ".", "--data", str(sample), "--out", "of_test"]) == 0


def test_settings_may_stand_anywhere_on_the_line(sample, config_file, tmp_path, capsys):
    base = ["train", str(config_file)]
    files = ["--data", str(sample), "--out", str(tmp_path / "r")]
    for line in ([*base, "training.epochs=0", *files], [*base, *files, "training.epochs=0"]):
        assert main(line) == 2
        assert "training.epochs" in capsys.readouterr().err


@pytest.mark.slow
def test_a_terminal_command_prints_no_start_up_noise(sample, run_folder, tmp_path):
    image = sample / "TestData/img/image_1.h5"
    done = python("-m", "tf_landslide", "predict", str(run_folder), str(image), "--out", str(tmp_path))
    assert done.returncode == 0 and done.stderr == ""
    assert "image_1.h5" in done.stdout and "results in" in done.stdout


@pytest.mark.long
def test_no_command_lets_through_what_tensorflow_logs(sample, config_file, tmp_path):
    """One process for all: what TensorFlow and Keras write goes to the descriptor, beside ``sys.stderr``."""
    code = """
import sys
from tf_landslide.cli.main import main
sample, config, out = sys.argv[1:]
patch = f"{sample}/TestData/img/image_1.h5"
for words in (
    ["train", config, "--data", sample, "--out", f"{out}/run", "training.epochs=1"],
    ["evaluate", f"{out}/run", "--data", sample],
    ["export", f"{out}/run", "--to", f"{out}/models"],
    ["predict", f"{out}/run", patch, "--out", f"{out}/1"],
    ["predict", f"{out}/models/tiny", patch, "--out", f"{out}/2", "--runtime", "tensorflow"],
    ["inspect", sample],
):
    status = main(words)
    assert status == 0, words
"""
    done = python("-c", code, str(sample), str(config_file), str(tmp_path), timeout=500)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if not line.endswith(" left")]  # progress, on a slow machine
    assert [line.split(":")[0] for line in said] == ["epoch 1/1"]


@pytest.mark.long
def test_many_models_in_one_process_let_through_nothing_either(exported, run_folder):
    """TensorFlow's C++ logs errors of kernels that a CPU lacks, its Python warns of graphs that are traced often."""
    code = """
import os, sys
import numpy as np
import tf_landslide as tl
for model in sys.argv[1:]:
    for _ in range(7):
        tl.load_predictor(model, runtime="auto" if "runs" in model else "tensorflow")(np.zeros((1, 32, 32, 6)))
print(os.environ["TF_CPP_MIN_LOG_LEVEL"])
"""
    words = [sys.executable, "-c", code, str(run_folder), str(exported)]
    env = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=500, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3\n", "")


@pytest.mark.slow
def test_paths_are_printed_as_they_were_given(sample, config_file, tmp_path, capsys, monkeypatch):
    (tmp_path / "sample").symlink_to(sample)
    monkeypatch.chdir(tmp_path)
    patch = "sample/TestData/img/image_1.h5"
    for words in (
        ["train", str(config_file), "--data", "sample", "--out", "runs/a", "training.epochs=1"],
        ["evaluate", "runs/a", "--data", "sample"],
        ["export", "runs/a", "--to", "models"],
        ["predict", "models/tiny", patch, "--out", "maps", "--json"],
        ["inspect", "sample", "--figure", "bands"],
        ["synth", "s", "--train", "1", "--valid", "0", "--test", "0"],
    ):
        assert main(words) == 0
        said = capsys.readouterr()
        assert str(tmp_path) not in said.out + said.err, words
    assert main(["train", str(config_file), "--data", "sample", "--out", "runs/a"]) == 2
    assert capsys.readouterr().err.startswith("error: runs/a: already exists")
    (tmp_path / "out").write_text("")
    assert main(["predict", "models/tiny", patch, "--out", "out/maps"]) == 2
    assert str(tmp_path) not in capsys.readouterr().err


@pytest.mark.slow
def test_a_warning_is_one_line(exported, sample, tmp_path):
    version = shutil.copytree(exported, tmp_path / "1")
    shutil.rmtree(version / "variables")
    words = ["predict", str(version), str(sample / "TestData/img/image_1.h5"), "--out", str(tmp_path / "out")]
    done = python("-m", "tf_landslide", *words)
    warning, error = done.stderr.splitlines()
    assert done.returncode == 2 and error.startswith(f"error: {version}: cannot be loaded as a SavedModel")
    assert warning.startswith(f"warning: {version}: TensorFlow runs it, since OpenVINO cannot: ")
    assert "Exception from" not in warning


def test_an_output_that_is_full_is_named():
    with open("/dev/full", "w") as full:  # noqa: PTH123 a device
        done = subprocess.run(
            [sys.executable, "-m", "tf_landslide", "models"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (2, "error: standard output: No space left on device\n")


def test_the_help_of_serve_says_its_own_defaults(capsys):
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "port of the REST API and the metrics; 0 for none, -1 for any (default 8501)" in text
    given = parse(["serve", "models"])
    assert given.rest_api_port == 8501 and given.port == 8500 and "(default 8500)" in text


def test_a_shell_completes_commands_options_and_paths(tmp_path):
    done = python("-m", "tf_landslide", "--print-completion", "bash")
    assert done.returncode == 0
    (tmp_path / "completion").write_text(done.stdout)
    (tmp_path / "runs").mkdir()
    (tmp_path / "read.me").touch()
    script = """
source ./completion
try() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    _shtab_tf_landslide x "${@: -1}"; echo "${COMPREPLY[@]}"
}
try tf-landslide ex
try tf-landslide predict --ru
try tf-landslide evaluate r
try tf-landslide train r
complete -p tf-landslide
"""
    said = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    *completed, bound = said.splitlines()
    assert completed[:3] == ["export", "--runtime", "runs"] and sorted(completed[3].split()) == ["read.me", "runs"]
    assert "tf-landslide" in bound
    assert python("-m", "tf_landslide", "--print-completion", "zsh").stdout.startswith("#compdef tf-landslide")
    unknown = python("-m", "tf_landslide", "--print-completion", "fish")
    assert unknown.returncode == 2 and unknown.stderr.count("\n") == 1


@pytest.mark.slow
def test_the_demo_runs_through(tmp_path, capsys, monkeypatch):
    from tf_landslide.jobs import demo

    small = {**demo.DEMO_CONFIG, "training": {"epochs": 1, "batch_size": 4}}
    small["model"] = {"architecture": "plain_unet", "encoder": None, "options": {"width": 4, "depth": 2}}
    monkeypatch.setattr(demo, "DEMO_CONFIG", small)
    monkeypatch.setattr(demo, "DEMO_PATCHES", {"train": 6, "valid": 5, "test": 5})
    monkeypatch.setattr(demo, "DEMO_SCENE", {"size": 128, "seed": 1})
    out = tmp_path / "demo"
    for _ in range(2):  # a second demo replaces the first
        assert main(["demo", "--out", str(out), "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
    assert "U-Net" in result["scores"] and len(result["scores"]) == 4
    assert len(result["pictures"]) >= 6 and all((ROOT / path).exists() for path in result["pictures"])
    mapped = result["map"]
    assert Path(mapped["page"]).is_file() and mapped["synthetic"] and 0 <= mapped["scores"]["f1"] <= 1
    mine = tmp_path / "mine"
    (mine / "data").mkdir(parents=True)
    assert main(["demo", "--out", str(mine)]) == 2
    assert "holds something that no demo wrote" in capsys.readouterr().err and (mine / "data").exists()
