"""Scores of objects against a brute-force matcher, scikit-image's labels and counts by hand."""

import itertools

import numpy as np
import pytest
from skimage import measure

from tf_landslide.core.errors import LandslideError
from tf_landslide.metrics.objects import (
    IOU_LEVELS,
    ObjectCounts,
    Overlaps,
    label_objects,
    object_scores,
    paired_objects,
)
from tf_landslide.runs.score_tables import sizes_table


def images(seed, size=24, density=0.22):
    """A mask, and a marking of it with misses, pieces, merges and false alarms."""
    rng = np.random.default_rng(seed)
    truth = rng.random((size, size)) < density
    found = np.roll(truth, rng.integers(0, 2, 2), (0, 1)) ^ (rng.random(truth.shape) < 0.08)
    return truth, found


def by_brute_force(truth, found, level):
    """The highest summed IoU of any one-to-one pairing at a level, and every pair's IoU, from sets of pixels."""
    objects = [
        [set(zip(*np.nonzero(labels == i), strict=True)) for i in range(1, labels.max() + 1)]
        for labels in (measure.label(image, connectivity=2) for image in (truth, found))
    ]
    iou = np.array([[len(a & b) / len(a | b) for b in objects[1]] for a in objects[0]])
    iou = np.where(iou >= level, iou, 0)

    def best(row, free):
        if row == len(iou):
            return 0.0
        others = [best(row + 1, free - {j}) + iou[row, j] for j in free if iou[row, j]]
        return max([best(row + 1, free), *others])

    return best(0, frozenset(range(len(objects[1])))), objects


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("level", [0.05, *IOU_LEVELS, 0.7])
def test_the_pairing_is_the_best_there_is(seed, level):
    truth, found = images(seed, 12)
    overlaps = Overlaps.of(label_objects(truth), label_objects(found))
    expected, objects = by_brute_force(truth, found, level)
    assert [list(overlaps.truth), list(overlaps.found)] == [[len(o) for o in side] for side in objects]
    matched = overlaps.matched(level)
    pairs = overlaps.pairs[matched]
    assert all(len(set(column)) == len(column) for column in pairs.T)
    iou = [len(objects[0][i] & objects[1][j]) / len(objects[0][i] | objects[1][j]) for i, j in pairs]
    np.testing.assert_allclose(overlaps.iou[matched], iou)
    assert sum(iou) == pytest.approx(expected) and min(iou, default=1) >= level


def test_two_may_want_the_same_one():
    """The pair of the highest IoU is given up where two others are worth more together."""
    truth, found = np.zeros((2, 3, 40), bool)
    truth[0, 0:10], truth[0, 11:21] = True, True
    found[0, 4:17], found[0, 19:24] = True, True
    overlaps = Overlaps.of(label_objects(truth), label_objects(found))
    assert len(overlaps.pairs) == 3 and overlaps.matched(0.1).sum() == 2


def test_split_and_merging_objects():
    truth, found = np.zeros((2, 12, 60), bool)
    truth[2:10, 2:22] = True
    found[2:10, 2:10] = found[2:10, 12:22] = True  # one, in two pieces
    truth[2:10, 30:38] = truth[2:10, 42:50] = True
    found[2:10, 30:50] = True  # two, in one
    split, merging = Overlaps.of(label_objects(truth), label_objects(found)).pieces()
    assert list(split) == [True, False, False] and list(merging) == [False, False, True]


def test_scores_are_counted_by_hand():
    """Two of three found, one of them only at a low level; one false alarm; each of a class of its own."""
    truth, found = np.zeros((2, 64, 64), bool)
    truth[0:2, 0:2] = found[0:2, 0:2] = True  # 4 pixels, whole
    truth[10:20, 10:20], found[10:20, 10:14] = True, True  # 100 pixels, IoU 0.4
    truth[40, 40:45] = True  # missed
    found[50:55, 0:5] = True  # invented
    told = object_scores(ObjectCounts.of([(found, truth)]))
    assert (told["truth"], told["found"], told["split"], told["merging"]) == (3, 3, 0, 0)
    assert told["area_error"] == pytest.approx((4 + 40 + 25) / (4 + 100 + 5) - 1)
    at = {level: (row["f1"], row["commission"], row["omission"]) for level, row in told["at"].items()}
    assert at["0.1"] == at["0.3"] == pytest.approx((2 / 3, 1 / 3, 1 / 3)) and at["0.5"] == pytest.approx(
        (1 / 3, 2 / 3, 2 / 3)
    )
    assert told["at"]["0.3"]["omission_area"] == pytest.approx(5 / 109)
    assert told["at"]["0.3"]["commission_area"] == pytest.approx(25 / 69)
    classes = {row["pixels"]: row for row in told["classes"]}
    assert [classes[p]["truth"] for p in (1, 10, 100, 1000)] == [2, 0, 1, 0]
    assert [classes[p]["found"] for p in (1, 10, 100, 1000)] == [1, 2, 0, 0]
    assert classes[100]["omission"] == {"0.1": 0, "0.3": 0, "0.5": 1} and classes[1000]["omission"]["0.5"] is None
    assert classes[10]["commission"] == pytest.approx({"0.1": 0.5, "0.3": 0.5, "0.5": 1})


def test_counts_add_up_over_patches_and_an_interval_holds_the_score():
    pairs = [images(seed, 48)[::-1] for seed in range(20)]
    whole = ObjectCounts.of(pairs)
    singles = [ObjectCounts.of([pair]) for pair in pairs]
    for name in whole.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(whole, name), np.concatenate([getattr(one, name) for one in singles]))
    told = object_scores(whole)
    for row in told["at"].values():
        low, high = row["interval"]
        assert low <= row["f1"] <= high and high - low > 0


@pytest.mark.parametrize(("found", "truth"), list(itertools.product((0, 1), (0, 1))))
def test_nothing_and_everything(found, truth):
    told = object_scores(ObjectCounts.of([(np.full((8, 8), found), np.full((8, 8), truth))]))
    row = told["at"]["0.5"]
    assert row["f1"] == float(found and truth)
    assert row["commission"] == (None if not found else float(not truth))
    assert row["omission"] == (None if not truth else float(not found))


def test_ignored_pixels_are_in_no_object():
    marked, mask = np.ones((8, 8)), np.full((8, 8), 255)
    mask[:2], mask[6:] = 1, 0
    told = object_scores(ObjectCounts.of([(marked, mask)]))
    assert (told["truth"], told["found"], told["at"]["0.5"]["f1"]) == (1, 2, pytest.approx(2 / 3))


def test_images_of_two_sizes_are_refused():
    with pytest.raises(LandslideError, match="must be equal"):
        ObjectCounts.of([(np.zeros((4, 4)), np.zeros((4, 5)))])


def test_a_paired_sample_without_any_object_says_nothing():
    mask = np.zeros((30, 8, 8), np.uint8)
    mask[:2, 2:5, 2:5] = 1  # 13 % of the samples of thirty draw neither of the two patches
    found = mask.copy()
    found[1, 7, 7] = 1  # invented
    before, after = (ObjectCounts.of(zip(marked, mask, strict=True)) for marked in (np.zeros_like(mask), found))
    paired = paired_objects(before, after, resamples=2000, seed=0)["0.3"]
    sound, other = np.random.default_rng(0).multinomial(30, np.full(30, 1 / 30), size=2000)[:, :2].T
    with np.errstate(invalid="ignore"):
        sampled = 2 * (sound + other) / (2 * sound + 3 * other)  # F1 before is 0 wherever there is an object
    assert np.isnan(sampled).mean() > 0.1 and paired["value"] == pytest.approx(4 / 5)
    np.testing.assert_allclose(paired["interval"], np.nanquantile(sampled, (0.025, 0.975)), rtol=1e-12)
    assert paired["interval"][0] == pytest.approx(2 / 3)


def test_the_table_of_sizes_names_classes_that_do_not_overlap():
    row = {"truth": 1, "found": 2, "omission": {"0.3": 0.1}, "commission": {"0.3": 0.2}}
    table = sizes_table({"classes": [row | {"pixels": pixels} for pixels in (1, 10, 1000)]})
    assert [cells[0] for cells in table.rows] == ["1 to 9", "10 to 999", "1,000 and more"]
