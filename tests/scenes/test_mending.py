"""Outlines made valid on their lattice: the same as shapely's, and in seconds where that takes minutes."""

import numpy as np
import pytest
import rasterio.features
import shapely
from rasterio import Affine
from shapely.geometry import shape

from tf_landslide.scenes.mending import mended

METRES = Affine(10, 0, 569000, 0, -10, 4737000)
DEGREES = Affine(1e-4 / 3, 0, 141.1, 0, -1e-4 / 3, 43)


def traced(marked, transform):
    values = marked.astype(np.uint8)
    found = rasterio.features.shapes(values, mask=marked, connectivity=8, transform=transform)
    return [polygon for polygon in (shape(geometry) for geometry, _ in found) if not polygon.is_valid]


@pytest.mark.parametrize("transform", [METRES, DEGREES])
@pytest.mark.parametrize("density", [0.1, 0.3, 0.5, 0.7])
def test_noise_is_mended_as_shapely_does_to_the_last_bit(density, transform):
    count = 0
    for seed in range(3):
        for polygon in traced(np.random.default_rng(seed).random((50, 41)) < density, transform):
            result, expected = mended(polygon, transform), shapely.make_valid(polygon)
            assert result.is_valid and shapely.equals_exact(result.normalize(), expected.normalize(), 0)
            count += 1
    assert count


@pytest.mark.parametrize(
    "rows",
    [
        ("11111", "10001", "10101", "10001", "11111", "00000", "1...."),  # an island in a hole
        ("010", "101", "010"),  # a ring of corners
        ("1111", "1011", "1101", "1111"),  # holes that touch
        ("0111", "1011", "1111"),  # a hole that touches the outline
        ("11100", "10100", "11111", "00101", "00111"),
    ],
)
def test_islands_rings_of_corners_and_holes_that_touch(rows):
    marked = np.array([[c == "1" for c in row.ljust(5, "0")] for row in rows])
    marked = np.kron(np.eye(2), marked).astype(bool)  # twice, so that corners meet between the two as well
    for polygon in traced(marked, METRES):
        result, expected = mended(polygon, METRES), shapely.make_valid(polygon)
        assert result.is_valid and shapely.equals_exact(result.normalize(), expected.normalize(), 0)


@pytest.mark.long
def test_seventeen_thousand_holes_take_seconds():
    import time

    marked = np.random.default_rng(0).random((512, 512)) < 0.5
    polygons = traced(marked, METRES)
    started = time.process_time()
    area = sum(mended(polygon, METRES).area for polygon in polygons)
    assert time.process_time() - started < 5  # make_valid: 95
    assert max(len(polygon.interiors) for polygon in polygons) > 15_000
    assert area == pytest.approx(
        sum(
            shapely.area(shapely.polygons(p.exterior))
            - sum(shapely.area(shapely.polygons(ring)) for ring in p.interiors)
            for p in polygons
        )
    )
