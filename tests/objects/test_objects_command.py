"""Rules from end to end: fitted, judged, and used on patches and a scene, as a user runs it."""

import json

import geopandas
import numpy as np
import pytest
import rasterio
import yaml
from PIL import Image

from tf_landslide.cli.main import main
from tf_landslide.objects.rules import Rules


@pytest.fixture(scope="module")
def fitted(run_folder, sample, tmp_path_factory):
    """Rules fitted by the command line."""
    out = tmp_path_factory.mktemp("rules") / "mine.yaml"
    assert main(["objects", "fit", str(run_folder), "--data", str(sample), "--out", str(out), "--folds", "3"]) == 0
    return out


def evaluated(capsys, run_folder, sample, out, *more):
    capsys.readouterr()
    words = ["evaluate", str(run_folder), "--data", str(sample), "--out", str(out), "--json", *more]
    assert main(words) == 0
    return json.loads(capsys.readouterr().out)


def test_a_fit_says_what_it_was_done_on(fitted, run_folder):
    rules = Rules.read(fitted)
    metrics = json.loads((run_folder / "metrics.json").read_text())
    assert rules.name == "mine" and rules.fit["split"] == "valid" and rules.fit["patches"] == 6
    assert rules.fit["f1_network"] == pytest.approx(metrics["valid"]["f1"], abs=1e-4)
    assert rules.fit["f1_fitted"] >= rules.fit["f1_network"] - 1e-4  # the network's own mask is among the choices
    assert rules.fit["held_out"]["folds"] == 3 and rules.fit["model"] == "tiny"
    assert all(condition.reason and condition.source for condition in rules.conditions)


def test_rules_are_not_written_over_a_run_s_config(run_folder, sample, capsys):
    config = run_folder / "config.yaml"
    before = config.read_bytes()
    assert main(["objects", "fit", str(run_folder), "--data", str(sample), "--out", str(config)]) == 2
    assert f"{config}: belongs to the run {run_folder}; name another file for the rules" in capsys.readouterr().err
    assert config.read_bytes() == before


def test_the_refined_map_is_judged_beside_the_network_s(fitted, run_folder, sample, tmp_path, capsys):
    plain = evaluated(capsys, run_folder, sample, tmp_path / "plain")
    both = evaluated(capsys, run_folder, sample, tmp_path / "both", "--objects", str(fitted))
    refined = both.pop("refined")
    assert both == plain  # what the network scores is what it scored
    for name in ("f1", "precision", "recall", "iou"):
        assert refined["difference"][name]["value"] == pytest.approx(refined[name] - both[name])
    level = refined["objects"]["at"]["0.3"]["f1"] - both["objects"]["at"]["0.3"]["f1"]
    assert refined["difference"]["objects"]["0.3"]["value"] == pytest.approx(level)
    assert refined["tp"] + refined["fn"] == both["tp"] + both["fn"] and refined["caveat"] is None
    report = (tmp_path / "both" / "report.md").read_text()
    assert "## Refined by objects" in report and "difference (paired)" in report and "very patches" not in report
    assert "Refined" not in (tmp_path / "plain" / "report.md").read_text()
    valid = ("--split", "valid", "--objects", str(fitted))
    assert "flatter" in evaluated(capsys, run_folder, sample, tmp_path / "valid", *valid)["refined"]["caveat"]


def test_patches_are_predicted_refined(fitted, run_folder, sample, tmp_path, capsys):
    capsys.readouterr()
    image = sorted((sample / "TestData" / "img").glob("*.h5"))[0]
    words = ["predict", str(run_folder), str(image), "--out", str(tmp_path), "--objects", str(fitted), "--json"]
    assert main(words) == 0
    (row,) = json.loads(capsys.readouterr().out)
    probability = np.load(row["probability"])
    network = np.asarray(Image.open(row["mask_pixels"])) == 255
    np.testing.assert_array_equal(network, probability >= np.float32(row["threshold"]))
    refined = np.asarray(Image.open(row["mask"])) == 255
    assert row["landslide_fraction"] == pytest.approx(refined.mean())


def test_a_map_is_refined(run_folder, tmp_path, capsys):
    """Mask, polygons, record and page come from the refined mask; the network's own is kept."""
    scene = tmp_path / "scene.tif"
    assert main(["synth", "--scene", str(scene), "--scene-size", "256"]) == 0
    capsys.readouterr()
    words = ["map", str(run_folder), str(scene), "--dem", str(tmp_path / "scene_dem.tif"), "--window", "128"]
    words += ["--overlap", "32", "--min-area", "0", "--json", "--out"]
    assert main([*words, str(tmp_path / "plain")]) == 0
    assert main([*words, str(tmp_path / "refined"), "--objects", "landslide"]) == 0
    out = tmp_path / "refined"
    summary = json.loads((out / "summary.json").read_text())
    with rasterio.open(tmp_path / "plain" / "mask.tif") as raster:
        network = raster.read(1)
    with rasterio.open(out / "mask_pixels.tif") as raster:
        np.testing.assert_array_equal(raster.read(1), network)
    with rasterio.open(out / "mask.tif") as raster:
        mask = raster.read(1)
        assert raster.tags()["refined_by"] == "landslide"
    np.testing.assert_array_equal(mask == 255, network == 255)
    assert summary["landslide_pixels"] == (mask == 1).sum()
    assert summary["objects"]["landslide_pixels_network"] == (network == 1).sum()
    assert "mask_pixels.tif" in summary["files"] and any("refined by objects" in w for w in summary["warnings"])
    assert len(set(summary["warnings"])) == len(summary["warnings"])
    assert "refined by objects" in (out / "map.html").read_text()
    polygons = geopandas.read_file(out / "landslides.gpkg")
    assert polygons.geometry.area.sum() == pytest.approx(100 * (mask == 1).sum())
    if len(polygons):
        assert polygons["rules_confidence"].between(0, 1).all()
        assert polygons["det_method"].str.contains("refined by rules landslide").all()
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    assert main([*words, str(out)]) == 0  # and without rules again
    assert not (out / "mask_pixels.tif").exists()


def test_a_forest_is_kept_beside_its_rules(run_folder, sample, tmp_path, capsys):
    out = tmp_path / "forest.yaml"
    words = ["objects", "fit", str(run_folder), "--data", str(sample), "--out", str(out), "--forest", "--folds", "2"]
    assert main(words) == 0
    assert yaml.safe_load(out.read_text())["forest"] == "forest.npz" and (tmp_path / "forest.npz").is_file()
    assert main(["objects", "show", str(out)]) == 0
    assert "a forest of" in capsys.readouterr().out


def test_mistakes_are_told_in_a_line(run_folder, sample, tmp_path, capsys):
    data = ["--data", str(sample)]
    for words, told in (
        (["evaluate", str(run_folder), *data, "--objects", "landslid"], "unknown rules 'landslid'"),
        (["predict", str(run_folder), *data, "--out", str(tmp_path), "--objects", "no.yaml"], "no.yaml: no such rules"),
        (["objects", "fit", str(run_folder), *data, "--out", str(tmp_path / "r.txt")], "NAME.yaml"),
        (["objects", "show", "nothing"], "unknown rules 'nothing'"),
    ):
        capsys.readouterr()
        assert main(words) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and told in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--out", "{folder}/r.yaml", "--seed", "-1"], "seed: expected a whole number from 0 to 4294967295, got -1"),
        (["--out", "{folder}/r.yaml", "--folds", "1"], "folds: expected two at least"),
        (["--out", "{folder}/file/r.yaml"], "file is a file; name a folder"),
        (["--out", "{folder}/made.yaml"], "made.yaml: expected a file to write rules to, NAME.yaml"),
    ],
    ids=["seed", "folds", "in a file", "a folder"],
)
def test_what_no_fit_can_be_is_told_before_anything_is_read(run_folder, tmp_path, capsys, more, told):
    (tmp_path / "file").touch()
    (tmp_path / "made.yaml").mkdir()
    words = [word.format(folder=tmp_path) for word in more]
    assert main(["objects", "fit", str(run_folder), "--data", "/nowhere", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and told in error and error.count("\n") == 1
