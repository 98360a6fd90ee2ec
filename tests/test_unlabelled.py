"""A split without any mask is counted and predicted, never judged; a single missing mask stays a fault."""

import json
import shutil

import numpy as np
import pytest

from tf_landslide.cli.main import main, parse
from tf_landslide.core.errors import LandslideError
from tf_landslide.data.pipeline import load_dataset
from tf_landslide.data.statistics import inspect_data


@pytest.fixture(params=["no folder", "an empty folder"])
def unlabelled(request, copy):
    """The sample as it was released at first: a test split without masks."""
    shutil.rmtree(copy / "TestData/mask")
    if request.param == "an empty folder":
        (copy / "TestData/mask").mkdir()
    return copy


def test_inspect_counts_it_without_a_problem(unlabelled, capsys):
    found = inspect_data(unlabelled)
    test = found.splits["test"]
    assert found.problems == [] and found.splits["train"].labelled
    assert (test.images, test.masks, test.pairs, test.labelled, test.landslide_fraction) == (5, 0, 0, False, None)
    assert test.shape == (128, 128, 14) and test.bands[0].mean > 0
    assert main(["inspect", str(unlabelled)]) == 0
    assert "test: 5 images, 128 x 128 x 14, no masks: can be predicted, not judged" in capsys.readouterr().out


@pytest.mark.slow
def test_train_leaves_it_out_and_evaluate_refuses_it(unlabelled, config_file, tmp_path, capsys):
    run = tmp_path / "run"
    words = ["train", str(config_file), "training.epochs=1", "--data", str(unlabelled), "--out", str(run)]
    assert main(words) == 0
    assert list(json.loads((run / "metrics.json").read_text())) == ["train", "valid"]
    capsys.readouterr()
    assert main(["evaluate", str(run), "--data", str(unlabelled)]) == 2
    error = capsys.readouterr().err
    assert error == f"error: {unlabelled}: split 'test' has no masks, so it can be predicted, but not judged\n"
    with pytest.raises(LandslideError, match="has no masks"):
        load_dataset(unlabelled, "test")


def test_predict_takes_it_by_its_split(unlabelled, run_folder, tmp_path, capsys):
    words = ["predict", str(run_folder), "--out"]
    assert main([*words, str(tmp_path / "split"), "--data", str(unlabelled), "--split", "test", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    images = [unlabelled / f"TestData/img/image_{i}.h5" for i in range(1, 6)]
    assert [row["input"] for row in rows] == list(map(str, images))
    assert main([*words, str(tmp_path / "files"), *map(str, images)]) == 0
    for row in rows:
        name = row["probability"].rsplit("/", 1)[1]
        np.testing.assert_array_equal(np.load(row["probability"]), np.load(tmp_path / "files" / name))


def test_a_labelled_split_is_predicted_too_and_a_missing_one_refused(sample, run_folder, tmp_path, capsys):
    words = ["predict", str(run_folder), "--out", str(tmp_path / "out"), "--data", str(sample)]
    assert main([*words, "--split", "valid"]) == 0
    assert len(list((tmp_path / "out").glob("*.npy"))) == 6
    capsys.readouterr()
    assert main([*words, "--split", "vald"]) == 2
    assert "unknown split 'vald'; did you mean 'valid'" in capsys.readouterr().err


@pytest.mark.parametrize("split", ["TrainData", "ValidData"])
def test_training_needs_masks_of_both_its_splits(copy, config_file, tmp_path, capsys, split):
    arguments = ["train", str(config_file), "--data", str(copy), "--out", str(tmp_path / "run")]
    shutil.rmtree(copy / split / "mask")
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "has no masks" in error and ("data.valid_share=0.2" in error) == (split == "ValidData")
    shutil.rmtree(copy / split)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "has no '" in error and ("data.valid_share=0.2" in error) == (split == "ValidData")
    assert not (tmp_path / "run").exists()


def test_a_single_missing_mask_stays_a_fault_and_so_do_misnamed_ones(copy, config_file, tmp_path, capsys):
    (copy / "TestData/mask/mask_2.h5").unlink()
    (problem,) = inspect_data(copy).problems
    assert "image_2.h5: has no mask_2.h5 to go with it" in problem
    for path in (copy / "TestData/mask").iterdir():
        path.rename(path.with_name(path.name.upper()))
    assert len(inspect_data(copy).problems) == 4
    assert main(["train", str(config_file), "--data", str(copy), "--out", str(tmp_path / "run")]) == 2
    assert "MASK_1.H5: expected a name like" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["a.h5", "--data", "d"]])
def test_inputs_are_named_one_way(words, capsys):
    assert main(["predict", "m", *words, "--out", "o"]) == 2
    assert "either files, INPUT.h5 …, or a dataset, --data DIR" in capsys.readouterr().err


def test_files_may_stand_anywhere_on_the_line():
    for line in (["m", "a", "b", "--out", "o"], ["m", "--out", "o", "a", "b"], ["m", "a", "--out", "o", "b"]):
        assert parse(["predict", *line]).inputs == ["a", "b"]
