"""Fitting and judging rules, against masks made one by one and plain loops."""

from dataclasses import replace

import numpy as np
import pytest

from tf_landslide.core.errors import LandslideError
from tf_landslide.metrics import IGNORED
from tf_landslide.metrics.counts import judged_counts
from tf_landslide.metrics.objects import ObjectCounts, paired_objects
from tf_landslide.metrics.significance import paired_difference
from tf_landslide.objects.conditions import Marks
from tf_landslide.objects.counted import ACCEPTED, REJECTED, Counted, Seen
from tf_landslide.objects.fit import ACCEPT, begun, best_choice, cross_validated, fit_forest, fit_rules, folded
from tf_landslide.objects.judging import caveat, pixel_counts
from tf_landslide.objects.refine import decided
from tf_landslide.objects.rules import Rules

RULES = Rules.from_dict(
    {
        "name": "r",
        "sets": [
            {
                "name": "network",
                "decides": "support",
                "conditions": [{"attribute": "probability_mean", "rises": [0.1, 0.9], "fitted": True}],
            },
            {
                "name": "flat",
                "decides": "reject",
                "weight": 0.0,
                "conditions": [
                    {"attribute": "slope_mean", "falls": [50, 60], "fitted": True, "needs": {"slope": "degrees"}}
                ],
            },
        ],
    }
)
THRESHOLD = 0.5


def patches(number, seed=0, size=24):
    """Patches of 4 x 4 pixel objects: steep ones are landslides, flat ones look as probable and are none."""
    rng = np.random.default_rng(seed)
    side = size // 4
    found = []
    for _ in range(number):
        labels = np.kron(np.arange(1, side * side + 1).reshape(side, side), np.ones((4, 4), int)).astype(np.int32)
        labels[0, 0] = 0
        bright = rng.random(side * side) < 0.4
        slope = rng.uniform(0, 40, side * side)
        level = np.where(bright, rng.uniform(0.45, 0.9, side * side), rng.uniform(0, 0.4, side * side))
        noise = 0.2 * (rng.random((size, size)) - 0.5)
        probability = np.clip(np.concatenate([[0.0], level])[labels] + noise, 0, 1).astype(np.float32)
        mask = np.concatenate([[False], bright & (slope > 10)])[labels].astype(np.uint8)
        mask[rng.random(mask.shape) < 0.02] = IGNORED
        means = np.array([probability[labels == n].mean() for n in range(1, side * side + 1)])
        found.append(Seen(probability, mask, labels, {"probability_mean": means, "slope_mean": slope}))
    return found


def masks_of(seen, rules):
    return [decided(s.labels, s.probability, rules.confidence(s.table), rules, THRESHOLD) for s in seen]


@pytest.mark.parametrize("marks", [Marks(), Marks(0.5, 0.75), Marks(1.0, 0.0)])
def test_counts_are_those_of_the_masks(marks):
    seen = patches(3)
    objects = Counted.of(seen, THRESHOLD)
    rules = replace(RULES, accept=0.6, marks=marks)
    expected = [pixel_counts(mask, s.mask) for mask, s in zip(masks_of(seen, rules), seen, strict=True)]
    np.testing.assert_array_equal(objects.counts(rules), expected)
    part = objects.subset(np.array([2, 0]))
    np.testing.assert_array_equal(part.counts(rules), [expected[0], expected[2]])
    alone = [pixel_counts(s.probability >= np.float32(THRESHOLD), s.mask) for s in seen]
    np.testing.assert_array_equal(objects.network_counts(), alone)
    assert objects.counts(rules).sum() == sum((s.mask != IGNORED).sum() for s in seen)


def test_the_best_choice_is_the_best_of_all():
    seen = patches(2, seed=3)
    objects = Counted.of(seen, THRESHOLD)
    confidence = RULES.confidence(objects.table)
    best = 0.0
    for accept in ACCEPT:
        for a in ACCEPTED:
            for r in REJECTED:
                tp, fp, fn, _ = objects.counts_of(confidence >= accept, Marks(a, r)).sum(0)
                best = max(best, 2 * tp / (2 * tp + fp + fn))
    found = best_choice(confidence, objects)
    assert found.f1 == pytest.approx(best)
    tp, fp, fn, _ = objects.counts_of(confidence >= found.accept, found.marks).sum(0)
    assert 2 * tp / (2 * tp + fp + fn) == pytest.approx(best)
    kept = best_choice(confidence, objects, Marks(0.25, 0.5))
    assert kept.marks == Marks(0.25, 0.5) and kept.f1 <= best


def test_fitting_finds_what_tells_them_apart():
    objects, unseen = Counted.of(patches(6), THRESHOLD), Counted.of(patches(6, seed=9), THRESHOLD)
    fitted = fit_rules(RULES, objects)
    flat = fitted.sets[1]
    assert flat.weight > 0 and 0 < flat.conditions[0].ramp[0] < 25  # slope tells, and where
    before, after = (judged_counts(c)["f1"] for c in (unseen.network_counts(), unseen.counts(fitted)))
    assert after > before + 0.05
    counts, folds = cross_validated(lambda part: fit_rules(RULES, part), objects, folds=3)
    assert judged_counts(counts)["f1"] > judged_counts(objects.network_counts())["f1"] + 0.05
    assert sorted(int(p) for places, _ in folds for p in places) == list(range(6))


def test_only_ramps_that_may_move_do():
    fixed = replace(RULES.sets[1], conditions=(replace(RULES.sets[1].conditions[0], fitted=False),))
    fitted = fit_rules(replace(RULES, sets=(RULES.sets[0], fixed)), Counted.of(patches(4), THRESHOLD))
    assert fitted.sets[1].conditions == fixed.conditions


def test_a_ramp_stays_within_what_its_reason_allows():
    steep = replace(RULES.sets[1].conditions[0], within=(50.0, 60.0))
    sets = (RULES.sets[0], replace(RULES.sets[1], conditions=(steep,)))
    fitted = fit_rules(replace(RULES, sets=sets), Counted.of(patches(4), THRESHOLD))
    assert fitted.sets[1].conditions == (steep,)


def test_a_forest_is_fitted_too():
    objects, unseen = Counted.of(patches(6), THRESHOLD), Counted.of(patches(6, seed=9), THRESHOLD)
    fitted = fit_forest(RULES, objects, folds=3)
    assert fitted.forest is not None
    assert judged_counts(unseen.counts(fitted))["f1"] > judged_counts(unseen.network_counts())["f1"] + 0.05


def test_folds_leave_out_each_patch_once():
    found = folded(7, 3, 0)
    assert sorted(np.concatenate([outside for _, outside in found])) == list(range(7))
    assert all(not set(inside) & set(outside) and len(inside) + len(outside) == 7 for inside, outside in found)
    with pytest.raises(LandslideError, match="two patches at least"):
        folded(1, 3, 0)
    with pytest.raises(LandslideError, match="folds: expected two at least"):
        folded(7, 1, 0)


def test_nothing_to_fit_to():
    seen = [replace(s, mask=np.zeros_like(s.mask)) for s in patches(2)]
    with pytest.raises(LandslideError, match="nothing to fit to"):
        fit_rules(RULES, Counted.of(seen, THRESHOLD))


@pytest.mark.parametrize(
    ("count", "folds", "told"),
    [
        (1, 3, "only one of the 6 validation patches has objects that hold landslides"),
        (2, 2, "all 2 validation patches whose objects hold landslides fall into one fold"),
    ],
)
def test_a_fold_without_anything_to_fit_to_says_why(count, folds, told):
    holding = folded(6, folds, 0)[0][1][:count]  # of one fold
    seen = [s if i in holding else replace(s, mask=np.zeros_like(s.mask)) for i, s in enumerate(patches(6))]
    with pytest.raises(LandslideError, match=told):
        cross_validated(lambda part: fit_rules(RULES, part), Counted.of(seen, THRESHOLD), folds=folds)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_nothing_can_be_drawn_by(seed):
    with pytest.raises(LandslideError, match=f"seed: expected a whole number from 0 to 4294967295, got {seed}"):
        folded(7, 3, seed)


def test_a_ramp_in_another_unit_begins_on_what_is_seen():
    objects = Counted.of(patches(3), THRESHOLD)
    start = begun(RULES, objects, {"slope": "relative"})
    condition = start.sets[1].conditions[0]
    low, high = np.quantile(objects.table["slope_mean"], (0.05, 0.95))
    assert condition.ramp == pytest.approx((low, high), rel=0.01) and condition.needs == {"slope": "relative"}
    assert begun(RULES, objects, {"slope": "degrees"}) == RULES


def test_paired_differences_are_those_of_a_plain_loop():
    rng = np.random.default_rng(5)
    before, after = rng.integers(0, 50, (2, 8, 4))

    def f1(rows):
        tp, fp, fn, _ = rows.sum(0)
        return 2 * tp / (2 * tp + fp + fn)

    draws = np.random.default_rng(4).multinomial(8, np.full(8, 1 / 8), size=200)
    sampled = []
    for draw in draws:
        places = [place for place, times in enumerate(draw) for _ in range(times)]
        sampled.append(f1(after[places]) - f1(before[places]))
    found = paired_difference(before, after, resamples=200, seed=4)["f1"]
    assert found["value"] == pytest.approx(f1(after) - f1(before))
    assert found["interval"] == pytest.approx(list(np.quantile(sampled, (0.025, 0.975))))
    same = paired_difference(before, before)
    assert all(row == {"value": 0.0, "interval": [0.0, 0.0]} for row in same.values())


def test_paired_differences_of_objects_are_those_of_a_plain_loop():
    rng = np.random.default_rng(6)
    truth = [rng.random((16, 16)) < 0.2 for _ in range(5)]
    one, other = ([t ^ (rng.random(t.shape) < noise) for t in truth] for noise in (0.2, 0.05))
    counts = [ObjectCounts.of(zip(found, truth, strict=True)) for found in (one, other)]
    alone = [[ObjectCounts.of([(f, t)]) for f, t in zip(found, truth, strict=True)] for found in (one, other)]

    def f1(side, places):
        pairs, true, found = (
            sum(int(column) for column in part)
            for part in zip(
                *(
                    (alone[side][p].truth_matched[0, 1].sum(), alone[side][p].truth.sum(), alone[side][p].found.sum())
                    for p in places
                ),
                strict=True,
            )
        )
        return 2 * pairs / (true + found)

    draws = np.random.default_rng(0).multinomial(5, np.full(5, 0.2), size=100)
    places = [[p for p, times in enumerate(draw) for _ in range(times)] for draw in draws]
    found = paired_objects(*counts, resamples=100)["0.3"]
    assert found["value"] == pytest.approx(f1(1, range(5)) - f1(0, range(5)))
    assert found["interval"] == pytest.approx(list(np.quantile([f1(1, p) - f1(0, p) for p in places], (0.025, 0.975))))


def test_rules_that_are_judged_on_what_they_were_fitted_on_say_so():
    held_out = {"f1_difference": 0.004, "interval": [-0.001, 0.01]}
    rules = replace(RULES, fit={"masks_sha256": "a", "held_out": held_out})
    assert "flatter; on held-out folds F1 changed by +0.0040 (-0.0010 to +0.0100)" in caveat(rules, "a")
    assert caveat(rules, "b") is None and caveat(RULES, "a") is None
