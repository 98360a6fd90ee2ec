"""Comparing runs: against scikit-learn, SciPy and every toss of the coins, on runs that are made of raw arrays."""

import csv
import itertools
import json
import shutil
import zipfile

import h5py
import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score, precision_score

from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import digest_of
from tf_landslide.evaluation.keeping import keep_counts
from tf_landslide.jobs.compare import compare_runs
from tf_landslide.metrics import IGNORED
from tf_landslide.metrics.counts import Histograms, judge
from tf_landslide.runs import formats
from tf_landslide.runs.config import load_config
from tf_landslide.runs.folder import Run
from tf_landslide.runs.judged import About, Judged
from tf_landslide.runs.sections import Config
from tf_landslide.runs.splits import open_splits

N, SIDE = 6, 12
GROUPS = ["a", "a", "b", "c", "c", "d"]


def truth(seed=0):
    rng = np.random.default_rng(seed)
    masks = (rng.random((N, SIDE, SIDE)) < 0.3).astype(np.uint8)
    masks[0, 0, :5] = IGNORED
    return masks


def probabilities(seed, noise):
    rng = np.random.default_rng(seed)
    return np.clip((truth() == 1) * 0.5 + 0.2 + rng.normal(0, noise, (N, SIDE, SIDE)), 0, 1)


def make_run(folder, noise, *, seed=0, name="model", masks=None, split="test", groups=None, files="f" * 64, **about):
    """A run folder as judging leaves it, of random probabilities."""
    masks = truth() if masks is None else masks
    probability = probabilities(seed + round(1000 * noise), noise)
    folder.mkdir(parents=True)
    config = Config(name=name).model_dump() | {"training": Config().training.model_dump() | {"seed": seed}}
    (folder / "config.yaml").write_text(json.dumps(config))
    (folder / "model.keras").write_bytes(f"{name} {seed} {noise}".encode())
    histograms = Histograms.of(zip(probability, masks, strict=True))
    threshold = 0.4
    (folder / "metrics.json").write_text(
        json.dumps({part: judge(histograms, threshold, resamples=2) for part in {split, "valid"}})
    )
    told = {
        "split": split,
        "threshold": threshold,
        "threshold_from": "chosen on validation",
        "data": "somewhere",
        "model": digest_of(folder / "model.keras"),
        "files": files,
        "masks": str(masks.sum()),
        "groups": groups,
        "names": [f"image_{i}.h5" for i in range(N)],
        **about,
    }
    ignored = (masks == IGNORED).sum((1, 2))
    Judged(About(**told), histograms, np.full(N, SIDE * SIDE), ignored).save(folder / "judged" / f"{split}.npz")
    known = masks != IGNORED
    return folder, (probability[known] >= np.float32(threshold), masks[known] == 1)


@pytest.fixture
def models(tmp_path):
    """Three seeds of one model and one run of a worse one, with what each marks."""
    runs = {f"good/{s}": make_run(tmp_path / "good" / str(s), 0.2, seed=s, name="good") for s in range(3)}
    return runs | {"poor": make_run(tmp_path / "poor", 0.4, name="poor")}


def test_scores_are_scikit_learns_and_the_spread_is_students(models):
    compared = compare_runs([path for path, _ in models.values()], "test")
    good, poor = compared["rows"]
    assert [good["model"], poor["model"]] == ["good", "poor"] and good["seeds"] == [0, 1, 2]
    f1 = [f1_score(t, m) for m, t in (marks for path, marks in models.values())]
    assert [member["f1"] for member in good["members"]] == pytest.approx(f1[:3])
    assert good["f1"] == pytest.approx(np.mean(f1[:3])) and poor["f1"] == pytest.approx(f1[3])
    assert poor["precision"] == pytest.approx(precision_score(models["poor"][1][1], models["poor"][1][0]))
    low, high = stats.t.interval(0.95, 2, loc=np.mean(f1[:3]), scale=stats.sem(f1[:3]))
    assert good["over_seeds"] == pytest.approx((high - low) / 2) and poor["over_seeds"] is None
    assert (compared["pixels"], compared["ignored"], compared["patches"]) == (N * SIDE**2, 5, N)
    for row in compared["rows"]:
        for member in row["members"]:
            assert sum(member[key] for key in ("tp", "fp", "fn", "tn")) == N * SIDE**2 - 5
    assert good["difference"] is None and good["differs"] == poor["differs"] == {}


def patch_counts(folder):
    judged = Judged.load(folder / "judged" / "test.npz")
    return judged.histograms.counts(0.4)[:, :3]


def f1_of(counts):
    tp, fp, fn = counts
    return 2 * tp / (2 * tp + fp + fn)


@pytest.mark.parametrize("groups", [None, GROUPS])
def test_the_difference_from_the_best_is_tested_by_every_toss(tmp_path, groups):
    good = [make_run(tmp_path / f"g{s}", 0.22, seed=s, name="good", groups=groups)[0] for s in range(2)]
    poor = make_run(tmp_path / "p", 0.26, name="poor", groups=groups)[0]
    compared = compare_runs([*good, poor], "test")
    told = compared["rows"][1]["difference"]
    ones, two = [patch_counts(folder).astype(float) for folder in good], patch_counts(poor).astype(float)
    value = f1_of(two.sum(0)) - np.mean([f1_of(one.sum(0)) for one in ones])
    names = groups or list(range(N))
    units = sorted(set(names))
    as_much = []
    for toss in itertools.product((False, True), repeat=len(units)):
        swap = np.array([toss[units.index(name)] for name in names])[:, None]
        swapped = [(np.where(swap, two, one), np.where(swap, one, two)) for one in ones]
        differences = [f1_of(b.sum(0)) - f1_of(a.sum(0)) for a, b in swapped]
        as_much.append(abs(np.mean(differences)) >= abs(value) - 1e-12)
    best, other = compared["rows"]
    assert told["value"] == pytest.approx(value) == other["f1"] - best["f1"] and told["p_permutation"] == pytest.approx(
        np.mean(as_much)
    )
    assert (compared["unit"], compared["units"]) == (("patches", N) if groups is None else ("groups", 4))
    assert told["p"] == told["p_permutation"] and told["p_seeds"] is None  # one is compared, of one run


def test_seeds_are_compared_by_welch(tmp_path):
    noises = {"a": 0.2, "b": 0.3}
    runs = [
        make_run(tmp_path / f"{name}{seed}", noise, seed=seed, name=name)[0]
        for name, noise in noises.items()
        for seed in range(3)
    ]
    one, two = compare_runs(runs, "test")["rows"]
    f1 = [[member["f1"] for member in row["members"]] for row in (one, two)]
    assert two["difference"]["p_seeds"] == pytest.approx(stats.ttest_ind(*f1, equal_var=False).pvalue)
    told = two["difference"]
    assert told["p"] == max(told["p_permutation"], told["p_seeds"])  # one is compared
    level = next((mark for level, mark in ((0.001, "***"), (0.01, "**"), (0.05, "*")) if told["p"] < level), "≈")
    assert told["mark"] == level


def test_a_lucky_seed_is_no_better_model(tmp_path):
    """Six seeds of two models that are alike, one of them lucky: told apart on the patches, not over seeds."""
    noises = {"a": (0.15, 0.35, 0.36), "b": (0.3, 0.34, 0.37)}
    runs = [
        make_run(tmp_path / f"{name}{seed}", noise, seed=seed, name=name)[0]
        for name, some in noises.items()
        for seed, noise in enumerate(some)
    ]
    told = compare_runs(runs, "test")["rows"][1]["difference"]
    assert told["p_permutation"] < 0.05 < told["p_seeds"] and told["mark"] == "≈"


def test_seeds_that_scatter_differ_by_the_mean_that_is_shown(tmp_path):
    """Their counts taken together would score far below the mean of their scores, and turn the order over."""
    runs = [make_run(tmp_path / f"a{s}", noise, seed=s, name="a")[0] for s, noise in enumerate((0.02, 0.05, 3))]
    for of_b in range(2):
        runs.append(make_run(tmp_path / f"b{of_b}", 0.2, seed=of_b, name="b")[0])
    best, other = compare_runs(runs, "test")["rows"]
    pooled = [f1_of(sum(patch_counts(run) for run in some).sum(0)) for some in (runs[:3], runs[3:])]
    assert (best["model"], other["model"]) == ("a", "b") and pooled[0] < pooled[1]
    told = other["difference"]
    assert told["value"] == pytest.approx(other["f1"] - best["f1"]) and told["value"] < 0
    low, high = told["interval"]
    assert low <= told["value"] <= high


@pytest.mark.usefixtures("models")
def test_what_is_written_says_the_same_in_every_form(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["compare", str(tmp_path / "good"), str(tmp_path / "poor"), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {
        *("compare.md", "compare.csv", "compare.html", "compare.json", "comparison.png")
    }
    told = json.loads((out / "compare.json").read_text())
    rows = list(csv.DictReader((out / "compare.csv").open(newline="")))
    for row, written in zip(told["rows"], rows, strict=True):
        assert written["model"] == row["model"] and float(written["f1"]) == row["f1"]
        assert int(written["pixels"]) == N * SIDE**2 and written["split"] == "test"
    assert rows[0]["difference"] == "" and float(rows[1]["p_holm"]) == told["rows"][1]["difference"]["p"]
    page, text = (out / "compare.html").read_text(), (out / "compare.md").read_text()
    for form in (page, text, printed):
        assert f"{told['rows'][0]['f1']:.4f} ± {told['rows'][0]['over_seeds']:.4f}" in form
        assert "chosen on validation" in form
    for form in (page, text):
        assert "864; " not in form and "864 less 5 that masks leave out; the counts of every run sum to 859" in form
    assert "859 pixels" in printed and "<script" not in page and "http" not in page.split("</style>")[1]


def test_the_keys_that_differ_are_told(tmp_path):
    one, _ = make_run(tmp_path / "one", 0.2)
    two, _ = make_run(tmp_path / "two", 0.3)
    config = json.loads((two / "config.yaml").read_text())
    config["loss"]["alpha"] = 0.3
    (two / "config.yaml").write_text(json.dumps(config))
    rows = compare_runs([one, two], "test")["rows"]
    assert {row["model"]: row["differs"]["loss.alpha"] for row in rows} == {"model (one)": 0.5, "model (two)": 0.3}
    assert all(set(row["differs"]) == {"loss.alpha"} for row in rows)


def test_models_of_one_name_are_called_by_their_networks(tmp_path):
    runs = [make_run(tmp_path / f"r{i}", 0.2 + i / 20)[0] for i in range(3)]
    for folder, changed in zip(runs[1:], ({"encoder": "resnet18"}, {"encoder_weights": "imagenet"}), strict=True):
        config = json.loads((folder / "config.yaml").read_text())
        config["model"] |= changed
        (folder / "config.yaml").write_text(json.dumps(config))
    rows = compare_runs(runs, "test")["rows"]
    assert {row["model"] for row in rows} == {"unet + resnet18", "unet + resnet34 (r0)", "unet + resnet34 (r2)"}


def test_a_run_made_of_others_is_another_model(tmp_path):
    plain = [make_run(tmp_path / f"p{s}", 0.2, seed=s)[0] for s in range(2)]
    made = [make_run(tmp_path / f"m{s}", 0.22, seed=s)[0] for s in range(2)]
    for folder in made:
        member = {"run": "p", "sha256": "0" * 64, "threshold": 0.4, "architecture": "unet", "encoder": "resnet34"}
        told = {"members": [member], "threshold_from": "chosen on validation", "symmetries": "eight"}
        (folder / "environment.json").write_text(json.dumps({formats.COMBINED: told}))
    rows = compare_runs([*plain, *made], "test")["rows"]
    assert sorted(row["seeds"] for row in rows) == [[0, 1], [0, 1]]
    assert sorted(len(row["differs"]) for row in rows) == [0, 4]  # nothing is said of what a plain run has not
    (differs,) = (row["differs"] for row in rows if row["differs"])
    assert differs == {
        "made.members": 1,
        "made.network": "unet + resnet34",
        "made.average": "probabilities",
        "made.symmetries": "eight",
    }


def test_a_run_made_of_several_networks_is_called_by_all_of_them(tmp_path):
    plain, made = (make_run(tmp_path / name, noise)[0] for name, noise in (("plain", 0.2), ("made", 0.22)))
    networks = (("unet", "resnet34"), ("segformer", "mit_b0"))
    members = [
        {"run": f"r{i}", "sha256": str(i) * 64, "threshold": 0.4, "architecture": architecture, "encoder": encoder}
        for i, (architecture, encoder) in enumerate(networks)
    ]
    told = {"members": members, "threshold_from": "chosen on validation"}
    (made / "environment.json").write_text(json.dumps({formats.COMBINED: told}))
    rows = compare_runs([plain, made], "test")["rows"]
    assert {row["runs"][0]: row["network"] for row in rows} == {
        "plain": "unet + resnet34",
        "made": "unet + resnet34, segformer + mit_b0",
    }


@pytest.mark.parametrize(
    "differing",
    [
        lambda i: {formats.CONVERTED: {"file": "m.pth", "sha256": str(i) * 64}},
        lambda i: {"data_fingerprint": {"train": {"patches": 3, "sha256": str(i) * 64}}},
        lambda i: {
            formats.ADAPTED: {
                "members": [{"run": "p", "sha256": "0" * 64, "threshold": 0.4, "architecture": "unet"}],
                "threshold_from": "that of p",
                "statistics": "batch norm",
                "images": f"region_{i}, test, 9 images",
            }
        },
    ],
    ids=["of two checkpoints", "trained on two datasets", "adapted to two regions"],
)
def test_what_is_of_one_config_but_not_alike_is_not_taken_for_seeds(tmp_path, differing):
    runs = [make_run(tmp_path / f"r{i}", 0.2 + i / 20)[0] for i in range(2)]
    for i, folder in enumerate(runs):
        (folder / "environment.json").write_text(json.dumps(differing(i)))
    rows = compare_runs(runs, "test")["rows"]
    assert len(rows) == 2 and rows[1]["difference"] and all(row["over_seeds"] is None for row in rows)
    assert all(row["differs"] for row in rows)


def test_a_seed_that_was_run_twice_is_not_two_seeds(tmp_path):
    runs = [make_run(tmp_path / name, 0.2 + i / 50, seed=i % 2)[0] for i, name in enumerate("abcd")]
    compared = compare_runs(runs, "test")
    assert sorted((row["runs"], row["seeds"]) for row in compared["rows"]) == [
        (["a", "b"], [0, 1]),
        (["c", "d"], [0, 1]),
    ]
    for names in ("a and c", "b and d"):
        assert f"{names} are of one seed, so that neither is a second one." in compared["notes"]


def test_several_seeds_are_called_by_their_folder_where_that_tells_them_apart(tmp_path):
    for name, settings in {"one": {}, "two": {"ema": 0.9}}.items():
        for seed in range(2):
            folder, _ = make_run(tmp_path / name / f"seed_{seed}", 0.2 + seed / 50, seed=seed)
            config = json.loads((folder / "config.yaml").read_text())
            config["training"] |= settings
            (folder / "config.yaml").write_text(json.dumps(config))
    rows = compare_runs([tmp_path / "one", tmp_path / "two"], "test")["rows"]
    assert sorted(row["model"] for row in rows) == ["model (one)", "model (two)"]
    shutil.copytree(tmp_path / "two", tmp_path / "other/one")
    rows = compare_runs([tmp_path / "one", tmp_path / "other/one"], "test")["rows"]
    assert len({row["model"] for row in rows}) == 2 and all(row["model"].endswith("/one/seed_0)") for row in rows)


def test_a_folder_of_folds_stands_for_its_counts_out_of_fold(tmp_path):
    for name in ("a/fold_0", "a/fold_1", "a/out_of_fold", "seeds/seed_0/fold_0", "seeds/seed_0/out_of_fold"):
        make_run(tmp_path / name, 0.2, seed=int(name.startswith("a")))
    compared = compare_runs([tmp_path / "a", tmp_path / "seeds"], "test")
    assert sorted(run for row in compared["rows"] for run in row["runs"]) == [*("a/out_of_fold", "seed_0/out_of_fold")]


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"files": "e" * 64}, "files differ"),
        ({"masks": truth(1)}, "masks differ"),
        ({"of_train": True}, "ways to validate differ"),
        ({"names": [f"image_{i}.h5" for i in range(1, N + 1)]}, "patches differ"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_data_are_refused(tmp_path, about, said):
    one, _ = make_run(tmp_path / "one", 0.2)
    two, _ = make_run(tmp_path / "two", 0.2, **about)
    with pytest.raises(LandslideError, match=f"one and two: were judged on different data: their {said}"):
        compare_runs([one, two], "test")


def rewritten(path, **changed):
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files} | changed
    np.savez_compressed(path, **arrays)


def test_counts_that_do_not_sum_to_the_pixels_are_refused(tmp_path, capsys):
    one, _ = make_run(tmp_path / "one", 0.2)
    two, _ = make_run(tmp_path / "two", 0.2, seed=1)
    metrics = json.loads((two / "metrics.json").read_text())
    metrics["test"]["tn"] *= 6
    (two / "metrics.json").write_text(json.dumps(metrics))
    assert main(["compare", str(one), str(two)]) == 2
    error = capsys.readouterr().err
    assert "two/metrics.json: counts of test sum to" in error and f"the split has {N * SIDE**2 - 5:,} pixels" in error
    with np.load(one / "judged" / "test.npz") as file:
        other = file["other"].astype(np.int64)
    other[3, 0] += 1
    rewritten(one / "judged" / "test.npz", other=other.astype(np.uint16))
    with pytest.raises(
        LandslideError, match=r"one/judged/test.npz: counts of image_3.h5 sum to 145, its pixels are 144"
    ):
        compare_runs([one], "test")


def test_what_is_not_there_or_of_another_split_or_model_is_refused(tmp_path):
    one, _ = make_run(tmp_path / "one", 0.2)
    with pytest.raises(
        LandslideError, match=r"keeps no counts of split 'valid' \(it has those of test\); judge it on .* --data"
    ):
        compare_runs([one], "valid")
    shutil.copy(one / "judged" / "test.npz", one / "judged" / "valid.npz")
    with pytest.raises(LandslideError, match=r"valid.npz: holds counts of split 'test', expected 'valid'"):
        compare_runs([one], "valid")
    with pytest.raises(LandslideError, match="named twice"):
        compare_runs([one, one], "test")
    with pytest.raises(LandslideError, match="unknown split 'tset'"):
        compare_runs([one], "tset")
    with pytest.raises(LandslideError, match="is not a run folder"):
        compare_runs([tmp_path / "none"], "test")
    (one / "model.keras").write_bytes(b"trained on")
    with pytest.raises(LandslideError, match=r"is of another model than model\.keras is now"):
        compare_runs([one], "test")


def _with_threshold(path, threshold):
    with np.load(path) as file:
        about = json.loads(file["about"].tobytes()) | {"threshold": threshold}
    return {"about": np.frombuffer(json.dumps(about).encode(), np.uint8)}


def test_files_that_nobody_vouches_for(tmp_path):
    one, _ = make_run(tmp_path / "one", 0.2)
    path = one / "judged" / "test.npz"
    whole = path.read_bytes()
    for changed in (
        {"landslide": np.zeros((N, 5), np.uint8)},
        {"landslide": np.full((N, 1001), -1)},
        {"other": np.array([object()])},
        {"about": np.frombuffer(b"{}", np.uint8)},
        {"about": np.frombuffer(b'{"format": 1, "split": 3}', np.uint8)},
        *(_with_threshold(path, threshold) for threshold in (0.12345, float("nan"), 7.0, -0.001, float("inf"))),
    ):
        path.write_bytes(whole)
        rewritten(path, **changed)
        with pytest.raises(LandslideError, match=r"test.npz: "):
            compare_runs([one], "test")
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LandslideError, match="is damaged"):
        compare_runs([one], "test")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("about.npy", bytes(2**20))
        file.filelist[0].file_size = 2**31  # what it claims to be
    with pytest.raises(LandslideError, match=r"its arrays have more than 1,073,741,824 bytes"):
        compare_runs([one], "test")


def test_a_run_keeps_the_counts_of_its_judging(run_folder, tmp_path, capsys):
    """What training kept are the counts of ``metrics.json``, and small."""
    metrics = json.loads((run_folder / "metrics.json").read_text())
    for split in ("train", "valid", "test"):
        path = run_folder / "judged" / f"{split}.npz"
        judged = Judged.load(path)
        assert path.stat().st_size < 5_000 * len(judged.histograms)
        counts = judged.histograms.counts(metrics[split]["threshold"]).sum(0)
        assert [metrics[split][name] for name in ("tp", "fp", "fn", "tn")] == list(counts)
    copied = shutil.copytree(run_folder, tmp_path / "copied")
    text = (copied / "config.yaml").read_text()
    (copied / "config.yaml").write_text(text.replace("seed: 3", "seed: 4"))
    assert main(["compare", str(run_folder), str(copied), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["seeds"] == [3, 4] and row["over_seeds"] == 0 and row["f1"] == pytest.approx(metrics["test"]["f1"])


@pytest.mark.slow
def test_a_run_of_before_is_judged_on_its_data(run_folder, sample, tmp_path):
    kept = compare_runs([run_folder], "test")
    old = shutil.copytree(run_folder, tmp_path / "old")
    shutil.rmtree(old / "judged")
    with pytest.raises(LandslideError, match=r"runs of before kept none\); judge it on its data with --data DIR"):
        compare_runs([old], "test")
    told = compare_runs([old, run_folder], "test", data_dir=sample)
    members = [member for row in told["rows"] for member in row["members"]]
    assert [member["tp"] for member in members] == [kept["rows"][0]["members"][0]["tp"]] * 2


@pytest.mark.usefixtures("models")
def test_each_is_set_against_a_named_baseline(tmp_path, capsys):
    """The worst one: every difference is the F1 of scikit-learn less its own, in every form."""
    make_run(tmp_path / "middle", 0.3, name="middle")
    given, out = [str(tmp_path / "good"), str(tmp_path / "middle")], tmp_path / "compared"
    assert main(["compare", *given, "--against", str(tmp_path / "poor"), "--out", str(out)]) == 0
    assert "from the baseline" in capsys.readouterr().out
    told = json.loads((out / "compare.json").read_text())
    baseline = f1_of(patch_counts(tmp_path / "poor").sum(0))
    assert told["against"] == "poor" and [row["model"] for row in told["rows"]] == ["good", "middle", "poor"]
    for row in told["rows"][:2]:
        folders = [path.parent for path in sorted((tmp_path / row["model"]).rglob("model.keras"))]
        mean = np.mean([f1_of(patch_counts(folder).sum(0)) for folder in folders])
        difference = row["difference"]
        assert difference["value"] == pytest.approx(mean - baseline) and difference["value"] > 0
        low, high = difference["interval"]
        assert low <= difference["value"] <= high and difference["mark"] in ("*", "**", "***", "≈")
    assert told["rows"][2]["difference"] is None
    markdown, page = (out / "compare.md").read_text(), (out / "compare.html").read_text()
    for text in (markdown, page):
        assert "Differences from poor" in text and "from the baseline" in text
        assert f"{told['rows'][0]['difference']['value']:+.4f}" in text
        assert "The best was picked" not in text
    rows = list(csv.DictReader((out / "compare.csv").open()))
    assert [row["difference_from"] for row in rows] == ["poor", "poor", ""]
    assert float(rows[1]["difference"]) == pytest.approx(told["rows"][1]["difference"]["value"])


def test_a_baseline_may_be_one_of_the_runs_or_a_folder_of_seeds(models, tmp_path):
    paths = [path for path, _ in models.values()]
    for against in (paths[0], tmp_path / "good"):
        compared = compare_runs(paths, "test", against=against)
        assert compared["against"] == "good" and [row["difference"] is None for row in compared["rows"]] == [
            True,
            False,
        ]
    for seed in range(2):
        shutil.copytree(paths[3 * seed], tmp_path / f"mixed/{seed}")
    with pytest.raises(LandslideError, match=r"--against .*mixed: holds runs of several models; name one run"):
        compare_runs(paths, "test", against=tmp_path / "mixed")


def test_counts_out_of_fold_are_of_the_training_split_of_their_data(copy, tmp_path, config_file):
    config = load_config(config_file)
    train = open_splits(config, copy)["train"]
    masks = train.fetch(np.arange(len(train)))[1][..., 0]
    for seed in range(2):
        histograms = Histograms.of([(np.full((128, 128), 0.4 + 0.1 * seed), mask) for mask in masks])
        keep_counts(
            tmp_path / f"{seed}", config, train, histograms, judge(histograms, 0.4), "out of fold", of_train=True
        )
    paths = [tmp_path / "0", tmp_path / "1"]
    shutil.rmtree(copy / "ValidData")  # which takes no part
    assert compare_runs(paths, "valid", data_dir=copy) == compare_runs(paths, "valid")
    with h5py.File(train.patches[1].mask, "r+") as file:
        file["mask"][5, 7] ^= 1
    with pytest.raises(LandslideError, match="is of other data than"):
        compare_runs(paths, "valid", data_dir=copy)


def test_masks_that_were_corrected_since_are_other_data(copy, tmp_path, config_file, monkeypatch):
    """The fingerprint of a dataset looks at a few files, here at one."""
    monkeypatch.setattr("tf_landslide.runs.provenance._SAMPLES", 1)
    config = load_config(config_file)
    valid = open_splits(config, copy)["valid"]
    histograms = Histograms.of([(np.full((128, 128), 0.5), mask[..., 0]) for mask in valid.fetch(np.arange(6))[1]])
    keep_counts(tmp_path / "kept", config, valid, histograms, judge(histograms, 0.4), "chosen on validation")
    assert compare_runs([tmp_path / "kept"], "valid", data_dir=copy)["patches"] == 6
    with pytest.raises(LandslideError, match="kept: holds counts alone, as those out of fold, and no model"):
        Run.open(tmp_path / "kept").require_model()
    with h5py.File(valid.patches[3].mask, "r+") as file:
        file["mask"][5, 7] ^= 1
    with pytest.raises(LandslideError, match="is of other data than"):
        compare_runs([tmp_path / "kept"], "valid", data_dir=copy)
