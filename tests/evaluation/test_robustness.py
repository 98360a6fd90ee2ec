"""What a model loses to another region, to shuffled channels, to faults of its input; against loops over raw arrays."""

import itertools
import json
import shutil

import h5py
import numpy as np
import pytest
from scipy.ndimage import convolve
from sklearn.metrics import f1_score

from tf_landslide.bands.layouts import LANDSLIDE4SENSE, MMLS, BandLayout
from tf_landslide.bands.recipes import channel_recipe
from tf_landslide.bands.sources import by_source, source_of
from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError
from tf_landslide.data.source import PatchSource
from tf_landslide.evaluation.importance import other_patches, permutation_importance
from tf_landslide.evaluation.sensitivity import faults_of, sensitivity, with_fault
from tf_landslide.evaluation.unsure import closeness, measures_of, unsureness
from tf_landslide.metrics import IGNORED
from tf_landslide.metrics.counts import Histograms
from tf_landslide.metrics.shift import shift
from tf_landslide.metrics.uncertainty import risk_coverage
from tf_landslide.predict.predictor import Predictor
from tf_landslide.runs.card import ModelCard

SIX = ("red", "green", "blue", "ndvi", "slope", "dem")


class Rule:
    """A backend whose probability is a known function of the channels, and no network."""

    name, batch_size, max_bytes, in_flight = "rule", 4, 2**28, 1

    def uncertainty(self, channels):
        raise LandslideError("has no dropout")

    def probability(self, channels):
        steep = np.clip(channels[..., 4:5] / 60, 0, 1)
        bare = np.nan_to_num(np.clip(1 - channels[..., 3:4], 0, 1))
        return (0.8 * steep + 0.2 * bare).astype(np.float32)


@pytest.fixture
def predictor():
    return Predictor(ModelCard("rule", "rule", None, LANDSLIDE4SENSE, SIX, 0.5), Rule())


@pytest.fixture(scope="module")
def source(sample):
    return PatchSource.open(sample, "test", channel_recipe())


def rule(channels):
    return Rule().probability(channels)[..., 0]


def score(probability, masks, threshold=0.5):
    return f1_score(masks.ravel() == 1, (probability >= np.float32(threshold)).ravel(), zero_division=0)


def test_every_patch_gets_another_one_and_each_is_taken_once():
    for n, seed in itertools.product((2, 3, 7, 50), range(5)):
        donors = other_patches(n, np.random.default_rng(seed))
        assert sorted(donors) == list(range(n)) and (donors != np.arange(n)).all()


def test_importance_is_the_drop_of_a_plain_loop(predictor, source):
    told = permutation_importance(predictor, source, 0.5, repeats=2, seed=5)
    channels, masks = source.fetch(np.arange(len(source)))
    whole = score(rule(channels), masks)
    rng = np.random.default_rng(5)
    donors = [other_patches(len(source), rng) for _ in range(2)]
    assert told["f1"] == pytest.approx(whole)
    assert {row["name"] for row in told["channels"]} == set(SIX)
    assert [row["name"] for row in told["sources"]] == ["terrain", "optical"]
    for row in (*told["channels"], *told["sources"]):
        columns = [SIX.index(name) for name in row["channels"]]
        found = []
        for donor in donors:
            shuffled = channels.copy()
            for patch, other in enumerate(donor):
                shuffled[patch, :, :, columns] = channels[other, :, :, columns]
            found.append(rule(shuffled))
        both = score(np.concatenate(found), np.concatenate([masks, masks]))
        assert row["f1"] == pytest.approx(both) and row["drop"] == pytest.approx(whole - both)
        low, high = row["interval"]
        assert low <= high
        if not {"ndvi", "slope"} & set(row["channels"]):  # of what the rule does not look at
            assert (row["drop"], low, high) == (0, 0, 0)
    drops = {row["name"]: row["drop"] for row in told["channels"]}
    assert told["channels"][0]["name"] == "slope" and drops["slope"] > 0


def test_importance_is_seeded_and_needs_two_patches(predictor, source):
    one, again, other = (permutation_importance(predictor, source, 0.5, repeats=1, seed=s) for s in (1, 1, 2))
    assert one == again != other
    with pytest.raises(LandslideError, match="two patches at least, found 1"):
        permutation_importance(predictor, source.subset(np.array([0])), 0.5)


def test_sources_of_channels():
    assert by_source(SIX, LANDSLIDE4SENSE) == {"optical": ["red", "green", "blue", "ndvi"], "terrain": ["slope", "dem"]}
    assert [source_of(n, MMLS) for n in ("slope_ratio", "dem_stored", "thermal_inertia", "grey")] == [
        *("terrain", "terrain", "thermal", "optical")
    ]


def test_what_a_layout_says_of_its_bands_counts_not_their_names():
    radar = [{"name": name, "unit": "dB", "kind": "sar"} for name in ("s1_asc", "s1_desc")]
    bands = ["red", *radar, {"name": "curvature", "unit": "1/m"}, "dem", "slope"]
    layout = BandLayout.from_dict({"name": "own", "bands": bands, "pixel_size": 10})
    recipe = channel_recipe(layout, layout.names)
    assert by_source(layout.names, layout) == {
        "optical": ["red"],
        "sar": ["s1_asc", "s1_desc"],
        "curvature": ["curvature"],
        "terrain": ["dem", "slope"],
    }
    (brighter,) = [fault for fault in faults_of(recipe) if fault.name.startswith("gain 1.1")]
    stored = np.array([0.2, -12, -15, -0.01, 800, 20], np.float32) * np.ones((2, 2, 1), np.float32)
    changed = with_fault(stored, layout, brighter, np.random.default_rng(0))
    np.testing.assert_allclose(changed[..., 0], 0.22, rtol=1e-6)
    np.testing.assert_array_equal(changed[..., 1:], stored[..., 1:])


def by_bins(probability, masks):
    """ECE by NumPy's histograms of the raw probabilities."""
    edges = np.linspace(0, 1, 11).astype(np.float32)
    weights = (probability - masks).ravel()
    return float(np.abs(np.histogram(probability.ravel(), edges, weights=weights)[0]).sum() / masks.size)


@pytest.mark.parametrize("seed", range(3))
def test_the_shift_is_that_of_raw_arrays(seed):
    rng = np.random.default_rng(seed)
    parts = []
    for offset, n in ((0.0, 10), (0.25, 7)):
        masks = rng.random((n, 9, 9)) < 0.3
        parts.append(
            (np.clip(masks * 0.4 + offset + rng.normal(0.2, 0.15, masks.shape), 0, 1).astype(np.float32), masks)
        )
    one, two = (Histograms.of(zip(*part, strict=True)) for part in parts)
    told = shift(one, two, 0.4)
    f1 = [score(*part, threshold=0.4) for part in parts]
    assert (told["f1"]["before"], told["f1"]["here"]) == pytest.approx(f1)
    low, high = told["f1"]["interval"]
    assert low < told["f1"]["change"] < high and told["f1"]["change"] == pytest.approx(f1[1] - f1[0])
    best = max(score(*parts[1], threshold=k / 1000) for k in range(0, 1001, 5))
    assert told["own_best"]["f1"] >= best - 1e-12 and told["own_best"]["threshold"] > 0.4
    assert told["by_threshold"] == pytest.approx(told["own_best"]["f1"] - f1[1])
    ece = [by_bins(*part) for part in parts]
    assert (told["ece"]["before"], told["ece"]["here"]) == pytest.approx(ece, abs=1e-3)
    low, high = told["ece"]["interval"]
    assert low < told["ece"]["change"] < high and told["ece"]["change"] == pytest.approx(ece[1] - ece[0], abs=2e-3)


def test_the_interval_of_a_shift_covers_it_about_as_often_as_it_says():
    rng = np.random.default_rng(1)

    def draw(n, right):
        truth = rng.random((n, 5, 5)) < 0.4
        found = np.where(rng.random(truth.shape) < rng.uniform(right, 1, (n, 1, 1)), truth, ~truth)
        return Histograms.of(zip(found.astype(np.float32), truth, strict=True))

    real = shift(draw(3000, 0.6), draw(3000, 0.3), 0.5, resamples=1)["f1"]["change"]
    hits = 0
    for _ in range(60):
        low, high = shift(draw(25, 0.6), draw(25, 0.3), 0.5, resamples=150)["f1"]["interval"]
        hits += low <= real <= high
    assert 0.86 <= hits / 60 <= 1


def test_a_shift_to_or_from_nothing():
    some = Histograms.of([(np.full((3, 3), 0.7), np.ones((3, 3)))])
    none = Histograms.of([(np.full((3, 3), 0.7), np.full((3, 3), IGNORED))])
    told = shift(some, none, 0.5)
    assert told["ece"] is None and told["f1"]["here"] == 0 and told["own_best"]["threshold"] == 0.5


def by_every_order(unsure, wrong):
    """AURC by its definition: the mean over numbers of pixels kept, over all orders of equal uncertainties."""
    areas = []
    for order in itertools.permutations(range(len(unsure))):
        if all(unsure[a] <= unsure[b] for a, b in itertools.pairwise(order)):
            risks = [sum(wrong[i] for i in order[:k]) / k for k in range(1, len(order) + 1)]
            areas.append(sum(risks) / len(risks))
    return sum(areas) / len(areas)


@pytest.mark.parametrize("levels", [1, 2, 3, 100])
@pytest.mark.parametrize("seed", range(4))
def test_the_area_under_the_risk_is_that_of_every_order(seed, levels):
    rng = np.random.default_rng(seed)
    probability, mask = rng.random(7), rng.random(7) < 0.5
    unsure = rng.integers(0, levels, 7) / levels
    wrong = (probability >= 0.5) != mask
    told = risk_coverage(probability, unsure, mask, 0.5)
    assert told.aurc == pytest.approx(by_every_order(unsure, wrong))
    assert told.excess == pytest.approx(told.aurc - by_every_order(wrong.astype(float), wrong))


@pytest.mark.parametrize("seed", range(3))
def test_the_curve_is_that_of_each_threshold_of_the_uncertainty(seed):
    rng = np.random.default_rng(seed)
    probability = rng.random((4, 8, 8)).astype(np.float32)
    mask = np.where(rng.random(probability.shape) < 0.1, IGNORED, rng.random(probability.shape) < probability)
    unsure = np.round(1 - np.abs(2 * probability - 1), 1)
    told = risk_coverage(probability, unsure, mask, 0.4)
    known, marked = mask != IGNORED, probability >= np.float32(0.4)
    for i, level in enumerate(np.unique(unsure[known])):
        kept = known & (unsure <= level)
        assert told.coverage[i] == pytest.approx(kept.sum() / known.sum())
        assert told.risk[i] == pytest.approx((marked[kept] != (mask[kept] == 1)).mean())
        assert told.f1[i] == pytest.approx(f1_score(mask[kept] == 1, marked[kept], zero_division=0))
    assert told.coverage[-1] == 1 and 0 <= told.excess <= told.aurc


def test_a_pixel_is_marked_as_the_counts_mark_it_whatever_the_arrays_type():
    """0.3 is below float32's 0.3 in float64, and equal to it in float32, as models answer."""
    probability, mask = np.array([0.3, 0.7]), np.array([1, 0])
    assert risk_coverage(probability, np.array([0.0, 1.0]), mask, 0.3).risk.tolist() == [0, 0.5]


def test_risk_without_errors_with_nothing_else_and_with_nothing():
    ones = np.ones((3, 3))
    right, wrong = (risk_coverage(ones * p, ones * 0.2, ones, 0.5) for p in (0.9, 0.1))
    assert (right.aurc, right.excess) == (0, 0) and (wrong.aurc, wrong.excess) == (1, 0)
    assert risk_coverage(ones, ones, ones * IGNORED, 0.5).aurc is None
    with pytest.raises(LandslideError, match="must be equal"):
        risk_coverage(ones, ones[:2], ones, 0.5)
    with pytest.raises(LandslideError, match="NaN"):
        risk_coverage(ones, ones * np.nan, ones, 0.5)


def test_a_split_is_as_unsure_as_its_pixels(predictor, source):
    channels, masks = source.fetch(np.arange(len(source)))
    probability, mask = rule(channels), masks[..., 0]

    def measures(some):
        return rule(some), {"a": np.abs(some[..., 5] - 1000), "b": -rule(some)}

    for batch in (2, 16):
        told = unsureness(measures, source, 0.4, batch)
        for name, unsure in measures(channels)[1].items():
            whole = risk_coverage(probability, unsure, mask, 0.4)
            assert (told[name]["aurc"], told[name]["excess"]) == (whole.aurc, whole.excess)
            for row in told[name]["curve"]:
                level = np.quantile(unsure, row["coverage"], method="inverted_cdf")
                kept = unsure <= level
                assert row["risk"] == pytest.approx(((probability >= np.float32(0.4)) != (mask == 1))[kept].mean())
    (near,) = unsureness(closeness(predictor, 0.4), source, 0.4).values()
    assert near["aurc"] == risk_coverage(probability, -np.abs(probability - np.float32(0.4)), mask, 0.4).aurc


def test_answers_that_disagree_are_asked_where_there_are_several(predictor, source):
    (alone,) = unsureness(measures_of(predictor, source, 0.4), source, 0.4)
    assert "closeness" in alone  # the rule cannot say how sure it is

    class Votes(Rule):
        def uncertainty(self, channels):
            probability = self.probability(channels)
            return np.concatenate([probability, np.abs(channels[..., 5:6]) / 1e4, 1 - probability], -1)

    voting = Predictor(predictor.card, Votes())
    told = unsureness(measures_of(voting, source, 0.4), source, 0.4)
    channels, masks = source.fetch(np.arange(len(source)))
    for name, unsure in (("deviation", channels[..., 5] / 1e4), ("mutual information", 1 - rule(channels))):
        assert told[name]["aurc"] == pytest.approx(risk_coverage(rule(channels), unsure, masks[..., 0], 0.4).aurc)


def test_faults_are_those_that_a_models_bands_can_have():
    def names(layout, channels):
        return " ".join(fault.name for fault in faults_of(channel_recipe(layout, channels)))

    six = names("landslide4sense", "six")
    for word in ("+1,000 DN", "-1,000 DN", "gain 0.9", "elevation -30 m", "elevation noise of 5 m"):
        assert word in six
    assert "elevation" not in names("landslide4sense", ["red", "ndvi"])
    assert "elevation" not in names("mmls", ["red", "dem", "slope"]) and "DN" not in names("mmls", ["red"])
    assert names("landslide4sense", ["dem"]).startswith("elevation -30 m elevation +30 m")
    assert names("mmls", ["thermal_inertia"]) == ""


def fault(name, recipe=None):
    (found,) = (f for f in faults_of(recipe or channel_recipe()) if name in f.name)
    return found


def test_a_fault_is_what_its_name_says():
    rng = np.random.default_rng(0)
    stored = rng.uniform(0.3, 2, (12, 12, 14)).astype(np.float32)
    stored[0, 0, 3] = np.nan
    scale = np.array([band.scale for band in LANDSLIDE4SENSE.bands])
    column = LANDSLIDE4SENSE.index
    offset = with_fault(stored, LANDSLIDE4SENSE, fault("+1,000 DN"), rng)
    used = [column(name) for name in ("blue", "green", "red", "nir")]
    np.testing.assert_allclose(((offset - stored) * scale)[..., used][1:], 0.1, rtol=1e-4)
    assert np.isnan(offset[0, 0, 3]) and (offset[..., column("dem")] == stored[..., column("dem")]).all()
    gain = with_fault(stored, LANDSLIDE4SENSE, fault("gain 1.1"), rng)
    np.testing.assert_allclose((gain / stored)[1:, :, used], 1.1, rtol=1e-5)
    lower = with_fault(stored, LANDSLIDE4SENSE, fault("-1,000 DN"), rng)
    np.testing.assert_allclose(
        (lower * scale)[..., used][1:], np.maximum((stored * scale)[..., used][1:] - 0.1, 0), atol=1e-6
    )
    assert (lower[..., used][1:] == 0).any()
    np.testing.assert_array_equal(gain[..., column("slope")], stored[..., column("slope")])
    higher = with_fault(stored, LANDSLIDE4SENSE, fault("elevation +30"), rng)
    np.testing.assert_allclose(((higher - stored) * scale)[..., column("dem")], 30, rtol=1e-4)


def test_noise_on_the_elevation_takes_the_slope_with_it():
    rows, columns = np.mgrid[:40, :40]
    stored = np.ones((40, 40, 14), np.float32)
    dem, slope = LANDSLIDE4SENSE.bands[13], LANDSLIDE4SENSE.bands[12]
    stored[..., 13] = (800 + 3 * rows + 2 * columns) / dem.scale
    stored[..., 12] = 25 / slope.scale
    changed = with_fault(stored, LANDSLIDE4SENSE, fault("noise of 5 m"), np.random.default_rng(3)).astype(float)
    noise = (changed[..., 13] - stored[..., 13]) * dem.scale
    assert abs(noise.std() - 5) < 0.4 and abs(noise.mean()) < 0.5
    horn = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]]) / 80  # per metre, of pixels of 10 m

    def degrees(heights):
        east, south = (convolve(heights, kernel, mode="nearest") for kernel in (horn, horn.T))
        return np.degrees(np.arctan(np.hypot(east, south)))

    before, after = (degrees(bands[..., 13].astype(float) * dem.scale) for bands in (stored, changed))
    expected = np.clip(25 + after - before, 0, 90)
    np.testing.assert_allclose(changed[..., 12] * slope.scale, expected, atol=0.02)


def test_sensitivity_is_that_of_patches_written_anew(predictor, source, sample, tmp_path):
    told = sensitivity(predictor, source, 0.5)
    assert [row["name"] for row in told["faults"]] == [f.name for f in faults_of(channel_recipe())]
    channels, masks = source.fetch(np.arange(len(source)))
    assert told["f1"] == pytest.approx(score(rule(channels), masks))
    copied = shutil.copytree(sample, tmp_path / "copy")
    for path in (copied / "TestData" / "img").glob("*.h5"):
        with h5py.File(path, "r+") as file:
            for i, band in enumerate(LANDSLIDE4SENSE.bands[:12]):
                file["img"][..., i] = file["img"][..., i] + 0.1 / band.scale
    changed, _ = PatchSource.open(copied, "test", channel_recipe()).fetch(np.arange(len(source)))
    row = told["faults"][0]
    assert row["f1"] == pytest.approx(score(rule(changed), masks), abs=1e-4)
    assert (
        row["change"] == pytest.approx(row["f1"] - told["f1"])
        and row["interval"][0] <= row["change"] <= row["interval"][1]
    )


@pytest.mark.slow
def test_evaluate_tells_what_is_asked_for(run_folder, sample, tmp_path, capsys):
    words = ["evaluate", str(run_folder), "--data", str(sample), "--out", str(tmp_path / "r")]
    capsys.readouterr()
    assert main([*words, "--against", "valid", "--importance", "1", "--sensitivity", "--uncertainty"]) == 0
    printed = capsys.readouterr().out
    scores = json.loads((tmp_path / "r" / "metrics.json").read_text())["test"]
    before = json.loads((run_folder / "metrics.json").read_text())
    assert scores["shift"]["f1"]["before"] == pytest.approx(before["valid"]["f1"])
    assert scores["shift"]["f1"]["here"] == pytest.approx(before["test"]["f1"])
    assert scores["importance"]["f1"] == scores["sensitivity"]["f1"] == pytest.approx(scores["f1"])
    for text in (printed, (tmp_path / "r" / "report.md").read_text(), (tmp_path / "r" / "report.html").read_text()):
        assert "AURC" in text and "terrain" in text and "elevation -30 m" in text and "a bound" in text
    assert main([*words, "--against", "elsewhere"]) == 2
    assert "elsewhere.npz: is not there" in capsys.readouterr().err
