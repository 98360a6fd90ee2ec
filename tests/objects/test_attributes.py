"""Attributes of segments against SciPy, scikit-image, Shapely, the ellipsoid and loops over pixels."""

import subprocess
import sys

import numpy as np
import pytest
import rasterio.features
from scipy import ndimage
from scipy.spatial.distance import cdist
from shapely import Point, Polygon, affinity
from shapely.geometry import shape
from skimage.draw import disk, polygon2mask
from skimage.feature import graycomatrix, graycoprops
from skimage.measure import regionprops

from tf_landslide.core.errors import LandslideError
from tf_landslide.objects.attributes import measure
from tf_landslide.objects.nearness import FARTHEST_METRES, FARTHEST_PIXELS
from tf_landslide.objects.sums import LEVELS
from tf_landslide.objects.vocabulary import require_attribute

SIDE = 60


@pytest.fixture(scope="module")
def labels():
    """Fifty ragged segments, and a corner without any."""
    rng = np.random.default_rng(1)
    seeds = np.zeros((SIDE, SIDE), int)
    seeds.ravel()[rng.choice(SIDE * SIDE, 50, replace=False)] = np.arange(1, 51)
    nearest = ndimage.distance_transform_edt(seeds == 0, return_distances=False, return_indices=True)
    found = seeds[tuple(nearest)].astype(np.int32)
    found[:10, :10] = 0
    found[found == found[30, 30]] = 0  # a number that no pixel has, unless it lies last
    return found


@pytest.fixture(scope="module")
def layers():
    rng = np.random.default_rng(2)
    planes = {name: rng.random((SIDE, SIDE), np.float32) for name in ("red", "green", "blue", "nir", "probability")}
    planes["dem"] = (ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), 6) * 900 + 3000).astype(np.float32)
    planes["slope"] = rng.uniform(4, 40, (SIDE, SIDE)).astype(np.float32)
    planes["red"][20:40, :35] = np.nan
    planes["probability"][40:44, 5:50] = np.nan
    return planes


@pytest.fixture(scope="module")
def table(labels, layers):
    return measure(labels, layers, pixel_size=10.0, threshold=0.7)


def numbers(labels):
    return np.arange(1, labels.max() + 1)


def pieces(labels):
    return [(i, labels == i) for i in numbers(labels) if (labels == i).any()]


@pytest.mark.parametrize("name", ["green", "red", "dem", "probability"])
def test_means_and_deviations_are_those_of_scipy_over_the_known_pixels(labels, layers, table, name):
    plane = layers[name].astype(np.float64)
    known = np.where(np.isfinite(plane), labels, 0)
    present = np.isin(numbers(labels), known)
    with np.errstate(invalid="ignore"):  # of the numbers that are not asked for
        mean, std = (f(plane, known, numbers(labels)[present]) for f in (ndimage.mean, ndimage.standard_deviation))
    np.testing.assert_allclose(table[f"{name}_mean"][present], mean, rtol=1e-12)
    np.testing.assert_allclose(table[f"{name}_std"][present], std, rtol=1e-9, atol=1e-12)
    assert np.isnan(table[f"{name}_mean"][~present]).all() and np.isnan(table[f"{name}_std"][~present]).all()
    assert (~present).sum() == {"red": 9}.get(name, 2)


def test_brightness_is_the_mean_of_the_visible_bands(labels, layers, table):
    brightness = sum(layers[name].astype(np.float64) for name in ("red", "green", "blue")) / 3
    given = measure(labels, {"brightness": brightness})
    for name in (name for name in given if name.startswith("brightness")):
        np.testing.assert_allclose(table[name], given[name], rtol=1e-12)
    assert not any(name.startswith("brightness") for name in measure(labels, {"red": layers["red"]}))


def test_relief_and_probability(labels, layers, table):
    for i, inside in pieces(labels):
        dem, probability = layers["dem"][inside].astype(np.float64), layers["probability"][inside]
        assert table["relief"][i - 1] == dem.max() - dem.min()
        assert table["probability_max"][i - 1] == np.nanmax(probability)
        known = probability[np.isfinite(probability)]
        assert table["probability_share"][i - 1] == pytest.approx(np.mean(known >= np.float32(0.7)), rel=1e-12)


def test_lengths_and_orientation_are_those_of_skimages_ellipse(labels, table):
    for region in regionprops(labels):
        row = {name: values[region.label - 1] for name, values in table.items()}
        assert row["area_px"] == region.area and row["area_m2"] == pytest.approx(region.area * 100)
        sides = np.array([region.axis_major_length, region.axis_minor_length]) * np.sqrt(12) / 4  # to a rectangle's
        sides = np.sqrt(sides**2 + 1)  # to theirs a pixel is a point
        np.testing.assert_allclose([row["length_px"], row["width_px"]], sides, rtol=1e-9)
        np.testing.assert_allclose([row["length_m"], row["width_m"]], sides * 10, rtol=1e-9)
        assert row["length_width"] == pytest.approx(sides[0] / sides[1])
        apart = (row["orientation_deg"] + np.degrees(region.orientation)) % 180  # theirs turns the other way
        assert min(apart, 180 - apart) < 1e-6


def test_a_rectangle_has_its_own_sides():
    labels = np.zeros((30, 30), int)
    labels[3:7, 5:25] = 1
    labels[10:28, 3:5] = 2
    table = measure(labels, {}, pixel_size=(np.full(30, 20.0), np.full(30, 10.0)))  # pixels twice as high as wide
    np.testing.assert_allclose(table["length_px"], [20, 18])
    np.testing.assert_allclose(table["width_px"], [4, 2])
    np.testing.assert_allclose(table["length_m"], [200, 360])
    np.testing.assert_allclose(table["width_m"], [80, 20])
    np.testing.assert_allclose(table["orientation_deg"], [90, 0])
    np.testing.assert_allclose(table["rectangular_fit"], 1)
    np.testing.assert_allclose(table["compactness"], [4 * np.pi * 200 * 80 / 560**2, 4 * np.pi * 360 * 20 / 760**2])


def test_an_edge_between_rows_of_different_width_has_the_mean_of_both():
    table = measure(np.array([[1], [2]]), {}, pixel_size=(np.array([3.0, 3.0]), np.array([2.0, 4.0])))
    perimeters = np.array([3 + 3 + 2 + 3, 3 + 3 + 3 + 4])
    np.testing.assert_allclose(table["compactness"], 4 * np.pi * np.array([6, 12]) / perimeters**2)


def test_compactness_is_that_of_the_traced_polygon(labels):
    labels = labels.copy()
    labels[20:40, 20:40] = 51
    labels[28:31, 28:33] = 0  # a hole
    compactness = measure(labels, {})["compactness"]
    for i, inside in pieces(labels):
        outlines = rasterio.features.shapes(inside.astype(np.uint8), mask=inside, connectivity=4)
        polygons = [shape(geometry) for geometry, _ in outlines]
        area, length = sum(p.area for p in polygons), sum(p.length for p in polygons)
        assert compactness[i - 1] == pytest.approx(4 * np.pi * area / length**2, rel=1e-12)


def test_rectangular_fit_is_the_share_in_an_equal_rectangle():
    masks = [np.zeros((80, 80), bool) for _ in range(3)]
    masks[0][disk((40, 40), 20.3)] = True
    masks[1][10:70, 10:20] = masks[1][60:70, 10:50] = True  # an L
    masks[2] = polygon2mask((80, 80), [(10.2, 30.1), (60.4, 50.3), (55.8, 65.2), (5.6, 45.4)])
    for mask in masks:
        row = {name: values[0] for name, values in measure(mask.astype(int), {}).items()}
        y, x = np.nonzero(mask)
        scale = np.sqrt(mask.sum() / (row["length_px"] * row["width_px"])) / 2
        a, b = row["length_px"] * scale, row["width_px"] * scale
        rectangle = affinity.rotate(
            Polygon([(-b, -a), (b, -a), (b, a), (-b, a)]), -np.nan_to_num(row["orientation_deg"]), (0, 0)
        )
        placed = affinity.translate(affinity.scale(rectangle, 1, -1, origin=(0, 0)), x.mean(), y.mean())
        expected = np.mean([placed.covers(Point(point)) for point in zip(x, y, strict=True)])
        assert row["rectangular_fit"] == pytest.approx(expected, abs=1e-12)
        assert 0.5 < expected < 1


def test_texture_is_that_of_skimages_co_occurrence_matrix(labels, layers):
    texture = {"green": (0.1, 0.8), "red": (0.0, 1.0)}
    table = measure(labels, layers, texture=texture)
    assert "brightness_texture_mean" not in table
    for name, (low, high) in texture.items():
        plane = layers[name].astype(np.float64)
        levels = np.clip(np.floor((plane - low) / (high - low) * LEVELS), 0, LEVELS - 1)
        for i, inside in pieces(labels):
            grey = np.where(inside & np.isfinite(plane), levels, LEVELS).astype(np.uint8)
            counts = graycomatrix(grey, [1], np.arange(4) * np.pi / 4, LEVELS + 1, symmetric=True)[:-1, :-1]
            pooled = counts.sum(axis=3, keepdims=True).astype(np.float64)
            if not pooled.sum():
                assert np.isnan(table[f"{name}_texture_mean"][i - 1])
                continue
            for prop in ("mean", "homogeneity"):
                expected = graycoprops(pooled / pooled.sum(), prop)[0, 0]
                assert table[f"{name}_texture_{prop}"][i - 1] == pytest.approx(expected, rel=1e-9)


def test_contrast_is_to_the_neighbours_by_the_border_that_is_shared(labels, table):
    lengths = {}
    for r in range(SIDE):
        for c in range(SIDE):
            for other in ((r, c + 1), (r + 1, c)):
                if max(other) < SIDE and labels[r, c] != labels[other] and labels[r, c] and labels[other]:
                    for a, b in ((labels[r, c], labels[other]), (labels[other], labels[r, c])):
                        lengths[a, b] = lengths.get((a, b), 0) + 1
    for name in ("green", "red"):
        mean = table[f"{name}_mean"]
        for i, _ in pieces(labels):
            near = [(mean[b - 1], n) for (a, b), n in lengths.items() if a == i and np.isfinite(mean[b - 1])]
            values, weights = np.array(near).T if near else (np.array([]), np.array([]))
            expected = mean[i - 1] - np.average(values, weights=weights) if near else np.nan
            np.testing.assert_allclose(table[f"{name}_contrast"][i - 1], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("size", "farthest"), [(10.0, FARTHEST_METRES), (None, FARTHEST_PIXELS)])
def test_distance_to_flat_ground_and_rivers_is_the_nearest_pixels(labels, size, farthest):
    slope, river = np.full((SIDE, SIDE), 30.0), np.zeros((SIDE, SIDE), bool)
    slope[55:, 50:], slope[0, 25] = 5.0, np.nan
    river[:, 3] = True
    table = measure(labels, {"slope": slope, "river": river}, pixel_size=size)
    for name, mask in (("flat", slope <= 5), ("river", river)):
        found = table[f"{name}_distance_{'px' if size is None else 'm'}"]
        for i, inside in pieces(labels):
            distance = cdist(np.argwhere(inside & np.isfinite(slope)), np.argwhere(mask)).min() * (size or 1)
            assert found[i - 1] == pytest.approx(min(distance, farthest))
    assert (found[np.isfinite(found)] < farthest).any() and "river_mean" not in table
    if size:
        np.testing.assert_allclose(table["flat_distance_px"], table["flat_distance_m"] / 10)
    else:
        assert not any(name.endswith(("_m", "_m2")) for name in table)


def test_nothing_is_told_of_slopes_and_rivers_where_they_are_missing():
    labels = np.repeat([[1, 2]], 4, axis=0).repeat(4, axis=1)
    plane = np.where(labels == 1, np.nan, 1.0)
    table = measure(labels, {"slope": plane, "river": plane})
    for name in ("flat_distance_px", "river_distance_px"):
        np.testing.assert_array_equal(table[name], [np.nan, 0])


@pytest.mark.filterwarnings("error")
def test_whole_numbers_are_layers_too(labels):
    plane = (np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 60).astype(np.uint8)
    names = ("red", "green", "blue", "slope", "dem", "probability", "river")
    tables = [measure(labels, dict.fromkeys(names, values)) for values in (plane, plane.astype(np.float64))]
    for name, values in tables[1].items():
        np.testing.assert_array_equal(tables[0][name], values)


def test_what_runs_downhill_has_no_angle_to_the_slope():
    rows, columns = np.mgrid[:40, :40].astype(np.float64)
    labels = np.zeros((40, 40), int)
    labels[5:35, 10:14], labels[5:9, 20:38] = 1, 2
    for dem, aspect in ((1000 + 2 * rows, 0), (1000 - 2 * rows, 180), (1000 - 3 * columns, 90)):
        table = measure(labels, {"dem": dem}, pixel_size=10.0)
        np.testing.assert_allclose(table["aspect_deg"], aspect, atol=1e-9)
        np.testing.assert_allclose(table["off_aspect_deg"], [0, 90] if aspect != 90 else [90, 0], atol=1e-9)
    assert np.isnan(measure(labels, {"dem": np.full((40, 40), 7.0)})["aspect_deg"]).all()
    cone = np.hypot(rows - 20, columns - 20)
    labels = (cone < 9.5).astype(int)
    assert np.isnan(measure(labels, {"dem": cone})["aspect_deg"]).all()  # down on all sides


def test_curvature_is_the_negative_laplacian():
    north, east = np.mgrid[:20, :20] * 10.0
    labels = np.zeros((20, 20), int)
    labels[4:8, 4:8] = 1
    table = measure(labels, {"dem": 500 - 0.003 * (east - 90) ** 2 - 0.001 * north**2 + 0.2 * east}, pixel_size=10.0)
    np.testing.assert_allclose(table["curvature_mean"], 100 * 2 * (0.003 + 0.001), rtol=1e-9)
    assert "curvature_mean" not in measure(labels, {"dem": east})


def test_a_single_pixel_and_a_pixel_missing_inside():
    labels = np.zeros((9, 9), np.int64)
    labels[2:7, 2:7], labels[4, 4], labels[8, 8] = 1, 0, 2
    plane = np.arange(81.0).reshape(9, 9)
    table = measure(labels, {"brightness": plane / 81, "slope": plane}, pixel_size=2.0)
    assert table["area_px"].tolist() == [24, 1] and table["area_m2"].tolist() == [96, 4]
    assert table["slope_mean"].tolist() == [40, 80] and table["slope_std"][1] == 0
    np.testing.assert_allclose(table["compactness"], [4 * np.pi * 24 / 24**2, np.pi / 4])
    np.testing.assert_allclose([table["length_px"][1], table["width_m"][1], table["rectangular_fit"][1]], [1, 2, 1])
    for name in ("orientation_deg", "brightness_texture_mean", "brightness_texture_homogeneity", "slope_contrast"):
        assert np.isnan(table[name][1])
    assert np.isnan(table["slope_contrast"][0])  # its neighbour is a hole


def test_no_segments_are_an_empty_table(layers):
    table = measure(np.zeros((SIDE, SIDE), np.int32), layers, pixel_size=10.0)
    assert "slope_mean" in table and all(values.shape == (0,) for values in table.values())


def test_a_number_that_no_pixel_has_is_told_as_nan():
    labels = np.where(np.arange(6) < 3, 1, 3)[None] * np.ones((4, 1), int)
    plane = np.random.default_rng(0).random((4, 6))
    layers = dict.fromkeys(("red", "green", "blue", "slope", "dem", "probability", "river"), plane)
    for name, values in measure(labels, layers, pixel_size=10.0).items():
        assert values.dtype == np.float64 and values.shape == (3,)
        assert values[1] == 0 if name.startswith("area") else np.isnan(values[1]), name


def test_what_is_no_image_of_labels_is_refused(layers):
    with pytest.raises(LandslideError, match=r"labels are float64 \(3, 3\); expected"):
        measure(np.zeros((3, 3)), {})
    with pytest.raises(LandslideError, match="whole numbers from 0 on"):
        measure(np.full((3, 3), -1), {})
    with pytest.raises(LandslideError, match=r"layer 'red' has shape \(60, 60\), the labels \(3, 3\)"):
        measure(np.ones((3, 3), int), layers)


def test_a_patch_needs_no_rasters():
    code = "import sys, tf_landslide.objects.attributes; print({'rasterio', 'pyproj', 'tensorflow'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_a_misspelt_attribute_is_told_and_every_real_one_is_known(labels, layers, table):
    river = layers | {"river": np.zeros((SIDE, SIDE), np.float32)}
    for name in [*table, *measure(labels, river, pixel_size=10.0), *measure(labels, layers)]:
        require_attribute(name)
    near = {"slope_maen": "slope_mean", "area": "area_", "proability_share": "probability_share"}
    for wrong, said in near.items():
        with pytest.raises(LandslideError, match=f"unknown attribute '{wrong}'.*{said}"):
            require_attribute(wrong)
