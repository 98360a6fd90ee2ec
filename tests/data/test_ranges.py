"""Values that are not those of their layout: told in one line, refused where that is asked for."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.test_features import DIVISORS
from tf_landslide.bands.layouts import LAYOUTS, MMLS, BandLayout
from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideWarning
from tf_landslide.data.pipeline import load_dataset
from tf_landslide.data.ranges import RangeCheck
from tf_landslide.data.statistics import inspect_data

# What a released value is times, to be in each of the three forms.
DN = np.array(DIVISORS)
REFLECTANCE = DN * [1e-4] * 1
REFLECTANCE[12:] = DN[12:]
FORMS = {"landslide4sense": np.ones(14), "landslide4sense_dn": DN, "landslide4sense_reflectance": REFLECTANCE}


def converted(folder: Path, factors) -> Path:
    for path in folder.glob("*/img/*.h5"):
        with h5py.File(path) as file:
            values = file["img"][()] * factors
        with h5py.File(path, "w") as file:
            file["img"] = values
    return folder


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("claimed", FORMS)
def test_the_three_forms_are_told_apart(form, claimed, sample):
    check = RangeCheck(LAYOUTS[claimed])
    for path in sorted((sample / "TrainData/img").glob("*.h5"))[:4]:
        with h5py.File(path) as file:
            check.add((file["img"][()] * FORMS[form]).astype(np.float32))
    said = check.warning()
    if form == claimed:
        assert said is None
    else:
        assert said.startswith(f"values do not fit layout {claimed!r} (") and said.endswith(f"layout {form!r}?")
        assert "\n" not in said


def test_real_patches_fit_what_they_are(real_data):
    check = RangeCheck(LAYOUTS["landslide4sense"])
    for path in (real_data / "landslide4sense_samples/img").glob("*.h5"):
        with h5py.File(path) as file:
            check.add(file["img"][()])
    assert check.warning() is None
    for name in ("mmls", "bijie"):
        assert inspect_data(real_data / name).warnings == []


def test_the_three_layouts_give_the_same_physical_values(sample):
    from tf_landslide.bands.recipes import channel_recipe

    with h5py.File(sample / "TrainData/img/image_1.h5") as file:
        stored = file["img"][()][None]
    expected = channel_recipe("landslide4sense", "fourteen")(stored)
    for form, factors in FORMS.items():
        np.testing.assert_allclose(channel_recipe(form, "fourteen")(stored * factors), expected, rtol=1e-5)


def test_the_percentiles_are_those_of_numpy_and_one_odd_pixel_says_nothing():
    rng = np.random.default_rng(0)
    images = rng.uniform(0.2, 0.8, (5, 64, 64, 7)).astype(np.float32)
    images[..., 4][rng.random((5, 64, 64)) < 0.3] = 0  # no data, of thermal inertia
    images[0, 0, 0] = 99
    check = RangeCheck(MMLS)
    for image in images:
        check.add(image)
    assert check.warning() is None
    seen = images[:, ::4, ::4].reshape(-1, 7)
    expected = [np.percentile(c[c != 0] if i == 4 else c, (1, 99)) for i, c in enumerate(seen.T)]
    np.testing.assert_allclose(check._percentiles(), expected, rtol=1e-6)


def test_missing_and_unknown_say_nothing():
    check = RangeCheck(MMLS)
    assert check.warning() is None
    check.add(np.full((8, 8, 7), np.nan, np.float32))
    assert check.warning() is None
    own = BandLayout.from_dict({"name": "own", "bands": ["a", "b"]})
    check = RangeCheck(own)
    check.add(np.full((8, 8, 2), 1e9, np.float32))
    assert check.warning() is None


def test_digital_numbers_of_ones_own_layout_are_told_too():
    own = BandLayout.from_dict({"name": "own", "bands": [{"name": "red", "range": [0, 1.6]}]})
    check = RangeCheck(own)
    check.add(np.full((8, 8, 1), 1700, np.float32))
    assert check.warning() == (
        "values do not fit layout 'own' (red 1.7e+03 to 1.7e+03, expected 0 to 1.6 reflectance); "
        "they look like digital numbers: a layout with scale 0.0001?"
    )


@pytest.mark.slow
def test_every_command_says_it_and_refuses_where_told(copy, run_folder, config_file, tmp_path, capsys):
    said = "layout 'landslide4sense_dn'?"
    converted(copy, DN)
    image = str(copy / "TestData/img/image_1.h5")
    train = ["train", str(config_file), "training.epochs=1", "--data", str(copy), "--out"]
    predict = ["predict", str(run_folder), image, "--out"]
    assert main(["inspect", str(copy)]) == 0
    assert capsys.readouterr().out.count(said) == 3  # once a split
    assert main([*train, str(tmp_path / "run")]) == 0
    assert capsys.readouterr().err.count(said) == 3
    assert main([*predict, str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err.count(said) == 1
    assert main(["inspect", str(copy), "--strict"]) == 2
    assert main([*train, str(tmp_path / "strict"), "data.strict=true"]) == 2
    assert main([*predict, str(tmp_path / "refused"), "--strict"]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 3 and all(said in line for line in errors[1:])
    assert not (tmp_path / "strict").exists() and not (tmp_path / "refused").exists()
    assert main(["inspect", str(copy), "--strict", "--layout", "landslide4sense_dn"]) == 0


def test_a_script_is_warned(copy):
    shutil.rmtree(copy / "ValidData")
    with pytest.warns(LandslideWarning, match="landslide4sense_reflectance"):
        load_dataset(converted(copy, REFLECTANCE), "test")
