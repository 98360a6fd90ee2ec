"""Calibration against scikit-learn and loops over raw probabilities, which know no histogram."""

import itertools

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from tf_landslide.metrics import IGNORED
from tf_landslide.metrics.calibration import calibration, equal_mass, equal_width, reliability
from tf_landslide.metrics.counts import BINS, Histograms
from tf_landslide.metrics.resampling import bootstrap

HALF_A_BIN = 0.5 / BINS + 1e-6


def patches(seed, n=8, sharp=1.0):
    """Probabilities in the middles of bins (so that nothing is lost), and masks that follow them more or less."""
    rng = np.random.default_rng(seed)
    probability = (np.floor(rng.beta(0.4, 0.9, (n, 12, 12)) * BINS) + 0.5) / BINS
    truth = rng.random(probability.shape) < probability**sharp
    return probability, truth


def by_a_loop(probability, truth, edges):
    """ECE, RMS-CE and MCE, pixel by pixel; a bin holds its lower end, the last one 1 too."""
    gaps, sizes = [], []
    for low, high in itertools.pairwise(edges):
        inside = [
            (p, t)
            for p, t in zip(probability.ravel(), truth.ravel(), strict=True)
            if low <= p < high or (high == 1 and p == 1)
        ]
        if inside:
            gaps.append(abs(sum(p for p, _ in inside) / len(inside) - sum(t for _, t in inside) / len(inside)))
            sizes.append(len(inside) / probability.size)
    square = sum(g * g * s for g, s in zip(gaps, sizes, strict=True))
    return sum(g * s for g, s in zip(gaps, sizes, strict=True)), square**0.5, max(gaps)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("bins", [1, 5, 10, 20])
def test_errors_are_those_of_a_loop_over_pixels(seed, bins):
    probability, truth = patches(seed, sharp=1 + seed)
    found = calibration(Histograms.of(zip(probability, truth, strict=True)), bins=bins, resamples=2)
    expected = by_a_loop(probability, truth, np.arange(bins + 1) / bins)
    assert (found["ece"], found["rms_ce"], found["mce"]) == pytest.approx(expected, abs=1e-9)
    assert found["brier"] == pytest.approx(brier_score_loss(truth.ravel(), probability.ravel()))
    assert (found["mean_probability"], found["share"]) == pytest.approx((probability.mean(), truth.mean()))


@pytest.mark.parametrize("seed", range(4))
def test_probabilities_anywhere_lose_half_a_bin_at_most(seed):
    rng = np.random.default_rng(seed)
    probability = rng.beta(0.3, 2, (6, 16, 16)).astype(np.float32)
    truth = rng.random(probability.shape) < probability**1.5
    found = calibration(Histograms.of(zip(probability, truth, strict=True)), resamples=2)
    expected = by_a_loop(probability, truth, np.arange(11) / 10)
    assert (found["ece"], found["rms_ce"], found["mce"]) == pytest.approx(expected, abs=HALF_A_BIN)
    assert found["brier"] == pytest.approx(brier_score_loss(truth.ravel(), probability.ravel()), abs=2 * HALF_A_BIN)


@pytest.mark.parametrize("seed", range(4))
def test_the_curve_of_equal_width_is_scikit_learns(seed):
    probability, truth = patches(seed)
    curve = reliability(Histograms.of(zip(probability, truth, strict=True)), equal_width(10))
    frequency, mean = calibration_curve(truth.ravel(), probability.ravel(), n_bins=10)
    np.testing.assert_allclose(curve.frequency, frequency)
    np.testing.assert_allclose(curve.probability, mean)
    assert curve.pixels.sum() == truth.size and curve.landslide.sum() == truth.sum()


@pytest.mark.parametrize("seed", range(4))
def test_bins_of_equal_mass_are_cut_at_quantiles(seed):
    """Exactly where NumPy has the raw values' quantiles; nearly where scikit-learn, which interpolates, has them."""
    probability, truth = patches(seed)
    histograms = Histograms.of(zip(probability, truth, strict=True))
    curve = reliability(histograms, equal_mass(histograms, 8))
    cuts = np.quantile(probability, np.arange(1, 8) / 8, method="inverted_cdf")
    of_pixel = np.searchsorted(np.unique(cuts), probability.ravel())
    expected = [(probability.ravel()[of_pixel == i], truth.ravel()[of_pixel == i]) for i in range(of_pixel.max() + 1)]
    np.testing.assert_array_equal(curve.pixels, [len(p) for p, _ in expected])
    np.testing.assert_allclose(curve.probability, [p.mean() for p, _ in expected])
    np.testing.assert_allclose(curve.frequency, [t.mean() for _, t in expected])
    frequency, mean = calibration_curve(truth.ravel(), probability.ravel(), n_bins=8, strategy="quantile")
    assert len(curve.pixels) == len(mean)
    np.testing.assert_allclose(curve.probability, mean, atol=0.01)
    np.testing.assert_allclose(curve.frequency, frequency, atol=0.05)


def test_equal_mass_weighs_each_gap_by_its_pixels():
    probability, truth = patches(9, sharp=3)
    histograms = Histograms.of(zip(probability, truth, strict=True))
    cuts = np.unique(np.quantile(probability, np.arange(1, 10) / 10, method="inverted_cdf"))
    of_pixel = np.searchsorted(cuts, probability.ravel())
    gaps = [
        abs((probability.ravel()[of_pixel == i] - truth.ravel()[of_pixel == i]).sum())
        for i in range(of_pixel.max() + 1)
    ]
    assert calibration(histograms, resamples=2)["ece_mass"] == pytest.approx(sum(gaps) / truth.size)


@pytest.mark.parametrize("truth", [0, 1])
@pytest.mark.parametrize("probability", [0.0, 0.3005, 1.0])
def test_one_class_and_one_bin(probability, truth):
    found = calibration(Histograms.of([(np.full((4, 4), probability), np.full((4, 4), truth))]), resamples=5)
    gap = abs(max(probability, 0.0005) - truth)  # 0 lies in the bin whose middle is 0.0005
    assert [found[k] for k in ("ece", "ece_mass", "rms_ce", "mce")] == pytest.approx([gap] * 4, abs=1e-6)
    assert found["brier"] == pytest.approx(gap**2) and found["interval"]["ece"] == pytest.approx([gap, gap], abs=1e-6)
    assert len(found["bins"]) == 1 and found["bins"][0]["pixels"] == 16


def test_nothing_to_judge_is_none():
    ignored = Histograms.of([(np.full((4, 4), 0.5), np.full((4, 4), IGNORED))])
    for nothing in (ignored, Histograms(*np.zeros((2, 0, BINS + 1), np.int64))):
        found = calibration(nothing, resamples=5)
        assert (found["ece"], found["brier"], found["mce"]) == (None, None, None) and found["bins"] == []


def test_a_sample_without_a_pixel_is_left_out_of_the_interval():
    pairs = [(np.full((2, 2), 0.25), np.full((2, 2), IGNORED)), (np.full((2, 2), 0.7505), np.ones((2, 2)))]
    assert calibration(Histograms.of(pairs), resamples=50)["interval"]["ece"] == pytest.approx([0.2495] * 2, abs=1e-6)


def test_the_interval_is_that_of_a_loop_over_samples():
    probability, truth = patches(2, n=6, sharp=2)
    groups = ["a", "a", "b", "c", "c", "c"]
    for names in (None, groups):
        found = calibration(Histograms.of(zip(probability, truth, strict=True)), resamples=40, seed=3, groups=names)
        errors, briers = [], []
        for times in bootstrap(6, 40, 3, names):
            p, t = (np.repeat(part, times, axis=0) for part in (probability, truth))
            errors.append(by_a_loop(p, t, np.arange(11) / 10)[0])
            briers.append(brier_score_loss(t.ravel(), p.ravel()))
        assert found["interval"]["ece"] == pytest.approx(list(np.quantile(errors, [0.025, 0.975])))
        assert found["interval"]["brier"] == pytest.approx(list(np.quantile(briers, [0.025, 0.975])))


def test_bins_off_the_grid_are_refused():
    with pytest.raises(ValueError, match="divide"):
        equal_width(15)
