"""Bands of one's own, by a YAML file, a mapping or an object: from inspection to a served model; and RGB alone."""

import json
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml
from PIL import Image

from tf_landslide.bands.features import Features
from tf_landslide.bands.layouts import BIJIE, LAYOUTS, Band, BandLayout, get_layout, stated
from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError
from tf_landslide.data.pipeline import load_dataset
from tf_landslide.page import views
from tf_landslide.page.analysis import analyse
from tf_landslide.page.library import Library, find_models
from tf_landslide.page.uploads import read_uploads
from tf_landslide.predict.load import load_card, load_predictor
from tf_landslide.runs.config import load_config
from tf_landslide.runs.folder import Run

OWN = """
name: planet4
title: four bands of my own
pixel_size: 3
reference: my own
bands:
  - {name: blue, scale: 5e-1, nodata: 0, range: [0, 1.6]}
  - {name: green, scale: 1e-1, offset: -0.1}
  - red
  - {name: nir, unit: radiance, scale: 2}
"""
CONFIG = """
name: own
data: {layout: LAYOUT, channels: [red, ndvi, green]}
model: {architecture: plain_unet, encoder: null, options: {width: 4, depth: 2}}
training: {epochs: 1, batch_size: 4}
"""


def write_dataset(folder: Path, bands: int, dtype=np.float32, top: float = 1.0) -> Path:
    rng = np.random.default_rng(0)
    for split, n in (("TrainData", 4), ("ValidData", 2), ("TestData", 2)):
        for number in range(1, n + 1):
            for kind, key in (("image", "img"), ("mask", "mask")):
                path = folder / split / key / f"{kind}_{number}.h5"
                path.parent.mkdir(parents=True, exist_ok=True)
                shape = (64, 64, bands) if key == "img" else (64, 64)
                values = rng.uniform(0, top, shape) if key == "img" else rng.random(shape) < 0.2
                with h5py.File(path, "w") as file:
                    file[key] = values.astype(dtype if key == "img" else np.uint8)
    return folder


def expected(stored):
    """Red, NDVI and green of OWN, by NumPy."""
    x = stored.astype(np.float64)
    red, nir, green = x[..., 2], 2 * x[..., 3], 0.1 * x[..., 1] - 0.1
    return np.stack([red, (nir - red) / (nir + red), green], axis=-1)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A dataset, a layout's file, and a run and an export of a model on it, by the command line."""
    folder = tmp_path_factory.mktemp("own")
    write_dataset(folder / "data", 4)
    (folder / "configs").mkdir()
    (folder / "configs/bands.yaml").write_text(OWN)
    (folder / "configs/own.yaml").write_text(CONFIG.replace("LAYOUT", "bands.yaml"))  # relative to the config
    words = ["train", str(folder / "configs/own.yaml"), "--data", str(folder / "data"), "--out", str(folder / "run")]
    assert main(words) == 0
    assert main(["export", str(folder / "run"), "--to", str(folder / "models")]) == 0
    return folder


def test_a_layout_and_its_mapping_are_one():
    for layout in (*LAYOUTS.values(), get_layout(yaml.safe_load(OWN))):
        assert BandLayout.from_dict(json.loads(json.dumps(layout.as_dict()))) == layout
        assert get_layout(yaml.safe_load(yaml.safe_dump(stated(layout)))) == layout
    layout = get_layout(yaml.safe_load(OWN))
    assert layout.bands == (
        Band("blue", 0.5, nodata=0.0, range=(0.0, 1.6)),
        Band("green", 0.1, -0.1),
        Band("red"),
        Band("nir", 2.0, unit="radiance"),
    )
    assert stated(BIJIE) == "bijie" and stated(layout)["name"] == "planet4"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bands": []}, "expected a list of bands"),
        ({"bands": ["red", "red"]}, "band 'red' is listed twice"),
        ({"bands": [{"name": "red", "scal": 1}]}, "band 0 'scal'; did you mean 'scale'"),
        ({"bands": [{"name": "red", "scale": 0}]}, "band 0: scale: must not be 0"),
        ({"bands": [{"name": "red", "scale": True}]}, "band 0: scale: expected a number, found True"),
        ({"bands": [{"name": "red", "offset": float("nan")}]}, "offset: expected a number"),
        ({"bands": [{"name": "red", "nodata": 10**400}]}, "nodata: expected a number"),
        ({"bands": [{"name": "red", "range": [1, 0]}]}, r"range: expected \[low, high\]"),
        ({"bands": [3]}, "band 0: expected a name"),
        ({"name": "a b"}, "name: expected letters"),
        ({"pixel_size": -1}, "pixel_size: expected metres above 0"),
        ({"title": 3}, "title: expected text"),
        ({"tile": "x"}, "did you mean 'title'"),
    ],
)
def test_what_describes_no_layout_is_refused_in_one_line(change, said, tmp_path):
    values = yaml.safe_load(OWN) | change
    with pytest.raises(LandslideError, match=said) as error:
        get_layout(values)
    assert "\n" not in str(error.value)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"data": {"layout": values}}))
    with pytest.raises(LandslideError, match=r"c\.yaml: (data\.layout: |is not valid YAML in line)"):
        load_config(tmp_path / "c.yaml")


def test_what_is_no_layouts_file_is_refused_with_its_name(tmp_path):
    (tmp_path / "bad.yaml").write_text("a: [")
    for name, said in (("none.yaml", "no such band layout"), ("bad.yaml", "is not valid YAML")):
        with pytest.raises(LandslideError, match=f"{name}: {said}"):
            get_layout(tmp_path / name)
    (tmp_path / "text.yaml").write_text("just text")
    with pytest.raises(LandslideError, match=r"text\.yaml: a band layout: expected its name"):
        get_layout(str(tmp_path / "text.yaml"))
    with pytest.raises(LandslideError, match="unknown band layout 'bije'; did you mean 'bijie'"):
        get_layout("bije")


def test_a_base_with_another_layout_is_not_mixed_into_it(tmp_path):
    (tmp_path / "bands.yaml").write_text(OWN)
    (tmp_path / "base.yaml").write_text("data: {layout: bands.yaml, channels: [red]}")
    inline = "base: base.yaml\ndata: {layout: {name: two, bands: [red, green]}}"
    (tmp_path / "c.yaml").write_text(inline)
    layout = load_config(tmp_path / "c.yaml").data.layout
    assert layout == BandLayout("two", "two", (Band("red"), Band("green")), None, "")
    assert load_config(tmp_path / "c.yaml", ["data.layout=mmls"]).data.layout.name == "mmls"
    override = f"data.layout={tmp_path / 'bands.yaml'}"
    assert load_config(tmp_path / "c.yaml", [override]).data.layout.name == "planet4"


def test_the_features_are_what_numpy_makes_of_the_bands(own, tmp_path):
    layout = get_layout(own / "configs/bands.yaml")
    stored = np.random.default_rng(1).uniform(0.1, 1, (1, 8, 8, 4)).astype(np.float32)
    for named in (layout, layout.as_dict(), str(own / "configs/bands.yaml")):
        features = Features(named, ["red", "ndvi", "green"])
        np.testing.assert_allclose(features(stored), expected(stored), rtol=1e-5, atol=1e-6)
    inputs = keras.Input((None, None, 4))
    keras.Model(inputs, features(inputs)).save(tmp_path / "features.keras")
    reloaded = keras.saving.load_model(tmp_path / "features.keras", safe_mode=True)
    np.testing.assert_allclose(reloaded(stored), expected(stored), rtol=1e-5, atol=1e-6)


def test_terrain_is_in_metres_and_degrees_unless_another_unit_is_stated():
    bands = ["red", "dem", "slope", {"name": "dem_2", "unit": "metres"}]
    layout = BandLayout.from_dict({"name": "own", "bands": bands})
    assert [band.unit for band in layout.bands] == ["reflectance", "metres", "degrees", "metres"]
    assert layout.as_dict()["bands"] == [{"name": "red"}, {"name": "dem"}, {"name": "slope"}, bands[3]]
    odd = BandLayout("odd", "odd", (Band("dem", unit="reflectance"), Band("slope", unit="relative")), None, "")
    assert BandLayout.from_dict(odd.as_dict()) == odd


def test_a_dataset_is_loaded_and_inspected_in_it(own, tmp_path, capsys):
    layout, data = own / "configs/bands.yaml", own / "data"
    x, _ = next(load_dataset(data, layout=layout, channels=["red", "ndvi", "green"], batch_size=1).as_numpy_iterator())
    with h5py.File(data / "TrainData/img/image_1.h5") as file:
        np.testing.assert_allclose(x, expected(file["img"][()][None]), rtol=1e-4, atol=1e-6)
    words = ["inspect", str(data), "--layout", str(layout), "--json", "--figure", str(tmp_path)]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["layout"] == "planet4" and found["splits"]["train"]["bands"][3]["unit"] == "radiance"
    assert list(tmp_path.glob("train_*.png"))
    assert main(["inspect", str(data)]) == 2
    assert "images have 4 bands; known layouts have 14 (landslide4sense), 7 (mmls), 3" in capsys.readouterr().err


def test_a_run_and_its_card_hold_the_layout_itself(own):
    layout = get_layout(own / "configs/bands.yaml")
    run = Run.open(own / "run")
    config = yaml.safe_load((own / "run/config.yaml").read_text())
    assert get_layout(config["data"]["layout"]) == run.recipe.layout == layout
    text = (own / "models/own/1/assets.extra/model_card.json").read_text()
    assert get_layout(json.loads(text)["layout"]) == layout
    assert load_card(own / "models/own").layout == layout
    assert "four bands of my own; my own" in run.card().markdown()
    assert "four bands of my own" in run.report_path.read_text()


def test_the_exported_signatures_take_the_bands(own):
    stored = np.random.default_rng(2).uniform(0.1, 1, (1, 64, 64, 4)).astype(np.float32)
    exported = tf.saved_model.load(str(own / "models/own/1")).signatures
    channels = exported["features"](bands=tf.constant(stored))["channels"].numpy()
    np.testing.assert_allclose(channels, expected(stored), rtol=1e-4, atol=1e-6)
    probability = load_predictor(own / "run")(expected(stored))
    found = exported["from_bands"](bands=tf.constant(stored))["probability"].numpy()
    np.testing.assert_allclose(found, probability, atol=1e-5)


def test_it_predicts_by_the_command_line(own, tmp_path, capsys):
    images = sorted(map(str, (own / "data/TestData/img").glob("*.h5")))
    assert main(["predict", str(own / "models/own"), *images, "--out", str(tmp_path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 2
    for row in rows:
        marked = (np.asarray(Image.open(row["mask"])) > 0).sum()
        assert row["landslide_area_m2"] == pytest.approx(marked * 9)


def test_the_page_takes_it_where_a_model_knows_it(own):
    image = own / "data/TestData/img/image_1.h5"
    library = Library(find_models([own / "models"]))
    _, problems = read_uploads([image])
    assert "has 4 bands" in problems[0] and "\n" not in problems[0]
    (upload,), problems = read_uploads([image], [], library.layouts(library.names))
    assert not problems and upload.layout.title == "four bands of my own"
    analysis = analyse(library, [upload], library.names)
    assert not analysis.problems and "own" in analysis.results[0]
    result = analysis.results[0]["own"]
    for picture, _ in [*views.inputs(upload), *views.prediction(upload, result)]:
        assert picture.shape[1:] == (512, 3) and picture.shape[0] >= 512  # a bar or a legend may stand below


@pytest.mark.parametrize("bands", [["a"], ["vv", "vh", "ratio"]])
def test_bands_without_colours_are_shown_too(bands, tmp_path):
    layout = BandLayout.from_dict({"name": "radar", "bands": bands})
    path = write_dataset(tmp_path, len(bands)) / "TestData/img/image_1.h5"
    (upload,), problems = read_uploads([path], [], [layout])
    assert not problems
    picture = views.natural(upload)
    assert picture.shape == (64, 64, 3) and picture.std() > 10
    assert (picture[..., 0] == picture[..., 1]).all() == (len(bands) == 1)


@pytest.mark.long
def test_rgb_alone_goes_all_the_way(tmp_path, capsys):
    data = write_dataset(tmp_path / "data", 3, np.uint8, 255)
    tiny = ["model.architecture=plain_unet", "model.encoder=null", "model.options={width: 4, depth: 2}"]
    words = ["train", "bijie_unet_resnet34", *tiny, "training.epochs=1", "training.batch_size=2"]
    assert main([*words, "--data", str(data), "--out", str(tmp_path / "run")]) == 0
    assert main(["evaluate", str(tmp_path / "run"), "--data", str(data)]) == 0
    assert main(["export", str(tmp_path / "run"), "--to", str(tmp_path / "models")]) == 0
    image = data / "TestData/img/image_1.h5"
    capsys.readouterr()
    for model in ("run", "models/bijie_unet_resnet34"):
        words = ["predict", str(tmp_path / model), str(image), "--out", str(tmp_path / "out"), "--json"]
        assert main(words) == 0
        (row,) = json.loads(capsys.readouterr().out)
        with h5py.File(image) as file:
            assert row["channels"]["red"]["mean"] == pytest.approx(file["img"][..., 0].mean() / 255, rel=1e-5)
    card = json.loads((tmp_path / "models/bijie_unet_resnet34/1/assets.extra/model_card.json").read_text())
    assert card["layout"] == "bijie" and any("holds a landslide" in limit for limit in card["limits"])
    library = Library(find_models([tmp_path / "models"]))
    (upload,), problems = read_uploads([image], [data / "TestData/mask/mask_1.h5"], library.layouts(library.names))
    analysis = analyse(library, [upload], library.names)
    assert not problems and not analysis.problems
    assert [caption for _, caption in views.inputs(upload)] == ["RGB"]


def test_six_channels_of_rgb_say_what_to_name(sample, tmp_path, capsys):
    words = ["train", "bijie_unet_resnet34", "data.channels=six", "--data", str(sample), "--out", str(tmp_path / "o")]
    assert main(words) == 2
    assert "lacks; name the channels, e.g. [red, green, blue]" in capsys.readouterr().err
