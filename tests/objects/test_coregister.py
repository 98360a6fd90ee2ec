"""The shift between two images: against images that SciPy has moved by a known amount."""

import numpy as np
import pytest
from scipy import ndimage

from tf_landslide.objects.coregister import estimate_shift, shift_of

SHAPE = (200, 250)


def texture(seed=0, shape=SHAPE):
    rng = np.random.default_rng(seed)
    return ndimage.gaussian_filter(rng.normal(size=shape), 1.2) + 0.5 * ndimage.gaussian_filter(
        rng.normal(size=shape), 4
    )


def by_spline(image, shift):
    return ndimage.shift(image, shift, order=3, mode="mirror")


def by_fourier(image, shift):
    return np.fft.ifft2(ndimage.fourier_shift(np.fft.fft2(image), shift)).real


def reader(image):
    return lambda window: image[window.rows, window.columns]


@pytest.mark.parametrize("move", [by_spline, by_fourier])
@pytest.mark.parametrize("shift", [(0.3, -0.65), (4.0, -3.25)])
def test_a_known_shift_is_found(move, shift):
    after = texture()
    before = move(after, shift)
    inner = slice(20, 140), slice(30, 150)
    assert shift_of(before[inner], after[inner]) == pytest.approx(shift, abs=0.06)
    found = estimate_shift(reader(before), reader(after), SHAPE)
    assert (found.rows, found.columns) == pytest.approx(shift, abs=0.04)
    assert found.known and found.agreeing == found.windows == 12 and found.spread < 0.06


def test_another_season_clouds_and_a_swath_edge_do_not_matter():
    """A line of brightness, a slow trend, noise, white discs over a tenth of the image, and nothing beyond an edge."""
    rng = np.random.default_rng(1)
    after = texture()
    rows, columns = np.indices(SHAPE)
    before = 0.4 * by_spline(after, (0.8, 0.45)) + 3 + rows / 200 + rng.normal(0, 0.02, SHAPE)
    clouds = ndimage.binary_dilation(rng.random(SHAPE) < 0.0003, iterations=12)
    assert 0.03 < clouds.mean() < 0.3
    before[clouds] = 20
    before[rows + columns > 400] = np.nan
    found = estimate_shift(reader(before), reader(after), SHAPE)
    assert found.known and (found.rows, found.columns) == pytest.approx((0.8, 0.45), abs=0.1)


def test_images_that_share_nothing_have_no_shift():
    found = estimate_shift(reader(texture(1)), reader(texture(2)), SHAPE)
    assert not found.known


def test_nothing_valid_or_nothing_to_see_is_told_as_unknown():
    empty, even = np.full(SHAPE, np.nan), np.ones(SHAPE)
    for before, after in ((empty, texture()), (even, texture()), (even, even)):
        found = estimate_shift(reader(before), reader(after), SHAPE)
        assert not found.known and found.windows == 0 and np.isnan(found.rows)


def test_a_small_image_has_too_few_windows_to_be_sure():
    after = texture()[:100, :150]
    found = estimate_shift(reader(by_spline(after, (0.5, -0.5))), reader(after), after.shape)
    assert found.windows == 2 and not found.known and (found.rows, found.columns) == pytest.approx((0.5, -0.5), abs=0.1)
