"""Layers of change: against NumPy in double precision, on scenes written to files."""

import numpy as np
import pytest
from pyproj import CRS
from rasterio import Affine
from scipy import ndimage
from sklearn.linear_model import TheilSenRegressor

from tests.scenes.test_sampler import UTM, write
from tf_landslide.core.errors import LandslideError
from tf_landslide.objects.change import CLOUD_REACH, INDICES, change_layers, rdndvi
from tf_landslide.objects.pair import pair
from tf_landslide.objects.radiometry import Line, Normalisation, fit_normalisation, match
from tf_landslide.scenes.grid import Grid, Window
from tf_landslide.scenes.stack import open_scene

GRID = Grid(Affine(10, 0, 500000, 0, -10, 4000000), UTM, (90, 110))
BANDS = ("red", "green", "blue", "nir")
SAME = Normalisation({name: Line() for name in BANDS}, 1.0, 0.01)


def stored(seed, shape=GRID.shape):
    rng = np.random.default_rng(seed)
    fields = ndimage.gaussian_filter(rng.normal(size=(4, *shape)), (0, 2, 2))
    return (1500 + 2500 * fields / fields.std() * 0.3).clip(50, 9000).astype(np.uint16)


def scene(folder, name, values, grid=GRID, bands=BANDS, **options):
    files = []
    for band, plane in zip(bands, values, strict=False):
        write(folder / f"{name}_{band}.tif", plane, grid)
        files.append(f"{band}={folder / f'{name}_{band}.tif'}")
    return open_scene(files, ("red", "green", "blue"), **options)


@pytest.fixture(scope="module")
def values():
    before, after = stored(1), stored(2)
    before[:, 10:14, 20:40] = 0
    after[2, 50, 60] = 0  # one band of one image alone
    return before, after


@pytest.fixture(scope="module")
def images(values, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    return pair(scene(folder, "before", values[0]), scene(folder, "after", values[1]))


def test_layers_are_numpys(images, values):
    before, after = (
        dict(zip(BANDS, np.where(stack == 0, np.nan, stack.astype(np.float64)) * 1e-4, strict=True)) for stack in values
    )
    missing = np.logical_or.reduce([np.isnan(plane) for bands in (before, after) for plane in bands.values()])
    assert missing.sum() == 4 * 20 + 1

    def difference(bands, a, b):
        return np.clip((bands[a] - bands[b]) / (bands[a] + bands[b]), -1, 1)

    lines = {
        name: Line(gain, offset)
        for name, gain, offset in zip(BANDS, (1.1, 0.9, 1.0, 1.2), (0.01, 0, -0.01, 0), strict=True)
    }
    layers = change_layers(images, Normalisation(lines, 1.0, 0.02))
    lit = {name: line.gain * before[name] + line.offset for name, line in lines.items()}
    expected = {}
    for name, (a, b) in {"ndvi": ("nir", "red"), "grvi": ("green", "red"), "redness": ("red", "blue")}.items():
        now, then = difference(after, a, b), difference(lit, a, b)
        expected |= {name: now, f"{name}_before": then, f"{name}_change": now - then}
    bright = [sum(bands[name] for name in BANDS[:3]) / 3 for bands in (after, lit)]
    expected |= {"brightness": bright[0], "brightness_before": bright[1], "brightness_change": bright[0] - bright[1]}
    expected["brightness_sigmas"] = expected["brightness_change"] / 0.02
    total = expected["ndvi"] + expected["ndvi_before"]
    known = total > 0.02
    expected["rdndvi"] = np.full(total.shape, np.nan)
    expected["rdndvi"][known] = 100 * expected["ndvi_change"][known] / np.sqrt(total[known])
    assert set(layers) == {*expected, "cloud"}
    for name, plane in expected.items():
        found = layers[name](images.grid.window)
        assert found.dtype == np.float32 and np.isnan(found[missing]).all()
        np.testing.assert_allclose(found[~missing], plane[~missing], rtol=2e-4, atol=2e-5, err_msg=name)


def test_any_window_says_the_same(images):
    layers = change_layers(images, SAME)
    window = Window(40, 30, 37, 51)
    for name, layer in layers.items():
        whole = layer(images.grid.window)
        np.testing.assert_array_equal(layer(window), whole[window.rows, window.columns], err_msg=name)


def test_cloud_is_the_share_of_white_around(tmp_path):
    after = np.full((3, *GRID.shape), 800, np.uint16)
    after[:, 40:50, 50:60] = 4000
    images = pair(scene(tmp_path, "b", stored(3)[:3]), scene(tmp_path, "a", after))
    found = change_layers(images, SAME)["cloud"](images.grid.window)
    white = np.zeros(GRID.shape)
    white[40:50, 50:60] = 1
    side = 2 * CLOUD_REACH + 1
    expected = ndimage.convolve(white, np.ones((side, side)) / side**2, mode="constant")
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_rdndvi_of_ground_that_was_bare_is_unknown():
    before, after = np.array([0.8, 0.2, -0.1, np.nan], np.float32), np.array([0.2, -0.3, -0.1, 0.5], np.float32)
    found = rdndvi(before, after)
    assert found[0] == pytest.approx(-60.0) and np.isnan(found[1:]).all()


def test_the_line_is_found_though_a_third_has_changed():
    rng = np.random.default_rng(0)
    before = rng.gamma(4, 0.03, (2, 20_000))
    after = np.array([[0.7], [1.3]]) * before + np.array([[0.02], [-0.01]]) + rng.normal(0, 0.002, before.shape)
    after[:, :6000] = rng.uniform(0.3, 0.6, (2, 6000))
    found = match(before, after, ("red", "blue"))
    for i, name in enumerate(("red", "blue")):
        reference = TheilSenRegressor(random_state=0, n_subsamples=50, max_subpopulation=500).fit(
            before[i, 6000:, None], after[i, 6000:]
        )
        line = found.lines[name]
        assert line.gain == pytest.approx(reference.coef_[0], abs=0.03)
        assert line.offset == pytest.approx(reference.intercept_, abs=0.005)
    assert 0.6 < found.kept < 0.75


def test_noise_is_the_deviation_of_brightness():
    rng = np.random.default_rng(0)
    before = rng.gamma(4, 0.03, (3, 50_000))
    after = before + rng.normal(0, 0.009, before.shape)
    found = match(before, after, ("red", "green", "blue"))
    assert found.noise == pytest.approx(0.009 / np.sqrt(3), rel=0.05)


def test_the_image_after_rules_the_grid(tmp_path):
    """Before is a larger raster whose pixels lie on the same lattice: its values are the same pixels, moved."""
    wide = stored(5, (130, 150))
    grid = Grid(GRID.transform @ Affine.translation(-20, -10), UTM, (130, 150))
    images = pair(scene(tmp_path, "b", wide, grid), scene(tmp_path, "a", stored(6)))
    found = images.read(GRID.window)["nir_before"]
    np.testing.assert_allclose(found, wide[3, 10:100, 20:130] * 1e-4, rtol=1e-6)


def test_a_shift_is_undone(tmp_path):
    """What lies 0.5 rows south and 1.25 columns west before is mixed from the pixels there."""
    after = stored(7)
    images = pair(scene(tmp_path, "b", after), scene(tmp_path, "a", after)).moved((0.5, -1.25))
    found = images.read(GRID.window)["red_before"][5:-5, 5:-5]
    expected = ndimage.shift(after[0] * 1e-4, (-0.5, 1.25), order=1)[5:-5, 5:-5]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert images.moved((0.0, 0.0)).shift == (0.0, 0.0)


def test_near_infrared_is_used_where_both_have_it(tmp_path):
    images = pair(scene(tmp_path, "b", stored(1)[:3]), scene(tmp_path, "a", stored(2)))
    assert images.bands == BANDS[:3] and not {"ndvi", "rdndvi"} & set(change_layers(images, SAME))


@pytest.mark.parametrize("crs", [UTM, CRS.from_epsg(4326)])
def test_scenes_that_do_not_meet_are_one_line(tmp_path, crs):
    far = Affine(10, 0, 600000, 0, -10, 4000000) if crs == UTM else Affine(1e-4, 0, 10, 0, -1e-4, 50)
    with pytest.raises(LandslideError, match="do not overlap") as error:
        pair(scene(tmp_path, "b", stored(1), Grid(far, crs, GRID.shape)), scene(tmp_path, "a", stored(2)))
    assert "\n" not in str(error.value)


def test_images_without_common_pixels_are_one_line(tmp_path):
    before, after = stored(1), stored(2)
    before[:, :, :60] = 0
    after[:, :, 50:] = 0
    images = pair(scene(tmp_path, "b", before), scene(tmp_path, "a", after))
    with pytest.raises(LandslideError, match="have data in both images"):
        fit_normalisation(images.read, images.bands, images.grid.shape)


def test_an_index_of_change_next_to_a_sum_of_zero_is_bounded():
    red, blue = np.array([0.03, 0.03, 0.03, 0.3], np.float32), np.array([-0.0299, -0.03, -0.04, 0.1], np.float32)
    found = INDICES["redness"][1]({"red": red, "blue": blue})
    np.testing.assert_allclose(found, [1, np.nan, np.nan, 0.5], rtol=1e-6)
