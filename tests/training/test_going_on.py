"""What a run goes on with, begins from and validates on: data, more epochs, another run's weights, a share of train."""

import importlib
import json
import shutil
import warnings

import numpy as np
import pytest

from tests.data.test_patches import write
from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError, LandslideWarning
from tf_landslide.data.folders import find_patches
from tf_landslide.data.hdf5 import read_image
from tf_landslide.jobs.train import begin, train
from tf_landslide.predict.load import load_model
from tf_landslide.runs.config import load_config
from tf_landslide.runs.folder import Run
from tf_landslide.runs.provenance import data_fingerprint
from tf_landslide.runs.splits import open_splits

pytestmark = pytest.mark.slow


@pytest.fixture
def run_copy(run_folder, tmp_path):
    return shutil.copytree(run_folder, tmp_path / "run")


def fitted(arguments, capsys):
    """Exit status, and the last line of what went wrong."""
    status = main(list(map(str, arguments)))
    return status, (capsys.readouterr().err.strip().splitlines() or [""])[-1]


def test_a_fingerprint_is_of_the_data_wherever_they_lie(sample, copy):
    first = data_fingerprint(sample)
    assert {split: row["patches"] for split, row in first.items()} == {"train": 10, "valid": 6, "test": 5}
    assert data_fingerprint(copy) == first
    image = find_patches(copy, "train")[0].image
    write(image, "img", read_image(image) * 2)
    assert data_fingerprint(copy)["train"] != first["train"] and data_fingerprint(copy)["valid"] == first["valid"]
    find_patches(copy, "valid")[-1].mask.unlink()
    assert data_fingerprint(copy)["valid"] != first["valid"]


def test_other_data_are_refused_with_both_named(run_copy, sample, copy, config_file, capsys):
    arguments = ["train", config_file, "--out", run_copy, "--resume", "training.epochs=3", "--data"]
    before = (run_copy / "environment.json").read_text()
    (copy / "TrainData/img/image_1.h5").unlink()
    (copy / "TrainData/mask/mask_1.h5").unlink()
    status, said = fitted([*arguments, copy], capsys)
    assert status == 2 and f"was trained on {sample}" in said and f"{copy} (train 9" in said
    assert (run_copy / "environment.json").read_text() == before
    assert Run.open(run_copy).config.training.epochs == 2


def test_going_on_with_more_epochs_adds_them_and_a_session(run_copy, copy, config_file, capsys):
    """From a copy of the data, which is the same data."""
    first = json.loads((run_copy / "environment.json").read_text())
    early = Run.open(run_copy).history
    assert (
        fitted(["train", config_file, "training.epochs=4", "--data", copy, "--out", run_copy, "--resume"], capsys)[0]
        == 0
    )
    run = Run.open(run_copy)
    assert run.config.training.epochs == 4 and len(run.history) == 4
    assert [row["val_loss"] for row in run.history[:2]] == [row["val_loss"] for row in early]
    # The cosine is that of four epochs from now on: of two steps each, the last one begins with two to go.
    rates = [0.003 * (1 + np.cos(np.pi * step / 8)) / 2 for step in (6, 8)]
    np.testing.assert_allclose([row["learning_rate"] for row in run.history[2:]], rates, atol=1e-8)
    sessions = json.loads((run_copy / "environment.json").read_text())
    assert {key: sessions[key] for key in first} == first
    assert [(s["epoch"], s["data"]) for s in sessions["resumed"]] == [(2, str(copy))]


def test_a_run_can_begin_with_the_weights_of_another(run_folder, sample, config_file, tmp_path, capsys):
    out = tmp_path / "second"
    settings = [f"model.init_from={run_folder}", "training.epochs=1", "training.learning_rate=1e-30"]
    assert fitted(["train", config_file, *settings, "--data", sample, "--out", out], capsys)[0] == 0
    for ours, theirs in zip(load_model(out).get_weights(), load_model(run_folder).get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert f"init_from: {run_folder}" in Run.open(out).card().markdown()
    for setting in ("model.options.width=8", "data.channels=[red, green]"):
        arguments = ["train", config_file, *settings, setting, "--data", sample, "--out", tmp_path / "third"]
        status, said = fitted(arguments, capsys)
        assert status == 2 and f"model.init_from: {run_folder} is of plain_unet" in said
    status, said = fitted(
        ["train", config_file, "model.init_from=nowhere", "--data", sample, "--out", tmp_path / "third"], capsys
    )
    assert status == 2 and "nowhere: is not a run folder" in said and not (tmp_path / "third").exists()


def test_a_run_that_does_not_normalise_leaves_the_statistics_of_the_one_it_begins_with(
    run_folder, config_file, tmp_path
):
    settings = [f"model.init_from={run_folder}", "data.normalise=false"]
    with pytest.warns(LandslideWarning, match="normalises its channels, this run does not, and its weights meet other"):
        model = begin(Run(tmp_path, load_config(config_file, settings)))
    (mean, variance), rest = (weights(model)[name] for name in (True, False))
    np.testing.assert_array_equal(mean, np.zeros(6))
    np.testing.assert_array_equal(variance, np.ones(6))
    theirs = load_model(run_folder)
    assert np.abs(weights(theirs)[True][0]).max() > 1  # else there was nothing to leave
    for ours, other in zip(rest, weights(theirs)[False], strict=True):
        np.testing.assert_array_equal(ours, other)


def weights(model):
    """Of the normalisation, and of all else."""
    own = {id(variable) for variable in model.get_layer("normalization").variables}
    return {is_in: [v.numpy() for v in model.variables if (id(v) in own) == is_in] for is_in in (True, False)}


@pytest.mark.parametrize("masks", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_share_of_train_validates_and_every_report_says_so(copy, config_file, tmp_path, capsys, masks):
    """Where there is no validation split, or one without masks."""
    shutil.rmtree(copy / "ValidData/mask")
    if masks:
        shutil.rmtree(copy / "ValidData")
    out = tmp_path / "run"
    arguments = ["train", config_file, "data.valid_share=0.3", "training.epochs=1", "--data", copy, "--out", out]
    assert fitted(arguments, capsys)[0] == 0
    run = Run.open(out)
    metrics = run.metrics()
    assert (metrics["train"]["patches"], metrics["valid"]["patches"]) == (7, 3)
    assert metrics["valid"]["share_of_train"] == 0.3 and "share_of_train" not in metrics["train"]
    assert "Validation is a share (0.3) of the training split" in run.report_path.read_text()
    assert "valid (a share of train)" in run.report_path.read_text()
    card = run.card()
    assert any("Validation is a share (0.3)" in limit for limit in card.limits)
    assert "valid (a share of train)" in card.markdown() and "valid_share: 0.3" in card.markdown()
    assert main(["evaluate", str(out), "--data", str(copy), "--split", "valid", "--out", str(tmp_path / "e")]) == 0
    assert "Validation is a share (0.3)" in (tmp_path / "e/report.md").read_text()
    assert json.loads((tmp_path / "e/metrics.json").read_text())["valid"] == metrics["valid"]


def test_a_share_is_drawn_by_the_seed_and_no_patch_is_in_both(copy, config_file):
    shutil.rmtree(copy / "ValidData")

    def numbers(seed, splits=None, *settings):
        config = load_config(config_file, ["data.valid_share=0.3", f"training.seed={seed}", *settings])
        sources = open_splits(config, copy, splits=splits)
        return {split: [patch.number for patch in source.patches] for split, source in sources.items()}

    first = numbers(1)
    assert list(first) == ["train", "valid", "test"] and (len(first["train"]), len(first["valid"])) == (7, 3)
    assert sorted(first["train"] + first["valid"]) == list(range(1, 11))
    assert numbers(1) == first != numbers(2)
    assert numbers(1, ["valid"]) == {"valid": first["valid"]}
    assert numbers(2, None, "data.split_seed=1") == first  # so that several seeds are judged on one split
    source = open_splits(load_config(config_file, ["data.valid_share=0.3", "training.seed=1"]), copy)["valid"]
    whole = open_splits(load_config(config_file), copy, splits=["train"])["train"]
    positions = [number - 1 for number in first["valid"]]
    for ours, theirs in zip(source.fetch(np.arange(3)), whole.fetch(np.array(positions)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(source.positive, whole.positive[positions])


def test_a_share_where_there_is_a_validation_split_is_refused(sample, config_file):
    with pytest.raises(LandslideError, match=r"has a validation split with masks; leave out data\.valid_share"):
        open_splits(load_config(config_file, ["data.valid_share=0.3"]), sample)
    judged = open_splits(load_config(config_file, ["data.valid_share=0.3"]), sample, splits=["test"])
    assert list(judged) == ["test"]  # a run can be judged on such a dataset


@pytest.mark.parametrize("ignored", [False, True])
def test_a_split_with_nothing_to_find_is_warned_of(copy, config_file, tmp_path, monkeypatch, ignored):
    monkeypatch.setattr("tf_landslide.jobs.train.normalise", stop)
    for patch in find_patches(copy, "valid"):
        write(patch.mask, "mask", np.full((128, 128), 255 if ignored else 0, np.uint8))
    config = load_config(config_file, ["data.ignore=255"])
    what = "no pixel that is not ignored" if ignored else "no landslide pixel"
    with warnings.catch_warnings(record=True) as told, pytest.raises(Stopped):
        warnings.simplefilter("always")
        train(config, copy, tmp_path / "run")
    told = [str(warning.message) for warning in told if issubclass(warning.category, LandslideWarning)]
    assert [text for text in told if "so that" in text] == [
        f"{copy}: valid holds {what}, so that the choice of epoch and threshold says nothing; see tf-landslide inspect"
    ]


@pytest.mark.parametrize(
    ("command", "step"), [("train", "train.normalise"), ("train", "train.fit"), ("find-rate", "find_rate.sweep")]
)
def test_a_file_that_is_damaged_while_training_reads_it_is_one_line(
    copy, config_file, tmp_path, capsys, monkeypatch, command, step
):
    module, name = f"tf_landslide.jobs.{step}".rsplit(".", 1)
    before = getattr(importlib.import_module(module), name)

    def damaging(*arguments, **named):
        for patch in find_patches(copy, "train"):
            patch.image.write_bytes(b"gone")
        return before(*arguments, **named)

    monkeypatch.setattr(f"{module}.{name}", damaging)
    arguments = [command, config_file, "data.cache=none", "--data", copy, "--out", tmp_path / "out"]
    assert main(list(map(str, arguments))) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(("warning", "epoch"))]
    assert len(said) == 1 and said[0].startswith(f"error: {copy / 'TrainData/img/image_'}") and "HDF5" in said[0]
    assert not (tmp_path / "out").exists()


class Stopped(Exception):
    """What ends training once the data are read."""


def stop(*_):
    raise Stopped


def test_what_is_cached_on_disk_in_training_is_read_again_elsewhere(copy, config_file):
    config = load_config(config_file, ["data.cache=disk"])
    source, kept = (open_splits(c, copy, splits=["valid"])["valid"] for c in (config, load_config(config_file)))
    everything = np.arange(len(source))
    for ours, theirs in zip(source.fetch(everything), kept.fetch(everything), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    image = read_image(source.patches[1].image)
    write(source.patches[1].image, "img", image * 2)
    red = image[..., 3].astype(np.float64) * 445.173 / 10_000  # by the published constant
    np.testing.assert_allclose(source.fetch(np.array([1]))[0][0, ..., 0], 2 * red, rtol=1e-5)
    np.testing.assert_allclose(kept.fetch(np.array([1]))[0][0, ..., 0], red, rtol=1e-5)


def test_a_channel_that_never_varies_is_warned_of_by_name(copy, config_file, tmp_path):
    for patch in find_patches(copy, "train"):
        image = read_image(patch.image)
        image[..., 13] = 0.1
        write(patch.image, "img", image)
    config = load_config(config_file, ["training.epochs=1"])
    with pytest.warns(UserWarning, match="constant over the whole training split.*: dem;"):
        train(config, copy, tmp_path / "run")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = load_model(tmp_path / "run")
    assert not [w for w in caught if "constant" in str(w.message)]
    assert model.get_layer("normalization").constant_channels == [5]


def test_a_constant_rate_is_warmed_up_to_as_well():
    from tf_landslide.runs.sections import TrainingConfig
    from tf_landslide.training.fit import get_optimizer

    optimizer = get_optimizer(TrainingConfig(schedule="constant", learning_rate=0.01, warmup_epochs=2, epochs=9), 5)
    rates = [float(optimizer._learning_rate(step)) for step in (0, 5, 10, 30, 100)]
    np.testing.assert_allclose(rates, (0, 0.005, 0.01, 0.01, 0.01), atol=1e-9)
