"""Maps whose metres are not the ground's: against formulas of Web Mercator, PROJ's scale factors, planes in UTM."""

import numpy as np
import pytest
from pyproj import CRS, Geod, Proj, Transformer
from rasterio import Affine

from tests.scenes.test_sampler import write
from tf_landslide.bands.layouts import Band
from tf_landslide.scenes.canvas import map_geometry
from tf_landslide.scenes.grid import Grid
from tf_landslide.scenes.layers import layers_of
from tf_landslide.scenes.raster import RasterBand
from tf_landslide.scenes.scene import Scene

GEOD = Geod(ellps="WGS84")
PLANE = CRS.from_epsg(32633)  # its middle runs through 15 degrees east


def grid_at(code, longitude=15.0, latitude=60.0, size=20.0, shape=(60, 70)):
    crs = CRS.from_epsg(code)
    x, y = Transformer.from_crs(CRS.from_epsg(4326), crs, always_xy=True).transform(longitude, latitude)
    return Grid(Affine(size, 0, x - size * shape[1] / 2, 0, -size, y + size * shape[0] / 2), crs, shape)


def in_utm(grid):
    """East and north in UTM of every pixel's centre, (H, W) each."""
    x, y = np.meshgrid(*grid.centres(np.arange(grid.shape[0]), np.arange(grid.shape[1])))
    return Transformer.from_crs(grid.crs, PLANE, always_xy=True).transform(x, y)


def test_web_mercators_pixels_shrink_to_the_poles():
    grid = grid_at(3857, size=10_000, shape=(301, 40))
    height, width = grid.pixel_sizes(np.arange(301))
    _, y = grid.centres(np.arange(301), np.zeros(1))
    latitude = np.arctan(np.sinh(y / GEOD.a))
    w = np.sqrt(1 - GEOD.es * np.sin(latitude) ** 2)
    np.testing.assert_allclose(width, 10_000 / w * np.cos(latitude), rtol=1e-5)
    np.testing.assert_allclose(height, 10_000 * (1 - GEOD.es) / w**3 * np.cos(latitude), rtol=1e-5)
    np.testing.assert_array_equal(grid.pixel_sizes(np.arange(7, 9))[0], height[7:9])  # whatever rows are asked


@pytest.mark.parametrize("code", [6933, 3413, 3395, 3034])
def test_sizes_are_those_of_projs_scale_factors(code):
    grid = grid_at(code, latitude=55)
    height, width = grid.pixel_sizes(np.array([29.5]))
    factors = Proj(grid.crs).get_factors(15, 55)
    down, across = factors.meridional_scale, factors.parallel_scale
    assert abs(down - 1) > 0.01 and height[0] == pytest.approx(20 / down, rel=1e-5)
    assert width[0] == pytest.approx(20 / across, rel=1e-5)


def test_pixels_of_an_equal_area_map_that_is_turned_keep_their_area():
    grid = grid_at(3035, 55, 72)  # far from its middle of 10 east, 52 north
    height, width = grid.pixel_sizes(np.array([30]))
    assert abs(height[0] / 20 - 1) > 0.01 and height[0] * width[0] == pytest.approx(400, rel=2e-3)


@pytest.mark.parametrize(("code", "longitude"), [(32633, 15), (32633, 18), (3035, 12), (27700, 0), (2056, 8)])
def test_maps_that_keep_lengths_stay_as_they_are(code, longitude):
    grid = grid_at(code, longitude, 52)
    assert [set(sizes) for sizes in grid.pixel_sizes(np.arange(-1, 61))] == [{20.0}, {20.0}]


@pytest.mark.parametrize("code", [3857, 6933, 3413, 32633])
def test_slope_and_aspect_are_the_grounds_in_any_map(tmp_path, code):
    """A plane in UTM of 30 degrees that falls to 120 degrees; in Web Mercator's own metres it has 16."""
    grid = grid_at(code)
    east, north = in_utm(grid)
    down = np.radians(120)
    dem = -np.tan(np.radians(30)) * ((east - 5e5) * np.sin(down) + (north - 6.65e6) * np.cos(down)) + 2000
    band = RasterBand.open(write(tmp_path / "dem.tif", dem.astype(np.float64), grid), 1, Band("dem", unit="metres"))
    assert band.read_slope(grid.window)[1:-1, 1:-1] == pytest.approx(30, abs=0.06)
    layers = layers_of(Scene(grid, {"dem": band}), None)
    right, up = (layers[f"downhill_{name}"](grid.window)[30, 35] for name in ("east", "north"))
    turned = np.degrees(np.arctan2(right, up)) - map_geometry(grid)["north"]
    assert turned == pytest.approx(120, abs=0.3)


def test_the_scale_bar_is_the_grounds_and_terrain_is_averaged_by_it(tmp_path):
    grid = grid_at(3857, size=10)
    east, _ = in_utm(grid)
    drawn = map_geometry(grid)
    across = (east[30, -1] - east[30, 0]) / (grid.shape[1] - 1) / 0.9996  # UTM draws its middle that much smaller
    assert drawn["pixelWidths"][8] == pytest.approx(across, rel=1e-4)
    assert drawn["pixelHeight"] == pytest.approx(across, rel=5e-3)
    path = write(tmp_path / "dem.tif", np.zeros(grid.shape, np.float32), grid)
    scene = Grid(Affine(10.1, 0, 5e5, 0, -10.1, 6.653e6), PLANE, (50, 60))
    averaged = RasterBand.open(path, 1, Band("dem", unit="metres")).averaged_for(scene)
    assert averaged.grid.transform.a == 20  # two pixels of 5 m
