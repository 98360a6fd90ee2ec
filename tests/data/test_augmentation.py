"""Every part of augmentation against a computation of its own, and all of them through the pipeline."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from tests.data.test_pipeline import dataset_digest
from tf_landslide.bands.kinds import kind_of, source_of
from tf_landslide.bands.layouts import LANDSLIDE4SENSE, MMLS, Band, BandLayout
from tf_landslide.bands.recipes import channel_recipe
from tf_landslide.core.errors import LandslideError
from tf_landslide.data.augment import geometry, mixing, radiometry
from tf_landslide.data.augment.augmenter import Augmenter, check
from tf_landslide.data.augment.draws import Draw, epoch_draws, repeats
from tf_landslide.data.augment.fields import smooth_fields
from tf_landslide.data.augment.settings import (
    PARTS,
    Augmentation,
    CutMix,
    Dropout,
    Elastic,
    Elevation,
    Haze,
    MixUp,
    Optical,
    Other,
    Radar,
    Shadow,
)
from tf_landslide.data.pipeline import as_dataset, load_dataset
from tf_landslide.data.source import PatchSource
from tf_landslide.metrics import IGNORED

ON_SENTINEL_2 = [part for part in PARTS if part not in ("radar", "other")]
CHANNELS = ["red", "nir", "ndvi", "blue", "cirrus", "slope", "dem"]
RECIPE = channel_recipe("landslide4sense", CHANNELS)
EVERYTHING = [*LANDSLIDE4SENSE.bands, Band("vv", unit="dB"), Band("vh", unit="power"), Band("thermal", unit="K")]


def augmentation(*parts: str, probability: float = 1.0, **changes) -> Augmentation:
    """These parts, always or with this probability; ``changes`` are of every one of them."""
    chosen = {part: replace(getattr(Augmentation(), part), probability=probability, **changes) for part in parts}
    return replace(Augmentation(), **chosen)


@pytest.fixture(scope="module")
def source(sample):
    return PatchSource.open(sample, "train", RECIPE, keep_bands=True)


@pytest.fixture(scope="module")
def plain(sample):
    return PatchSource.open(sample, "train", RECIPE)


def augmented(source, settings, epoch=0, seed=1, turn=False):
    positions = np.arange(len(source))
    draws = epoch_draws(positions, positions % 8 if turn else 0 * positions, seed, epoch)
    return Augmenter(settings, RECIPE, seed).fetch(source, draws, epoch)


def column(x, name):
    return x[..., CHANNELS.index(name)].astype(np.float64)


# --- random numbers


def test_repeats_count_earlier_ones():
    values = np.random.default_rng(0).integers(0, 5, 40)
    assert repeats(values).tolist() == [int((values[:i] == v).sum()) for i, v in enumerate(values)]


def test_every_stream_has_numbers_of_its_own():
    draws = [Draw(*key) for key in ((1, 0, 3, 0), (2, 0, 3, 0), (1, 1, 3, 0), (1, 0, 4, 0), (1, 0, 3, 1))]
    first = {draw.stream(part).random() for draw in draws for part in PARTS}
    assert len(first) == len(draws) * len(PARTS)
    assert Draw(1, 0, 3).stream("haze").random() == draws[0].stream("haze").random()


def test_an_epoch_pairs_every_draw_with_another_draw_of_it():
    positions, symmetries = np.array([4, 2, 4, 0]), np.array([1, 0, 5, 7])
    draws = epoch_draws(positions, symmetries, 3, 5)
    assert draws[:, 0].tolist() == [[4, 1, 0], [2, 0, 0], [4, 5, 1], [0, 7, 0]]
    assert sorted(draws[:, 1].tolist()) == sorted(draws[:, 0].tolist())


# --- fields


def test_fields_are_white_noise_under_a_gaussian():
    sigma, rng = 5.0, np.random.default_rng(1)
    fields = np.array([field for _ in range(200) for field in smooth_fields(rng, 48, 64, sigma)], np.float64)
    assert fields.shape == (400, 48, 64) and abs(fields.mean()) < 0.02
    assert fields.var() == pytest.approx(1, abs=0.05)
    assert np.mean(fields[::2] * fields[1::2]) == pytest.approx(0, abs=0.05)  # the two of one draw are independent
    for apart in (2, 5, 10):
        for a, b in ((fields[:, apart:], fields[:, :-apart]), (fields[..., apart:], fields[..., :-apart])):
            assert np.mean(a * b) == pytest.approx(np.exp(-((apart / (2 * sigma)) ** 2)), abs=0.05)
    assert abs(np.mean(fields[..., 0] * fields[..., -1])) < 0.1  # opposite edges do not meet


# --- geometry


def test_resampling_equals_scipy_within_and_beyond_the_edges():
    rng = np.random.default_rng(2)
    bands, mask = rng.random((3, 20, 24), np.float32), rng.choice(np.array([0, 1, IGNORED], np.uint8), (20, 24))
    where = rng.uniform(-12, 40, (2, 20, 24)).astype(np.float32)
    made, labels = geometry.resampled(bands, mask, tuple(where))
    for ours, band in zip(made, bands, strict=True):
        np.testing.assert_allclose(ours, map_coordinates(band, where, order=1, mode="reflect"), atol=2e-5)
    np.testing.assert_array_equal(labels, map_coordinates(mask, where, order=0, mode="reflect"))


def test_resampling_keeps_missing_values_where_the_nearest_is_missing_and_spreads_none():
    rng = np.random.default_rng(3)
    band = rng.random((16, 16)).astype(np.float32)
    band[rng.random(band.shape) < 0.3] = np.nan
    where = rng.uniform(0, 15, (2, 16, 16)).astype(np.float32)
    made = geometry.resampled(band[None], np.zeros((16, 16)), tuple(where))[0][0]
    for (i, j), value in np.ndenumerate(made):
        y, x = where[:, i, j].astype(np.float64)
        if np.isnan(band[int(np.floor(y + 0.5)), int(np.floor(x + 0.5))]):
            assert np.isnan(value)
            continue
        total = weight = 0.0
        for row in (int(y), min(int(y) + 1, 15)):
            for col in (int(x), min(int(x) + 1, 15)):
                share = (1 - abs(y - row)) * (1 - abs(x - col))
                if not np.isnan(band[row, col]):
                    total, weight = total + share * band[row, col], weight + share
        assert value == pytest.approx(total / weight, abs=1e-4)


def test_a_zoom_lies_in_the_patch_or_around_it_and_is_as_large_as_asked():
    factors = []
    for patch in range(300):
        rows, columns = geometry.zoom(0.5, (64, 96), Draw(0, 0, patch).stream("scale"))
        steps = np.diff(rows), np.diff(columns)
        assert np.ptp(np.concatenate(steps)) < 1e-4
        factor = 1 / steps[0][0]
        for axis, side in ((rows, 64), (columns, 96)):  # of the pixels' outer edges
            first, last = axis[0] - 0.5 / factor, axis[-1] + 0.5 / factor
            inside, outside = (first >= -0.501 and last <= side - 0.499), (first <= -0.499 and last >= side - 0.501)
            assert inside if factor > 1 else outside
        factors.append(factor)
    assert 0.66 < min(factors) < 0.69 and 1.45 < max(factors) <= 1.51
    assert np.mean(np.log(factors)) == pytest.approx(0, abs=0.05)


def test_elastic_displacement_is_of_its_strength_and_never_folds():
    settings, squares = Elastic(1, 2.0, 8.0), []
    for patch in range(100):
        down, right = geometry.displacement(settings, (128, 128), Draw(0, 0, patch).stream("elastic"))
        jacobian = (1 + np.gradient(down, axis=0)) * (1 + np.gradient(right, axis=1)) - np.gradient(
            down, axis=1
        ) * np.gradient(right, axis=0)
        assert jacobian.min() > 0
        squares += [np.mean(down**2), np.mean(right**2)]
    assert np.sqrt(np.mean(squares)) == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("parts", [("scale",), ("elastic",), ("scale", "elastic")])
def test_image_terrain_and_mask_move_together(parts):
    """Every band is the mask's own pattern, so that it shows where each of them went."""
    rows, columns = np.mgrid[:64, :64]
    pattern = ((rows // 7 + columns // 11) % 2).astype(np.uint8)
    bands = np.repeat(pattern[None].astype(np.float32), len(RECIPE.bands), axis=0)
    moved = 0
    for patch in range(10):
        settings = augmentation(*parts)
        where = geometry.coordinates(settings.scale, settings.elastic, pattern.shape, Draw(0, 0, patch))
        made, mask = geometry.resampled(bands, pattern, where)
        assert (made == made[0]).all()
        np.testing.assert_array_less(np.abs(made[0] - mask), 0.75 + 1e-3)  # the nearest of four has a quarter, at least
        sharp = (made[0] < 1e-3) | (made[0] > 1 - 1e-3)
        np.testing.assert_array_equal(mask[sharp], np.rint(made[0][sharp]))
        moved += np.mean(mask != pattern)
    assert moved > 0.5


# --- radiometry


def what(haze=True):
    return radiometry.Bands.of(EVERYTHING, haze=haze)


@pytest.mark.parametrize(
    ("name", "kind", "source"),
    [
        ("red", "optical", "optical"),
        ("vv", "sar", "sar"),
        ("VH_db", "sar", "sar"),
        ("dem", "elevation", "terrain"),
        ("slope", "slope", "terrain"),
        ("aspect", "direction", "terrain"),
        ("thermal_inertia", "other", "thermal_inertia"),
        ("grey", "optical", "optical"),
    ],
)
def test_what_a_band_measures_is_told_by_its_name(name, kind, source):
    band = Band(name, unit="relative")
    assert (kind_of(band), source_of(band)) == (kind, source)
    assert kind_of(Band("b1")) == "optical" and kind_of(Band("b1", unit="K")) == "other"


def test_a_layout_states_what_a_band_measures():
    values = {"name": "own", "bands": [{"name": "b1", "kind": "sar"}, {"name": "b2", "wavelength": 560}]}
    layout = BandLayout.from_dict(values)
    assert [kind_of(band) for band in layout.bands] == ["sar", "optical"]
    assert BandLayout.from_dict(layout.as_dict()) == layout
    with pytest.raises(LandslideError, match="unknown kind of band in band layout 'own': band 0 'ssar'; did you mean"):
        BandLayout.from_dict({"name": "own", "bands": [{"name": "b", "kind": "ssar"}]})
    with pytest.raises(LandslideError, match="wavelength: expected nanometres above 0, found -1"):
        BandLayout.from_dict({"name": "own", "bands": [{"name": "b", "wavelength": -1}]})


def test_haze_is_a_power_law_of_wavelength_and_leaves_all_else():
    exponents = []
    for patch in range(40):
        gain, offset = radiometry.haze(Haze(1, 0.03), what(), Draw(0, 0, patch).stream("haze"))
        assert (gain == 1).all() and not offset[LANDSLIDE4SENSE.index("cirrus")] and not offset[12:].any()
        blue, green, nir, swir = (offset[LANDSLIDE4SENSE.index(n)] for n in ("blue", "green", "nir", "swir_2"))
        assert 0 < blue <= 0.03 and blue > green > nir > swir > 0
        exponents.append(-np.log(nir / blue) / np.log(842 / 490))
        assert -np.log(swir / green) / np.log(2190 / 560) == pytest.approx(exponents[-1])
    assert 0.7 <= min(exponents) < 0.9 and 1.8 < max(exponents) <= 2


def test_optical_gain_is_of_all_bands_together_and_of_each():
    def drawn(settings, patch):
        gain, offset = radiometry.optical(settings, what(), Draw(0, 0, patch).stream("optical"))
        assert (gain[12:] == 1).all() and (offset[12:] == 0).all()
        return gain[:12], offset[:12]

    together = [drawn(Optical(1, 0.1, 0, 0.01, 0), patch) for patch in range(50)]
    assert max(np.ptp(gain) + np.ptp(offset) for gain, offset in together) == 0
    gains, offsets = (np.array([pair[i][0] for pair in together]) for i in (0, 1))
    assert 0.9 <= gains.min() < 0.92 and 1.08 < gains.max() <= 1.1
    assert -0.01 <= offsets.min() < -0.008 and 0.008 < offsets.max() <= 0.01
    gain, offset = drawn(Optical(1, 0, 0.1, 0, 0.01), 0)
    assert len(set(gain)) == len(set(offset)) == 12
    assert np.abs(gain - 1).max() <= 0.1 and np.abs(offset).max() <= 0.01


def test_radar_is_moved_in_decibels_whatever_its_scale():
    for patch in range(20):
        gain, offset = radiometry.radar(Radar(1, 2.0, 0.0), what(), Draw(0, 0, patch).stream("radar"))
        assert 10 * np.log10(gain[15]) == pytest.approx(offset[14]) and 0 < abs(offset[14]) <= 2
        assert (gain[[*range(15), 16]] == 1).all() and not offset[[*range(14), 15, 16]].any()


def test_other_bands_and_elevation_are_changed_alone():
    gain, offset = radiometry.other(Other(1, 0.1, 3.0), what(), Draw(0, 0, 0).stream("other"))
    assert 0 < abs(gain[16] - 1) <= 0.1 and 0 < abs(offset[16]) <= 3
    assert (gain[:16] == 1).all() and not offset[:16].any()
    gain, offset = radiometry.elevation(Elevation(1, 50.0), what(), Draw(0, 0, 0).stream("elevation"))
    assert (gain == 1).all() and 0 < abs(offset[13]) <= 50 and np.count_nonzero(offset) == 1


def test_no_optical_value_is_moved_below_the_least_that_was_above_it():
    red = np.array([[[0.5, 0.001, 0.00005, -0.05, np.nan]]], np.float32)
    radiometry.apply(red, (np.array([1.1]), np.array([-0.02])), radiometry.Bands.of([Band("red")]))
    np.testing.assert_allclose(red[0, 0], [0.53, 0.0001, 0.00005, -0.05, np.nan], rtol=1e-5)
    dem = np.array([[[5.0, -3.0]]], np.float32)
    radiometry.apply(dem, (np.array([1.0]), np.array([-20.0])), radiometry.Bands.of([Band("dem", unit="metres")]))
    np.testing.assert_array_equal(dem[0, 0], [-15, -23])


def test_shadow_takes_one_share_of_every_optical_band_and_never_below_its_darkest_pixel():
    rng, covered = np.random.default_rng(5), []
    for patch in range(20):
        bands = rng.uniform(0.02, 0.6, (17, 64, 64)).astype(np.float32)
        bands[2, 5, 5] = np.nan
        before = bands.astype(np.float64)
        radiometry.shade(Shadow(1, 0.6, 10.0), bands, what(), Draw(0, 0, patch).stream("shadow"))
        np.testing.assert_array_equal(bands[12:], before[12:].astype(np.float32))
        darkest = np.nanmin(before[:12], axis=(1, 2), keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            taken = 1 - (bands[:12] - darkest) / (before[:12] - darkest)
        assert np.isnan(bands[2, 5, 5]) and np.isnan(taken).sum() == 13
        share = np.nanmean(taken, axis=0)
        bright = before[:12] - darkest > 0.05
        assert np.abs(np.where(bright, taken - share, 0)).max() < 1e-4
        assert share.min() > -1e-5 and share.max() <= 0.6
        covered.append(np.mean(share > 0.5 * max(share.max(), 1e-3)))
    assert 0.1 < np.mean(covered) < 0.5 and min(covered) < 0.15 < 0.35 < max(covered)


# --- mixing and missing


def pair(seed):
    rng = np.random.default_rng(seed)
    mask = rng.choice(np.array([0, 1, 1, 0, IGNORED], np.float32), (32, 48))
    return rng.random((3, 32, 48), np.float32), mask


def test_mix_up_blends_bands_and_mask_by_one_share_of_the_beta_distribution():
    shares = []
    for patch in range(400):
        (a, mask_a), (b, mask_b) = pair(0), pair(1)
        own = a.copy(), mask_a.copy()
        bands, mask = mixing.mixed_up(MixUp(1, 0.5), own, (b, mask_b), Draw(0, 0, patch).stream("mixup"))
        share = np.sum((bands - b).astype(np.float64) * (a - b)) / np.sum((a - b).astype(np.float64) ** 2)
        unknown = (mask_a == IGNORED) | (mask_b == IGNORED)
        assert (mask[unknown] == IGNORED).all() and mask[~unknown].max() <= 1
        np.testing.assert_allclose(mask[~unknown], (share * mask_a + (1 - share) * mask_b)[~unknown], atol=1e-5)
        shares.append(share)
    assert np.mean(shares) == pytest.approx(0.5, abs=0.06)
    assert np.var(shares) == pytest.approx(1 / 8, rel=0.15)  # of Beta(0.5, 0.5)


def test_cut_mix_takes_one_rectangle_of_bands_and_mask():
    areas = []
    for patch in range(300):
        (a, mask_a), (b, mask_b) = pair(0), pair(1)
        own = a.copy()
        bands, mask = mixing.cut_mixed(
            CutMix(1, 1.0), (a, mask_a.copy()), (b, mask_b), Draw(0, 0, patch).stream("cutmix")
        )
        pasted = (bands == b).all(axis=0)
        np.testing.assert_array_equal(bands, np.where(pasted, b, own))
        np.testing.assert_array_equal(mask, np.where(pasted, mask_b, mask_a))
        rows, columns = pasted.any(axis=1), pasted.any(axis=0)
        assert pasted.sum() == rows.sum() * columns.sum()
        assert np.count_nonzero(np.diff(rows.astype(int))) <= 2 >= np.count_nonzero(np.diff(columns.astype(int)))
        areas.append(pasted.mean())
    # of a uniform share s, each side sqrt(s) loses s / 4 on average beyond the edges: the mean of (sqrt(s) - s / 4)**2
    expected = np.mean([(np.sqrt(s) - s / 4) ** 2 for s in (np.arange(1000) + 0.5) / 1000])
    assert np.mean(areas) == pytest.approx(expected, abs=0.04)


def test_dropout_takes_so_many_bands_or_a_whole_source_and_never_all():
    sources = what().sources
    for patch in range(30):
        rng = Draw(0, 0, patch).stream("dropout")
        assert mixing.dropped(Dropout(1, 3, 0.0), sources, rng).sum() == 3
        gone = mixing.dropped(Dropout(1, 3, 1.0), sources, rng)
        assert len({s for s, g in zip(sources, gone, strict=True) if g}) == 1
        assert gone.sum() == sources.count(sources[int(gone.argmax())])
        assert mixing.dropped(Dropout(1, 9, 0.0), ["optical"] * 3, rng).sum() == 2
        assert mixing.dropped(Dropout(1, 1, 1.0), ["optical"] * 3, rng).sum() == 1  # the only source stays


def test_what_was_dropped_becomes_the_training_mean(source, plain):
    from tf_landslide.models.build import build_model

    x, _ = augmented(source, augmentation("dropout", strength=2))
    missing = np.isnan(x).all(axis=(1, 2))
    assert (np.isnan(x).any(axis=(1, 2)) == missing).all()
    without = [not set(np.array(CHANNELS)[gone]) & {"red", "nir"} for gone in missing]
    assert all(("ndvi" in np.array(CHANNELS)[gone]) != kept for gone, kept in zip(missing, without, strict=True))
    layer = build_model("plain_unet", channels=CHANNELS, width=4, depth=1).get_layer("normalization")
    layer.adapt(plain.fetch(np.arange(len(plain)))[0])
    normalised = np.asarray(layer(x))
    assert np.isfinite(normalised).all() and not np.abs(np.where(np.isnan(x), normalised, 0)).any()


# --- whole patches


@pytest.mark.parametrize("parts", [*[[part] for part in ON_SENTINEL_2], ON_SENTINEL_2])
def test_strength_0_changes_nothing(source, plain, parts):
    settings = augmentation(*parts, strength=0)
    zero = {"gain_each": 0.0, "offset": 0.0, "offset_each": 0.0}
    settings = replace(settings, optical=replace(settings.optical, **zero))
    x, y = augmented(source, settings, turn=True)
    expected, mask = plain.fetch(np.arange(len(plain)), np.arange(len(plain)) % 8, np.float32)
    np.testing.assert_array_equal(x, expected)
    np.testing.assert_array_equal(y, mask)


@pytest.mark.parametrize("part", ON_SENTINEL_2)
def test_every_part_changes_something_and_leaves_the_source_as_it_was(source, plain, part):
    before = plain.fetch(np.arange(len(plain)))[0]
    assert not np.array_equal(augmented(source, augmentation(part))[0], before)
    np.testing.assert_array_equal(source.fetch(np.arange(len(source)))[0], before)


def test_an_index_follows_from_the_bands_as_they_were_changed(source, plain):
    settings = augmentation(*(part for part in ON_SENTINEL_2 if part != "dropout"))
    x, _ = augmented(source, settings)
    red, nir = column(x, "red"), column(x, "nir")
    np.testing.assert_allclose(column(x, "ndvi"), (nir - red) / (nir + red), atol=2e-6)
    assert np.abs(column(x, "ndvi") - column(plain.fetch(np.arange(len(plain)))[0], "ndvi")).mean() > 0.01
    assert np.abs(column(x, "ndvi")).max() <= 1


def test_terrain_is_moved_with_its_pixels_and_never_recomputed(source, plain):
    """Zoomed, a slope is one of those that were there; elevation by itself leaves slope bit for bit."""
    before = plain.fetch(np.arange(len(plain)))[0]
    x, _ = augmented(source, augmentation("elevation"))
    np.testing.assert_array_equal(column(x, "slope"), column(before, "slope"))
    moved = column(x, "dem") - column(before, "dem")
    assert np.ptp(moved, axis=(1, 2)).max() < 1e-3 and len(np.unique(moved[:, 0, 0])) == len(moved)
    x, _ = augmented(source, augmentation("scale", strength=1.0))
    for name in ("slope", "dem"):
        after, whole = column(x, name), column(before, name)
        assert (after.max(axis=(1, 2)) <= whole.max(axis=(1, 2)) + 1e-3).all()
        assert (after.min(axis=(1, 2)) >= whole.min(axis=(1, 2)) - 1e-3).all()


def test_missing_stays_missing_and_ignored_stays_ignored(source):
    holed = replace(source, bands=lambda positions: map(hole, source.bands(positions)))

    def hole(view):
        bands, mask = view[0].copy(), view[1].copy()
        bands[0, 30:60, 40:80], mask[20:50, 20:90] = np.nan, IGNORED
        return bands, mask

    parts = [part for part in ON_SENTINEL_2 if part != "dropout"]
    for chosen in ([part] for part in parts):
        x, y = augmented(holed, augmentation(*chosen))
        gone = np.isnan(x).any(axis=-1).mean(axis=(1, 2))
        assert (gone > 0.01).all() and gone.mean() == pytest.approx(30 * 40 / 128**2, rel=0.9)
        assert set(np.unique(y[y > 1])) == {IGNORED} and (y == IGNORED).any(axis=(1, 2, 3)).all()
        if chosen[0] not in ("scale", "elastic", "mixup", "cutmix"):
            assert np.isnan(x[:, 30:60, 40:80, 3]).all() and np.isnan(x).any(axis=-1).sum() == len(x) * 30 * 40
            assert (y[:, 20:50, 20:90] == IGNORED).all() and (y == IGNORED).sum() == len(y) * 30 * 70


# --- the pipeline

OFTEN = augmentation(*ON_SENTINEL_2, probability=0.5)


def test_one_seed_gives_one_sequence_of_looks_whatever_the_cache_and_the_batch(sample, source, tmp_path):
    options = {"shuffle": True, "augment": True, "augmentation": OFTEN, "seed": 4}
    dataset = as_dataset(source, 5, **options)
    epochs = [dataset_digest(dataset) for _ in range(3)]
    assert len(set(epochs)) == 3
    assert dataset_digest(as_dataset(source, 5, **(options | {"seed": 5}))) not in epochs
    resumed = as_dataset(source, 5, **options)
    resumed.epochs.draw(2)
    assert dataset_digest(resumed) == epochs[2]
    options |= {"channels": CHANNELS}
    for cache in ("none", "disk"):
        again = load_dataset(sample, "train", batch_size=5, cache=cache, cache_dir=tmp_path, **options)
        assert dataset_digest(again) == epochs[0]
    whole = next(iter(load_dataset(sample, "train", batch_size=10, **options)))
    parts = list(load_dataset(sample, "train", batch_size=5, **options))
    for one, two in zip(whole, zip(*parts, strict=True), strict=True):
        np.testing.assert_array_equal(one, np.concatenate(two))


def test_a_patch_that_is_drawn_again_in_an_epoch_looks_another_way(source):
    few = source.subset([0])
    draws = epoch_draws(np.zeros(3, int), np.zeros(3, int), 0, 0)
    x, _ = Augmenter(augmentation("optical"), RECIPE, 0).fetch(few, draws, 0)
    assert len({image.tobytes() for image in x}) == 3


def test_off_is_the_pipeline_without_it(plain, source):
    options = {"shuffle": True, "augment": True, "seed": 4}
    expected = dataset_digest(as_dataset(plain, 5, **options))
    for off in (None, Augmentation(), augmentation("haze", probability=0.0)):
        assert dataset_digest(as_dataset(plain, 5, augmentation=off, **options)) == expected
    assert dataset_digest(as_dataset(source, 5, **options)) == expected  # bands kept, channels bit for bit
    rarely = augmentation(*ON_SENTINEL_2, probability=1e-12)
    assert dataset_digest(as_dataset(source, 5, augmentation=rarely, **options)) == expected


def test_masks_of_a_split_with_ignored_pixels_keep_weights_of_0_and_1(sample):
    for _, y, weight in load_dataset(
        sample, shuffle=True, augmentation=augmentation("mixup", strength=1.0), batch_size=5, ignore=255
    ):
        assert np.min(y) >= 0 and np.max(y) <= 1 and set(np.unique(weight)) <= {0, 1}


def test_losses_and_metrics_take_soft_masks():
    """Cross-entropy is least where the probability is the soft mask; Dice, which is not, still follows its formula."""
    from tf_landslide.metrics import F1, BestF1
    from tf_landslide.training.losses import get_loss

    rng = np.random.default_rng(8)
    truth = rng.choice(np.array([0, 0.3, 0.8, 1], np.float32), (2, 16, 16, 1))
    p = rng.uniform(0.02, 0.98, truth.shape).astype(np.float32)

    def cross_entropy(q):
        return -np.mean(truth * np.log(q) + (1 - truth) * np.log(1 - q))

    dice = 1 - 2 * np.sum(truth * p) / np.sum(truth + p)
    assert float(get_loss("bce")(truth, p)) == pytest.approx(cross_entropy(p), rel=1e-5)
    assert float(get_loss("bce_dice")(truth, p)) == pytest.approx((cross_entropy(p) + dice) / 2, rel=1e-5)
    least = np.clip(truth, 1e-6, 1 - 1e-6)
    for other in (least * 0.9, 0.9 * least + 0.1):
        assert float(get_loss("bce")(truth, least)) < float(get_loss("bce")(truth, other))
    scores = {threshold: 2 * np.sum(truth[p >= threshold]) for threshold in np.arange(201) / 200}
    scores = {t: both / (np.sum(truth) + np.sum(p >= t)) for t, both in scores.items()}
    for metric, expected in ((F1(0.5), scores[0.5]), (BestF1(), max(scores.values()))):
        metric.update_state(truth, p)
        assert float(metric.result()) == pytest.approx(expected, abs=1e-3)


# --- what cannot be


@pytest.mark.parametrize(
    ("parts", "recipe", "said"),
    [
        (["radar"], RECIPE, "data.augmentation.radar: none of the bands that the channels need"),
        (["other"], RECIPE, "is other; leave it out"),
        (["elevation"], channel_recipe("landslide4sense", ["red", "slope"]), r"\(red, slope\) is elevation"),
        (["shadow"], channel_recipe("landslide4sense", ["dem"]), "is optical"),
        (["haze"], channel_recipe("landslide4sense", "legacy_ratio"), "'legacy_ratio' is of stored values"),
        (["dropout"], channel_recipe("landslide4sense", ["dem"]), "dem is the only band"),
        (["haze"], channel_recipe(BandLayout("own", "", (Band("b7"),), None, ""), ["b7"]), "wavelength of band 'b7'"),
    ],
)
def test_a_part_without_a_band_to_change_is_refused(parts, recipe, said):
    with pytest.raises(LandslideError, match=said):
        check(augmentation(*parts), recipe)
    check(augmentation(*parts, probability=0.0), recipe)


def test_a_deformation_that_folds_is_refused():
    with pytest.raises(LandslideError, match="strength 3 folds the ground at sigma 10"):
        check(augmentation("elastic", strength=3.0), RECIPE)


def test_bands_that_tell_a_direction_are_neither_turned_nor_moved(plain):
    layout = BandLayout("own", "", (Band("red"), Band("aspect", unit="degrees")), None, "")
    recipe = channel_recipe(layout, ["red", "aspect"])
    for part in ("scale", "elastic"):
        with pytest.raises(
            LandslideError, match=f"augmentation.{part} moves pixels, and band 'aspect' tells a direction"
        ):
            check(augmentation(part), recipe)
    check(augmentation("optical"), recipe)
    with pytest.raises(LandslideError, match=r"data\.augment moves pixels, and band 'aspect'"):
        as_dataset(replace(plain, recipe=recipe), shuffle=True, augment=True)


def test_augmentation_needs_shuffle_and_bands(source, plain):
    with pytest.raises(LandslideError, match="needs shuffle"):
        as_dataset(source, augmentation=OFTEN)
    with pytest.raises(LandslideError, match="keep_bands"):
        as_dataset(plain, shuffle=True, augmentation=OFTEN)


def test_mars_is_augmented_by_what_its_bands_are(real_data):
    recipe = channel_recipe(MMLS, MMLS.names)
    source = PatchSource.open(real_data / "mmls", "valid", recipe, keep_bands=True).subset(range(8))
    draws = epoch_draws(np.arange(8), np.zeros(8, int), 0, 0)
    settings = augmentation("optical", "other", "elevation", strength=0.1)
    x, _ = Augmenter(settings, recipe, 0).fetch(source, draws, 0)
    before, _ = source.fetch(np.arange(8))
    same = [np.array_equal(x[..., i], before[..., i], equal_nan=True) for i in range(7)]
    assert same == [name == "slope" for name in MMLS.names]
    np.testing.assert_array_equal(np.isnan(x), np.isnan(before))
