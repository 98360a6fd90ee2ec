"""Smoothed outlines: areas and holes stay, nothing overlaps; against shapely's own measures."""

import numpy as np
import pytest
import shapely
from pyproj import Geod
from rasterio import Affine

from tests.scenes.conftest import GRID
from tf_landslide.scenes.polygons import traced
from tf_landslide.scenes.smoothing import smoothed


@pytest.fixture(scope="module")
def pairs(written):
    return [(polygon, smoothed(polygon, GRID.transform)) for polygon in traced(written[1])]


def rings(geometry):
    return sum(1 + len(part.interiors) for part in shapely.get_parts(geometry))


def test_area_and_holes_stay_and_all_are_valid(pairs):
    assert len(pairs) > 30 and any(rings(before) > 1 for before, _ in pairs)
    for before, after in pairs:
        assert after.is_valid and rings(after) == rings(before)
        assert after.area == pytest.approx(before.area, rel=1e-6)


def test_no_point_moves_further_than_a_pixel_and_corners_are_gone(pairs):
    for before, after in pairs:
        assert before.hausdorff_distance(after) <= 10
        assert after.length < before.length
        corners = np.asarray(shapely.get_parts(after)[0].exterior.coords)
        steps = np.diff(corners, axis=0)
        following = np.roll(steps[:-1], -1, axis=0) if len(steps) < 2 else steps[1:]
        cosine = (steps[:-1] * following).sum(1) / np.hypot(*steps[:-1].T) / np.hypot(*following.T)
        assert cosine.min() > np.cos(np.radians(60))  # of a pixel's corner: 90 degrees


def test_landslides_do_not_come_to_overlap(pairs):
    shapes = [after for _, after in pairs]
    assert shapely.union_all(shapes).area == pytest.approx(sum(shape.area for shape in shapes), rel=1e-9)


@pytest.mark.parametrize("pixels", [[(0, 0)], [(0, 0), (1, 1)], [(0, i) for i in range(40)]])
def test_the_smallest_and_the_thinnest(pixels):
    shape = shapely.union_all([shapely.box(10 * c, -10 * r - 10, 10 * c + 10, -10 * r) for r, c in pixels])
    after = smoothed(shape, Affine(10, 0, 0, 0, -10, 0))
    assert after.is_valid and after.area == pytest.approx(100 * len(pixels)) and not after.equals(shape)


def test_on_a_grid_of_degrees_the_geodesic_area_stays():
    step = 1e-4
    shape = shapely.union_all(
        [shapely.box(141 + step * i, 42.0, 141 + step * (i + 1), 42 + step * (i + 1)) for i in range(30)]
    )
    after = smoothed(shape, Affine(step, 0, 141, 0, -step, 42.003))
    area = [abs(Geod(ellps="WGS84").geometry_area_perimeter(g)[0]) for g in (shape, after)]
    assert area[1] == pytest.approx(area[0], rel=1e-4)
