import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_recall_curve, precision_score, recall_score

from tf_landslide.core.errors import LandslideError
from tf_landslide.metrics.counts import (
    BINS,
    Histograms,
    best_threshold,
    curve,
    f1_band,
    judge,
    judged_counts,
    patch_f1,
    probability_bins,
    scores,
)
from tf_landslide.metrics.significance import paired_significance


@pytest.fixture
def patches():
    rng = np.random.default_rng(0)
    truth = rng.random((12, 16, 16)) < rng.uniform(0, 0.4, (12, 1, 1))
    probability = np.clip(0.45 * truth + rng.normal(0.3, 0.2, truth.shape), 0, 1).astype(np.float32)
    probability[:2] = np.round(probability[:2], 2)  # values exactly on thresholds
    return probability, truth


@pytest.fixture
def histograms(patches):
    return Histograms.of(zip(*patches, strict=True))


@pytest.mark.parametrize("threshold", [0.0, 0.07, 0.3, 0.5, 0.999, 1.0])
def test_scores_equal_scikit_learn(patches, histograms, threshold):
    probability, truth = patches
    marked = (probability >= np.float32(threshold)).ravel()
    found = judge(histograms, threshold)
    options = {"zero_division": 0}
    assert found["f1"] == pytest.approx(f1_score(truth.ravel(), marked, **options))
    assert found["precision"] == pytest.approx(precision_score(truth.ravel(), marked, **options))
    assert found["recall"] == pytest.approx(recall_score(truth.ravel(), marked, **options))
    assert found["tp"] + found["fn"] == truth.sum() and found["tp"] + found["fp"] == marked.sum()
    assert found["tp"] + found["fp"] + found["fn"] + found["tn"] == truth.size


def test_bins_cut_exactly_where_the_comparison_does():
    thresholds = (np.arange(BINS + 1) / BINS).astype(np.float32)
    near = np.concatenate([thresholds, np.nextafter(thresholds[1:], 0), np.nextafter(thresholds[:-1], 1)])
    bins = probability_bins(near)
    for k in range(0, BINS + 1, 7):
        np.testing.assert_array_equal(bins >= k, near >= thresholds[k])


def test_a_probability_that_rounding_left_below_zero_is_in_the_first_bin():
    mask = np.array([[1.0, 0.0]])
    histograms = Histograms.of([(np.array([[-1e-6, 0.2]]), mask)])
    assert histograms.landslide[0, 0] == 1 and histograms.landslide.sum() == histograms.other.sum() == 1


def test_best_threshold_is_the_best_of_all(patches, histograms):
    probability, truth = patches
    best = best_threshold(histograms)
    f1 = [f1_score(truth.ravel(), (probability >= np.float32(k / BINS)).ravel()) for k in range(0, BINS + 1, 5)]
    assert judge(histograms, best)["f1"] >= max(f1) - 1e-12


def test_threshold_without_landslides_is_a_half():
    histograms = Histograms.of([(np.full((4, 4), 0.2), np.zeros((4, 4)))])
    assert best_threshold(histograms) == 0.5
    assert judge(histograms, 0.5)["f1"] == 0


def test_threshold_sits_in_the_middle_of_equal_ones():
    truth = np.array([[0, 0, 1, 1]])
    histograms = Histograms.of([(np.array([[0.1, 0.2, 0.8, 0.9]], np.float32), truth)])
    assert best_threshold(histograms) == pytest.approx(0.5, abs=0.002)


def test_curve_equals_scikit_learn(patches, histograms):
    probability, truth = patches
    grid = np.floor(probability.astype(np.float64) * BINS + 1e-4) / BINS
    precision, recall, thresholds = precision_recall_curve(truth.ravel(), grid.ravel())
    ours = curve(histograms)
    for p, r, t in list(zip(precision, recall, thresholds, strict=False))[::50]:
        k = round(t * BINS)
        assert (ours["precision"][k], ours["recall"][k]) == pytest.approx((p, r), abs=2e-3)


def test_the_band_of_f1_is_that_of_a_loop_over_samples(patches, histograms):
    probability, truth = patches
    band = f1_band(histograms, resamples=30, seed=2)
    draws = np.random.default_rng(2).multinomial(len(truth), np.full(len(truth), 1 / len(truth)), size=30)
    for k in (0, 150, 500, 990):
        marked = probability >= np.float32(k / BINS)
        f1 = [
            f1_score(np.repeat(truth, d, axis=0).ravel(), np.repeat(marked, d, axis=0).ravel(), zero_division=0)
            for d in draws
        ]
        assert list(band[:, k]) == pytest.approx(list(np.quantile(f1, (0.025, 0.975))))


def test_scores_are_summed_counts_not_means_of_patches(histograms):
    found = judge(histograms, 0.5)
    assert found["f1"] != pytest.approx(np.nanmean(patch_f1(histograms, 0.5)), abs=1e-3)


def test_interval_holds_the_score_narrows_with_data_and_repeats():
    rng = np.random.default_rng(3)

    def histograms(n):
        truth = rng.random((n, 8, 8)) < 0.3
        return Histograms.of(zip(np.clip(truth * 0.3 + rng.random(truth.shape) * 0.7, 0, 1), truth, strict=True))

    widths = {}
    for n in (10, 160):
        of_n = histograms(n)
        found = judge(of_n, 0.5)
        low, high = found["interval"]["f1"]
        assert low < found["f1"] < high
        assert judge(of_n, 0.5) == found
        widths[n] = high - low
    assert widths[160] < widths[10] / 2.5  # a quarter, but for chance


def test_a_sample_that_misses_what_a_score_is_of_says_nothing():
    """Landslides in three of 245 patches, each found to 19 pixels of 20: a sample has none of them once in twenty."""
    counts = np.zeros((245, 4), np.int64)
    counts[:, 3], counts[:3, 0], counts[:3, 2] = 1000, 19, 1
    found = judged_counts(counts)["interval"]
    assert found["recall"] == pytest.approx([0.95, 0.95]) and found["precision"] == [1, 1]
    assert found["f1"] == pytest.approx([38 / 39, 38 / 39])
    assert judged_counts(counts * [0, 0, 0, 1])["interval"]["f1"] == [0, 0]  # nothing there, nothing marked
    told = paired_significance(counts, counts * [1, 0, 2, 1])
    assert told["interval"] == pytest.approx([38 / 40 - 38 / 39] * 2) and told["p_bootstrap"] < 0.01


def test_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(4)

    def draw(n):
        hard = rng.uniform(0.2, 0.9, (n, 1, 1))
        truth = rng.random((n, 6, 6)) < 0.4
        return np.where(rng.random(truth.shape) < hard, truth, ~truth).astype(np.float32), truth

    population = judge(Histograms.of(zip(*draw(4000), strict=True)), 0.5, resamples=1)["f1"]
    hits = 0
    for _ in range(200):
        low, high = judge(Histograms.of(zip(*draw(40), strict=True)), 0.5, resamples=300)["interval"]["f1"]
        hits += low <= population <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_nothing_to_divide_by_gives_zero():
    assert {k: float(v) for k, v in scores(0, 0, 0).items()} == {"f1": 0, "precision": 0, "recall": 0, "iou": 0}


def test_a_model_that_gives_nan_is_not_judged():
    with pytest.raises(LandslideError, match="NaN"):
        Histograms.of([(np.array([[0.1, np.nan]]), np.array([[0, 1]]))])


def test_off_grid_threshold_is_refused(histograms):
    for threshold in (0.12345, -0.001, 1.001, np.nan, np.inf):
        with pytest.raises(LandslideError, match=r"expected a multiple of 0\.001, from 0 to 1"):
            histograms.counts(threshold)
