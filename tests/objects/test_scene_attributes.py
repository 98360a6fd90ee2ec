"""Attributes of a scene's segments: as of the whole whatever the strips, by the ellipsoid, in bounded memory."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Geod
from rasterio import Affine
from scipy import ndimage
from shapely.geometry import box

from tf_landslide.core.errors import LandslideError
from tf_landslide.objects import attributes, nearness
from tf_landslide.objects.attributes import measure, measure_scene
from tf_landslide.scenes.grid import Grid

GEOD = Geod(ellps="WGS84")
UTM = CRS.from_epsg(32654)
DEGREES = CRS.from_epsg(4326)
NAMES = ("red", "green", "blue", "nir", "slope", "dem", "probability", "river")


class Held:
    """Segments that lie in memory; it keeps what rows were asked for."""

    def __init__(self, labels):
        self.labels, self.count, self.asked = labels, int(labels.max(initial=0)), []

    def read(self, window):
        assert window.within(self.labels.shape) == window
        self.asked.append(window)
        return self.labels[window.rows, window.columns]


def layers_over(planes, asked=None):
    def layer(plane):
        def read(window):
            assert window.within(plane.shape) == window
            if asked is not None:
                asked.append(window)
            return plane[window.rows, window.columns]

        return read

    return {name: layer(plane) for name, plane in planes.items()}


def scene(seed, shape, missing):
    """Labels (some numbers on several pieces, some on none) and layers with gaps."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 12, (shape[0] // 4 + 1, shape[1] // 3 + 1))
    labels = np.kron(coarse, np.ones((4, 3), int))[: shape[0], : shape[1]].astype(np.int32)
    labels[rng.random(shape) < 0.1] = 0
    planes = {name: rng.random(shape, np.float32) for name in NAMES}
    planes["dem"] = (3000 + 10 * ndimage.gaussian_filter(rng.standard_normal(shape), 2)).astype(np.float32)
    planes["slope"] *= 60
    planes["river"] = (planes["river"] > 0.98).astype(np.float32)
    for name in set(NAMES) - {"river"}:
        planes[name][rng.random(shape) < missing] = np.nan
    return labels, planes


def grid_of(crs, shape):
    transform = Affine(1e-4, 0, 141, 0, -1e-4, 60) if crs == DEGREES else Affine(10, 0, 5e5, 0, -10, 4.7e6)
    return Grid(transform, crs, shape)


def assert_equal_tables(found, expected):
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-9, atol=1e-9, err_msg=name)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**32),
    st.tuples(st.integers(1, 40), st.integers(1, 20)),
    st.sampled_from([0.0, 0.1, 0.9]),
    st.integers(1, 41),
    st.sampled_from([UTM, DEGREES]),
)
def test_strips_of_any_height_give_what_the_whole_gives(seed, shape, missing, rows, crs):
    labels, planes = scene(seed, shape, missing)
    grid = grid_of(crs, shape)
    texture = {"brightness": (0.0, 1.0), "nir": (0.2, 0.7)}
    whole = measure(labels, planes, pixel_size=grid.pixel_sizes(np.arange(shape[0])), threshold=0.6, texture=texture)
    found = measure_scene(Held(labels), layers_over(planes), grid, 0.6, texture=texture, rows=rows)
    assert_equal_tables(found, whole)


@pytest.mark.parametrize("rows", [100, 256, 300, 777])
def test_strips_on_a_tall_grid_of_degrees_give_what_the_whole_gives(rows):
    labels, planes = scene(0, (800, 30), 0.05)
    planes["slope"][:, :] = 30
    planes["slope"][::97, ::13] = 0
    grid = grid_of(DEGREES, labels.shape)
    whole = measure(labels, planes, pixel_size=grid.pixel_sizes(np.arange(800)))
    assert_equal_tables(measure_scene(Held(labels), layers_over(planes), grid, rows=rows), whole)


def test_metres_are_those_of_the_ellipsoid():
    grid = Grid(Affine(1e-4, 0, 141, 0, -1e-4, 62), DEGREES, (900, 400))
    labels = np.zeros(grid.shape, np.int32)
    labels[100:150, 20:30], labels[800:812, 60:180] = 1, 2
    slope = np.full(grid.shape, 30.0)
    slope[110, 50] = slope[840, 90] = 1.0
    table = measure_scene(Held(labels), layers_over({"slope": slope}), grid)
    for i, (top, bottom, left, right) in enumerate([(100, 150, 20, 30), (800, 812, 60, 180)]):
        (west, east), (north, south) = ((141 + np.array([left, right]) * 1e-4), (62 - np.array([top, bottom]) * 1e-4))
        area = abs(GEOD.geometry_area_perimeter(box(west, south, east, north))[0])
        assert table["area_m2"][i] == pytest.approx(area, rel=1e-6)
        middle = (north + south) / 2
        sides = sorted((GEOD.inv(west, middle, east, middle)[2], GEOD.inv(west, north, west, south)[2]))
        np.testing.assert_allclose([table["width_m"][i], table["length_m"][i]], sides, rtol=1e-4)
    np.testing.assert_allclose(table["orientation_deg"], [0, 90])
    np.testing.assert_allclose(table["rectangular_fit"], 1)
    x, y = grid.centres(np.array([110, 811, 840]), np.array([29, 50, 90]))
    distances = GEOD.inv(x[0], y[0], x[1], y[0])[2], GEOD.inv(x[2], y[1], x[2], y[2])[2]
    np.testing.assert_allclose(table["flat_distance_m"], distances, rtol=2e-3)


def test_feet_are_metres():
    feet = Grid(Affine(30, 0, 1e6, 0, -30, 1e6), CRS.from_epsg(2263), (10, 10))  # US survey feet
    table = measure_scene(Held(np.ones((10, 10), np.int32)), {}, feet)
    assert table["area_m2"][0] == pytest.approx(100 * (30 * 1200 / 3937) ** 2)


def test_no_more_is_read_at_a_time_than_a_strip_and_its_surroundings():
    labels, planes = scene(1, (400, 8), 0.0)
    asked, segments, grid = [], Held(labels), grid_of(UTM, labels.shape)
    measure_scene(segments, layers_over(planes, asked), grid, rows=16)
    halo = int(nearness.FARTHEST_METRES / 10)
    assert max(window.height for window in segments.asked) == 17
    assert max(window.height for window in asked) == 16 + 2 * halo
    assert len(asked) == len(NAMES) * 400 / 16  # every layer once


def test_wide_scenes_are_read_by_fewer_rows(monkeypatch):
    monkeypatch.setattr(attributes, "AT_ONCE", 80)
    segments = Held(np.ones((40, 8), np.int32))
    measure_scene(segments, {}, grid_of(UTM, (40, 8)))
    assert max(window.height for window in segments.asked) == 11


def test_a_scene_without_segments_is_an_empty_table():
    labels, planes = scene(1, (20, 8), 0.0)
    table = measure_scene(Held(np.zeros_like(labels)), layers_over(planes), grid_of(UTM, labels.shape), rows=6)
    assert {"area_m2", "slope_mean", "flat_distance_m"} <= table.keys()
    assert all(values.shape == (0,) for values in table.values())


def test_a_layer_of_another_shape_is_refused():
    grid = grid_of(UTM, (20, 8))
    with pytest.raises(LandslideError, match=r"layer 'red' gives \(3, 3\) for rows of shape \(20, 8\)"):
        measure_scene(Held(np.ones((20, 8), np.int32)), {"red": lambda _: np.zeros((3, 3))}, grid)
