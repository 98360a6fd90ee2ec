"""The slope's aspect over a polygon, against planes and cones whose aspect is known."""

import numpy as np
import pytest
from pyproj import Geod, Transformer
from rasterio import Affine

from tests.scenes.test_sampler import UTM, WGS84, write
from tf_landslide.bands.layouts import Band
from tf_landslide.bands.terrain import between_axes
from tf_landslide.scenes.attributes import describe
from tf_landslide.scenes.grid import Grid
from tf_landslide.scenes.layers import layers_of
from tf_landslide.scenes.polygons import grid_north
from tf_landslide.scenes.raster import RasterBand
from tf_landslide.scenes.scene import Scene

COMMON = {"det_method": "m", "event_date_from": None, "event_date_to": None, "source_ids": "s"}
UTM_GRID = Grid(Affine(10, 0, 569000, 0, -10, 4737000), UTM, (60, 80))
DEGREES = Grid(Affine(1e-4, 0, 141.9, 0, -1e-4, 42.8), WGS84, (60, 80))


def described(tmp_path, grid, dem, marked):
    import rasterio

    write(tmp_path / "dem.tif", dem.astype(np.float32), grid)
    write(tmp_path / "probability.tif", np.where(marked, 0.9, 0.1).astype(np.float32), grid)
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "height": grid.shape[0], "width": grid.shape[1]}
    with rasterio.open(
        tmp_path / "mask.tif", "w", **profile, crs=grid.crs.to_wkt(), transform=grid.transform, nodata=255
    ) as raster:
        raster.write(marked.astype(np.uint8), 1)
    scene = Scene(grid, {"dem": RasterBand.open(tmp_path / "dem.tif", 1, Band("dem", unit="metres"))})
    with rasterio.open(tmp_path / "probability.tif") as raster:
        return describe(tmp_path / "mask.tif", grid, layers_of(scene, raster), common=COMMON).attributes


def ground(grid):
    """Metres east and south of the grid's corner, (H, W) each."""
    height, width = grid.pixel_sizes(np.array([grid.shape[0] // 2]))
    rows, columns = np.indices(grid.shape)
    return columns * width[0], rows * height[0]


@pytest.mark.parametrize("grid", [UTM_GRID, DEGREES], ids=["utm", "degrees"])
@pytest.mark.parametrize("aspect", [0, 5, 100, 190, 355])
def test_a_planes_aspect_and_the_angle_to_it(tmp_path, grid, aspect):
    east, south = ground(grid)
    turn = np.radians(aspect)
    dem = 1000 - 0.4 * (east * np.sin(turn) - south * np.cos(turn))
    marked = np.zeros(grid.shape, bool)
    marked[20:24, 10:60] = True  # runs east
    (found,) = described(tmp_path, grid, dem, marked)
    north = grid_north(grid, *grid.transform @ (35, 22))
    assert abs((found.aspect_deg - aspect - north + 180) % 360 - 180) < 0.3
    assert found.off_aspect_deg == pytest.approx(between_axes(90, aspect), abs=0.5)  # both turn with the grid's north


def test_all_around_a_summit_there_is_no_aspect(tmp_path):
    east, south = ground(UTM_GRID)
    dem = 1000 - np.hypot(east - 400, south - 300)
    marked = np.zeros(UTM_GRID.shape, bool)
    marked[20:41, 30:51] = True
    (found,) = described(tmp_path, UTM_GRID, dem, marked)
    assert found.aspect_deg is None and found.off_aspect_deg is None


def test_aspects_around_north_do_not_average_to_south(tmp_path):
    """350 and 10 degrees have the mean 0, not 180."""
    east, south = ground(UTM_GRID)
    ridge = np.abs(east - 400) * np.tan(np.radians(10))  # a channel that runs north
    marked = np.zeros(UTM_GRID.shape, bool)
    marked[10:50, 30:51] = True
    (found,) = described(tmp_path, UTM_GRID, 1000 + 0.3 * (south + ridge), marked)
    north = grid_north(UTM_GRID, *UTM_GRID.transform @ (40, 30))
    assert abs((found.aspect_deg - north + 180) % 360 - 180) < 1 and found.off_aspect_deg < 2


def test_grid_north_is_pyprojs_meridian_convergence():
    from pyproj import Proj

    x, y = UTM_GRID.transform @ (40, 30)
    longitude, latitude = Transformer.from_crs(UTM, WGS84, always_xy=True).transform(x, y)
    convergence = Proj(UTM.to_epsg()).get_factors(longitude, latitude).meridian_convergence
    assert grid_north(UTM_GRID, x, y) == pytest.approx(convergence, abs=1e-3)
    assert Geod(ellps="WGS84") and grid_north(DEGREES, 141.95, 42.7) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("a", "b", "apart"), [(0, 180, 0), (10, 350, 20), (90, 0, 90), (170, 10, 20), (45, 225, 0)])
def test_axes_have_no_sense(a, b, apart):
    assert between_axes(a, b) == between_axes(b, a) == apart
