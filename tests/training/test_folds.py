"""Validation on whole groups, and folds of them."""

import json
import shutil
from itertools import chain

import numpy as np
import pytest

from tf_landslide.cli.main import main
from tf_landslide.cli.printing import folds_table
from tf_landslide.core.errors import LandslideError
from tf_landslide.data.folders import find_patches
from tf_landslide.data.groups import balanced_folds, drawn_groups
from tf_landslide.data.hdf5 import read_image, read_mask
from tf_landslide.jobs.folds import train_folds
from tf_landslide.predict.load import load_predictor
from tf_landslide.runs.config import load_config
from tf_landslide.runs.splits import open_splits

NAMES = ("north", "north", "south", "east", "south", "south", "east", "west", "north", "south")
ASKED = "data.groups.file=groups.json"


@pytest.fixture
def grouped(copy):
    (copy / "groups.json").write_text(json.dumps({f"TrainData/image_{i}": name for i, name in enumerate(NAMES, 1)}))
    return copy


def numbers(config_file, data, *settings):
    sources = open_splits(load_config(config_file, [ASKED, *settings]), data)
    return {split: [patch.number for patch in source.patches] for split, source in sources.items()}


def test_validation_on_named_groups_of_train_takes_the_place_of_the_split(grouped, config_file):
    found = numbers(config_file, grouped, "data.valid_groups=[south, west]")
    assert found["valid"] == [3, 5, 6, 8, 10] and found["train"] == [1, 2, 4, 7, 9] and len(found["test"]) == 5


def test_a_share_is_drawn_in_whole_groups(grouped, config_file):
    shutil.rmtree(grouped / "ValidData")
    for seed in range(4):
        found = numbers(config_file, grouped, "data.valid_share=0.3", f"training.seed={seed}")
        assert sorted(found["train"] + found["valid"]) == list(range(1, 11))
        train, valid = ({NAMES[i - 1] for i in found[split]} for split in ("train", "valid"))
        assert train and valid and not train & valid
    assert len({tuple(drawn_groups(np.array(NAMES), 0.3, seed)) for seed in range(9)}) > 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["data.valid_groups=[nowhere]"], "unknown group 'nowhere'"),
        (["data.valid_groups=[south]", "data.valid_share=0.2"], "leave one out"),
        (["data.valid_groups=[north, south, east, west]"], "names every group of train"),
    ],
)
def test_groups_that_cannot_be_validated_on_are_refused(grouped, config_file, settings, said):
    with pytest.raises(LandslideError, match=said):
        numbers(config_file, grouped, *settings)


def test_names_of_groups_need_groups(config_file):
    with pytest.raises(LandslideError, match=r"say with groups\.file or groups\.pattern"):
        load_config(config_file, ["data.valid_groups=[south]"])


@pytest.mark.parametrize("seed", range(3))
def test_folds_are_whole_groups_of_about_one_size(seed):
    sizes = np.random.default_rng(seed).integers(1, 30, 22)
    groups = np.random.default_rng(seed).permutation(np.repeat([f"g{i}" for i in range(22)], sizes))
    folds = balanced_folds(groups, 5, seed)
    assert sorted(chain(*folds)) == sorted(set(groups)) and folds == balanced_folds(groups, 5, seed)
    patches = [int(np.isin(groups, fold).sum()) for fold in folds]
    assert sum(patches) == len(groups) and max(patches) - min(patches) <= sizes.max() / 2
    assert sorted(map(len, balanced_folds(groups, 22, seed))) == [1] * 22


@pytest.mark.parametrize(
    ("folds", "settings", "said"),
    [
        (1, [ASKED], "1 folds of 4 groups; expected 2 to 4"),
        (5, [ASKED], "5 folds of 4 groups"),
        (2, [], r"say by data\.groups\.file or data\.groups\.pattern"),
        (2, [ASKED, "data.valid_groups=[south]"], r"leave out data\.valid_groups"),
    ],
)
def test_folds_that_cannot_be_made_are_refused_before_anything_is_written(
    grouped, config_file, tmp_path, folds, settings, said
):
    with pytest.raises(LandslideError, match=said):
        train_folds(load_config(config_file, settings), grouped, tmp_path / "runs", folds)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("held", "resume", "said"),
    [
        ("", False, "is a run of no folds; name another folder, or leave out --folds"),
        ("", True, "is a run of no folds"),
        ("seed_3", True, "holds runs of seed 3; give --seeds too"),
        ("seed_3/fold_0", True, "holds runs of seed 3; give --seeds too"),
        ("other", True, "holds no run of a fold, there is nothing to go on with; leave out --resume"),
        (None, True, "holds no run of a fold, there is nothing to go on with; leave out --resume"),
    ],
)
def test_folders_that_hold_no_folds_are_left_alone(grouped, config_file, tmp_path, capsys, held, resume, said):
    out = tmp_path / "out"
    if held is not None:
        (out / held).mkdir(parents=True)
        (out / held / "config.yaml").touch()
    before = sorted(tmp_path.rglob("*"))
    words = ["train", str(config_file), ASKED, "--data", str(grouped), "--out", str(out), "--folds", "2"]
    assert main([*words, *["--resume"] * resume]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"{out}: {said}" in error and sorted(tmp_path.rglob("*")) == before


def test_the_table_of_folds_names_few_groups_and_counts_many():
    scores = dict.fromkeys(("f1", "precision", "recall", "iou"), 0.5)
    folds = [{"run": "fold_0", "groups": list("abc"), **scores}]
    folds.append({"run": "fold_1", "groups": list(map(str, range(32))), **scores})
    of_all = scores | {"interval_groups": {"f1": [0.4, 0.6]}, "groups": 35}
    header, _, few, many, whole, _ = folds_table({"by_fold": folds, "scores": of_all, "threshold": 0.5}).splitlines()
    assert few.startswith("fold_0 (a, b, c)  ") and many.startswith("fold_1 (32 groups)  ")
    assert header.split() == ["F1", "precision", "recall", "IoU"] and len(whole) < 80


@pytest.mark.parametrize(
    ("begun", "told"),
    [
        (None, "error: interrupted before anything was begun; give the same command again\n"),
        ("", "error: interrupted; it goes on from its last epoch with --resume\n"),
        ("seed_0/fold_1", "error: interrupted; it goes on from its last epoch with --resume\n"),
    ],
)
def test_an_interrupt_tells_what_can_be_gone_on_with(sample, config_file, tmp_path, monkeypatch, capsys, begun, told):
    def train(*_, **__):
        if begun is not None:
            (tmp_path / "run" / begun).mkdir(parents=True)
            (tmp_path / "run" / begun / "config.yaml").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("tf_landslide.jobs.train.train", train)
    assert main(["train", str(config_file), "--data", str(sample), "--out", str(tmp_path / "run")]) == 130
    assert capsys.readouterr().err == told


@pytest.mark.long
def test_each_patch_is_judged_by_the_run_that_did_not_see_its_group(grouped, config_file, tmp_path, capsys):
    out = tmp_path / "runs"
    arguments = ["train", str(config_file), ASKED, "training.epochs=1", "--data", str(grouped), "--out", str(out)]
    assert main([*arguments, "--folds", "2"]) == 0
    assert "95 % interval over 4 groups" in capsys.readouterr().out
    said = json.loads((out / "folds.json").read_text())
    assert sorted(chain(*(fold["groups"] for fold in said["by_fold"]))) == sorted(set(NAMES))
    counts = {name: np.zeros(3) for name in NAMES}
    for fold in said["by_fold"]:
        predictor = load_predictor(out / fold["run"])
        assert (
            json.loads((out / fold["run"] / "metrics.json").read_text())["valid"]["groups_of_train"] == fold["groups"]
        )
        for patch in find_patches(grouped, "train"):
            name = NAMES[patch.number - 1]
            if name in fold["groups"]:
                marked = predictor.from_bands(read_image(patch.image)[None])[1][0, ..., 0] >= np.float32(
                    said["threshold"]
                )
                true = read_mask(patch.mask) == 1
                counts[name] += (marked & true).sum(), (marked & ~true).sum(), (~marked & true).sum()
    tp, fp, fn = sum(counts.values())
    assert (said["scores"]["tp"], said["scores"]["fp"], said["scores"]["fn"]) == (tp, fp, fn)
    for name, (tp, fp, fn) in counts.items():
        assert said["by_group"][name]["f1"] == pytest.approx(2 * tp / max(2 * tp + fp + fn, 1))
    (out / "folds.json").unlink()  # as a kill before the end leaves it, one fold unfinished
    shutil.rmtree(out / "fold_1")
    kept = (out / "fold_0/model.keras").stat().st_mtime_ns
    assert main([*arguments, "--folds", "2"]) == 2 and "go on with it with --resume" in capsys.readouterr().err
    assert main([*arguments, "--folds", "2", "--resume"]) == 0
    assert (out / "fold_0/model.keras").stat().st_mtime_ns == kept
    again = json.loads((out / "folds.json").read_text())
    kept = ("groups", "patches", "own_threshold", "at_own_threshold")
    assert all(again["by_fold"][0][key] == said["by_fold"][0][key] for key in kept)
    assert (
        main([*arguments, "--folds", "4", "--resume"]) == 2
        and "of another config or other folds" in capsys.readouterr().err
    )


@pytest.mark.long
def test_folds_are_combined_fold_by_fold(grouped, config_file, tmp_path, capsys):
    """Two folders of the same folds: each patch gets the mean of the two answers that did not see its group."""
    out = {}
    for seed in (0, 1):
        out[seed] = tmp_path / f"seed_{seed}"
        settings = [ASKED, "training.epochs=1", f"training.seed={seed}", "data.split_seed=0"]
        train_folds(load_config(config_file, settings), grouped, out[seed], 2)
    both = tmp_path / "both"
    capsys.readouterr()
    command = ["combine", str(out[0]), str(out[1]), "--out", str(both), "--data", str(grouped)]
    assert main(command) == 0
    assert "all, out of fold" in capsys.readouterr().out
    said = json.loads((both / "folds.json").read_text())
    counts = np.zeros(3)
    for fold in said["by_fold"]:
        members = [load_predictor(folder / fold["run"]) for folder in out.values()]
        for patch in (p for p in find_patches(grouped, "train") if NAMES[p.number - 1] in fold["groups"]):
            image, true = read_image(patch.image)[None], read_mask(patch.mask) == 1
            mean = np.mean([member.from_bands(image)[1][0, ..., 0] for member in members], axis=0)
            marked = mean >= np.float32(said["threshold"])
            counts += (marked & true).sum(), (marked & ~true).sum(), (~marked & true).sum()
    np.testing.assert_allclose(counts, [said["scores"][key] for key in ("tp", "fp", "fn")], atol=2)  # at the threshold
    derived = json.loads((both / "fold_0/environment.json").read_text())["combined_from"]
    assert [member["run"] for member in derived["members"]] == ["seed_0/fold_0", "seed_1/fold_0"]
    capsys.readouterr()
    assert main(["compare", str(both / "out_of_fold"), str(out[0] / "out_of_fold"), "--split", "valid", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 2  # one config, but not two seeds of one model
    assert main(command) == 2 and "already exists" in capsys.readouterr().err
    refused(capsys, ["combine", str(both), str(out[0]), "--out", str(tmp_path / "x")], "give --data DIR")
    elsewhere = ["--out", str(tmp_path / "x"), "--data", str(grouped)]
    refused(capsys, ["combine", str(both), str(out[0]), *elsewhere, "--threshold", "0.5"], "leave out --threshold")
    refused(capsys, ["combine", str(both), str(out[0] / "fold_0"), *elsewhere], "it has no folds.json")
    assert not (tmp_path / "x").exists()


def refused(capsys, command, said):
    assert main(command) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("fitted", [["--temperature"], ["--tta", "auto"]])
def test_nothing_is_fitted_on_what_is_judged_out_of_fold(tmp_path, grouped, capsys, fitted):
    (tmp_path / "seed_0").mkdir()
    by_fold = [{"run": "fold_0", "groups": ["north"]}]
    (tmp_path / "seed_0/folds.json").write_text(json.dumps({"threshold": 0.5, "by_fold": by_fold}))
    command = ["combine", str(tmp_path / "seed_0"), "--out", str(tmp_path / "out"), "--data", str(grouped), *fitted]
    refused(capsys, command, "would be fitted on the patches out of fold that are then judged; leave out --temperature")
    assert not (tmp_path / "out").exists()


def test_other_folds_are_not_combined(tmp_path, grouped, capsys):
    plans = {0: [["north", "east"], ["south", "west"]], 5: [["north", "west"], ["south", "east"]]}
    for seed, plan in plans.items():
        (tmp_path / f"seed_{seed}").mkdir()
        by_fold = [{"run": f"fold_{i}", "groups": names} for i, names in enumerate(plan)]
        (tmp_path / f"seed_{seed}/folds.json").write_text(json.dumps({"threshold": 0.5, "by_fold": by_fold}))
    command = ["combine", *(str(tmp_path / f"seed_{s}") for s in (0, 5)), "--out", str(tmp_path / "both")]
    refused(capsys, [*command, "--data", str(grouped)], "are of other folds")
    (tmp_path / "seed_5/folds.json").write_text('{"threshold": 0.5, "by_fold": [{"run": "fold_0"}]}')
    refused(capsys, [*command, "--data", str(grouped)], "folds.json: by_fold.0.groups: field required")
    assert not (tmp_path / "both").exists()
