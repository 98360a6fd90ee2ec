"""``tf-landslide map`` as a user runs it: a scene and a terrain model in, rasters and polygons out."""

import json
import os
import shutil
import warnings

import geopandas
import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio import Affine

from tests.scenes.test_sampler import UTM, WGS84, terrain, write
from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError, LandslideWarning
from tf_landslide.jobs.map import map_scene
from tf_landslide.jobs.map_options import MapOptions
from tf_landslide.objects.rules import Rules
from tf_landslide.predict.export import save_model
from tf_landslide.predict.load import load_card, load_model, load_predictor
from tf_landslide.scenes.grid import Grid
from tf_landslide.scenes.parts import Parts
from tf_landslide.scenes.stack import open_scene

GRID = Grid(Affine(10, 0, 569000, 0, -10, 4737000), UTM, (224, 288))
BANDS = ("red", "green", "blue", "nir")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A stack with described bands, a swath's edge and a hole in one band; and a geographic terrain model."""
    folder = tmp_path_factory.mktemp("scene")
    rng = np.random.default_rng(0)
    values = rng.integers(300, 3000, (4, *GRID.shape)).astype(np.uint16)
    values[:, :, 250:] = 0
    values[1, 40:50, 60:80] = 0
    profile = {"driver": "GTiff", "count": 4, "dtype": "uint16", "height": 224, "width": 288}
    with rasterio.open(folder / "s.tif", "w", **profile, crs=UTM.to_wkt(), transform=GRID.transform) as file:
        file.write(values)
        for i, name in enumerate(BANDS, 1):
            file.set_band_description(i, name)
    dem = Grid(Affine(0.00027, 0, 141.8, 0, -0.00027, 42.83), WGS84, (324, 512))
    write(folder / "dem.tif", terrain(dem.shape), dem)
    return folder


def command(model, scene, out, *more):
    return ["map", str(model), str(scene / "s.tif"), "--dem", str(scene / "dem.tif"), "--out", str(out), *more]


def test_a_scene_becomes_a_map(run_folder, scene, tmp_path, capsys):
    out = tmp_path / "map"
    assert main(command(run_folder, scene, out, "--window", "96", "--overlap", "32", "--min-area", "0", "--json")) == 0
    summary = json.loads(capsys.readouterr().out)
    names = {"probability.tif", "mask.tif", "landslides.gpkg", "landslides.geojson", "summary.json"}
    names |= {"overview.png", "map.html"}
    assert {path.name for path in out.iterdir()} == names and json.loads((out / "summary.json").read_text()) == summary
    with rasterio.open(out / "probability.tif") as raster:
        probability = raster.read(1)
    assert probability.shape == GRID.shape and np.isnan(probability[:, 250:]).all()
    assert np.isnan(probability[40:50, 60:80]).all() and np.isfinite(probability[60:, :250]).all()
    marked = probability >= np.float32(summary["threshold"])
    polygons = geopandas.read_file(out / "landslides.gpkg")
    assert len(polygons) == summary["landslides"]
    assert polygons.geometry.area.sum() == pytest.approx(100 * marked.sum())
    assert summary["area_ha"] == pytest.approx(marked.sum() / 100, rel=2e-3)
    assert summary["valid_share"] == pytest.approx(np.isfinite(probability).mean(), abs=1e-6)
    assert summary["landslide_pixels"] == marked.sum()
    if len(polygons):
        assert polygons["ndvi_mean"].between(-1, 1).all() and polygons["slope_max"].between(0, 90).all()


@pytest.mark.slow
def test_the_record_says_what_it_was_made_of(run_folder, scene, tmp_path, monkeypatch):
    """Files as they were named."""
    monkeypatch.chdir(scene)
    words = ["map", str(run_folder), "s.tif", "--dem", "dem.tif", "--window", "96", "--overlap", "32"]
    words += ["--event-from", "2018-09-06", "--smooth", "--fill-holes", "300", "--threshold", "0.4"]
    assert main([*words, "--out", str(tmp_path / "a")]) == 0
    first = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert {row["band"]: row["files"] for row in first["inputs"]} == {
        **{name: ["s.tif"] for name in BANDS},
        "dem": ["dem.tif"],
    }
    assert first["inputs"][1]["index"] == 2 and first["inputs"][1]["bytes"] == [(scene / "s.tif").stat().st_size]
    assert first["model_path"] == str(run_folder) and first["synthetic"] and len(first["weights_sha256"]) == 64
    assert first["threshold"] == 0.4 and first["threshold_from"] == "the caller"
    assert first["tiles"] == {"window": 96, "overlap": 32, "drop": 8}
    assert first["polygons"] == {"minimum_area_m2": 500.0, "fill_holes_m2": 300.0, "smooth": True, "schema": "plain"}
    assert first["versions"]["rasterio"] == rasterio.__version__ and "SYNTHETIC" in first["warnings"][0]
    assert set(first["seconds"]) == {"rasters", "polygons", "pictures"}
    page = (tmp_path / "a" / "map.html").read_text()
    assert "0.400, by the caller" in page and "tiny (plain_unet)" in page and "SYNTHETIC" in page
    with Image.open(tmp_path / "a" / "overview.png") as image:
        assert image.width > 500


def test_what_was_warned_of_on_opening_stands_in_the_record(run_folder, scene, tmp_path, capsys, monkeypatch):
    def warning(*files, **options):
        warnings.warn("these bands look odd", LandslideWarning, stacklevel=2)
        return open_scene(*files, **options)

    monkeypatch.setattr("tf_landslide.scenes.inputs.open_scene", warning)
    out = tmp_path / "map"
    assert main(command(run_folder, scene, out, "--window", "288", "--overlap", "96")) == 0
    assert json.loads((out / "summary.json").read_text())["warnings"][0] == "these bands look odd"
    assert "warning: these bands look odd\n" in capsys.readouterr().err


def test_polygons_by_the_names_of_others(run_folder, scene, tmp_path):
    out = tmp_path / "map"
    more = ("--schema", "ems", "--threshold", "0.3", "--window", "96", "--overlap", "32")
    assert main(command(run_folder, scene, out, *more)) == 0
    read = geopandas.read_file(out / "landslides.geojson")
    assert len(read) and {"event_type", "obj_desc", "det_method", "notation", "dmg_src_id", "area"} < set(read.columns)
    assert json.loads((out / "summary.json").read_text())["source_id"] == read["dmg_src_id"].iloc[0]


def contents(out):
    return {path.name: path.read_bytes() for path in out.iterdir() if not path.name.startswith(".")}


@pytest.fixture
def mapping(run_folder, scene, tmp_path):
    """Maps into one folder, however often; with what it makes of the whole scene at first."""
    predictor, out = load_predictor(run_folder), tmp_path / "map"
    opened = open_scene([scene / "s.tif"], BANDS, dem=scene / "dem.tif")

    def run(threshold, watch=lambda *_: None, rules=None):
        options = MapOptions(threshold=threshold, window=288, overlap=96, drop=24, minimum_area=0.0, rules=rules)
        map_scene(opened, predictor, out, options, watch=watch)
        return contents(out)

    return out, run


@pytest.mark.parametrize(
    ("rules", "stage"),
    [(None, "polygons"), ("landslide", "objects"), pytest.param(None, "pictures", marks=pytest.mark.slow)],
)
def test_a_second_map_that_is_stopped_leaves_nothing_that_tells_of_the_first(mapping, rules, stage):
    out, run = mapping

    def stopped(now, *_):
        if now == stage:
            raise KeyboardInterrupt

    rules = rules and Rules.read(rules)
    first = run(0.2, rules=None if stage == "objects" else rules)
    with pytest.raises(KeyboardInterrupt):
        run(0.8, stopped, rules)
    left = contents(out)
    assert all(first.get(name) != found for name, found in left.items() if name != "probability.tif")
    vectors = {"landslides.gpkg", "landslides.geojson"} if stage == "pictures" else set()
    assert left.keys() == vectors | {"probability.tif", "mask_pixels.tif" if rules else "mask.tif"}
    run(0.8, rules=rules)
    assert json.loads((out / "summary.json").read_text())["threshold"] == 0.8


@pytest.mark.parametrize("at", ["probability.tif", "mask.tif"])
def test_a_second_map_that_is_stopped_before_its_rasters_are_whole_leaves_the_first(mapping, monkeypatch, at):
    out, run = mapping
    first, copy = run(0.2), rasterio.shutil.copy

    def stopped(source, target, **options):
        if target.name == at:
            raise KeyboardInterrupt
        copy(source, target, **options)

    monkeypatch.setattr("rasterio.shutil.copy", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(0.8)
    assert contents(out) == first


def test_a_file_that_changes_after_its_last_block_was_read_leaves_no_map(run_folder, scene, tmp_path, monkeypatch):
    """As workers' copies do; what this process reads is told at once."""
    path = shutil.copy(scene / "s.tif", tmp_path / "s.tif")
    predictor = load_predictor(run_folder)
    opened = open_scene([path], BANDS, dem=scene / "dem.tif")

    keep = Parts.keep

    def kept(self, block, content):
        keep(self, block, content)
        os.utime(path, ns=(1, 1))

    monkeypatch.setattr(Parts, "keep", kept)
    with pytest.raises(LandslideError, match=r"s\.tif: has changed since it was opened"):
        map_scene(opened, predictor, tmp_path / "map", MapOptions(window=288, overlap=96))
    assert not contents(tmp_path / "map")


def test_the_map_is_the_models_own_answer(run_folder, scene, tmp_path):
    """One window over all of it, against a direct call on channels made by hand."""
    out = tmp_path / "map"
    assert main(command(run_folder, scene, out, "--window", "288", "--overlap", "96")) == 0
    with rasterio.open(out / "probability.tif") as raster:
        found = raster.read(1)
    predictor = load_predictor(run_folder)
    from tf_landslide.scenes.grid import Window
    from tf_landslide.scenes.stack import open_scene

    opened = open_scene([scene / "s.tif"], BANDS, dem=scene / "dem.tif")
    with rasterio.open(scene / "s.tif") as raster:
        stored = raster.read().astype(np.float32)
    stored[:, (stored == 0).any(0)] = np.nan
    red, green, blue, nir = np.pad(stored * 1e-4, [(0, 0), (0, 64), (0, 0)], constant_values=np.nan)
    terrain_of = [opened.read(name, Window(0, 0, 288, 288)) for name in ("slope", "dem")]
    channels = np.stack([red, green, blue, (nir - red) / (nir + red), *terrain_of], -1)
    channels[np.isnan(red)] = np.nan
    expected = predictor(channels[None])[0, :224, :, 0]
    valid = np.isfinite(found)
    np.testing.assert_allclose(found[valid], expected[valid], atol=1e-5)


@pytest.mark.slow
def test_a_stopped_map_takes_no_parts_of_a_model_that_was_trained_anew(run_folder, scene, tmp_path, monkeypatch):
    """Whose card is the same to the letter; from a run and from an export."""
    from tf_landslide.scenes.stack import open_scene

    run = shutil.copytree(run_folder, tmp_path / "run")
    card = load_card(run)
    opened = open_scene([scene / "s.tif"], BANDS, dem=scene / "dem.tif")

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("tf_landslide.jobs.map.publish", stopped)
    for turn in range(2):
        model = load_model(run, compile=False)
        if turn:
            model.set_weights([weights + 0.25 for weights in model.get_weights()])
            model.save(run / "model.keras")
        save_model(model, card, tmp_path / "export" / str(turn + 1))
        for where in (run, tmp_path / "export" / str(turn + 1)):
            with pytest.raises(KeyboardInterrupt):
                map_scene(opened, load_predictor(where), tmp_path / f"of {where.parent.name}", MapOptions(window=288))
    for out in tmp_path.glob("of *"):
        one, other = out.glob(".parts-*/0_0.npy")
        assert not np.array_equal(np.load(one), np.load(other), equal_nan=True)
    assert len(list(tmp_path.glob("of *"))) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda words: words[:3] + words[5:], "unknown band of the scene 'slope'"),
        (lambda words: [*words, "--bands", "red=1,green=2"], "unknown band of the scene 'blue'"),
        (lambda words: [*words, "--bands", "red=9,green=2,blue=3,nir=4"], "has 4 bands, no band 9"),
        (lambda words: [*words, "--window", "100"], "multiple of 32"),
        (lambda words: [*words, "--threshold", "7"], "threshold must lie in 0..1"),
        (lambda words: [*words, "--schema", "emms"], "unknown schema 'emms'"),
    ],
)
def test_what_cannot_be_mapped_is_one_line_and_nothing_is_written(run_folder, scene, tmp_path, capsys, change, said):
    assert main(change(command(run_folder, scene, tmp_path / "map"))) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and not (tmp_path / "map").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--overlap", "-5"], "the overlap must be 1 to 256 pixels, half the window, got -5"),
        (["--overlap", "500"], "the overlap must be 1 to 256 pixels"),
        (["--window", "1000000000"], "up to 8,192, got 1,000,000,000"),
        (["--scale", "nan"], "argument --scale: expected a number, got 'nan'"),
        (["--scale", "inf"], "argument --scale: expected a number, got 'inf'"),
        (["--scale", "0"], "argument --scale: expected a number greater than 0"),
        (["--offset", "-inf"], "argument --offset"),
        (["--nodata", "inf"], "argument --nodata: expected a number or none, got 'inf'"),
        (["--min-area", "nan"], "argument --min-area: expected a number, got 'nan'"),
        (["--fill-holes", "-1"], "argument --fill-holes: expected a number from 0 on"),
        (["--event-from", "last week"], "argument --event-from: expected a day like 2018-09-06"),
        (["--event-from", "2018-09-07", "--event-to", "2018-09-06"], "comes after --event-to 2018-09-06"),
        (["--scheduler", ""], "argument --scheduler: expected the address of a scheduler"),
        (["--bands", "red=1,Red=2"], "band 'red' is given twice"),
        (["--bands", "red=0"], "expected bands as NAME=N"),
        (["red="], "red=: expected NAME=FILE"),
    ],
)
def test_numbers_that_are_none_are_one_line(run_folder, scene, tmp_path, capsys, words, said):
    try:
        status = main([*command(run_folder, scene, tmp_path / "map"), *words])
    except SystemExit as left:  # of argparse
        status = left.code
    error = capsys.readouterr().err
    assert status == 2 and said in error and error.count("\n") == 1 and not (tmp_path / "map").exists()


def test_nan_as_no_data_leaves_zero_a_value(tmp_path):
    """Missing is NaN anyway: ``--nodata nan`` says that 0 is not."""
    from tf_landslide.cli.main import parse
    from tf_landslide.cli.scene_inputs import inputs_of
    from tf_landslide.scenes.inputs import open_inputs

    path = write(
        tmp_path / "B04.tif", np.tile(np.array([0, 7, 900], np.uint16), (3, 1)), Grid(GRID.transform, UTM, (3, 3))
    )
    for words, missing in (([], 0), (["--nodata", "nan"], None), (["--nodata", "none"], None), (["--nodata", "7"], 7)):
        a = parse(["map", "m", str(path), "--out", "o", *words])
        scene = open_inputs(inputs_of(a, a.scene), None)
        expected = [np.nan if value == missing else value * 1e-4 for value in (0, 7, 900)]
        np.testing.assert_allclose(scene.read("red", scene.grid.window)[0], expected, rtol=1e-6)


def test_an_event_after_the_image_is_refused_before_anything_is_predicted(run_folder, scene, tmp_path, capsys):
    """The image's date is the last day where nobody says another."""
    bands = "".join(f"  - {{name: {name}, file: s.tif, index: {i}}}\n" for i, name in enumerate(BANDS, 1))
    manifest, out = tmp_path / "m.yaml", tmp_path / "map"
    for name in ("s.tif", "dem.tif"):
        shutil.copy(scene / name, tmp_path)
    manifest.write_text(f"date: 2018-09-19\nevent_from: 2018-09-06\ndem: dem.tif\nbands:\n{bands}")
    words = ["map", str(run_folder), str(manifest), "--out", str(out)]
    for more, first, last in (
        (["--event-from", "2018-09-20"], "2018-09-20", "2018-09-19"),
        (["--event-to", "2018-09-05"], "2018-09-06", "2018-09-05"),
    ):
        assert main([*words, *more]) == 2
        error = capsys.readouterr().err
        assert f"first day, {first}, comes after its last, {last}" in error and error.count("\n") == 1
        assert not out.exists()


def test_a_name_that_is_a_script_is_text_on_the_map(run_folder, scene, tmp_path):
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    bands = "".join(f"  - {{name: {name}, file: s.tif, index: {i}}}\n" for i, name in enumerate(BANDS, 1))
    manifest = tmp_path / "m.yaml"
    for name in ("s.tif", "dem.tif"):
        shutil.copy(scene / name, tmp_path)
    manifest.write_text(f"id: {json.dumps(evil)}\ndem: dem.tif\nbands:\n{bands}")
    out = tmp_path / "map"
    words = ["map", str(run_folder), str(manifest), "--out", str(out), "--window", "96", "--overlap", "32"]
    assert main(words) == 0
    page = (out / "map.html").read_text()
    assert "<script>alert" not in page and "<img src=x" not in page and "alert(1)" in page
    assert json.loads((out / "summary.json").read_text())["scene"]["ids"] == [evil]


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (700, 1)])
def test_a_scene_of_few_pixels_becomes_a_map(run_folder, scene, tmp_path, shape):
    values = np.full((4, *shape), 900, np.uint16)
    profile = {"driver": "GTiff", "count": 4, "dtype": "uint16", "height": shape[0], "width": shape[1]}
    with rasterio.open(tmp_path / "s.tif", "w", **profile, crs=UTM.to_wkt(), transform=GRID.transform) as file:
        file.write(values)
        file.descriptions = BANDS
    shutil.copy(scene / "dem.tif", tmp_path)
    out = tmp_path / "map"
    assert main(command(run_folder, tmp_path, out, "--window", "64", "--overlap", "16", "--min-area", "0")) == 0
    with rasterio.open(out / "mask.tif") as raster:
        assert raster.shape == shape and (raster.read(1) != 255).any()
