"""The scale of segments: both parts of the objective against loops over pixels and pairs, and what it chooses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.objects.test_segments import blobs
from tf_landslide.core.errors import LandslideError
from tf_landslide.objects.pieces import connected
from tf_landslide.objects.scale import choose_scale, morans_i, weighted_variance
from tf_landslide.objects.segments import Segmenting


def neighbours(labels):
    """Pairs of labels that share an edge, in a set."""
    found = set()
    for row, column in np.ndindex(labels.shape):
        for r, c in ((row, column + 1), (row + 1, column)):
            if r < labels.shape[0] and c < labels.shape[1]:
                a, b = sorted((int(labels[row, column]), int(labels[r, c])))
                if a and a != b:
                    found.add((a, b))
    return found


def moran_by_loops(labels, values):
    """As Espindola et al. (2006) write it: n ΣΣ w (y - ȳ)(y - ȳ) / (Σ (y - ȳ)² ΣΣ w)."""
    n = labels.max()
    means = [values[labels == i].mean() for i in range(1, n + 1)]
    mean = sum(means) / n
    over = under = weights = 0.0
    pairs = neighbours(labels)
    for i in range(n):
        under += (means[i] - mean) ** 2
        for j in range(n):
            if (min(i, j) + 1, max(i, j) + 1) in pairs:
                over += (means[i] - mean) * (means[j] - mean)
                weights += 1
    return n * over / (under * weights)


@settings(max_examples=40, deadline=None)
@given(shape=st.tuples(st.integers(2, 9), st.integers(2, 9)), seed=st.integers(0, 10**6), at=st.sampled_from([0, 1e4]))
def test_variance_and_moran_against_loops(shape, seed, at):
    rng = np.random.default_rng(seed)
    labels = connected(rng.integers(0, 4, shape))
    values = rng.normal(at, 2, shape)
    if labels.max() < 2 or not neighbours(labels):
        return
    each = [values[labels == i] for i in range(1, labels.max() + 1)]
    assert weighted_variance(labels, values) == pytest.approx(
        sum(len(v) * v.var() for v in each) / (labels > 0).sum(), rel=1e-6, abs=1e-9
    )
    assert morans_i(labels, values) == pytest.approx(moran_by_loops(labels, values), rel=1e-6, abs=1e-9)


def test_what_has_no_variance_or_no_neighbours():
    assert np.isnan(weighted_variance(np.zeros((2, 2), int), np.ones((2, 2))))
    assert morans_i(np.zeros((2, 2), int), np.ones((2, 2))) == 0
    assert morans_i(np.array([[1, 2]]), np.full((1, 2), 0.1)) == 0
    assert morans_i(np.array([[1, 0, 2]]), np.array([[1.0, 0, 5]])) == 0
    board = np.arange(1, 37).reshape(6, 6)
    assert morans_i(board, np.indices((6, 6)).sum(0) % 2) == pytest.approx(-1)


def board(side, seed):
    """Squares of ``side`` pixels, each of a value of its own, with some noise."""
    rng = np.random.default_rng(seed)
    squares = np.kron(rng.normal(size=(96 // side, 96 // side)), np.ones((side, side)))
    return {"a": (squares + rng.normal(0, 0.05, (96, 96))).astype(np.float32)}


@pytest.mark.parametrize(("side", "wanted"), [(8, 64), (16, 256)])
def test_the_scale_of_a_chessboard_is_found(side, wanted):
    choice = choose_scale([board(side, 0), board(side, 1)], Segmenting("watershed", layers=("a",)), (16, 64, 256, 1024))
    assert choice.settings.size == wanted
    assert min(choice.scores, key=lambda score: score.total).size == wanted
    assert [score.size for score in choice.scores] == [16, 64, 256, 1024]


def test_fine_segments_have_less_variance_and_likelier_neighbours():
    scores = choose_scale([{"a": blobs((150, 150), 0, 4.0)}], Segmenting("slic", layers=("a",)), (16, 64, 256)).scores
    assert np.diff([score.variance for score in scores]).min() > 0
    assert np.diff([score.moran for score in scores]).max() < 0
    assert np.diff([score.segments for score in scores]).max() < 0
    assert {scores[0].total, scores[-1].total} == {1.0}


def test_the_unit_of_a_layer_does_not_matter_and_empty_patches_do_not_count():
    patch = board(8, 3)
    one = choose_scale([patch], Segmenting("slic", layers=("a",)), (32, 64))
    empty = {"a": np.full((9, 9), np.nan, np.float32)}
    other = choose_scale([empty, {"a": patch["a"] * 1024}], Segmenting("slic", layers=("a",)), (64, 32, 64))
    assert [score.variance for score in one.scores] == pytest.approx([score.variance for score in other.scores])
    assert [score.moran for score in one.scores] == pytest.approx([score.moran for score in other.scores])


@pytest.mark.parametrize(
    ("patches", "sizes", "said"),
    [
        ([{"a": np.ones((3, 3))}], (16,), r"at least two sizes, got \[16\]"),
        ([{"a": np.full((3, 3), np.nan)}], (16, 32), "no pixel of the patches has all layers"),
        ([], (16, 32), "no pixel of the patches has all layers"),
        ([{"b": np.ones((3, 3))}], (16, 32), "unknown layer 'a'"),
    ],
)
def test_what_cannot_be_chosen(patches, sizes, said):
    with pytest.raises(LandslideError, match=said):
        choose_scale(patches, Segmenting(layers=("a",)), sizes)
