"""``map --objects``: killed, interrupted, by workers; what it refuses before it begins."""

import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError
from tf_landslide.jobs.map import map_scene
from tf_landslide.jobs.map_options import MapOptions
from tf_landslide.objects.judging import not_fitted
from tf_landslide.objects.rules import Rules
from tf_landslide.objects.segmenters import felzenszwalb
from tf_landslide.objects.segmenting import Segmenting
from tf_landslide.predict.load import load_predictor
from tf_landslide.scenes.stack import open_scene
from tf_landslide.scenes.synthetic import write_scene

ROOT = Path(__file__).parents[2]
RASTERS = ("probability.tif", "mask.tif", "mask_pixels.tif")
CUT = ["--window", "128", "--overlap", "32", "--min-area", "0", "--objects", "landslide"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_scene(tmp_path_factory.mktemp("scene") / "s.tif", size=200, seed=4)


@pytest.fixture(scope="module")
def words(exported, files):
    """The command, but for its folder."""
    return ["map", str(exported), str(files.scene), "--dem", str(files.dem), *CUT, "--out"]


def rasters(out):
    return {name: (out / name).read_bytes() for name in RASTERS}


@pytest.fixture(scope="module")
def expected(words, tmp_path_factory):
    out = tmp_path_factory.mktemp("maps") / "whole"
    assert main([*words, str(out)]) == 0
    found = rasters(out)
    assert found["mask.tif"] != found["mask_pixels.tif"]
    return found


def hidden(out):
    return [path.name for path in out.iterdir() if path.name.startswith(".")]


def in_a_process(*command):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, *command], stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )


@pytest.mark.parametrize("stage", ["objects", "polygons"])
def test_an_interrupted_map_has_no_mask_but_the_refined_one(exported, files, words, expected, tmp_path, stage):
    predictor = load_predictor(exported)
    scene = open_scene([files.scene], [band.name for band in predictor.card.channel_recipe.bands], dem=files.dem)
    options = MapOptions(window=128, overlap=32, drop=8, rules=Rules.read("landslide"))

    def watch(now, done, total):
        if now == stage and (done == total or stage == "polygons"):
            raise KeyboardInterrupt

    out = tmp_path / "map"
    with pytest.raises(KeyboardInterrupt):
        map_scene(scene, predictor, out, options, watch=watch)
    assert not [name for name in hidden(out) if "partial" in name]
    mask = out / "mask.tif"
    assert mask.read_bytes() == expected["mask.tif"] if stage == "polygons" else not mask.exists()
    assert main([*words, str(out)]) == 0
    assert rasters(out) == expected and not hidden(out)


def test_rules_that_cannot_be_asked_are_refused_before_anything_is_predicted(exported, files, tmp_path):
    predictor = load_predictor(exported)
    scene = open_scene([files.scene], [band.name for band in predictor.card.channel_recipe.bands], dem=files.dem)
    rules = Rules.read("landslide")
    rules = replace(rules, segments=replace(rules.segments, layers=("swir1",)))
    with pytest.raises(LandslideError, match="segments need one of swir1"):
        map_scene(scene, predictor, tmp_path / "map", MapOptions(rules=rules))
    assert not (tmp_path / "map").exists()


def test_scikit_image_s_wonder_at_many_layers_reaches_nobody():
    """Not even where somebody has set warnings back since this was imported."""
    with warnings.catch_warnings(record=True) as told:
        warnings.resetwarnings()
        warnings.simplefilter("always")
        felzenszwalb(np.random.default_rng(0).random((20, 20, 5)).astype(np.float32), Segmenting())
    assert told == []


def test_rules_are_fitted_to_a_model_by_its_name_and_threshold(exported):
    card = load_predictor(exported).card
    fit = {"model": card.name, "threshold": card.threshold}
    assert not_fitted("r", fit, card) is None
    assert "were not fitted to this model or any" in not_fitted("r", {}, card)
    assert "but to other as it was" in not_fitted("r", fit | {"model": "other", "threshold": 0.123}, card)
    assert "as it was then" in not_fitted("r", fit | {"threshold": 0.123}, card)
    assert "a model called other; if that" in not_fitted("r", fit | {"model": "other"}, card)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ["mask_pixels.tif", "mask.tif"])
def test_a_map_that_is_killed_at_a_renaming_is_mended_by_the_next_run(words, expected, tmp_path, name, when):
    out = tmp_path / "map"
    process = in_a_process(str(Path(__file__).with_name("refining_killed.py")), name, when, *words, str(out))
    _, errors = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, errors
    there = {raster: (out / raster).exists() for raster in RASTERS}
    assert there["mask_pixels.tif"] == ((name, when) != ("mask_pixels.tif", "before"))
    assert there["mask.tif"] == ((name, when) == ("mask.tif", "after"))
    if there["mask.tif"]:  # never the network's
        assert (out / "mask.tif").read_bytes() == expected["mask.tif"]
    assert main([*words, str(out)]) == 0
    assert rasters(out) == expected and not hidden(out)


@pytest.mark.long
def test_ctrl_c_while_objects_are_found_is_one_line(exported, tmp_path):
    large = write_scene(tmp_path / "l.tif", size=600, seed=4)
    out = tmp_path / "map"
    process = in_a_process(
        *(
            "-m",
            "tf_landslide",
            "map",
            str(exported),
            str(large.scene),
            "--dem",
            str(large.dem),
            *CUT,
            "--out",
            str(out),
        )
    )
    until = time.monotonic() + 120
    while not list(out.glob(".objects*")):
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    told = [line for line in errors.splitlines() if not line.startswith(("mapping: ", "segmenting: "))]
    assert process.returncode == 130 and told == ["error: interrupted"], errors
    assert not (out / "mask.tif").exists() and not list(out.glob(".objects*"))


@pytest.mark.slow
def test_workers_give_the_refined_map_of_one_process(words, expected, tmp_path):
    pytest.importorskip("distributed", reason="needs the extra scale")
    process = in_a_process("-m", "tf_landslide", *words, str(tmp_path / "map"), "--workers", "2")
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert rasters(tmp_path / "map") == expected
    assert [line for line in errors.splitlines() if not line.startswith("mapping: ")] == []
