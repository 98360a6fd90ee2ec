"""Grid arithmetic and sampling: against pyproj, rasterio and SciPy, and windows against the whole, bit for bit."""

import numpy as np
import pytest
import rasterio
from pyproj import CRS, Geod, Transformer
from rasterio import Affine
from scipy.ndimage import map_coordinates

from tf_landslide.core.errors import LandslideError
from tf_landslide.scenes.grid import Grid, Window
from tf_landslide.scenes.sampler import TOLERANCE, sampler

UTM, WGS84 = CRS.from_epsg(32654), CRS.from_epsg(4326)
SCENE = Grid(Affine(10, 0, 569000, 0, -10, 4737000), UTM, (300, 420))


def terrain(shape, seed=0):
    rng = np.random.default_rng(seed)
    return np.cumsum(np.cumsum(rng.normal(size=shape), 0), 1).astype(np.float32) + 500


def geographic(shape=(324, 512)):
    return Grid(Affine(0.000277, 0, 141.8, 0, -0.000277, 42.83), WGS84, shape)


def reader(values):
    return lambda window: values[window.rows, window.columns]


def write(path, values, grid, **options):
    profile = {"driver": "GTiff", "count": 1, "dtype": values.dtype, "height": grid.shape[0], "width": grid.shape[1]}
    with rasterio.open(path, "w", **profile, transform=grid.transform, crs=grid.crs.to_wkt(), **options) as file:
        file.write(values, 1)
    return path


def test_pixels_and_map_coordinates_are_rasterio_s(tmp_path):
    path = write(tmp_path / "s.tif", np.zeros(SCENE.shape, np.uint8), SCENE)
    grid = Grid.of(path)
    assert grid.shape == SCENE.shape and grid.transform == SCENE.transform and grid.crs == UTM
    with rasterio.open(path) as raster:
        rows, columns = np.array([0, 7, 299]), np.array([3, 0, 419])
        x, y = grid.centres(rows, columns)
        np.testing.assert_array_equal((x, y), raster.xy(rows, columns))
        found = grid.pixels(x, y)
        np.testing.assert_allclose(found, (rows, columns), atol=1e-9)
        np.testing.assert_allclose(grid.bounds, raster.bounds)
        window = Window(5, 9, 20, 30)
        assert grid.of_window(window).transform == raster.window_transform(window.for_rasterio())


def test_windows_cut_pad_and_meet():
    window = Window(-3, 2, 10, 10)
    assert window.within((5, 8)) == Window(0, 2, 5, 6) and window.padded(2) == Window(-5, 0, 14, 14)
    assert Window(9, 9, 2, 2).within((5, 8)).shape == (0, 0)
    covered = np.zeros((70, 45), int)
    for block in Grid(SCENE.transform, UTM, (70, 45)).blocks(32):
        covered[block.rows, block.columns] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize("latitude", [-60.0, 0.5, 42.8, 80.0])
def test_pixel_sizes_of_a_geographic_grid_are_geodesic(latitude):
    grid = Grid(Affine(0.001, 0, 10, 0, -0.001, latitude), WGS84, (50, 50))
    height, width = grid.pixel_sizes(np.arange(50))
    geod = Geod(ellps="WGS84")
    for row in (0, 49):
        _, y = grid.centres(row, 0)
        assert height[row] == pytest.approx(geod.inv(10, y - 5e-4, 10, y + 5e-4)[2], rel=1e-6)
        assert width[row] == pytest.approx(geod.inv(10, y, 10.001, y)[2], rel=1e-6)
    assert [size[0] for size in SCENE.pixel_sizes(np.arange(3))] == [10, 10]
    feet = CRS.from_epsg(2230)  # California, US survey feet
    sizes = Grid(Affine(10, 0, 6e6, 0, -10, 2e6), feet, (5, 5)).pixel_sizes(np.zeros(1))
    assert sizes[0][0] == pytest.approx(3.048006096)


def test_samples_are_what_exact_coordinates_and_scipy_give():
    source, values = geographic(), terrain((324, 512))
    made = sampler(source, SCENE)
    assert made.error <= TOLERANCE and made.step > 1
    found = made(SCENE.window, reader(values))
    x, y = np.meshgrid(*SCENE.centres(np.arange(300), np.arange(420)))
    lon, lat = Transformer.from_crs(UTM, WGS84, always_xy=True).transform(x, y)
    rows, columns = source.pixels(lon, lat)
    inside = (rows >= 0) & (rows <= 323) & (columns >= 0) & (columns <= 511)
    assert inside.mean() > 0.5
    expected = map_coordinates(values.astype(float), [rows[inside], columns[inside]], order=1)
    steepest = np.abs(np.diff(values)).max()
    np.testing.assert_allclose(found[inside], expected, atol=4 * TOLERANCE * steepest)
    exact_rows, exact_columns = made.coordinates(SCENE.window)
    assert max(np.abs(exact_rows - rows).max(), np.abs(exact_columns - columns).max()) <= 2 * TOLERANCE


@pytest.mark.parametrize("size", [(1, 1), (37, 53), (128, 128)])
def test_a_value_does_not_depend_on_the_window_that_asks(size):
    source, values = geographic(), terrain((324, 512))
    made, read = sampler(source, SCENE), reader(values)
    middle = [int(part[150, 250]) for part in made.coordinates(SCENE.window)]
    values[middle[0] : middle[0] + 4, middle[1] - 30 : middle[1] + 30] = np.nan
    whole = made(SCENE.window, read)
    assert np.isnan(whole).any() and np.isfinite(whole).mean() > 0.5
    for row, column in ((0, 0), (91, 130), (150, 250), (299, 419)):
        window = Window(row, column, *size)
        piece, part = made(window, read), window.within(SCENE.shape)
        inner = part.relative_to(window)
        np.testing.assert_array_equal(piece[inner.rows, inner.columns], whole[part.rows, part.columns])


def test_a_plane_is_sampled_as_a_plane_and_a_missing_pixel_stays_where_it_is():
    source = Grid(Affine(30, 0, 568000, 0, -30, 4738000), UTM, (200, 300))
    y, x = np.mgrid[:200, :300]
    values = (2.0 * x - 3.0 * y).astype(np.float32)
    found = sampler(source, SCENE)(SCENE.window, reader(values))
    px, py = np.meshgrid(*SCENE.centres(np.arange(300), np.arange(420)))
    rows, columns = source.pixels(px, py)
    np.testing.assert_allclose(found, 2 * columns - 3 * rows, atol=1e-3)
    values[50, 60] = np.nan
    missing = np.isnan(sampler(source, SCENE)(SCENE.window, reader(values)))
    near = (np.abs(rows - 50) < 1) & (np.abs(columns - 60) < 1)
    np.testing.assert_array_equal(missing, near)


def test_an_equal_grid_is_copied():
    values = terrain(SCENE.shape)
    made = sampler(SCENE, SCENE)
    np.testing.assert_allclose(made(SCENE.window, reader(values)), values, rtol=1e-6)


def test_nothing_is_where_the_source_does_not_reach():
    far = Grid(Affine(0.01, 0, -60, 0, -0.01, 10), WGS84, (10, 10))
    assert np.isnan(sampler(far, SCENE)(SCENE.window, lambda _: pytest.fail("nothing is to be read"))).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"crs": None}, "has no coordinate reference system"),
        ({"transform": Affine.identity()}, "has no coordinate reference system"),
        ({"transform": Affine(10, 1, 0, 0, -10, 0)}, "is rotated"),
        ({"transform": Affine(10, 0, 0, 0, 10, 0)}, "upside down"),
    ],
)
def test_a_raster_that_lies_nowhere_is_refused(tmp_path, options, said):
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "height": 4, "width": 4}
    place = {"crs": UTM.to_wkt(), "transform": SCENE.transform, **options}
    with rasterio.open(tmp_path / "x.tif", "w", **profile, **place) as file:
        file.write(np.zeros((4, 4), np.uint8), 1)
    with pytest.raises(LandslideError, match=said):
        Grid.of(tmp_path / "x.tif")
    (tmp_path / "no.tif").write_bytes(b"nothing")
    with pytest.raises(LandslideError, match=r"no\.tif: cannot be read as a raster"):
        Grid.of(tmp_path / "no.tif")


def test_the_real_terrain_model_comes_onto_the_real_scene(real_data):
    folder = real_data / "hokkaido_2018"
    scene, dsm = Grid.of(folder / "post_B04.tif"), Grid.of(folder / "dsm.tif")
    with rasterio.open(folder / "dsm.tif") as raster:
        values = raster.read(1).astype(np.float32)
    found = sampler(dsm, scene)(scene.window, reader(values))
    inside = np.isfinite(found)
    assert inside.mean() > 0.95 and values.min() <= found[inside].min() and found[inside].max() <= values.max()
