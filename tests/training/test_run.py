import csv
import hashlib
import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml

from tf_landslide.bands.filters import Bilateral
from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError
from tf_landslide.data.folders import find_patches
from tf_landslide.data.hdf5 import read_image
from tf_landslide.jobs.train import train
from tf_landslide.predict.load import load_model
from tf_landslide.runs.config import load_config
from tf_landslide.runs.folder import Run
from tf_landslide.runs.history import best_epoch
from tf_landslide.runs.sections import TrainingConfig
from tf_landslide.runs.splits import open_splits
from tf_landslide.training.callbacks import EarlyStopping
from tf_landslide.training.memory import telling_of_full_memory

pytestmark = pytest.mark.slow


def weights_hash(run) -> str:
    digest = hashlib.sha256()
    for weight in load_model(run.path).get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def test_a_run_folder_holds_what_the_contract_says(run_folder):
    names = {path.name for path in run_folder.iterdir()}
    contract = {"config.yaml", "model.keras", "last", "history.csv", "logs", "metrics.json", "environment.json"}
    assert contract <= names and not [name for name in names if name.startswith(".")]
    config = yaml.safe_load((run_folder / "config.yaml").read_text())
    assert config["training"]["epochs"] == 2 and config["data"]["channels"] == "six"
    metrics = json.loads((run_folder / "metrics.json").read_text())
    assert list(metrics) == ["train", "valid", "test"]
    for row in metrics.values():
        assert {"f1", "precision", "recall", "iou", "threshold", "interval"} <= row.keys()
        assert row["threshold"] == metrics["valid"]["threshold"]
        assert row["interval"]["f1"][0] <= row["f1"] <= row["interval"]["f1"][1]
    environment = json.loads((run_folder / "environment.json").read_text())
    assert environment["seed"] == 3 and environment["packages"]["tensorflow"].startswith("2.21")
    assert "git_revision" in environment
    with (run_folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert {"loss", "f1", "val_loss", "val_f1", "val_best_f1", "learning_rate"} <= rows[0].keys()
    assert list((run_folder / "logs").rglob("events.out.tfevents.*"))


def test_the_best_epoch_is_kept(run_folder):
    run = Run.open(run_folder)
    best = run.history[best_epoch(run.history)]
    judged = run.metrics()["valid"]
    assert judged["at_0.5"]["f1"] == pytest.approx(best["val_f1"], abs=1e-4)
    assert judged["f1"] == pytest.approx(best["val_best_f1"], abs=5e-3) and judged["f1"] >= best["val_best_f1"] - 1e-6


@pytest.mark.long
def test_a_sum_of_losses_with_a_weight_from_the_data_is_trained_and_told(config_file, sample, tmp_path):
    """What ``balanced`` came to stands in the environment, on the card and in the loss that the model was saved with; a
    session that goes on finds the same."""
    terms = "[{name: bce, weight: 0.5, positive_weight: balanced}, {name: lovasz}, {name: boundary, weight: 0.1}]"
    settings = ["loss.name=sum", f"loss.terms={terms}", "training.epochs=1"]
    run = train(load_config(config_file, settings), sample, tmp_path / "run")
    masks = open_splits(run.config, sample, splits=["train"])["train"].fetch(np.arange(10))[1]
    expected = (masks == 0).sum() / (masks == 1).sum()
    assert run.environment["positive_weight"] == expected
    text = (
        f"0.5 * (bce, positive_weight balanced ({expected:.4g})) + 1 * (lovasz) + 0.1 * (boundary, size 3, tolerance 5)"
    )
    assert run.card().training["loss"] == text and text in run.card().markdown()
    losses = load_model(run.path).loss.losses
    assert [loss.name for loss in losses] == ["bce", "lovasz", "boundary"] and losses[0].positive_weight == expected
    again = train(load_config(config_file, [*settings[:2], "training.epochs=2"]), sample, run.path, resume=True)
    assert len(again.history) == 2 and again.environment["resumed"][0]["positive_weight"] == expected


def test_normalisation_comes_from_the_training_split_and_is_saved(run_folder, sample):
    from tf_landslide.data.pipeline import load_dataset

    x = np.concatenate([x for x, _ in load_dataset(sample, "train").as_numpy_iterator()])
    layer = load_model(run_folder).get_layer("normalization")
    np.testing.assert_allclose(layer.mean.numpy(), x.mean((0, 1, 2), dtype=np.float64), rtol=1e-5)
    np.testing.assert_allclose(layer.variance.numpy() ** 0.5, x.std((0, 1, 2), dtype=np.float64), rtol=1e-5)


@pytest.mark.long
def test_two_runs_with_one_seed_give_the_same_weights(sample, config_file, tmp_path):
    """In a process of its own: deterministic mode cannot be left again."""
    import subprocess
    import sys

    script = """
import sys
from tf_landslide.cli.main import main
config, data, *outs = sys.argv[1:]
for out, seed in zip(outs, (3, 3, 4)):
    settings = ["training.deterministic=true", f"training.seed={seed}", "data.positive_fraction=0.7"]
    assert main(["train", config, *settings, "--data", data, "--out", out]) == 0
"""
    outs = [str(tmp_path / name) for name in "abc"]
    subprocess.run([sys.executable, "-c", script, str(config_file), str(sample), *outs], check=True)
    first, again, other = (weights_hash(Run.open(out)) for out in outs)
    assert first == again != other


@pytest.mark.parametrize("ema", [pytest.param("null", marks=pytest.mark.long), "0.9"])
def test_a_stopped_run_resumes_as_if_it_had_never_stopped(sample, config_file, tmp_path, capsys, ema):
    settings = ["training.epochs=4", f"training.ema={ema}", "training.early_stopping=4"]
    config = load_config(config_file, settings)
    whole = train(config, sample, tmp_path / "whole")

    class Stop(Exception):
        pass

    class StopAfterTwo(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise Stop

    import tf_landslide.training.fit as module

    original = module.BestModel
    module.BestModel = lambda *a: _Both(original(*a), StopAfterTwo())
    try:
        with pytest.raises(Stop):
            train(config, sample, tmp_path / "stopped")
    finally:
        module.BestModel = original
    assert len(Run.open(tmp_path / "stopped").history) == 2
    arguments = ["train", str(config_file), *settings, "--data", str(sample), "--out", str(tmp_path / "stopped")]
    assert main(arguments) == 2
    assert "already exists; name another folder, or go on with it with --resume" in capsys.readouterr().err
    assert main([*arguments, "--resume"]) == 0
    resumed = Run.open(tmp_path / "stopped")
    for ours, theirs in zip(resumed.history, whole.history, strict=True):
        assert ours == pytest.approx(theirs, rel=2e-3, abs=1e-4)
    for ours, theirs in zip(load_model(resumed.path).get_weights(), load_model(whole.path).get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-3)


class _Both(keras.callbacks.CallbackList):
    """Two callbacks where one is expected."""

    def __init__(self, *callbacks):
        super().__init__(list(callbacks), add_history=False, add_progbar=False)


def test_resuming_with_another_config_or_nothing_is_refused(run_folder, sample, config_file, tmp_path, capsys):
    arguments = ["train", str(config_file), "--data", str(sample), "--resume", "--out"]
    (tmp_path / "empty").mkdir()
    for nothing in ("none", "empty"):
        assert main([*arguments, str(tmp_path / nothing)]) == 2
        assert "is not a run folder, there is nothing to go on with; leave out --resume" in capsys.readouterr().err
    for setting in ("training.batch_size=9", "training.epochs=1"):
        assert main([*arguments, str(run_folder), setting]) == 2
        assert "was started with another config" in capsys.readouterr().err


def test_a_finished_run_resumes_to_itself(run_folder, sample, config_file, tmp_path):
    folder = shutil.copytree(run_folder, tmp_path / "again")
    before = (folder / "model.keras").read_bytes(), (folder / "history.csv").read_text()
    assert main(["train", str(config_file), "--data", str(sample), "--out", str(folder), "--resume"]) == 0
    assert ((folder / "model.keras").read_bytes(), (folder / "history.csv").read_text()) == before


def rows(*scores):
    return [{"epoch": i, "val_best_f1": f1, "val_loss": loss} for i, (f1, loss) in enumerate(scores)]


def test_early_stopping_remembers_what_came_before():
    earlier = rows((0.2, 1), (0.5, 1), (0.4, 1), (0.3, 1))
    assert not EarlyStopping(3, earlier).exhausted
    assert EarlyStopping(2, earlier).exhausted
    assert not EarlyStopping(2, []).exhausted and not EarlyStopping(1, earlier[:1]).exhausted


def test_of_equal_epochs_the_one_of_the_lowest_loss_is_the_best():
    """A rare class scores 0 at first: the first, untrained epoch must neither stay the best nor end the run."""
    silent = rows((0.04, 0.7), (0.04, 0.4), (0.04, 0.2), (0.04, 0.25))
    assert best_epoch(silent) == 2 and not EarlyStopping(2, silent).exhausted
    assert best_epoch(rows((0.1, 0.5), (0.1, 0.5))) == 0
    assert best_epoch(rows((0.1, float("nan")), (0.1, 0.5), (0.1, float("inf")))) == 1
    assert best_epoch([{"val_best_f1": float("nan"), "val_loss": 0.1}, *rows((0.1, 0.5))]) == 1
    assert best_epoch(rows((0.1, 0.1), (0.2, 0.9))) == 1


def test_a_diverging_run_is_told_so(sample, config_file, tmp_path, capsys):
    arguments = ["train", str(config_file), "training.learning_rate=1e30", "--data", str(sample)]
    assert main([*arguments, "--out", str(tmp_path / "r"), "training.epochs=1"]) == 2
    error = capsys.readouterr().err.strip()
    assert error == "error: the loss is no longer a number in epoch 1; train again with a lower learning_rate"
    assert not list(tmp_path.iterdir())


REMEDY = ", with training.accumulate for as many patches a step, or training.gradient_checkpointing=true"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            "OOM when allocating tensor with shape[4,4,128,128]",
            f"error: no memory for a step of training.batch_size 4; set a smaller one{REMEDY}",
        ),
        ("logs/events.out: No space left on device", "no space left on the disk"),
    ],
    ids=["memory", "disk"],
)
def test_what_a_step_finds_none_of_is_one_line(sample, config_file, tmp_path, capsys, monkeypatch, found, said):
    """TensorFlow has one exception for memory and disk."""

    def step(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, f"Graph execution error:\n\nDetected at node\n{found}")

    monkeypatch.setattr(keras.Model, "train_step", step)
    assert main(["train", str(config_file), "--data", str(sample), "--out", str(tmp_path / "r")]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({}, REMEDY),
        ({"gradient_checkpointing": True}, ", with training.accumulate for as many patches a step"),
        ({"strategy": "mirrored"}, ""),  # the others are for one device
    ],
    ids=["one device", "with checkpoints", "mirrored"],
)
def test_what_takes_less_memory_is_named_where_it_can_be_set(settings, remedy):
    with (
        pytest.raises(LandslideError, match=f"training.batch_size 16; set a smaller one{remedy}$"),
        telling_of_full_memory(TrainingConfig(**settings)),
    ):
        raise tf.errors.ResourceExhaustedError(None, None, "failed to allocate memory [Op:Mul]")


@pytest.mark.parametrize("missing", ["TrainData", "ValidData"])
def test_training_needs_train_and_valid(copy, config_file, tmp_path, capsys, missing):
    shutil.rmtree(copy / missing)
    assert main(["train", str(config_file), "--data", str(copy), "--out", str(tmp_path / "r")]) == 2
    assert "split" in capsys.readouterr().err and not (tmp_path / "r").exists()


def test_the_other_published_layout_and_no_test_split_train_too(sample, config_file, tmp_path):
    for split, name in (("TrainData", "train"), ("ValidData", "validation")):
        shutil.copytree(sample / split / "img", tmp_path / "data/images" / name)
        shutil.copytree(sample / split / "mask", tmp_path / "data/annotations" / name)
    out = tmp_path / "run"
    settings = ["training.epochs=1", "data.cache=disk", "data.median.size=3", "loss.name=bce", "data.channels=fourteen"]
    assert main(["train", str(config_file), *settings, "--data", str(tmp_path / "data"), "--out", str(out)]) == 0
    assert list(json.loads((out / "metrics.json").read_text())) == ["train", "valid"]
    assert load_model(out).input_shape[-1] == 14


@pytest.mark.long
def test_augmented_and_filtered_bands_train_a_model_whose_export_filters_alike(sample, config_file, tmp_path, capsys):
    out, parts = tmp_path / "run", ("scale", "elastic", "shadow", "haze", "optical", "elevation", "cutmix", "dropout")
    settings = [f"data.augmentation.{part}.probability=0.5" for part in parts]
    settings += ["training.epochs=1", "data.median.size=3", "data.bilateral={sigma_space: 1.0, bands: [red, nir]}"]
    assert main(["train", str(config_file), *settings, "--data", str(sample), "--out", str(out)]) == 0
    card = Run.open(out).card()
    assert card.bilateral == Bilateral(1.0, 0.02, ("red", "nir"))
    assert card.training["augmentation"].startswith("scale 0.5 x 0.25, elastic 0.5 x 1.5, shadow")
    metrics = json.loads((out / "metrics.json").read_text())
    capsys.readouterr()
    assert main(["evaluate", str(out), "--data", str(sample), "--split", "train", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["f1"] == metrics["train"]["f1"]  # judged on the patches as they are

    assert main(["export", str(out), "--to", str(tmp_path / "models")]) == 0
    signatures = tf.saved_model.load(str(tmp_path / "models/tiny/1")).signatures
    stored = np.stack([read_image(patch.image) for patch in find_patches(sample, "test")])
    served = signatures["features"](bands=tf.constant(stored))["channels"].numpy()
    np.testing.assert_allclose(served, card.channel_recipe(stored), rtol=1e-5, atol=1e-6)
    probability = signatures["from_bands"](bands=tf.constant(stored))["probability"].numpy()
    np.testing.assert_allclose(probability, load_model(out)(served, training=False), atol=1e-5)


def test_a_damaged_run_is_refused_in_one_line(run_folder, sample, tmp_path, capsys):
    def damaged(change):
        folder = shutil.copytree(run_folder, tmp_path / "damaged", dirs_exist_ok=True)
        change(folder)
        assert main(["evaluate", str(folder), "--data", str(sample)]) == 2
        error = capsys.readouterr().err.strip()
        shutil.rmtree(folder)
        assert error.count("\n") == 0 and str(folder) in error
        return error

    def flip_a_byte(folder):
        data = bytearray((folder / "model.keras").read_bytes())
        data[len(data) // 2] ^= 0xFF
        (folder / "model.keras").write_bytes(data)

    assert "cannot be loaded" in damaged(lambda f: (f / "model.keras").write_bytes(b"broken"))
    assert "cannot be loaded" in damaged(flip_a_byte)
    assert "holds no model.keras yet" in damaged(lambda f: (f / "model.keras").unlink())
    assert "has no metrics.json" in damaged(lambda f: (f / "metrics.json").unlink())
    assert "not valid YAML" in damaged(lambda f: (f / "config.yaml").write_text("a: ["))


def test_patches_of_a_size_that_no_model_takes_are_refused(sample, config_file, tmp_path, capsys):
    from tests.data.test_patches import write
    from tf_landslide.data.folders import find_patches
    from tf_landslide.data.hdf5 import read_image, read_mask

    for split, folder in (("train", "TrainData"), ("valid", "ValidData")):
        for patch in find_patches(sample, split)[:2]:
            write(tmp_path / f"data/{folder}/img/{patch.image.name}", "img", read_image(patch.image)[:100, :100])
            write(tmp_path / f"data/{folder}/mask/{patch.mask.name}", "mask", read_mask(patch.mask)[:100, :100])
    assert main(["train", str(config_file), "--data", str(tmp_path / "data"), "--out", str(tmp_path / "r")]) == 2
    assert "patches are 100 x 100; training needs" in capsys.readouterr().err and not (tmp_path / "r").exists()
    assert main(["find-rate", str(config_file), "--data", str(tmp_path / "data"), "--out", str(tmp_path / "r")]) == 2
    assert "patches are 100 x 100; training needs" in capsys.readouterr().err and not (tmp_path / "r").exists()


@pytest.mark.parametrize("folder", ["TrainData", "ValidData"])
def test_what_cannot_be_drawn_or_sized_is_refused_before_a_run_is_made(copy, config_file, tmp_path, capsys, folder):
    from tests.data.test_patches import write
    from tf_landslide.data.hdf5 import read_image, read_mask

    arguments = ["train", str(config_file), "--data", str(copy), "--out", str(tmp_path / "r")]
    for mask in (copy / "TrainData/mask").iterdir():
        write(mask, "mask", np.ones((128, 128), np.uint8))
    assert main([*arguments, "data.positive_fraction=0.5", "data.cache=disk"]) == 2
    assert "needs patches without landslides" in capsys.readouterr().err
    for image in (copy / folder / "img").iterdir():
        mask = copy / folder / "mask" / image.name.replace("image", "mask")
        write(mask, "mask", read_mask(mask)[:, :48])
        write(image, "img", read_image(image)[:, :48])
    assert main(arguments) == 2
    assert "patches are 128 x 48" in capsys.readouterr().err
    assert [path for path in tmp_path.iterdir() if path != copy] == []


@pytest.mark.long
def test_duplicates_can_be_allowed(copy, config_file, tmp_path):
    shutil.copy(copy / "TrainData/img/image_1.h5", copy / "TrainData/img/image_2.h5")
    settings = ["training.epochs=1", "data.allow_duplicates=true"]
    assert main(["train", str(config_file), *settings, "--data", str(copy), "--out", str(tmp_path / "r")]) == 0
