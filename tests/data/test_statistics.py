"""Everything broken that ``inspect`` names is refused by ``train`` and ``predict`` too, in one line."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from tf_landslide.bands.layouts import BandLayout
from tf_landslide.cli.main import main
from tf_landslide.data.checks import DuplicateFinder
from tf_landslide.data.folders import find_patches
from tf_landslide.data.hdf5 import read_image, read_mask
from tf_landslide.data.statistics import inspect_data
from tf_landslide.figures import plots
from tf_landslide.figures.pictures import rgb


def rewrite(path: Path, key: str, change):
    with h5py.File(path) as file:
        values = change(file[next(iter(file))][()])
    with h5py.File(path, "w") as file:
        file.create_dataset(key, data=values)


def with_value(value, *index):
    def change(array):
        array = array.astype(float)
        array[index] = value
        return array

    return change


TRAIN_IMAGE, TRAIN_MASK = "TrainData/img/image_3.h5", "TrainData/mask/mask_3.h5"

# name: (what breaks a copy of the sample, the file that must be named, part of the line)
BROKEN = {
    "image missing": (lambda d: (d / TRAIN_IMAGE).unlink(), TRAIN_MASK, "has no image_3.h5"),
    "mask missing": (lambda d: (d / TRAIN_MASK).unlink(), TRAIN_IMAGE, "has no mask_3.h5"),
    "truncated": (
        lambda d: (d / TRAIN_IMAGE).write_bytes((d / TRAIN_IMAGE).read_bytes()[:900_000]),
        TRAIN_IMAGE,
        "truncated HDF5",
    ),
    "empty": (lambda d: (d / TRAIN_IMAGE).write_bytes(b""), TRAIN_IMAGE, "not a readable HDF5 file"),
    "not HDF5": (lambda d: (d / TRAIN_IMAGE).write_text("hello"), TRAIN_IMAGE, "not a readable HDF5 file"),
    "image key": (lambda d: rewrite(d / TRAIN_IMAGE, "mask", lambda a: a), TRAIN_IMAGE, "has no dataset 'img'"),
    "mask key": (lambda d: rewrite(d / TRAIN_MASK, "img", lambda a: a), TRAIN_MASK, "has no dataset 'mask'"),
    "axes": (lambda d: rewrite(d / TRAIN_IMAGE, "img", lambda a: a[..., 0]), TRAIN_IMAGE, "expected (height, width"),
    "bands": (lambda d: rewrite(d / TRAIN_IMAGE, "img", lambda a: a[..., :9]), TRAIN_IMAGE, "9 bands"),
    "size": (lambda d: rewrite(d / TRAIN_IMAGE, "img", lambda a: a[:64]), TRAIN_MASK, "sizes must be equal"),
    "mask size": (lambda d: rewrite(d / TRAIN_MASK, "mask", lambda a: a[:, :64]), TRAIN_MASK, "sizes must be equal"),
    "NaN": (lambda d: rewrite(d / TRAIN_IMAGE, "img", with_value(np.nan, 5, 6, 7)), TRAIN_IMAGE, "NaN in nir"),
    "infinite": (lambda d: rewrite(d / TRAIN_IMAGE, "img", with_value(np.inf, 5, 6, 7)), TRAIN_IMAGE, "infinite"),
    "mask values": (
        lambda d: rewrite(d / TRAIN_MASK, "mask", with_value(255, 5, 6)),
        TRAIN_MASK,
        "holds 0 and 255",
    ),
    "text": (lambda d: rewrite(d / TRAIN_IMAGE, "img", lambda _: b"text"), TRAIN_IMAGE, "expected an array of numbers"),
    "twin in a split": (
        lambda d: shutil.copy(d / "TrainData/img/image_1.h5", d / TRAIN_IMAGE),
        TRAIN_IMAGE,
        "duplicate in split 'train'",
    ),
    "twin across splits": (
        lambda d: shutil.copy(d / TRAIN_IMAGE, d / "TestData/img/image_2.h5"),
        "TestData/img/image_2.h5",
        "duplicate in splits 'train' and 'test'",
    ),
}


# What one image alone can show; masks, pairs and twins do not concern ``predict``, which reads images only.
BROKEN_IMAGES = [name for name, (_, file, said) in BROKEN.items() if "img" in file and "mask_" not in said]
BROKEN_IMAGES = [name for name in BROKEN_IMAGES if "twin" not in name]


def break_copy(copy, name):
    breaks, file, said = BROKEN[name]
    breaks(copy)
    return copy, copy / file, said


@pytest.fixture(params=BROKEN, ids=lambda name: name.replace(" ", "-"))
def broken(request, copy):
    return break_copy(copy, request.param)


def error_line(capsys) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(lines) == 1, lines
    return lines[0]


def test_inspect_names_it(broken, capsys):
    folder, file, said = broken
    assert main(["inspect", str(folder), "--json"]) == 2
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert len(problems) == 1
    assert str(file) in problems[0] and said in problems[0]


def test_train_refuses_it(broken, config_file, tmp_path, capsys):
    folder, file, said = broken
    out = tmp_path / "run"
    assert main(["train", str(config_file), "--data", str(folder), "--out", str(out)]) == 2
    line = error_line(capsys)
    assert str(file) in line and said in line
    assert not out.exists()
    assert not [path for path in tmp_path.iterdir() if path != folder]


@pytest.mark.parametrize("name", BROKEN_IMAGES, ids=lambda name: name.replace(" ", "-"))
def test_predict_refuses_it(name, copy, run_folder, tmp_path, capsys):
    folder, file, said = break_copy(copy, name)
    out = tmp_path / "out"
    sound = folder / "TrainData/img/image_1.h5"
    assert main(["predict", str(run_folder), str(sound), str(file), "--out", str(out)]) == 2
    line = error_line(capsys)
    assert str(file) in line and said in line
    assert not out.exists()


def test_a_sound_dataset_has_no_problems_and_right_numbers(sample):
    found = inspect_data(sample)
    assert found.layout == "landslide4sense" and found.problems == []
    summary = found.splits["train"]
    patches = find_patches(sample, "train")
    images = np.stack([read_image(p.image) for p in patches]).astype(np.float64)
    masks = np.stack([read_mask(p.mask) for p in patches])
    assert (summary.images, summary.masks, summary.pairs, summary.shape) == (10, 10, 10, (128, 128, 14))
    assert summary.landslide_fraction == pytest.approx(masks.mean())
    assert summary.landslide_patches == masks.any((1, 2)).sum()
    dem = images[..., 13] * 772.8314
    assert summary.bands[13].name == "dem" and summary.bands[13].unit == "metres"
    assert summary.bands[13].mean == pytest.approx(dem.mean())
    assert summary.bands[13].std == pytest.approx(dem.std())
    assert (summary.bands[13].minimum, summary.bands[13].maximum) == pytest.approx((dem.min(), dem.max()))
    assert summary.bands[3].stored_mean == pytest.approx(images[..., 3].mean())


def test_the_odd_one_is_named_even_where_it_comes_first(copy):
    for file, key in ((copy / "TrainData/img/image_1.h5", "img"), (copy / "TrainData/mask/mask_1.h5", "mask")):
        rewrite(file, key, lambda a: a[:64])
    (problem,) = inspect_data(copy).problems
    assert "image_1.h5: 'img' has shape (64, 128, 14), the split's others have (128, 128, 14)" in problem


def test_every_fault_is_listed_even_several_of_one_patch(copy):
    (copy / "TrainData/mask/mask_2.h5").unlink()
    shutil.copy(copy / "TrainData/img/image_2.h5", copy / "TestData/img/image_1.h5")
    (copy / "TrainData/img/image_x.h5").touch()
    shutil.rmtree(copy / "ValidData/img")
    problems = inspect_data(copy).problems
    for said in ("has no mask_2.h5", "duplicate in splits", "image_x.h5: expected a name like"):
        assert len([p for p in problems if said in p]) == 1, said
    assert len([p for p in problems if "to go with it" in p and "ValidData" in p]) == 6


def test_unreadable_images_are_named(copy, capsys):
    for image in copy.glob("*/img/*.h5"):
        image.write_bytes(b"")
    assert main(["inspect", str(copy)]) == 2
    assert "image_1.h5: not a readable HDF5 file" in capsys.readouterr().err


def test_a_damaged_header_never_ends_in_a_traceback(sample, tmp_path):
    from tf_landslide.core.errors import LandslideError

    original = (sample / TRAIN_IMAGE).read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(original)
        damaged[rng.integers(2048)] ^= int(rng.integers(1, 256))
        (tmp_path / "image_1.h5").write_bytes(damaged)
        try:
            read_image(tmp_path / "image_1.h5")
        except LandslideError as error:
            refused += 1
            assert "image_1.h5" in str(error)
    assert refused > 20


def test_missing_values_can_be_allowed(copy):
    rewrite(copy / TRAIN_IMAGE, "img", with_value(np.nan, slice(0, 4), slice(0, 4), 13))
    assert inspect_data(copy).problems
    found = inspect_data(copy, allow_missing=True)
    assert not found.problems
    assert found.splits["train"].bands[13].missing == 16
    assert np.isfinite(found.splits["train"].bands[13].mean)


def one_patch(folder: Path, image: np.ndarray) -> Path:
    for kind, key, values in (("image", "img", image), ("mask", "mask", np.zeros(image.shape[:2], np.uint8))):
        path = folder / "TrainData" / key / f"{kind}_1.h5"
        path.parent.mkdir(parents=True)
        with h5py.File(path, "w") as file:
            file[key] = values
    return folder


@pytest.mark.parametrize("nodata", [-9999.9, -3.4028235e38, -9999.0, 0.1])
def test_no_data_is_no_data_though_its_value_is_no_float32(nodata, tmp_path):
    image = np.random.default_rng(0).uniform(1, 2, (32, 32, 2)).astype(np.float32)
    whole = image.astype(np.float64)
    image[:5, :7, 1] = nodata
    whole[:5, :7, 1] = np.nan
    bands = [{"name": "a"}, {"name": "b", "nodata": nodata, "range": [0, 3]}]
    found = inspect_data(one_patch(tmp_path, image), {"name": "own", "bands": bands}, allow_missing=True)
    a, b = found.splits["train"].bands
    assert (a.missing, b.missing) == (0, 35) and not found.warnings
    told = [b.mean, b.std, b.minimum, b.maximum]
    np.testing.assert_allclose(
        told, [f(whole[..., 1]) for f in (np.nanmean, np.nanstd, np.nanmin, np.nanmax)], rtol=1e-9
    )


def test_a_negative_scale_turns_the_ends_round_and_leaves_the_deviation_positive(tmp_path):
    image = np.random.default_rng(0).uniform(0, 255, (32, 32, 1)).astype(np.float32)
    bands = [{"name": "inverted", "unit": "relative", "scale": -1 / 255, "offset": 1}]
    (row,) = inspect_data(one_patch(tmp_path, image), {"name": "own", "bands": bands}).splits["train"].bands
    physical = 1 - image.astype(np.float64) / 255
    expected = [f(physical) for f in (np.mean, np.std, np.min, np.max)]
    np.testing.assert_allclose([row.mean, row.std, row.minimum, row.maximum], expected, rtol=1e-9, atol=1e-12)


def test_text_and_figure(sample, tmp_path, capsys):
    from PIL import Image

    assert main(["inspect", str(sample), "--figure", str(tmp_path), "--patch", "valid/2", "train/4"]) == 0
    output = capsys.readouterr()
    assert "no problems" in output.out and "valid: 6 images" in output.out
    pictures = sorted(tmp_path.glob("*.png"))
    assert [path.name for path in pictures] == ["train_4.png", "valid_2.png"]
    assert all(str(path) in output.err and min(Image.open(path).size) > 600 for path in pictures)
    assert main(["inspect", str(sample), "--figure", str(tmp_path), "--patch", "valid/99"]) == 2
    assert "no patch 'valid/99'" in capsys.readouterr().err


def test_no_data_is_black_in_a_picture_and_white_in_the_figure_of_its_band(monkeypatch):
    stored = np.stack([np.linspace(100, 200, 64).reshape(8, 8)] * 3, axis=-1).astype(np.float32)
    stored[:4, :, 0] = -9999.9
    bands = ({"name": "red", "nodata": -9999.9, "scale": 2}, "green", "blue")
    layout, drawn = BandLayout.from_dict({"name": "own", "bands": bands}), []
    picture = rgb(stored, layout)
    assert not picture[:4, :, 0].any() and picture[4, 0, 0] == 0 < picture[5, 0, 0] < 200 and picture[7, 7, 0] == 255
    monkeypatch.setattr(plots, "save", lambda figure, _: drawn.append(figure))
    plots.all_bands(Path("none.png"), stored, None, layout, "a patch")
    image = drawn[0].axes[1].images[0]
    assert np.ma.getmaskarray(np.ma.masked_invalid(image.get_array()))[:4].all()
    assert image.get_clim() == (2 * stored[4, 0, 0], 400)  # of what is known


def test_mmls_is_sound(real_data):
    found = inspect_data(real_data / "mmls")
    assert found.layout == "mmls" and found.problems == []
    assert found.splits["train"].landslide_fraction == pytest.approx(0.478, abs=1e-3)
    assert found.splits["valid"].landslide_fraction == pytest.approx(0.404, abs=1e-3)


def test_images_that_agree_in_the_rows_looked_at_first_are_compared_whole(tmp_path):
    finder, errors = DuplicateFinder(), []
    for number, value in enumerate((0, 1, 2, 1)):  # the last is a twin of the second
        image = np.zeros((32, 32, 14), np.float32)
        image[1] = value  # not among every sixteenth row
        path = tmp_path / f"image_{number}.h5"
        with h5py.File(path, "w") as file:
            file["img"] = image
        errors.append(finder.error("train", path, finder.glance(image)))
    assert errors[:3] == [None] * 3
    assert "image_3.h5: holds the same image as" in str(errors[3]) and "image_1.h5" in str(errors[3])
