"""Refining: the mask against a plain loop, and a scene of one tile against the same pixels as a patch."""

from dataclasses import replace

import numpy as np
import pytest
from rasterio import Affine

from tests.scenes.test_sampler import UTM
from tf_landslide.bands.layouts import BIJIE, LANDSLIDE4SENSE, MMLS
from tf_landslide.core.errors import LandslideError
from tf_landslide.objects.conditions import Marks
from tf_landslide.objects.refine import (
    decided,
    layer_names,
    layer_units,
    patch_layers,
    refine,
    refine_scene,
    strips,
    usable,
)
from tf_landslide.objects.rules import Rules
from tf_landslide.runs.card import ModelCard
from tf_landslide.scenes.grid import Grid, Window

RULES = Rules.read("landslide")
SHAPE = (60, 72)


def card(layout, channels):
    return ModelCard("m", "plain_unet", None, layout, channels, 0.4)


@pytest.fixture(scope="module")
def patch():
    """A probability with bumps and a hole, and reflectances, indices and terrain that go along with it."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    bumps = sum(np.exp(-((y - a) ** 2 + (x - b) ** 2) / 60) for a, b in ((15, 15), (40, 50), (20, 60)))
    probability = np.clip(bumps + 0.1 * rng.random(SHAPE), 0, 1).astype(np.float32)
    noise = 0.01 * rng.normal(size=(3, *SHAPE))
    layers = {
        name: (0.1 + 0.1 * bumps + noise[i]).astype(np.float32) for i, name in enumerate(("red", "green", "blue"))
    }
    layers["ndvi"] = (0.8 - 0.6 * bumps).astype(np.float32)
    layers["dem"] = (5 * x + 2 * y).astype(np.float32)
    layers["slope"] = np.where(x < 40, 28.0, 1.0).astype(np.float32)
    for plane in (probability, *layers.values()):
        plane[:5, :7] = np.nan
    return probability, layers


def test_the_mask_is_what_each_pixel_s_object_says():
    labels = np.array([[0, 1, 1], [2, 2, 0]])
    probability = np.array([[0.5, 0.3, 0.1], [0.5, 0.8, np.nan]], np.float32)
    confidence = np.array([0.9, 0.1])
    rules = replace(RULES, accept=0.5, marks=Marks(0.5, 0.5))  # accepted from 0.2 on, others from 0.7
    assert decided(labels, probability, confidence, rules, 0.4).tolist() == [[True, True, False], [False, True, False]]
    rules = replace(RULES, accept=0.5, marks=Marks())
    assert decided(labels, probability, confidence, rules, 0.4).tolist() == [[True, True, True], [False, False, False]]


def test_a_patch_is_refined_object_by_object(patch):
    probability, layers = patch
    rules = replace(RULES, accept=0.5, marks=Marks(0.5, 1.0))
    found = refine(probability, layers, rules, threshold=0.4, pixel_size=10.0)
    assert found.mask.shape == SHAPE and found.mask.dtype == bool and not found.mask[:5, :7].any()
    assert found.labels.max() == len(found.confidence) > 5
    low, high = rules.marks.levels(0.4)
    for number, confidence in enumerate(found.confidence, 1):
        pixels = found.labels == number
        level = low if confidence >= rules.accept else high
        np.testing.assert_array_equal(found.mask[pixels], probability[pixels] >= np.float32(level))
    assert found.mask[38:43, 15:30].sum() == 0 and found.mask[13:18, 13:18].all()
    assert not found.mask[18:23, 58:63].any()  # as probable, but on flat ground
    assert found.left_out == {"ndwi_mean": "cannot be told of these data"}


def test_marks_that_take_the_network_s_word_change_nothing(patch):
    probability, layers = patch
    found = refine(probability, layers, replace(RULES, marks=Marks(1.0, 0.0)), threshold=0.4)
    np.testing.assert_array_equal(found.mask, probability >= np.float32(0.4))


def test_a_scene_of_one_tile_is_refined_as_the_patch_is(patch, tmp_path):
    probability, layers = patch
    grid = Grid(Affine(10, 0, 569000, 0, -10, 4737000), UTM, SHAPE)

    def layer(plane):
        def read(window: Window):
            values = np.full(window.shape, np.nan, np.float32)
            inside = window.within(SHAPE)
            there = inside.relative_to(window)
            values[there.rows, there.columns] = plane[inside.rows, inside.columns]
            return values

        return read

    of_patch = refine(probability, layers, RULES, threshold=0.4, pixel_size=10.0)
    scene = refine_scene(
        layer(probability), {n: layer(p) for n, p in layers.items()}, RULES, grid, tmp_path, threshold=0.4
    )
    np.testing.assert_array_equal(scene.mask(grid.window), of_patch.mask)
    np.testing.assert_allclose(scene.confidence, of_patch.confidence, atol=1e-9)
    whole = np.concatenate([values for _, values in strips(scene, 17)])
    np.testing.assert_array_equal(whole == 1, of_patch.mask)
    np.testing.assert_array_equal(whole == 255, np.isnan(probability))
    window = Window(10, 20, 30, 40)
    expected = np.concatenate([[np.nan], of_patch.confidence])[of_patch.labels[window.rows, window.columns]]
    np.testing.assert_allclose(scene.confidence_of(window), expected, atol=1e-6)


def test_layers_are_a_model_s_channels_and_the_indices_of_them():
    earth = card(LANDSLIDE4SENSE, ("red", "green", "blue", "nir", "slope"))
    assert layer_names(earth) == ("red", "green", "blue", "nir", "slope", "ndvi", "ndwi")
    units = layer_units(earth)
    assert (units["red"], units["brightness"], units["ndvi"], units["slope"]) == (
        "reflectance",
        "reflectance",
        "index",
        "degrees",
    )
    channels = np.random.default_rng(1).random((4, 5, 5)).astype(np.float32)
    layers = patch_layers(channels, earth)
    red, nir = channels[..., 0], channels[..., 3]
    np.testing.assert_allclose(layers["ndvi"], (nir - red) / (nir + red), rtol=1e-6)
    assert layer_units(card(BIJIE, ("red", "green", "blue")))["brightness"] == "relative"


@pytest.mark.parametrize(
    ("layout", "channels", "without"),
    [
        (BIJIE, ("red", "green", "blue"), {"ndvi", "ndvi_mean", "slope_mean"}),
        (MMLS, ("red", "green", "blue", "thermal_inertia", "slope", "dem"), {"ndvi", "ndvi_mean", "slope_mean"}),
        (LANDSLIDE4SENSE, ("red", "green", "blue", "ndvi", "slope", "dem"), {"ndwi_mean"}),
    ],
)
def test_the_same_rules_work_on_all_data_and_say_what_they_lack(layout, channels, without):
    model = card(layout, channels)
    rng = np.random.default_rng(2)
    layers = patch_layers(rng.random((32, 32, len(channels))).astype(np.float32), model)
    found = refine(
        rng.random((32, 32)).astype(np.float32), layers, RULES, threshold=0.4, pixel_size=None, units=layer_units(model)
    )
    assert without <= set(found.left_out) and np.isfinite(found.confidence).all()


def test_a_patch_without_a_valid_pixel():
    nothing = np.full((20, 30), np.nan, np.float32)
    found = refine(nothing, dict.fromkeys(("red", "green", "blue", "ndvi"), nothing), RULES, threshold=0.4)
    assert not found.mask.any() and not found.labels.any() and not len(found.confidence) and not found.left_out


def test_segments_by_layers_that_are_not_there():
    rules = replace(RULES, segments=replace(RULES.segments, layers=("nir",)))
    with pytest.raises(LandslideError, match="segments need one of nir; the data have probability, red"):
        usable(rules, {"probability": 0, "red": 0}, {})
