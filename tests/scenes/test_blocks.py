"""Windows, weights and blocks: they cover, they sum to one, and they leave no trace in what is constant or local."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter

from tf_landslide.core.errors import LandslideError
from tf_landslide.scenes.blocks import tiling
from tf_landslide.scenes.grid import Window


def assembled(cut, shape, model, scene):
    """The scene's prediction, block by block, as the writer adds it up."""
    total = np.zeros((max(shape[0], cut.rows.window), max(shape[1], cut.rows.window)), np.float32)
    padded = np.pad(scene, [(0, total.shape[0] - shape[0]), (0, total.shape[1] - shape[1])])
    for block in cut.blocks():
        probability = np.stack([model(padded[window.rows, window.columns]) for window in block.windows])
        total[block.region.rows, block.region.columns] += cut.blended(block, probability)
    return total[: shape[0], : shape[1]]


sizes = st.tuples(st.integers(1, 400), st.integers(1, 400))


@settings(max_examples=60, deadline=None)
@given(sizes, st.sampled_from([(64, 32, 8), (96, 24, 0), (64, 10, 4), (128, 64, 31), (64, 32, 0)]), st.integers(1, 4))
def test_weights_sum_to_one_everywhere_so_what_is_constant_stays_so(shape, cut, per_side):
    window, overlap, drop = cut
    made = tiling(shape, window, overlap, drop, per_side)
    found = assembled(made, shape, lambda x: np.full_like(x, 0.7), np.zeros(shape, np.float32))
    np.testing.assert_allclose(found, 0.7, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(sizes, st.integers(1, 5))
def test_blocks_hold_every_window_once_and_do_not_change_the_result(shape, per_side):
    scene = np.random.default_rng(0).random(shape).astype(np.float32)
    one, many = tiling(shape, 64, 32, 8, 1), tiling(shape, 64, 32, 8, per_side)
    windows = [window for block in many.blocks() for window in block.windows]
    assert sorted(windows, key=lambda w: (w.row, w.column)) == [block.windows[0] for block in one.blocks()]
    smooth = lambda x: uniform_filter(x, 5)  # noqa: E731
    np.testing.assert_allclose(assembled(one, shape, smooth, scene), assembled(many, shape, smooth, scene), atol=1e-6)


@pytest.mark.parametrize(("window", "expected"), [(256, 4), (512, 4), (1024, 2), (2048, 1), (4096, 1), (8192, 1)])
def test_blocks_of_large_windows_hold_fewer(window, expected):
    cut = tiling((50_000, 30_000), window)
    blocks = list(cut.blocks())
    assert max(len(block.windows) for block in blocks) == expected**2 == cut.per_side**2
    largest = max(block.region.height * block.region.width for block in blocks)
    assert largest <= max(2048, window) ** 2
    assert sum(len(block.windows) for block in blocks) * window**2 == cut.computed_pixels


@pytest.mark.parametrize("shape", [(320, 448), (331, 257)])
def test_a_model_that_sees_no_further_than_the_drop_gives_what_a_single_shot_gives(shape):
    scene = np.random.default_rng(1).random(shape).astype(np.float32)
    model = lambda x: uniform_filter(x, 17, mode="constant")  # noqa: E731 (sees eight pixels; zeros beyond)
    found = assembled(tiling(shape, 64, 32, 8), shape, model, scene)
    np.testing.assert_allclose(found, model(scene), atol=2e-6)
    cropped = assembled(tiling(shape, 64, 10, 4), shape, model, scene)  # half as much margin shows
    assert np.abs(cropped - model(scene)).max() > 0.01


def test_a_shift_by_one_stride_shifts_the_result():
    scene = np.random.default_rng(2).random((400, 400)).astype(np.float32)
    model = lambda x: uniform_filter(x, 41)  # noqa: E731 (sees further than any margin)
    cut = tiling((400, 400), 96, 32, 8)
    stride = 64
    whole, moved = (
        assembled(cut, (400, 400), model, scene),
        assembled(cut, (400, 400), model, np.roll(scene, -stride, 0)),
    )
    inner = slice(96, 400 - 2 * 96)
    np.testing.assert_allclose(moved[inner], whole[inner.start + stride : inner.stop + stride], atol=1e-6)


def test_no_seam_is_steeper_than_the_ground_beside_it():
    """Of a model that errs near its edges: across seams the gradient is as elsewhere, while cropping leaves steps."""
    rng = np.random.default_rng(3)
    scene = uniform_filter(rng.random((512, 512)), 9).astype(np.float32)

    def model(x):
        edge = np.minimum.reduce(np.meshgrid(*[np.minimum(np.arange(n), np.arange(n)[::-1]) for n in x.shape]))
        return (x + 0.05 * rng.normal() * np.exp(-edge / 24)).astype(np.float32)

    def seam_ratio(cut):
        found = assembled(cut, scene.shape, model, scene)
        steps = np.abs(np.diff(found, axis=0)).mean(1)
        seams = [start + cut.rows.overlap // 2 - 1 for start in cut.rows.starts[1:-1]]
        return steps[seams].mean() / np.delete(steps, seams).mean()

    assert seam_ratio(tiling(scene.shape, 128, 32, 4)) <= 1.05
    assert seam_ratio(tiling(scene.shape, 128, 32, 15)) > 1.3  # two pixels to fade in: as good as cropped


def test_the_price_of_overlapping_is_what_is_computed_twice():
    cut = tiling((64 * 9, 64 * 9), 128, 64, 16)
    assert cut.computed_pixels / (64 * 9) ** 2 == pytest.approx(8**2 * 128**2 / (64 * 9) ** 2)
    assert next(cut.blocks()).region == Window(0, 0, 3 * 64 + 128, 3 * 64 + 128)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window": 100}, "multiple of 32"),
        ({"overlap": 40, "drop": 20}, "less than half the overlap"),
        ({"overlap": 70}, "1 to 64 pixels, half the window"),
        ({"overlap": -5, "drop": -2}, "1 to 64 pixels, half the window, got -5"),
        ({"per_side": 0}, "cannot be cut"),
    ],
)
def test_sizes_that_cannot_be_are_refused(options, said):
    with pytest.raises(LandslideError, match=said):
        tiling((300, 300), **{"window": 128, "overlap": 32, "drop": 8, **options})
