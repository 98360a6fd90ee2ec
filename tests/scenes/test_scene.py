"""Bands and terrain of a scene: against NumPy, GDAL's gdaldem and analytic surfaces."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import rasterio
from pyproj import CRS
from rasterio import Affine

from tests.scenes.test_sampler import SCENE, UTM, WGS84, geographic, terrain, write
from tf_landslide.bands.layouts import Band
from tf_landslide.core.errors import LandslideError
from tf_landslide.scenes.grid import Grid, Window
from tf_landslide.scenes.inputs import Inputs, open_inputs
from tf_landslide.scenes.raster import RasterBand
from tf_landslide.scenes.scene import Scene
from tf_landslide.scenes.stack import open_scene


def test_no_data_is_asked_before_scale_and_offset(tmp_path):
    stored = np.array([[0, 1000, 2500], [11000, 0, 65535]], np.uint16)
    grid = Grid(SCENE.transform, UTM, stored.shape)
    band = RasterBand.open(write(tmp_path / "b.tif", stored, grid), 1, Band("red", 1e-4, -0.1, nodata=0))
    expected = np.where(stored == 0, np.nan, stored * 1e-4 - 0.1)
    np.testing.assert_allclose(band.read(grid.window), expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(band.read(Window(1, 1, 1, 2)), expected[1:, 1:], rtol=1e-5, atol=1e-7)
    own = RasterBand.open(write(tmp_path / "o.tif", stored, grid, nodata=65535), 1, Band("red"))
    assert np.isnan(own.read(grid.window)).tolist() == (stored == 65535).tolist()
    nan = RasterBand.open(write(tmp_path / "n.tif", expected.astype("float32"), grid, nodata=np.nan), 1, Band("red"))
    np.testing.assert_array_equal(np.isnan(nan.read(grid.window)), np.isnan(expected))
    with pytest.raises(LandslideError, match="has 1 bands, no band 2"):
        RasterBand.open(tmp_path / "b.tif", 2, Band("red"))


def test_a_fine_raster_is_averaged_over_whole_pixels(tmp_path):
    grid = Grid(Affine(2.5, 0, 569000, 0, -2.5, 4737000), UTM, (41, 43))
    values = terrain(grid.shape)
    band = RasterBand.open(write(tmp_path / "fine.tif", values, grid), 1, Band("dem", unit="metres")).averaged_for(
        SCENE
    )
    assert band.averaged == (4, 4) and band.grid.shape == (10, 10) and band.grid.transform.a == 10
    expected = values[:40, :40].reshape(10, 4, 10, 4).mean((1, 3))
    np.testing.assert_allclose(band.read(band.grid.window), expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(band.read(Window(3, 5, 4, 2)), band.read(band.grid.window)[3:7, 5:7])
    assert RasterBand.open(tmp_path / "fine.tif", 1, Band("dem")).averaged_for(grid).averaged == (1, 1)


@pytest.mark.parametrize(
    ("tops", "expected"), [((65.02,), (1, 2)), ((65.02, 45.0), (1, 2)), ((60.02,), (1, 1)), ((80.02,), (1, 5))]
)
def test_degrees_are_averaged_by_what_rows_and_columns_measure(tmp_path, tops, expected):
    """A third of an arc second at 65 degrees north is 10.3 x 4.4 m: two columns to a scene's 10 m, and one row.

    The more it is by what lies under the scene, not by the middle of a model that goes on far south.
    """
    second = 1 / 3600
    scene = Grid(Affine(10, 0, 0, 0, -10, 0), CRS.from_proj4(f"+proj=laea +lon_0=15 +lat_0={tops[0]}"), (20, 20))
    rows = 60 if len(tops) == 1 else round((tops[0] - tops[1]) / second * 3)
    grid = Grid(Affine(second / 3, 0, 15, 0, -second / 3, tops[0]), WGS84, (rows, 8))
    values = terrain(grid.shape)
    path = write(tmp_path / "dem.tif", values, grid, compress="deflate", tiled=True, blockysize=256, blockxsize=256)
    band = RasterBand.open(path, 1, Band("dem")).averaged_for(scene)
    down, across = expected
    assert band.averaged == expected and band.grid.shape == (rows // down, 8 // across)
    height, width = 10 / band.grid.pixel_sizes(np.zeros(1))[0][0], 10 / band.grid.pixel_sizes(np.zeros(1))[1][0]
    assert 0.9 < height < 2 and 1 <= width < 2
    means = values[: rows // down * down, : 8 // across * across].reshape(rows // down, down, 8 // across, across)
    window = Window(3, 0, 20, band.grid.shape[1])
    np.testing.assert_allclose(band.read(window), means.mean((1, 3))[3:23], rtol=1e-5)


def test_slope_is_gdaldem_s_on_a_projected_terrain_model(tmp_path):
    if not shutil.which("gdaldem"):
        pytest.skip("needs gdaldem: apt-get install gdal-bin")
    grid = Grid(Affine(30, 0, 568000, 0, -30, 4738000), UTM, (120, 150))
    path = write(tmp_path / "dem.tif", terrain(grid.shape), grid)
    command = ["gdaldem", "slope", str(path), str(tmp_path / "slope.tif"), "-compute_edges", "-q"]
    subprocess.run(command, check=True)
    ours = RasterBand.open(path, 1, Band("dem")).read_slope(grid.window)
    with rasterio.open(tmp_path / "slope.tif") as raster:
        np.testing.assert_allclose(ours[1:-1, 1:-1], raster.read(1)[1:-1, 1:-1], atol=1e-3)


@pytest.mark.parametrize("latitude", [0.5, 45.0, 70.0])
def test_slope_of_a_geographic_model_is_that_of_an_analytic_plane(tmp_path, latitude):
    """A plane that rises by 0.3 to the east and 0.4 to the north: 26.57 degrees everywhere; gdaldem says 89.9."""
    grid = Grid(Affine(0.0003, 0, 10, 0, -0.0003, latitude), WGS84, (60, 60))
    height, width = grid.pixel_sizes(np.arange(60))
    north = np.concatenate([[0], np.cumsum((height[1:] + height[:-1]) / 2)])[:, None]
    dem = 0.3 * np.arange(60) * width[:, None] - 0.4 * north
    path = write(tmp_path / "dem.tif", (dem + 500).astype(np.float64), grid)
    slope = RasterBand.open(path, 1, Band("dem")).read_slope(grid.window)
    assert slope[5:-5, 5:-5] == pytest.approx(np.degrees(np.arctan(0.5)), abs=0.02)


def test_slope_does_not_depend_on_the_window_and_missing_pixels_spread_by_one(tmp_path):
    grid = geographic((80, 90))
    values = terrain(grid.shape)
    values[40, 50] = -9999
    band = RasterBand.open(write(tmp_path / "dem.tif", values, grid, nodata=-9999), 1, Band("dem"))
    whole = band.read_slope(grid.window)
    missing = np.isnan(whole)
    assert missing[39:42, 49:52].all() and missing.sum() == 9
    for window in (Window(0, 0, 7, 11), Window(33, 44, 12, 13), Window(75, 80, 5, 10), Window(40, 50, 1, 1)):
        np.testing.assert_array_equal(band.read_slope(window), whole[window.rows, window.columns])


@pytest.fixture
def scene(tmp_path):
    dem = Grid(Affine(0.000277, 0, 141.8, 0, -0.000277, 42.83), WGS84, (324, 512))
    red = (np.random.default_rng(1).random(SCENE.shape) * 4000).astype(np.uint16)
    return Scene(
        SCENE,
        {
            "red": RasterBand.open(write(tmp_path / "red.tif", red, SCENE), 1, Band("red", 1e-4, nodata=0)),
            "dem": RasterBand.open(write(tmp_path / "dem.tif", terrain(dem.shape), dem), 1, Band("dem")),
        },
    )


@pytest.mark.parametrize("name", ["red", "dem", "slope"])
def test_windows_of_a_scene_are_pieces_of_the_whole(scene, name):
    assert scene.names == ("red", "dem", "slope")
    whole = scene.read(name, SCENE.window)
    assert np.isfinite(whole).mean() > 0.9
    for window in (Window(-5, -7, 40, 50), Window(111, 200, 64, 64), Window(280, 400, 50, 50)):
        piece, inside = scene.read(name, window), window.within(SCENE.shape)
        part = inside.relative_to(window)
        np.testing.assert_array_equal(piece[part.rows, part.columns], whole[inside.rows, inside.columns])
        if name == "red":
            outside = np.ones(window.shape, bool)
            outside[part.rows, part.columns] = False
            assert np.isnan(piece[outside]).all()


def test_slope_comes_before_sampling(scene):
    """As Landslide4Sense's did: the slope of the model's own pixels, not of interpolated ones."""
    own = scene.bands["dem"].read_slope(scene.bands["dem"].grid.window)
    sampled = scene.read("slope", SCENE.window)
    assert np.nanmin(sampled) >= own.min() and np.nanmax(sampled) <= own.max()


def test_a_band_that_is_not_there_is_named(scene):
    with pytest.raises(LandslideError, match="unknown band of the scene 'nir'; known: dem, red, slope"):
        scene.read("nir", SCENE.window)


@pytest.mark.parametrize(
    ("unit", "crs", "foot"),
    [("ft", None, 0.3048), ("US survey foot", None, 1200 / 3937), (None, "EPSG:32654+6360", 1200 / 3937)],
)
def test_terrain_in_feet_is_read_in_metres(tmp_path, unit, crs, foot):
    """A plane of 45 degrees, up to 13,000 feet, which are less than 4,000 m."""
    rows = np.mgrid[: SCENE.shape[0], : SCENE.shape[1]][0]
    heights = (1000 + 10 * rows) / foot
    path = write(tmp_path / "dem.tif", heights, SCENE)
    with rasterio.open(path, "r+") as raster:
        if crs:
            raster.crs = crs
        else:
            raster.units = (unit,)
    red = f"red={write(tmp_path / 'B04.tif', np.ones(SCENE.shape, np.uint16), SCENE)}"
    bands = [{"name": "red", "file": "B04.tif"}, {"name": "dem", "file": "dem.tif", "scale": foot}]
    (tmp_path / "m.json").write_text(json.dumps({"bands": bands}))
    for scene in (
        open_scene([red], (), dem=path),
        open_scene([red, f"dem={path}"], ()),
        open_inputs(Inputs((str(tmp_path / "m.json"),)), None),
    ):
        np.testing.assert_allclose(scene.read("dem", SCENE.window), 1000 + 10 * rows, rtol=1e-5)
        slope = scene.read("slope", SCENE.window)[1:-1, 1:-1]
        np.testing.assert_allclose(slope, 45, atol=0.01)


def test_terrain_in_a_unit_that_is_not_known_or_contradicts_is_refused(tmp_path):
    path = write(tmp_path / "dem.tif", np.full(SCENE.shape, 100.0, np.float32), SCENE)
    write(tmp_path / "B04.tif", np.ones(SCENE.shape, np.uint16), SCENE)

    def opened(stated, **more):
        with rasterio.open(path, "r+") as raster:
            raster.units = (stated,)
        bands = [{"name": "red", "file": "B04.tif"}, {"name": "dem", "file": "dem.tif", **more}]
        (tmp_path / "m.json").write_text(json.dumps({"bands": bands}))
        scene = open_inputs(Inputs((str(tmp_path / "m.json"),)), None)
        return scene.read("dem", SCENE.window)[0, 0]

    for unit in ("m", "metre", "Meters"):
        assert opened(unit) == 100
    assert opened("fathom", scale=1.8288) == pytest.approx(182.88)
    with pytest.raises(LandslideError, match=r"dem.tif: band 1 \(dem\) is in 'fathom' .*; expected metres or feet"):
        opened("fathom")
    with pytest.raises(
        LandslideError, match=r"states scale 0\.3048 and offset 0 .*, but scale 1 and offset 0 are given"
    ):
        opened("ft", scale=1)
    with pytest.raises(LandslideError, match="band 'dem': unit: expected metres, found 'feet'"):
        opened("m", unit="feet")
