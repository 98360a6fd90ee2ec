"""Segments of a patch: a partition of what is valid into connected pieces, whatever the layers hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tf_landslide.core.errors import LandslideError
from tf_landslide.objects import segmenting
from tf_landslide.objects.change import rdndvi
from tf_landslide.objects.pieces import Borders, absorbed, connected
from tf_landslide.objects.segmenters import SEGMENTERS
from tf_landslide.objects.segmenting import SPREADS, spread
from tf_landslide.objects.segments import Segmenting, segment

METHODS = ("slic", "felzenszwalb", "watershed")


def test_every_method_that_settings_may_name_is_there():
    assert set(segmenting.METHODS) == set(SEGMENTERS)


def blobs(shape, seed=0, smooth=3.0):
    """(H, W) float32 that varies as ground does, spread about 1."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), smooth)
    return (field / (field.std() or 1)).astype(np.float32)


def check_partition(labels, valid):
    """Segments cover the valid pixels, are numbered 1..N in the order of their first pixels, and each is connected."""
    assert labels.dtype == np.int32 and labels.shape == valid.shape
    np.testing.assert_array_equal(labels > 0, valid)
    numbers, first = np.unique(labels[labels > 0], return_index=True)
    np.testing.assert_array_equal(numbers, np.arange(1, len(numbers) + 1))
    assert (np.diff(first) > 0).all()
    for number, where in zip(numbers, ndimage.find_objects(labels), strict=True):
        assert ndimage.label(labels[where] == number)[1] == 1


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size=st.integers(1, 120),
    seed=st.integers(0, 10**6),
    gaps=st.sampled_from([0.0, 0.02, 0.3, 0.97]),
)
def test_segments_partition_the_valid_pixels(method, shape, size, seed, gaps):
    rng = np.random.default_rng(seed)
    layers = {"a": blobs(shape, seed), "b": blobs(shape, seed + 1, 1.0) * 40 + 7}
    layers["a"][rng.random(shape) < gaps] = np.nan
    layers["b"][ndimage.gaussian_filter(rng.random(shape), 2) < gaps / 2] = np.inf
    labels = segment(layers, Segmenting(method, size, layers=("a", "b")))
    check_partition(labels, np.isfinite(layers["a"]) & np.isfinite(layers["b"]))


@pytest.mark.parametrize("method", METHODS)
def test_segments_are_about_as_large_as_wanted_and_none_is_tiny(method):
    layers = {"a": blobs((200, 200), 3, 2.0)}
    for size in (25, 100):
        areas = np.bincount(segment(layers, Segmenting(method, size, layers=("a",))).ravel())[1:]
        assert size / 2 < areas.mean() < size * 2
        assert areas.min() >= size // 8


@pytest.mark.parametrize("method", METHODS)
def test_segments_follow_an_edge(method):
    truth = np.hypot(*np.mgrid[-40:41, -40:41]) < 21
    layers = {"a": truth + np.random.default_rng(0).normal(0, 0.02, truth.shape).astype(np.float32)}
    labels = segment(layers, Segmenting(method, 60, ("a",), smoothing=0, spreads=(("a", 0.25),)))
    inside = np.bincount(labels.ravel(), truth.ravel()) / np.maximum(np.bincount(labels.ravel()), 1)
    assert (truth == (inside > 0.5)[labels]).mean() > 0.99  # whole segments tell the disc


@pytest.mark.parametrize("method", METHODS)
def test_the_unit_of_a_layer_and_what_else_the_image_holds_do_not_matter(method):
    """Spreads are stated: another bright place, far away, changes nothing, as it would by the image's own maximum."""
    calm = {"a": blobs((60, 200), 5)}
    with_cloud = {"a": calm["a"].copy()}
    with_cloud["a"][:, 180:] += 100
    fixed = Segmenting(method, 49, ("a",), spreads=(("a", 1.0),))
    np.testing.assert_array_equal(segment(calm, fixed)[:, :90] > 0, True)
    borders = [np.diff(segment(layers, fixed)[:, :90], axis=1) != 0 for layers in (calm, with_cloud)]
    np.testing.assert_array_equal(*borders)
    tenth = Segmenting(method, 49, ("a",), spreads=(("a", 0.125),))
    np.testing.assert_array_equal(segment({"a": calm["a"] / 8}, tenth), segment(calm, fixed))


@pytest.mark.parametrize("method", METHODS)
def test_gaps_leave_no_trace_in_the_segments_around_them(method):
    """A gap is no dark spot: the borders around a missing pixel are those that were there."""
    whole = {"a": blobs((80, 80), 2) + 50}
    holed = {"a": whole["a"].copy()}
    holed["a"][40, 40] = np.nan
    wanted = Segmenting(method, 64, ("a",), spreads={"a": 1.0})
    labels = [segment(layers, wanted) for layers in (whole, holed)]
    around = np.s_[30:51, 30:51]
    for axis in (0, 1):
        a, b = (np.diff(image[around], axis=axis) != 0 for image in labels)
        assert (a != b).sum() <= 15


def test_spreads():
    rng = np.random.default_rng(0)
    values = rng.normal(5, 3, 100_000)
    values[:100] = 1e6
    values[100:200] = np.nan
    assert spread(values) == pytest.approx(3, rel=0.02)
    assert spread(np.full(9, 4.0)) == 1 and spread(np.array([np.nan])) == 1
    known = Segmenting(layers=("ndvi", "red", "green"), spreads={"red": 0.5}).with_spreads({"green": values})
    assert dict(known.spreads) == {"ndvi": SPREADS["ndvi"], "red": 0.5, "green": spread(values)}
    assert known.with_spreads({}) == known and hash(known)


def test_one_pixel_and_none():
    for method in METHODS:
        wanted = Segmenting(method, layers=("a",))
        assert segment({"a": np.ones((1, 1), np.float32)}, wanted).tolist() == [[1]]
        assert segment({"a": np.full((2, 3), np.nan, np.float32)}, wanted).tolist() == [[0] * 3] * 2


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Segmenting("slick"), "unknown method of segmenting 'slick'; did you mean 'slic'"),
        (lambda: Segmenting(size=0), "size of segments must be 1 to"),
        (lambda: Segmenting(layers=()), "at least one layer"),
        (lambda: Segmenting(compactness=0.0), "compactness must be above 0, got 0.0"),
        (lambda: Segmenting(spreads={"red": -1.0}), "spread of red must be above 0"),
        (lambda: Segmenting(smoothing=-1), "smoothing must be 0 to 16"),
        (lambda: segment({"read": np.ones((2, 2))}, Segmenting()), "unknown layer 'red'; did you mean 'read'"),
        (
            lambda: segment({"a": np.ones((2, 2)), "b": np.ones((2, 3))}, Segmenting(layers=("a", "b"))),
            r"layer 'b' has shape \(2, 3\), 'a' has \(2, 2\)",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(made, said):
    with pytest.raises(LandslideError, match=said):
        made()


def test_pieces_and_borders_against_a_loop():
    labels = np.random.default_rng(1).integers(0, 4, (9, 11))
    pieces = connected(labels)
    total = 0
    for value in (1, 2, 3):
        groups, n = ndimage.label(labels == value)
        total += n
        for group in range(1, n + 1):
            assert len(np.unique(pieces[groups == group])) == 1
    assert pieces.max() == total
    wanted: dict = {}
    for row, column in np.ndindex(9, 11):
        for r, c in ((row, column + 1), (row + 1, column)):
            if r < 9 and c < 11:
                pair = tuple(sorted((pieces[row, column], pieces[r, c])))
                if pair[0] > 0 and pair[0] != pair[1]:
                    wanted[pair] = wanted.get(pair, 0) + 1
    borders = Borders.of(pieces)
    found = dict(zip(zip(borders.a.tolist(), borders.b.tolist(), strict=True), borders.length.tolist(), strict=True))
    assert found == wanted


def test_a_small_piece_joins_the_neighbour_of_the_longest_border():
    labels = np.array([[1, 1, 1, 1, 2], [1, 1, 3, 3, 2], [1, 1, 1, 2, 2]])
    pieces = connected(labels)
    names = absorbed(np.bincount(pieces.ravel()), Borders.of(pieces), 3)
    three = pieces[1, 2]
    assert names[three] == names[1]  # it shares four edges with 1, two with 2
    tied = np.array([[1, 2, 3]])  # 2 is the small one, by the areas given
    assert absorbed(np.array([0, 9, 1, 9]), Borders.of(tied), 2).tolist() == [0, 1, 1, 2]  # the lower label of equals
    alone = np.array([[1, 0, 2]])
    assert absorbed(np.bincount(alone.ravel()), Borders.of(alone), 5).tolist() == [0, 1, 2]


def test_known_spreads_are_in_the_units_of_their_layers():
    """rdNDVI is in per cent: of an NDVI around 0.5, one spread of its change is about ten."""
    before = np.float32(0.5)
    after = before + np.float32(SPREADS["ndvi_change"])
    assert SPREADS["rdndvi"] == pytest.approx(float(rdndvi(before, after)), rel=0.2)
