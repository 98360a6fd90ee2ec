"""``tf-landslide map --uncertainty``: how sure the model is, beside the probability, as ``predict`` would tell it."""

import json
import shutil

import numpy as np
import pytest
import rasterio

from tests.scenes.test_map import BANDS, GRID, command, scene  # noqa: F401  (a fixture)
from tests.test_combine import of_symmetries, spread
from tf_landslide.cli.main import main
from tf_landslide.predict.load import load_model, load_predictor
from tf_landslide.scenes.blocks import tiling
from tf_landslide.scenes.grid import Window
from tf_landslide.scenes.mapper import Mapping
from tf_landslide.scenes.stack import open_scene

ONE_WINDOW = ("--window", "288", "--overlap", "96")
SMALL_WINDOWS = ("--window", "64", "--overlap", "32")


@pytest.fixture(scope="module")
def averaged(run_folder, tmp_path_factory):
    """A run over four symmetries."""
    out = tmp_path_factory.mktemp("averaged") / "flips"
    assert main(["combine", str(run_folder), "--tta", "flips", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def out(averaged, scene, tmp_path_factory):  # noqa: F811
    """A map by it, of one window."""
    folder = tmp_path_factory.mktemp("maps") / "one"
    assert main(command(averaged, scene, folder, *ONE_WINDOW, "--uncertainty")) == 0
    return folder


def read(path):
    with rasterio.open(path) as raster:
        return raster.read()


def test_one_window_has_numpys_spread_of_the_answers(run_folder, averaged, scene, out):  # noqa: F811
    summary = json.loads((out / "summary.json").read_text())
    predictor = load_predictor(averaged)
    opened = open_scene([scene / "s.tif"], BANDS, dem=scene / "dem.tif")
    channels = Mapping(opened, predictor, tiling(GRID.shape, 288, 96, 24), 1).channels(Window(0, 0, 288, 288))[None]
    expected = spread(of_symmetries(load_model(run_folder, compile=False), channels, "flips"))
    probability, found = read(out / "probability.tif")[0], read(out / "uncertainty.tif")
    valid = np.isfinite(probability)
    assert 0.7 < valid.mean() < 0.9 and np.nanmax(found) > 1e-3
    for ours, numpys in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.isfinite(ours), valid)
        np.testing.assert_allclose(ours[valid], numpys[0, :224, :, 0][valid], atol=1e-5)
    told = predictor.uncertainty(channels)
    predicted = (told.probability, told.deviation, told.mutual_information)
    for ours, whole in zip((probability, *found), predicted, strict=True):
        np.testing.assert_allclose(ours[valid], whole[0, :224, :, 0][valid], atol=1e-6)
    assert summary["uncertainty"]["of"] == "the answers of tiny, each over symmetries (flips)"
    assert set(summary["files"]) == {path.name for path in out.iterdir()} - {"summary.json"}
    assert "uncertainty.tif" in summary["files"]


def test_the_file_says_what_it_holds_and_gdal_reads_it_as_cloud_optimised(out):
    with rasterio.open(out / "uncertainty.tif") as raster, rasterio.open(out / "probability.tif") as probability:
        assert raster.descriptions == ("deviation", "mutual_information") and raster.units == ("probability", "nat")
        assert raster.tags()["uncertainty_of"] == "the answers of tiny, each over symmetries (flips)"
        assert raster.tags()["model"] == "tiny" and raster.dtypes == ("float32", "float32") and np.isnan(raster.nodata)
        assert (raster.transform, raster.crs, raster.shape) == (
            probability.transform,
            probability.crs,
            probability.shape,
        )
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert "answers of tiny" in (out / "map.html").read_text()


def test_without_it_the_map_is_the_same_and_an_earlier_file_goes(averaged, scene, out, tmp_path):  # noqa: F811
    again = shutil.copytree(out, tmp_path / "map")
    assert main(command(averaged, scene, again, *ONE_WINDOW)) == 0
    np.testing.assert_array_equal(read(again / "mask.tif"), read(out / "mask.tif"))
    np.testing.assert_allclose(read(again / "probability.tif"), read(out / "probability.tif"), atol=1e-6)
    assert not (again / "uncertainty.tif").exists()
    assert "uncertainty" not in json.loads((again / "summary.json").read_text())


def test_a_model_that_cannot_say_is_refused_before_anything_is_predicted(run_folder, scene, tmp_path, capsys):  # noqa: F811
    assert main(command(run_folder, scene, tmp_path / "map", "--uncertainty")) == 2
    error = capsys.readouterr().err
    assert "cannot say how sure it is; combine runs" in error and error.count("\n") == 1
    assert not (tmp_path / "map").exists()


def test_an_export_says_how_sure_it_is_by_tensorflow_whatever_else_is_installed(averaged, scene, out, tmp_path, capsys):  # noqa: F811
    pytest.importorskip("openvino", reason="OpenVINO is optional: pip install openvino")
    model = tmp_path / "models" / "tiny"
    assert main(["export", str(averaged), "--to", str(model.parent)]) == 0
    assert load_predictor(model).runtime == "openvino"
    assert main(command(model, scene, tmp_path / "map", *ONE_WINDOW, "--uncertainty")) == 0
    assert json.loads((tmp_path / "map" / "summary.json").read_text())["runtime"] == "tensorflow"
    np.testing.assert_allclose(read(tmp_path / "map" / "uncertainty.tif"), read(out / "uncertainty.tif"), atol=1e-5)
    capsys.readouterr()
    assert main(command(model, scene, tmp_path / "no", "--uncertainty", "--precision", "int8")) == 2
    assert "leave out --precision int8" in capsys.readouterr().err and not (tmp_path / "no").exists()


def test_a_worker_loads_what_can_say_how_sure_it_is(exported):
    pytest.importorskip("openvino", reason="OpenVINO is optional: pip install openvino")
    cluster = pytest.importorskip("tf_landslide.scenes.cluster", reason="needs the extra scale")
    runtimes = [cluster._loaded(str(exported), None, unsure, "weights")[0].runtime for unsure in (False, True)]
    assert runtimes == ["openvino", "tensorflow"]


@pytest.mark.long
def test_workers_give_the_bytes_of_one_process(averaged, scene, tmp_path):  # noqa: F811
    pytest.importorskip("distributed", reason="needs the extra scale")
    for name, how in (("one", ()), ("two", ("--workers", "2"))):
        assert main(command(averaged, scene, tmp_path / name, *SMALL_WINDOWS, "--uncertainty", *how)) == 0
    for name in ("probability.tif", "mask.tif", "uncertainty.tif"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    shutil.rmtree(tmp_path)
