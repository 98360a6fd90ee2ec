"""Masks from what a run is sure of: which pixels, which patches, with what; and training on them as a user would."""

import json
import shlex
import shutil
import types

import h5py
import numpy as np
import pytest

from tests.data.test_patches import write
from tests.training.test_folds import ASKED, NAMES, grouped  # noqa: F401  (a fixture)
from tf_landslide.cli.main import main
from tf_landslide.data.folders import find_patches
from tf_landslide.data.hdf5 import read_mask
from tf_landslide.jobs import pseudo_label as jobs
from tf_landslide.metrics import SCORES
from tf_landslide.predict.load import load_predictor
from tf_landslide.runs.config import check_config, load_config
from tf_landslide.runs.folder import Run
from tf_landslide.runs.provenance import data_fingerprint


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished run whose probability of a pixel is its red band, as stored."""
    path = tmp_path / "run"
    path.mkdir()
    config = check_config({"data": {"channels": ["red_stored"]}, "name": "reddish"}, "test")
    (path / "config.yaml").write_text(config.to_yaml())
    row = {
        "f1": 0.5,
        "precision": 0.5,
        "recall": 0.5,
        "iou": 0.3,
        "threshold": 0.4,
        "patches": 6,
        "interval": {key: [0.4, 0.6] for key in SCORES},
    }
    (path / "metrics.json").write_text(json.dumps({"valid": row}))
    backend = types.SimpleNamespace(fingerprint=lambda: "f" * 64)
    predictor = types.SimpleNamespace(from_bands=lambda bands: (bands[..., 3:4],) * 2, backend=backend)
    predictor.batch_of, predictor.card = lambda _: 2, types.SimpleNamespace(channel_names=("red_stored",))
    monkeypatch.setattr(jobs, "predictor_of", lambda _: predictor)
    return path


@pytest.fixture
def data(tmp_path):
    """Two labelled training patches, one of validation, and three of test without masks, of any size each."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "data"
    for split, numbers in (("TrainData", (3, 7)), ("ValidData", (1,)), ("TestData", (1, 2, 5))):
        for number in numbers:
            image = rng.uniform(0, 1, (8, 8 + 4 * number, 14)).astype(np.float32)
            if split == "TestData" and number == 2:
                image = image.round() * 0.9 + 0.05  # the surest
            write(folder / f"{split}/img/image_{number}.h5", "img", image)
            if split != "TestData":
                write(folder / f"{split}/mask/mask_{number}.h5", "mask", (image[..., 0] > 0.8).astype(np.uint8) * 255)
    return folder


def told(run, data, out, *more):
    return main(["pseudo-label", str(run), "--data", str(data), "--out", str(out), *more])


def stored(path, key):
    with h5py.File(path) as file:
        return file[key][()]


def test_masks_are_of_the_sure_pixels(run, data, tmp_path, capsys):
    out = tmp_path / "out"
    assert told(run, data, out, "--confident", "0.8", "--background", "0.3", "--json") == 0
    card = json.loads(capsys.readouterr().out)
    assert card == json.loads((out / "pseudo_labels.json").read_text())
    assert [(row["number"], row["from"]) for row in card["labels"]] == [
        (1, "image_1.h5"),
        (2, "image_2.h5"),
        (3, "image_5.h5"),
    ]
    totals = {"landslide": 0, "background": 0, "left_out": 0}
    for row in card["labels"]:
        p = stored(data / "TestData/img" / row["from"], "img")[..., 3]
        mask = stored(out / f"TrainData/mask/mask_{row['number']}.h5", "mask")
        np.testing.assert_array_equal(mask, np.select([p >= 0.8, p <= 0.3], [1, 0], 255))
        original = (data / "TestData/img" / row["from"]).read_bytes()
        assert (out / f"TrainData/img/image_{row['number']}.h5").read_bytes() == original
        assert row["confidence"] == pytest.approx(np.where(p > 0.5, p, 1 - p).mean(), abs=1e-4)
        for name, value in (("landslide", 1), ("background", 0), ("left_out", 255)):
            assert row[name] == (mask == value).sum()
            totals[name] += row[name]
    assert card["pixels"] == totals and card["run"]["weights_sha256"] == "f" * 64 and card["added_to"] is None
    config = load_config(out / "config.yaml")
    assert config.data.ignore == 255 and config.name == "reddish"
    assert sorted(path.name for path in out.iterdir()) == ["TrainData", "config.yaml", "pseudo_labels.json"]


def test_the_surest_patches_are_added_to_a_labelled_set(run, data, tmp_path):
    out = tmp_path / "out"
    (data / "SYNTHETIC.txt").write_text("made up")
    assert told(run, data, out, "--keep", "0.34", "--add-to", str(data)) == 0
    numbers = {split: [p.number for p in find_patches(out, split)] for split in ("train", "valid")}
    assert numbers == {"train": [3, 7, 8], "valid": [1]} and (out / "SYNTHETIC.txt").read_text() == "made up"
    card = json.loads((out / "pseudo_labels.json").read_text())
    assert [row["from"] for row in card["labels"]] == ["image_2.h5"] and card["patches"] == {
        "of_split": 3,
        "labelled": 1,
    }
    assert card["added_to"] == {"data": str(data), "train": 2, "valid": 1} and card["background"] == 0.1
    for split, number in (("TrainData", 3), ("TrainData", 7), ("ValidData", 1)):  # 255 was landslide there
        before = read_mask(data / split / f"mask/mask_{number}.h5")
        np.testing.assert_array_equal(stored(out / split / f"mask/mask_{number}.h5", "mask"), before)
        assert set(np.unique(before)) == {0, 1}
    assert not (out / "TestData").exists()


def settings(run, **data):
    """The run, trained by other settings of its data."""
    config = check_config({"data": {"channels": ["red_stored"], **data}, "training": {"seed": 5}}, "test")
    (run / "config.yaml").write_text(config.to_yaml())


@pytest.mark.parametrize("drawn", ["groups", "share"])
def test_what_the_run_held_out_of_train_is_validated_on(run, data, tmp_path, drawn):
    """And no patch that it labelled; a validation split of the data's own had no part in the run, and has none here."""
    if drawn == "groups":
        settings(run, valid_groups=["b"], groups={"file": "groups.json"})
        (data / "groups.json").write_text('{"image_3": "a", "image_7": "b"}')
        held_out = 7
    else:
        shutil.rmtree(data / "ValidData")
        settings(run, valid_share=0.5)
        held_out = (3, 7)[np.random.default_rng(5).permutation(2)[0]]
    out = tmp_path / "out"
    assert told(run, data, out, "--add-to", str(data)) == 0
    numbers = {split: [p.number for p in find_patches(out, split)] for split in ("train", "valid")}
    assert numbers == {"train": [10 - held_out, 8, 9, 10], "valid": [held_out]}
    (image,) = (out / "ValidData/img").iterdir()
    assert image.read_bytes() == (data / f"TrainData/img/image_{held_out}.h5").read_bytes()
    np.testing.assert_array_equal(
        stored(out / f"ValidData/mask/mask_{held_out}.h5", "mask"),
        read_mask(data / f"TrainData/mask/mask_{held_out}.h5"),
    )
    config = load_config(out / "config.yaml").data
    assert (config.valid_share, config.valid_groups, config.groups.file, config.groups.pattern) == (None,) * 4
    assert json.loads((out / "pseudo_labels.json").read_text())["added_to"] == {
        "data": str(data),
        "train": 1,
        "valid": 1,
    }


def test_other_data_is_validated_on_its_own_split_or_refused(run, data, tmp_path, capsys):
    settings(run, valid_share=0.5)
    said = {"data": "/first", "data_fingerprint": {"train": {"patches": 9, "sha256": "0"}}}
    (run / "environment.json").write_text(json.dumps(said))
    assert told(run, data, tmp_path / "one", "--add-to", str(data)) == 0
    assert [p.number for p in find_patches(tmp_path / "one", "train")] == [3, 7, 8, 9, 10]
    assert [p.number for p in find_patches(tmp_path / "one", "valid")] == [1]
    capsys.readouterr()
    for words, more in (
        (["--split", "valid"], "give it one, or name /first, of which it held out patches"),
        ([], "give it one"),
    ):
        assert told(run, data, tmp_path / "two", "--add-to", str(data), *words) == 2
        error = capsys.readouterr().err
        assert "leaves no validation split with masks" in error and error.endswith(f"{more}\n")
        assert not (tmp_path / "two").exists() and error.count("\n") == 1
        shutil.rmtree(data / "ValidData", ignore_errors=True)
        settings(run)


def test_what_cannot_be_is_refused_and_nothing_written(run, data, tmp_path, capsys):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "file").touch()
    alone = tmp_path / "alone"
    shutil.copytree(data / "TestData", alone / "TestData")
    for words, said in (
        (["--confident", "1.5"], "expected probabilities, the first below the second"),
        (["--confident", "0.4", "--background", "0.5"], "expected probabilities"),
        (["--keep", "0"], "--keep 0: expected a share of the patches"),
        (["--confident", "1", "--background", "0"], "no pixel of 'test' is at 1 and above, or at 0 and below"),
        (["--add-to", str(alone)], "has no training split with masks to add to"),
        (["--split", "tset"], "unknown split 'tset'; did you mean 'test'"),
    ):
        assert told(run, data, tmp_path / "out", *words) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1 and not (tmp_path / "out").exists()
    assert told(run, data, taken) == 2 and "already holds something" in capsys.readouterr().err
    broken = data / "TestData/img/image_5.h5"
    broken.write_bytes(broken.read_bytes()[:100])
    assert told(run, data, tmp_path / "out") == 2 and str(broken) in capsys.readouterr().err
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*"))


def test_a_pixel_without_any_channel_is_of_no_class():
    p = np.array([[0.99, np.nan], [0.01, 0.5]], np.float32)
    found = jobs.labelled("image", p, jobs.PseudoOptions())
    np.testing.assert_array_equal(found.mask, [[1, 255], [0, 255]])
    assert found.confidence == pytest.approx((0.99 + 0.99 + 0.5) / 3)


@pytest.mark.slow
def test_self_training_as_a_user_does_it(run_folder, copy, tmp_path, capsys):
    """The challenge's test images have no masks: they are labelled by a run, and another run learns from both."""
    shutil.rmtree(copy / "TestData/mask")
    out, again = tmp_path / "both", tmp_path / "again"
    words = ["pseudo-label", str(run_folder), "--data", str(copy), "--add-to", str(copy), "--out", str(out)]
    assert main([*words, "--confident", "0.6"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == f"next: tf-landslide train {out}/config.yaml --data {out} --out RUN2"
    assert main(["inspect", str(out), "--ignore", "255"]) == 0
    assert main(["train", f"{out}/config.yaml", "--data", str(out), "--out", str(again), "training.epochs=1"]) == 0
    metrics = Run.open(again).metrics()
    assert metrics["train"]["patches"] == 15 and metrics["valid"]["patches"] == 6
    assert load_predictor(again).card.training["epochs"] == 1
    assert Run.open(again).environment["pseudo_labels"]["sha256"] == data_fingerprint(copy)["test"]["sha256"]


@pytest.mark.long
def test_a_run_of_held_out_groups_labels_what_the_next_command_trains_on(grouped, config_file, tmp_path, capsys):  # noqa: F811
    """The file of groups is relative to the first data, and names none of the new patches."""
    shutil.rmtree(grouped / "TestData/mask")
    first, out, again = tmp_path / "first", tmp_path / "both of them", tmp_path / "again"
    words = ["train", str(config_file), ASKED, "data.valid_groups=[south]", "training.epochs=1"]
    assert main([*words, "--data", str(grouped), "--out", str(first)]) == 0
    capsys.readouterr()
    words = ["pseudo-label", str(first), "--data", str(grouped), "--add-to", str(grouped), "--out", str(out)]
    assert main([*words, "--confident", "0.6"]) == 0
    heading, _, command = capsys.readouterr().out.splitlines()[-1].partition("next: tf-landslide ")
    assert heading == ""
    assert main([str(again) if word == "RUN2" else word for word in shlex.split(command)]) == 0
    metrics = Run.open(again).metrics()
    south = [i for i, name in enumerate(NAMES, 1) if name == "south"]
    assert [p.number for p in find_patches(out, "valid")] == south
    assert metrics["valid"]["patches"] == len(south) and metrics["train"]["patches"] == 10 - len(south) + 5
