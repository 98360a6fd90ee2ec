"""The wheel works elsewhere than in the checkout, with the configs that come with it."""

import json
import os
import subprocess
import sys
import zipfile

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel's files, unpacked away from the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        needed = name.startswith(("tf_landslide/", "serving/", "configs/")) or "/" not in name
        if needed and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", str(folder), str(source)]
    subprocess.run(build, check=True)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def run(installed, cwd, *words):
    code = "import sys; from tf_landslide.cli.main import main; sys.exit(main())"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, "-c", code, *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_it_holds_what_is_needed_and_nothing_else(installed):
    tops = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert tops == {"tf_landslide", "serving"}
    for name in (
        *("py.typed", "models/catalogue.json", "runs/model_card.md.jinja"),
        *("evaluation/report.md.jinja", "evaluation/report.html.jinja", "evaluation/report.css"),
        *("scenes/viewer.html.jinja", "scenes/viewer.css", "scenes/viewer.js"),
        *("scenes/canvas.html.jinja", "scenes/canvas.css", "scenes/canvas.js"),
        *("page/review/review.html.jinja", "page/review/review.css", "page/review/review.js"),
        *("page/review/pictures.js", "page/review/drawing.js"),
        *("configs/base.yaml", "configs/unet_resnet34.yaml", "objects/rules/landslide.yaml"),
        *("objects/rules/change.yaml", "objects/rules/change_visible.yaml", "objects/rules/change_form.yaml"),
    ):
        assert (installed / "tf_landslide" / name).is_file(), name
    (entry_points,) = installed.glob("*.dist-info/entry_points.txt")
    assert "tf-landslide = tf_landslide.cli.main:main" in entry_points.read_text()


def test_commands_work_in_any_folder(installed, tmp_path):
    found = run(installed, tmp_path, "models", "--json")
    assert found.returncode == 0 and len(json.loads(found.stdout)["models"]) == 14
    assert run(installed, tmp_path, "page", "--help").returncode == 0
    assert run(installed, tmp_path, "synth", "sample", "--train", "2", "--valid", "1", "--test", "0").returncode == 0


def test_a_shipped_config_is_found_by_name(installed, tmp_path):
    found = run(installed, tmp_path, "train", "unet_resnet34", "--data", "nowhere", "--out", "run")
    assert found.returncode == 2 and found.stderr.strip().endswith("error: nowhere: no such folder")
    wrong = run(installed, tmp_path, "train", "unet_resnet43", "--data", "nowhere", "--out", "run")
    assert "no such file, and unknown shipped config 'unet_resnet43'; did you mean 'unet_resnet34'?" in wrong.stderr
