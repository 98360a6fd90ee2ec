"""Paired tests against every toss of the coins and plain loops; intervals over groups against drawing them by hand."""

import itertools

import numpy as np
import pytest

from tf_landslide.metrics.counts import Histograms, judge, judged_counts
from tf_landslide.metrics.resampling import bootstrap
from tf_landslide.metrics.significance import holm, paired_difference, paired_significance

GROUPS = ["a", "b", "b", "a", "c", "d", "d", "d"]


def f1(rows):
    tp, fp, fn = (sum(int(row[i]) for row in rows) for i in range(3))
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0


def pair(seed, n=8, better=0):
    rng = np.random.default_rng(seed)
    before = rng.integers(0, 50, (n, 4))
    after = np.clip(before + rng.integers(-12, 13, (n, 4)) + [better, -better, -better, 0], 0, None)
    return before, after


def by_every_toss(before, after, groups):
    """The share of all ways to swap the models, group by group, whose F1 differ as much or more."""
    value, names = abs(f1(after) - f1(before)), sorted(set(groups))
    found = []
    for toss in itertools.product((False, True), repeat=len(names)):
        swapped = [toss[names.index(group)] for group in groups]
        one = [a if s else b for a, b, s in zip(after, before, swapped, strict=True)]
        other = [b if s else a for a, b, s in zip(after, before, swapped, strict=True)]
        found.append(abs(f1(other) - f1(one)) >= value - 1e-12)
    return sum(found) / len(found)


@pytest.mark.parametrize("better", [0, 4])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("groups", [None, GROUPS])
def test_the_permutation_test_is_that_of_every_toss(seed, groups, better):
    before, after = pair(seed, better=better)
    exact = by_every_toss(before, after, groups or range(8))
    found = paired_significance(before, after, groups=groups, resamples=300)
    assert found["p_permutation"] == pytest.approx(exact)  # 256 tosses of 8 units, 16 of 4: all are tried
    assert found["value"] == pytest.approx(f1(after) - f1(before)) and found["units"] == (4 if groups else 8)
    tossed = paired_significance(before, after, groups=groups, resamples=255 if groups is None else 15)
    assert tossed["p_permutation"] == pytest.approx(exact, abs=0.1 if groups is None else 0.4)


@pytest.mark.parametrize("groups", [None, GROUPS])
def test_the_bootstrap_is_that_of_a_plain_loop(groups):
    before, after = pair(7, better=3)
    names = [str(i) for i in range(8)] if groups is None else groups
    units = sorted(set(names))
    drawn = np.random.default_rng(5).multinomial(len(units), np.full(len(units), 1 / len(units)), size=150)
    differences = []
    for times in drawn:
        places = [i for unit, count in zip(units, times, strict=True) for _ in range(count) for i in range(8)
                  if names[i] == unit]  # fmt: skip
        differences.append(f1(after[places]) - f1(before[places]))
    found = paired_significance(before, after, groups=groups, resamples=150, seed=5)
    interval = list(np.quantile(differences, (0.025, 0.975)))
    assert found["interval"] == pytest.approx(interval)
    tail = min(sum(d <= 0 for d in differences), sum(d >= 0 for d in differences))
    assert found["p_bootstrap"] == pytest.approx(min(1, 2 * (tail + 1) / 151))
    same = paired_difference(before, after, resamples=150, seed=5, groups=groups)["f1"]
    assert same["interval"] == pytest.approx(interval)


def test_one_model_twice_differs_in_nothing():
    before, _ = pair(1)
    for nothing in (before, np.zeros((5, 4), int), before[:1]):
        found = paired_significance(nothing, nothing, resamples=100)
        assert (found["value"], found["interval"], found["p_permutation"]) == (0, [0, 0], 1)
        assert found["p_bootstrap"] == 1


def test_models_that_are_alike_are_told_apart_about_as_often_as_p_says():
    rng = np.random.default_rng(0)
    p = []
    for _ in range(150):
        shared = rng.integers(20, 60, (14, 4))
        before, after = (shared + rng.integers(0, 15, shared.shape) for _ in range(2))
        p.append(paired_significance(before, after, resamples=200)["p_permutation"])
    assert 0.0 <= np.mean(np.array(p) < 0.05) <= 0.11 and 0.35 < np.mean(p) < 0.65


def test_holm_is_his_step_down():
    p = [0.01, 0.04, 0.03, 0.005]
    assert holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02]) and holm([]) == [] and holm([0.7, 0.9]) == [1, 1]


@pytest.mark.parametrize("groups", [None, GROUPS])
def test_a_sample_draws_as_many_units_as_there_are(groups):
    draws = bootstrap(8, 400, 0, groups)
    names = np.array(groups or list("abcdefgh"))
    units = np.unique(names)
    firsts = draws[:, [int(np.flatnonzero(names == unit)[0]) for unit in units]]
    assert (firsts.sum(1) == len(units)).all() and abs(firsts.mean() - 1) < 1e-12
    for unit in units:  # whole groups, never a part of one
        assert (np.ptp(draws[:, names == unit], axis=1) == 0).all()
    assert bootstrap(0, 3, 0).shape == (3, 0)


def test_an_interval_over_groups_is_wider_where_patches_of_a_group_are_alike():
    rng = np.random.default_rng(2)
    groups = np.repeat([f"scene {i}" for i in range(10)], 12)
    hard = np.repeat(rng.uniform(0.2, 0.9, 10), 12)[:, None, None]
    truth = rng.random((120, 6, 6)) < 0.4
    found = np.where(rng.random(truth.shape) < hard, truth, ~truth).astype(np.float32)
    scores = judge(Histograms.of(zip(found, truth, strict=True)), 0.5, groups=groups)
    widths = {key: np.ptp(scores[key]["f1"]) for key in ("interval", "interval_groups")}
    assert scores["groups"] == 10 and widths["interval_groups"] > 1.5 * widths["interval"]
    low, high = scores["interval_groups"]["f1"]
    assert low < scores["f1"] < high
    one = judged_counts(np.ones((3, 4), int), groups=["a", "a", "a"])
    assert one["groups"] == 1 and "interval_groups" not in one  # of a single group there is none
