"""Classes of pixels against loops over pixels and scikit-image's regions."""

import numpy as np
import pytest
from skimage.measure import label, regionprops

from tf_landslide.bands.recipes import channel_recipe
from tf_landslide.evaluation.tally import Tally
from tf_landslide.metrics import IGNORED
from tf_landslide.metrics.strata import MISSING, OUTSIDE, ByChannel, BySize, strata_of, stratum_counts

SIX = ["red", "green", "blue", "ndvi", "slope", "dem"]


def patch(seed, ignored=True):
    rng = np.random.default_rng(seed)
    channels = rng.normal(0.3, 0.4, (24, 20, 6)).astype(np.float32)
    channels[..., 4] = rng.uniform(0, 60, channels.shape[:2])
    channels[rng.random(channels.shape) < 0.05] = np.nan
    mask = (rng.random(channels.shape[:2]) < 0.25).astype(np.uint8)
    mask[2:18, 3:17] = 1  # one of more than 100 pixels
    if ignored:
        mask[rng.random(mask.shape) < 0.1] = IGNORED
    return channels, rng.random(mask.shape) < 0.4, mask


def class_of(value, edges):
    if not np.isfinite(value):
        return MISSING
    below = [edge for edge in edges if np.float32(edge) <= value]
    if not below:
        return f"below {edges[0]:g}"
    above = [edge for edge in edges if np.float32(edge) > value]
    return f"{below[-1]:g} to {above[0]:g}" if above else f"{below[-1]:g} and more"


def by_loop(classes, marked, mask):
    """TP, FP, FN, TN by class, pixel by pixel."""
    counts = {}
    for name, m, t in zip(np.ravel(classes), marked.ravel(), mask.ravel(), strict=True):
        if t != IGNORED:
            counts.setdefault(name, [0, 0, 0, 0])[(0 if m else 2) if t == 1 else (1 if m else 3)] += 1
    return counts


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("name", "position", "edges"),
    [("slope", 4, (5, 10, 20, 30, 40)), ("ndvi", 3, (0, 0.2, 0.4, 0.6))],
    ids=["slope", "ndvi"],
)
def test_classes_of_a_channel_are_those_of_a_loop(seed, name, position, edges):
    channels, marked, mask = patch(seed)
    (strata,) = (s for s in strata_of(channel_recipe()) if s.name == name)
    counts = stratum_counts(strata.codes(channels, mask), marked, mask, len(strata.labels))
    classes = [class_of(value, edges) for value in channels[..., position].ravel()]
    found = {label: list(row) for label, row in zip(strata.labels, counts, strict=True) if row.any()}
    assert found == by_loop(classes, marked, mask)


@pytest.mark.parametrize("seed", range(4))
def test_classes_of_size_are_those_of_scikit_images_regions(seed):
    _, marked, mask = patch(seed)
    classes = np.full(mask.shape, OUTSIDE, dtype=object)
    names = {1: "1 to 9", 10: "10 to 99", 100: "100 to 999", 1000: "1000 and more"}
    for region in regionprops(label(mask == 1, connectivity=2)):
        least = max(size for size in names if size <= region.area)
        classes[tuple(region.coords.T)] = names[least]
    counts = stratum_counts(BySize().codes(np.empty((*mask.shape, 0)), mask), marked, mask, 5)
    found = {label: list(row) for label, row in zip(BySize().labels, counts, strict=True) if row.any()}
    assert found == by_loop(classes, marked, mask)


@pytest.mark.parametrize(
    "mask", [np.zeros((8, 8)), np.ones((8, 8)), np.full((8, 8), IGNORED)], ids=["none", "all", "ignored"]
)
def test_one_class_alone(mask):
    codes, marked = BySize().codes(np.empty((8, 8, 0)), mask), np.ones((8, 8), bool)
    counts = stratum_counts(codes, marked, mask, 5)
    assert counts.sum() == (mask != IGNORED).sum()
    assert counts[1, 0] == (mask == 1).sum() and counts[4, 1] == (mask == 0).sum()


def test_edges_belong_to_the_class_above():
    strata = ByChannel("slope", "degrees", (5, 10), 0)
    values = np.array([[4.99, 5, 9.99, 10, np.nan, -np.inf]], np.float32)[..., None]
    assert [strata.labels[code] for code in strata.codes(values, np.zeros((1, 6)))[0]] == [
        *("below 5", "5 to 10", "5 to 10", "10 and more", MISSING, MISSING)
    ]


@pytest.mark.parametrize("ignored", [False, True])
def test_the_classes_of_each_kind_add_up_to_the_pixels_of_the_split(ignored):
    tally = Tally(channel_recipe())
    totals = np.zeros(4, int)
    for seed in range(5):
        channels, marked, mask = patch(seed, ignored)
        tally.add(tally.codes(channels, mask), marked, mask)
        pairs = [(marked, mask == 1), (marked, mask == 0), (~marked, mask == 1), (~marked, mask == 0)]
        totals += [int((a & b).sum()) for a, b in pairs]
    scores = tally.scores(resamples=20)
    assert scores["pixels"] == 5 * 24 * 20 and scores["pixels"] - scores["ignored"] == totals.sum()
    assert list(scores["strata"]) == ["size", "slope", "ndvi"]
    for told in scores["strata"].values():
        summed = [sum(row[name] for row in told["classes"]) for name in ("tp", "fp", "fn", "tn")]
        np.testing.assert_array_equal(summed, totals)


def test_scores_of_a_class_are_its_own_and_recall_is_all_that_a_size_has():
    tally = Tally(channel_recipe())
    for seed in range(6):
        channels, marked, mask = patch(seed)
        tally.add(tally.codes(channels, mask), marked, mask)
    strata = tally.scores(resamples=50)["strata"]
    for row in strata["slope"]["classes"]:
        assert row["f1"] == pytest.approx(2 * row["tp"] / (2 * row["tp"] + row["fp"] + row["fn"]))
        low, high = row["interval"]["f1"]
        assert low <= row["f1"] <= high
    *sizes, outside = strata["size"]["classes"]
    assert [row["recall"] for row in sizes] == pytest.approx([row["tp"] / (row["tp"] + row["fn"]) for row in sizes])
    assert all(
        row["f1"] is None and row["fp"] == row["tn"] == 0 and set(row["interval"]) == {"recall"} for row in sizes
    )
    assert outside["label"] == OUTSIDE and outside["recall"] is None and outside["tp"] == outside["fn"] == 0


@pytest.mark.parametrize(
    ("layout", "channels", "names"),
    [
        ("landslide4sense", "six", ["size", "slope", "ndvi"]),
        ("landslide4sense", ["red", "slope"], ["size", "slope"]),
        ("landslide4sense", "legacy_ratio", ["size"]),  # ratios of what is stored: no degrees, no NDVI
        ("landslide4sense", "fourteen_stored", ["size"]),
        ("mmls", ["red", "slope"], ["size"]),  # a slope of 0..1
        ("bijie", ["red"], ["size"]),
    ],
    ids=str,
)
def test_only_channels_in_physical_units_divide(layout, channels, names):
    found = strata_of(channel_recipe(layout, channels))
    assert [strata.name for strata in found] == names
    assert ("hectares" in found[0].unit) == (layout != "mmls")


@pytest.mark.parametrize("others", [[], ["nir"]], ids=["nothing to compute it of", "bands to compute it of"])
def test_an_ndvi_that_is_stored_is_in_any_unit_and_divides_nothing(others):
    bands = [{"name": "red"}, *({"name": name} for name in others), {"name": "ndvi", "unit": "percent"}]
    recipe = channel_recipe({"name": "own", "bands": bands}, ["red", "ndvi"])
    assert [strata.name for strata in strata_of(recipe)] == ["size"]
