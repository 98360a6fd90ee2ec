import json
import tracemalloc

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import median_filter

from tests.data.test_patches import write
from tf_landslide.bands.features import Features
from tf_landslide.bands.filters import Bilateral, bilateral_filter, nanmedian_filter
from tf_landslide.bands.layouts import LANDSLIDE4SENSE, LANDSLIDE4SENSE_DIVISORS
from tf_landslide.bands.recipes import channel_recipe
from tf_landslide.core.errors import LandslideError
from tf_landslide.data.hdf5 import read_image

# The published divisors and band positions once more, so that a slip in the library cannot agree with itself.
RED, GREEN, BLUE, NIR, SLOPE, DEM = 3, 2, 1, 7, 12, 13
DIVISORS = [
    *(1111.812, 824.631, 663.416, 445.173, 645.858, 1547.735, 1960.444),
    *(1941.322, 674.076, 9.048, 1113.983, 519.904, 20.2923, 772.8314),
]


def six_channels_by_numpy(stored):
    x = stored.astype(np.float64) * DIVISORS
    red, green, blue, nir = (x[..., band] / 10_000 for band in (RED, GREEN, BLUE, NIR))
    return np.stack([red, green, blue, (nir - red) / (nir + red), x[..., SLOPE], x[..., DEM]], axis=-1)


def legacy_ratio_by_numpy(stored):
    out = []
    for x in np.where(np.isnan(stored), 1e-6, stored.astype(np.float64)):
        mid_rgb, mid_slope, mid_dem = x[..., 1:4].max() / 2, x[..., 12].max() / 2, x[..., 13].max() / 2
        channels = [1 - x[..., 3] / mid_rgb, 1 - x[..., 2] / mid_rgb, 1 - x[..., 1] / mid_rgb]
        channels += [(x[..., 7] - x[..., 3]) / (x[..., 7] + x[..., 3])]
        channels += [1 - x[..., 12] / mid_slope, 1 - x[..., 13] / mid_dem]
        out.append(np.stack(channels, axis=-1))
    return np.stack(out)


@pytest.fixture
def stored():
    return np.random.default_rng(0).uniform(0.2, 3, (2, 16, 24, 14)).astype(np.float32)


def test_divisors_are_the_published_ones():
    assert list(LANDSLIDE4SENSE_DIVISORS) == DIVISORS


def test_six_channels_equal_numpy(stored):
    channels = np.asarray(Features("landslide4sense", "six")(stored))
    np.testing.assert_allclose(channels, six_channels_by_numpy(stored), rtol=1e-5, atol=1e-5)


def test_six_channels_equal_numpy_on_real_patches(real_data):
    paths = sorted((real_data / "landslide4sense_samples" / "img").glob("*.h5"))
    stored = np.stack([read_image(path, LANDSLIDE4SENSE) for path in paths])
    channels = np.asarray(Features("landslide4sense", "six")(stored))
    np.testing.assert_allclose(channels, six_channels_by_numpy(stored), rtol=1e-5, atol=1e-5)
    assert np.isfinite(channels).all()
    red, green, blue, ndvi, slope, dem = np.moveaxis(channels, -1, 0)
    assert 0.5 < ndvi.mean() < 0.65
    assert slope.min() >= 0 and slope.max() == pytest.approx(72, abs=1)
    assert dem.min() == pytest.approx(77, abs=1) and dem.max() == pytest.approx(3399, abs=1)
    for reflectance in (red, green, blue):
        assert reflectance.min() > 0.01 and reflectance.max() < 0.5
    naive = (stored[..., NIR] - stored[..., RED]) / (stored[..., NIR] + stored[..., RED])
    assert naive.mean() < 0  # what an NDVI on stored values would say of these green hills


def test_real_bands_are_whole_numbers_in_original_units(real_data):
    import h5py

    for path in sorted((real_data / "landslide4sense_samples" / "img").glob("*.h5")):
        with h5py.File(path) as file:
            original = file["img"][()] * LANDSLIDE4SENSE_DIVISORS
        assert np.abs(original - original.round()).max() < 1e-2  # the divisors are published with six digits


def test_fourteen_bands_in_physical_units(stored):
    channels = np.asarray(Features("landslide4sense", "fourteen")(stored))
    expected = stored.astype(np.float64) * DIVISORS
    expected[..., :12] /= 10_000
    np.testing.assert_allclose(channels, expected, rtol=1e-5)


def test_legacy_ratio_equals_numpy_and_keeps_its_rule_for_nan(stored):
    stored[0, 3, 4, RED] = stored[1, 2, 2, DEM] = np.nan
    channels = np.asarray(Features("landslide4sense", "legacy_ratio")(stored))
    np.testing.assert_allclose(channels, legacy_ratio_by_numpy(stored), rtol=1e-5, atol=1e-5)
    assert np.isfinite(channels).all()


def test_a_list_of_channels_keeps_its_order():
    stored = np.random.default_rng(1).uniform(0.1, 1, (1, 8, 8, 7)).astype(np.float32)
    names = ["slope", "red", "thermal_inertia"]
    channels = np.asarray(Features("mmls", names)(stored))
    np.testing.assert_array_equal(channels, stored[..., [5, 0, 4]])


def test_missing_values_stay_missing_and_touch_no_neighbour(stored):
    whole = np.asarray(Features("landslide4sense", "six")(stored))
    stored[0, 5, 6, NIR] = np.nan
    channels = np.array(Features("landslide4sense", "six")(stored))
    assert np.isnan(channels[0, 5, 6]).tolist() == [False, False, False, True, False, False]
    channels[0, 5, 6, 3] = whole[0, 5, 6, 3]
    np.testing.assert_array_equal(channels, whole)


def test_no_data_becomes_missing():
    stored = np.full((1, 4, 4, 7), 0.5, np.float32)
    stored[0, 1, 1, 4] = 0  # thermal inertia 0 is no data; a red of 0 is black
    stored[0, 1, 1, 0] = 0
    channels = np.asarray(Features("mmls", ["red", "thermal_inertia"])(stored))
    assert np.isnan(channels).sum() == 1 and np.isnan(channels[0, 1, 1, 1])
    assert channels[0, 1, 1, 0] == 0


def test_ndvi_of_no_signal_is_missing():
    stored = np.ones((1, 4, 4, 14), np.float32)
    stored[0, 0, 0, [RED, NIR]] = 0
    ndvi = np.asarray(Features("landslide4sense", ["ndvi"])(stored))[..., 0]
    assert np.isnan(ndvi[0, 0, 0]) and np.isfinite(ndvi).sum() == 15


def test_an_index_of_reflectance_around_zero_is_bounded_and_missing_where_the_sum_is_not_positive():
    rng = np.random.default_rng(3)
    stored = rng.uniform(-0.1, 0.1, (2, 64, 64, 14)).astype(np.float32)  # Level-2A in deep shadow and over water
    stored[0, 0, :4] = [[0.1], [-0.1], [0.0], [np.inf]]
    names = ["ndvi", "ndwi", "ndmi", "nbr"]
    layer = Features("landslide4sense_reflectance", names)
    bands = stored.astype(np.float64)
    expected = []
    for a, b in ((NIR, RED), (GREEN, NIR), (NIR, 10), (NIR, 11)):
        with np.errstate(all="ignore"):
            ratio = (bands[..., a] - bands[..., b]) / (bands[..., a] + bands[..., b])
        missing = ~(bands[..., a] + bands[..., b] > 0) | np.isinf(bands[..., a] + bands[..., b])
        expected.append(np.where(missing, np.nan, np.clip(ratio, -1, 1)))
    channels = layer.recipe(stored)
    np.testing.assert_array_equal(channels, np.asarray(layer(stored)))  # bit for bit
    np.testing.assert_allclose(channels, np.stack(expected, axis=-1), rtol=2e-6, atol=2e-6)
    assert 0.4 < np.isnan(channels).mean() < 0.6 and np.nanmax(np.abs(channels)) == 1
    assert not np.isnan(channels[0, 0, 0]).any() and np.isnan(channels[0, 0, 1:4]).all()


@pytest.mark.parametrize("size", [3, 5])
def test_median_filter_equals_scipy(stored, size):
    filtered = np.asarray(nanmedian_filter(stored, size))
    expected = np.stack([median_filter(x, size=(size, size, 1), mode="reflect") for x in stored])
    np.testing.assert_array_equal(filtered, expected)


@pytest.mark.filterwarnings("ignore:All-NaN slice")
@pytest.mark.parametrize("size", [3, 15])
def test_a_median_of_strips_is_that_of_the_whole(size, monkeypatch):
    """Of NumPy alone: the model's is of patches."""
    monkeypatch.setattr("tf_landslide.bands.filters._AT_ONCE", 5 * size**2 * 2 * 41 * 2)  # five rows
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(2, 33, 41, 2)).astype(np.float32)
    expected = np.stack([median_filter(x, size=(size, size, 1), mode="reflect") for x in whole])
    np.testing.assert_array_equal(nanmedian_filter(whole, size), expected)
    whole[rng.random(whole.shape) < 0.3] = np.nan
    edges = [(0, 0), (size // 2, size // 2), (size // 2, size // 2), (0, 0)]
    views = np.lib.stride_tricks.sliding_window_view(np.pad(whole, edges, mode="symmetric"), (size, size), axis=(1, 2))
    expected = np.where(np.isnan(whole), np.nan, np.nanmedian(views, axis=(-2, -1)))
    np.testing.assert_array_equal(nanmedian_filter(whole, size), expected)


@pytest.mark.parametrize(
    ("bands", "run"),
    [
        (1, lambda x: nanmedian_filter(x, 15)),
        (10, lambda x: bilateral_filter(x, Bilateral(0.5, 0.1))),
    ],
    ids=["median", "bilateral"],
)
def test_filters_of_a_scene_s_block_take_little_memory(bands, run):
    block = np.random.default_rng(0).random((1, 256, 512, bands), np.float32)
    tracemalloc.start()
    run(block)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6


def test_median_filter_skips_missing_values():
    x = np.arange(25, dtype=np.float32).reshape(1, 5, 5, 1)
    x[0, 2, 2, 0] = np.nan
    filtered = np.asarray(nanmedian_filter(x, 3))[0, ..., 0]
    assert np.isnan(filtered[2, 2]) and np.isfinite(filtered).sum() == 24
    assert filtered[1, 1] == np.nanmedian(x[0, 0:3, 0:3, 0])


def test_median_filters_only_the_chosen_bands(stored):
    plain = np.asarray(Features("landslide4sense", "fourteen")(stored))
    filtered = np.asarray(Features("landslide4sense", "fourteen", 3, ["dem"])(stored))
    np.testing.assert_array_equal(filtered[..., :13], plain[..., :13])
    expected = np.stack([median_filter(x, size=3, mode="reflect") for x in plain[..., 13]])
    np.testing.assert_allclose(filtered[..., 13], expected)


def naive_bilateral(x, sigma_space, sigma_value, radius):
    """Pixel by pixel in float64, of (H, W)."""
    height, width = x.shape
    out = np.full(x.shape, np.nan)
    for i in range(height):
        for j in range(width):
            if np.isnan(x[i, j]):
                continue
            total = weights = 0.0
            for y in range(i - radius, i + radius + 1):
                for z in range(j - radius, j + radius + 1):
                    row, column = (min(max(a, -1 - a), 2 * n - 1 - a) for a, n in ((y, height), (z, width)))
                    if np.isnan(x[row, column]):
                        continue
                    distance, apart = (y - i) ** 2 + (z - j) ** 2, x[row, column] - x[i, j]
                    weight = np.exp(-distance / (2 * sigma_space**2)) * np.exp(-(apart**2) / (2 * sigma_value**2))
                    total, weights = total + weight * x[row, column], weights + weight
            out[i, j] = total / weights
    return out


@pytest.mark.parametrize(
    ("xp", "at_once"), [(np, 2**20), (np, 4 * 16 * 2 * 14 * 2), (keras.ops, 1)], ids=["numpy", "four rows", "keras"]
)
def test_bilateral_filter_equals_a_loop_over_pixels_and_skips_missing_ones(xp, at_once, monkeypatch):
    monkeypatch.setattr("tf_landslide.bands.filters._AT_ONCE", at_once)
    rng = np.random.default_rng(6)
    x = rng.uniform(0, 0.3, (2, 11, 14, 2)).astype(np.float32)
    x[..., 1] = 1500 + 300 * x[..., 1]
    x[0, 3:5, 2:9, 0] = np.nan
    x[1, 0, 0] = np.nan
    for sigma_space, sigma_value, radius in ((1.0, 0.05, 2), (1.3, 20.0, 3)):
        settings = Bilateral(sigma_space, sigma_value)
        found = np.asarray(bilateral_filter(x if xp is np else keras.ops.convert_to_tensor(x), settings, xp))
        assert found.dtype == np.float32
        for image, ours in zip(x, found, strict=True):
            for band in range(2):
                expected = naive_bilateral(image[..., band].astype(np.float64), sigma_space, sigma_value, radius)
                np.testing.assert_allclose(ours[..., band], expected, rtol=3e-6)


def test_bilateral_filter_equals_scikit_image(monkeypatch):
    """With distances as they are: its own table has one row and column too many for an odd window (0.26)."""
    from skimage.restoration import _denoise, denoise_bilateral

    y, z = np.mgrid[-3:4, -3:4]
    spatial = np.exp(-(y**2 + z**2) / (2 * 1.5**2)).ravel()
    monkeypatch.setattr(_denoise, "_compute_spatial_lut", lambda *_, **__: spatial)
    step = np.where(np.arange(40) < 20, 0.2, 0.6) + np.random.default_rng(7).normal(0, 0.03, (30, 40))
    x = np.clip(step, 0, 1).astype(np.float32)
    found = bilateral_filter(x[None, ..., None], Bilateral(1.5, 0.1))[0, ..., 0]
    expected = denoise_bilateral(
        x.astype(np.float64), win_size=7, sigma_color=0.1, sigma_spatial=1.5, bins=100_000, mode="symmetric"
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found[:, :18].std() < 0.5 * x[:, :18].std() and found[:, 22:].mean() - found[:, :18].mean() > 0.39


def test_bilateral_filter_runs_on_the_chosen_bands_after_the_median(stored):
    plain = np.asarray(Features("landslide4sense", "fourteen", 3)(stored))
    settings = Bilateral(1.0, 0.05, ("nir", "red"))
    recipe = channel_recipe("landslide4sense", ["red", "ndvi", "dem", "green"], 3, None, settings)
    assert recipe.margin == 3 and recipe.bilateral.bands == ("red", "nir")
    found = recipe(stored)
    red, nir = (bilateral_filter(plain[..., i : i + 1], settings)[..., 0] for i in (RED, NIR))
    np.testing.assert_allclose(found[..., 0], red, rtol=1e-6)
    with np.errstate(divide="ignore", invalid="ignore"):
        np.testing.assert_allclose(found[..., 1], (nir - red) / (nir + red), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found[..., 2], plain[..., 13])
    np.testing.assert_array_equal(found[..., 3], plain[..., 2])
    layer = Features.of(recipe)
    np.testing.assert_allclose(np.asarray(layer(stored)), found, rtol=1e-5, atol=1e-6)
    assert Features.from_config(layer.get_config()).recipe == recipe
    assert (
        channel_recipe("landslide4sense", "six", 0, None, Bilateral(1, 0.1)).bilateral.bands
        == (LANDSLIDE4SENSE.names[:12])
    )


@pytest.mark.parametrize(
    ("bilateral", "said"),
    [
        (Bilateral(0, 0.1), "must be above 0"),
        (Bilateral(4.5, 0.1), "4 pixels at most, got 4.5"),
        (Bilateral(1, 0.1, ("red", "dem")), "they are in reflectance and metres"),
        (Bilateral(1, 0.1, ("rde",)), "did you mean 'red'"),
    ],
)
def test_a_bilateral_filter_that_makes_no_sense_is_refused(bilateral, said):
    with pytest.raises(LandslideError, match=said):
        channel_recipe("landslide4sense", "six", 0, None, bilateral)


def test_a_bilateral_filter_wider_than_the_patch_is_refused():
    recipe = channel_recipe("landslide4sense", "six", 0, None, Bilateral(3, 0.1))
    with pytest.raises(LandslideError, match="a bilateral filter of 13 x 13 pixels is wider than a patch of 12 x 40"):
        recipe(np.ones((1, 12, 40, 14), np.float32))


def test_a_card_carries_its_bilateral_filter_and_one_of_before_has_none():
    from tf_landslide.bands.recipes import RECIPES
    from tf_landslide.runs.card import ModelCard

    settings = Bilateral(1.5, 0.02, ("red", "nir"))
    card = ModelCard("m", "plain_unet", None, "landslide4sense", RECIPES["six"], 0.5, bilateral=settings)
    again = ModelCard.from_dict(json.loads(json.dumps(card.as_dict())))
    assert again == card and again.channel_recipe.bilateral == settings
    assert "bilateral filter: sigma 1.5 pixels and 0.02 in value on red, nir\n" in card.markdown()
    before = {key: value for key, value in card.as_dict().items() if key != "bilateral"}
    assert ModelCard.from_dict(before).channel_recipe.bilateral is None


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["six", "fourteen", "legacy_ratio", ["ndmi", "slope"]])
@pytest.mark.parametrize("median", [0, 3])
def test_layer_map_model_and_signature_agree(stored, recipe, median, tmp_path):
    layer = Features("landslide4sense", recipe, median)
    direct = np.asarray(layer(stored))
    np.testing.assert_array_equal(layer.recipe(stored), direct)  # bit for bit
    mapped = next(iter(tf.data.Dataset.from_tensors(stored).map(layer))).numpy()

    inputs = keras.Input((None, None, 14))
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "features.keras")
    reloaded = keras.saving.load_model(tmp_path / "features.keras", safe_mode=True)
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", model, input_signature=[tf.TensorSpec((None, None, None, 14), tf.float32)])
    archive.write_out(str(tmp_path / "saved"), verbose=False)
    served = tf.saved_model.load(str(tmp_path / "saved")).serve(stored)

    for other in (mapped, reloaded(stored), served):
        np.testing.assert_allclose(np.asarray(other), direct, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("layout", "channels", "said"),
    [
        ("landslide4sens", "six", "did you mean 'landslide4sense'"),
        ("landslide4sense", "sixx", "did you mean 'six'"),
        ("landslide4sense", ["red", "slop"], "did you mean 'slope'"),
        ("mmls", "six", "channel 'ndvi' needs band 'nir'"),
        ("mmls", "legacy_ratio", "defined on Landslide4Sense bands"),
        ("landslide4sense", ["red", "red"], "listed twice"),
        ("landslide4sense", [], "empty"),
    ],
)
def test_impossible_recipes_are_refused(layout, channels, said):
    with pytest.raises(LandslideError, match=said):
        Features(layout, channels)


def test_even_median_is_refused():
    with pytest.raises(LandslideError, match="odd"):
        Features("landslide4sense", "six", 4)


@pytest.mark.parametrize("size", [17, 10**9 + 1])
def test_a_median_that_would_take_all_memory_is_refused_also_of_a_strangers_card(size):
    for make in (lambda: Features("landslide4sense", "six", size), lambda: card(size).channel_recipe):
        with pytest.raises(LandslideError, match=f"size must be 15 pixels at most, got {size}"):
            make()


def card(median_size):
    from tf_landslide.bands.recipes import RECIPES
    from tf_landslide.runs.card import ModelCard

    return ModelCard("m", "plain_unet", None, "landslide4sense", RECIPES["six"], 0.5, median_size=median_size)


@pytest.mark.parametrize(("recipe", "median"), [("six", 0), ("fourteen", 3), (["ndvi", "nbr", "dem"], 3)])
def test_channels_of_physical_bands_are_those_of_stored_ones(recipe, median):
    stored = np.random.default_rng(4).uniform(0.1, 2, (20, 30, 14)).astype(np.float32)
    stored[3:5, 4, 3] = np.nan
    made = channel_recipe("landslide4sense", recipe, median)
    scale = {band.name: np.float32(band.scale) for band in made.bands}
    physical = {name: stored[..., LANDSLIDE4SENSE.index(name)] * scale[name] for name in scale}
    np.testing.assert_allclose(made.of_physical(physical), made(stored[None])[0], rtol=1e-6)
    with pytest.raises(LandslideError, match="has no meaning on a scene"):
        channel_recipe("landslide4sense", "legacy_ratio").of_physical(physical)


def test_a_median_wider_than_the_patch_is_refused_by_array_layer_and_dataset(stored, tmp_path):
    from tf_landslide.bands.recipes import channel_recipe
    from tf_landslide.data.source import PatchSource

    small = stored[:, :10]
    recipe = channel_recipe("landslide4sense", "six", 9)
    np.testing.assert_array_equal(recipe(small), Features.of(recipe)(small))
    for size in (11, 15):
        recipe = channel_recipe("landslide4sense", "six", size)
        for compute in (recipe, Features.of(recipe)):
            with pytest.raises(LandslideError, match=f"{size} x {size} pixels is wider than a patch"):
                compute(small)
    write(tmp_path / "TestData/img/image_1.h5", "img", small[0])
    write(tmp_path / "TestData/mask/mask_1.h5", "mask", np.zeros(small.shape[1:3], np.uint8))
    for cache in ("memory", "none"):
        with pytest.raises(LandslideError, match="15 x 15 pixels is wider than a patch of 10 x 24"):
            PatchSource.open(tmp_path, "test", channel_recipe("landslide4sense", "six", 15), cache=cache)


def test_a_median_of_no_band_is_refused_and_a_card_without_bands_means_all():
    from tf_landslide.bands.recipes import RECIPES, channel_recipe
    from tf_landslide.runs.card import ModelCard

    with pytest.raises(LandslideError, match="names no band"):
        channel_recipe("landslide4sense", "six", 3, [])
    assert channel_recipe("landslide4sense", "six", 0, []).median_bands == ()
    assert channel_recipe("landslide4sense", "six", 3, "red").median_bands == ("red",)
    card = ModelCard("m", "plain_unet", None, "landslide4sense", RECIPES["six"], 0.5, median_size=3)
    again = ModelCard.from_dict(card.as_dict())
    assert again == card and again.channel_recipe.median_bands == LANDSLIDE4SENSE.names
    assert f"median filter: 3 x 3 on {', '.join(LANDSLIDE4SENSE.names)}\n" in card.markdown()
