"""Rasters that nobody vouches for: one line each, before anything large is read."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import rasterio
from pyproj import CRS, Transformer
from rasterio import Affine
from rasterio.errors import NotGeoreferencedWarning

from tests.scenes.test_sampler import SCENE, UTM, WGS84, terrain, write
from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError
from tf_landslide.scenes import source
from tf_landslide.scenes.grid import Grid
from tf_landslide.scenes.stack import open_scene

SMALL = np.full((20, 30), 500, np.uint16)
MARS, MARS_DEGREES = "+proj=eqc +R=3396190 +units=m +no_defs", "+proj=longlat +R=3396190 +no_defs"
GRID = Grid(SCENE.transform, UTM, SMALL.shape)


def tif(path, values=SMALL, transform=SCENE.transform, crs="EPSG:32654", **options):
    profile = {
        "driver": "GTiff",
        "count": 1,
        "dtype": values.dtype,
        "height": values.shape[0],
        "width": values.shape[1],
    }
    with rasterio.open(path, "w", **profile | options, transform=transform, crs=crs) as file:
        if options.get("SPARSE_OK") is None:
            file.write(values, 1)
    return path


def vrt(at):
    inner = tif(at / "inner.tif")
    with rasterio.open(inner) as raster, rasterio.vrt.WarpedVRT(raster) as warped:
        rasterio.shutil.copy(warped, at / "B04.vrt", driver="VRT")
    return (at / "B04.vrt").rename(at / "B04.tif")


def cut(at, driver="GTiff", suffix=".tif"):
    whole = tif(
        at / f"B04{suffix}", np.random.default_rng(0).integers(0, 9999, (200, 300)).astype(np.uint16), driver=driver
    )
    content = whole.read_bytes()
    whole.write_bytes(content[: len(content) // 2])
    return whole


def garbage(at):
    (at / "B04.tif").write_bytes(b"II*\x00" + bytes(range(200)))
    return at / "B04.tif"


def text(at):
    (at / "B04.tif").write_text("P2\n2 2\n255\n0 1 2 3\n")
    return at / "B04.tif"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda at: tif(at / "B04.tif", crs=None), "has no coordinate reference system"),
        (lambda at: tif(at / "B04.tif", crs='LOCAL_CS["room",UNIT["metre",1]]'), "no system of the Earth"),
        (lambda at: tif(at / "B04.tif", crs=MARS), "no system of the Earth"),
        (
            lambda at: tif(at / "B04.tif", transform=Affine(1e-4, 0, 1, 0, -1e-4, 2), crs=MARS_DEGREES),
            "no system of the Earth",
        ),
        (lambda at: tif(at / "B04.tif", transform=SCENE.transform @ Affine.rotation(10)), "is rotated; warp it"),
        (lambda at: tif(at / "B04.tif", transform=Affine(10, 0, 5e5, 0, 10, 4e6)), "upside down or mirrored"),
        (lambda at: tif(at / "B04.tif", SMALL.astype(np.complex64)), "stores complex numbers (complex64)"),
        (
            lambda at: tif(
                at / "B04.tif", height=9000, width=9000, BLOCKYSIZE=9000, COMPRESS="DEFLATE", SPARSE_OK=True
            ),
            "pieces of 9,000 x 9,000 pixels, 162 MB each, which must be decoded whole; cut it into tiles: gdal",
        ),
        (
            lambda at: tif(at / "B04.tif", height=100_000, width=100_000, tiled=True, SPARSE_OK=True, BIGTIFF="YES"),
            "has 100,000 x 100,000 pixels; map it in parts",
        ),
        (vrt, "neither GeoTIFF nor JPEG 2000; what it points to is not followed"),
        (text, "neither GeoTIFF nor JPEG 2000"),
        (garbage, "cannot be read as a raster"),
        ("/vsicurl/http://127.0.0.1/B04.tif", "is no file of this machine"),
        ("/vsizip//tmp/a.zip/B04.tif", "is no file of this machine"),
        ("http://127.0.0.1/B04.tif", "is no file of this machine"),
        ("red=/vsistdin/", "is no file of this machine"),
        ("GTIFF_DIR:1:B04.tif", "no such file"),
    ],
)
def test_a_raster_that_cannot_be_a_scene_is_one_line(tmp_path, make, said):
    with pytest.raises(LandslideError) as refused:
        open_scene([make if isinstance(make, str) else make(tmp_path)], ("red",))
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_terrain_of_another_planet_is_one_line(tmp_path):
    dem = tif(tmp_path / "dem.tif", crs=MARS)
    with pytest.raises(LandslideError, match=r"dem\.tif: lies in .* no system of the Earth"):
        open_scene([tif(tmp_path / "B04.tif")], ("red", "dem"), dem=dem)


def test_a_raster_without_bands_is_refused(tmp_path):
    class Empty:
        count, dtypes = 0, ()

    with pytest.raises(LandslideError, match="holds no band"):  # neither driver makes such a file
        source._check(source.file(tif(tmp_path / "B04.tif")), Empty())


@pytest.mark.parametrize(("driver", "suffix"), [("GTiff", ".tif"), ("JP2OpenJPEG", ".jp2")])
def test_a_truncated_file_is_named_when_it_is_read(tmp_path, driver, suffix):
    with pytest.raises(LandslideError, match=r"B04\.(tif|jp2): (band 1 )?cannot be read") as refused:
        scene = open_scene([cut(tmp_path, driver, suffix)], ("red",))
        scene.read("red", scene.grid.window)
    assert "\n" not in str(refused.value)


def test_nan_as_no_data_and_infinities_are_missing(tmp_path):
    values = np.linspace(0.1, 0.9, 600, dtype=np.float32).reshape(20, 30)
    values[3, 4], values[5, 6] = np.nan, np.inf
    scene = open_scene([tif(tmp_path / "B04.tif", values, nodata=np.nan)], ("red",), scale=1.0)
    np.testing.assert_array_equal(np.isnan(scene.read("red", scene.grid.window)), ~np.isfinite(values))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [3.4e38, -3.4e38, 1e20, 1e300, -np.inf])
def test_floats_that_no_band_has_are_missing_without_a_word(tmp_path, value):
    values = np.linspace(0.1, 0.9, 600).reshape(20, 30)
    values[3, 4] = value
    scene = open_scene([tif(tmp_path / "B04.tif", values)], ("red",), scale=1.0)
    np.testing.assert_array_equal(np.isnan(scene.read("red", scene.grid.window)), values == value)


def test_a_file_that_another_replaced_is_opened_anew_and_one_that_is_gone_is_named(tmp_path):
    """Within one process, as the page's is."""
    for values in (SMALL, SMALL[:7] * 2):
        scene = open_scene([tif(tmp_path / "B04.tif", values)], ("red",))
        np.testing.assert_allclose(scene.read("red", scene.grid.window), values * 1e-4, rtol=1e-6)
    (tmp_path / "B04.tif").unlink()
    with pytest.raises(LandslideError, match=r"B04\.tif: band 1 cannot be read"):
        scene.read("red", scene.grid.window)


def test_a_scene_given_as_terrain_is_refused(tmp_path):
    path = tif(tmp_path / "s.tif")
    with rasterio.open(path, "r+") as file:
        file.set_band_description(1, "B04")
    with pytest.raises(LandslideError, match=r"s\.tif: is no terrain model: its band 1 is 'red' by its description"):
        open_scene([path], ("red", "dem"), dem=path)


def test_metadata_that_names_another_file_is_not_followed(tmp_path):
    """GDAL's own side file may name a file of overviews anywhere."""
    path = tif(tmp_path / "B04.tif")
    (tmp_path / "secret").mkdir()
    tif(tmp_path / "secret" / "s.tif", SMALL * 3)
    (tmp_path / "B04.tif.aux.xml").write_text(
        '<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">secret/s.tif</MDI></Metadata></PAMDataset>'
    )
    scene = open_scene([path], ("red",))
    np.testing.assert_allclose(scene.read("red", scene.grid.window), 0.05, rtol=1e-6)


@pytest.mark.parametrize("west", [179.97, -180.03])
def test_a_scene_over_the_antimeridian_gets_its_terrain(tmp_path, west):
    """A terrain model that goes on beyond 180, or begins before -180, under a scene in UTM."""
    utm = CRS.from_epsg(32601)
    x, y = Transformer.from_crs(4326, utm, always_xy=True).transform(-179.999, 65.0)
    grid = Grid(Affine(30, 0, x - 900, 0, -30, y + 900), utm, (60, 60))
    dem = Grid(Affine(0.0005, 0, west, 0, -0.0005, 65.02), WGS84, (80, 120))
    longitudes, latitudes = np.meshgrid(*dem.centres(np.arange(120)[:80], np.arange(120)))
    plane = 1000 * (longitudes - west) + 500 * (latitudes - 65)
    scene = open_scene(
        [write(tmp_path / "B04.tif", np.full(grid.shape, 900, np.uint16), grid)],
        ("red", "dem"),
        dem=write(tmp_path / "dem.tif", plane.astype(np.float64), dem),
    )
    lon, lat = Transformer.from_crs(utm, 4326, always_xy=True).transform(
        *np.meshgrid(*grid.centres(np.arange(60), np.arange(60)))
    )
    assert (lon > 0).any() and (lon < 0).any()
    expected = 1000 * ((lon - west) % 360) + 500 * (lat - 65)
    np.testing.assert_allclose(scene.read("dem", grid.window), expected, atol=1e-2)


def test_terrain_of_the_whole_earth_is_refused_at_its_end(tmp_path):
    utm = CRS.from_epsg(32601)
    x, y = Transformer.from_crs(4326, utm, always_xy=True).transform(-179.999, 65.0)
    grid = Grid(Affine(30, 0, x - 900, 0, -30, y + 900), utm, (60, 60))
    earth = Grid(Affine(0.5, 0, -180, 0, -0.5, 90), WGS84, (360, 720))
    scene_file = write(tmp_path / "B04.tif", np.full(grid.shape, 900, np.uint16), grid)
    with pytest.raises(LandslideError, match="where a raster of the whole Earth ends"):
        scene = open_scene([scene_file], ("red", "dem"), dem=write(tmp_path / "dem.tif", terrain(earth.shape), earth))
        scene.read("dem", grid.window)


def test_a_raster_far_finer_than_the_scene_s_window_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("tf_landslide.scenes.sampler.MOST_PIXELS", 100)
    dem = Grid(Affine(0.0001, 0, 141.8, 0, -0.0001, 42.83), WGS84, (900, 1300))
    scene = open_scene(
        [tif(tmp_path / "B04.tif")], ("red", "dem"), dem=write(tmp_path / "dem.tif", terrain(dem.shape), dem)
    )
    with pytest.raises(LandslideError, match="is far finer, or cut where the scene is not"):
        scene.read("dem", scene.grid.window)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from /proc")
def test_windows_of_a_huge_raster_cost_little_memory(tmp_path):
    """Sparse, 80,000 x 90,000 pixels: 14 GB if it were read whole."""
    path = tif(tmp_path / "B04.tif", height=80_000, width=90_000, tiled=True, SPARSE_OK=True, BIGTIFF="YES")
    script = (
        "import sys\n"
        "from tf_landslide.scenes.stack import open_scene\n"
        "from tf_landslide.scenes.grid import Window\n"
        "scene = open_scene([sys.argv[1]], ('red',))\n"
        "scene.read('red', Window(70_000, 80_000, 1000, 1000))\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    assert int(done.stdout) / 1024 < 500  # MB


@pytest.mark.parametrize("tags", [(np.nan, 0.0), (1e-4, np.inf), (0.0, 0.5), (np.inf, 0.0)])
def test_a_scale_that_a_file_states_and_that_is_no_number_is_refused(tmp_path, tags):
    path = tif(tmp_path / "B04.tif")
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = tags[:1], tags[1:]
    with pytest.raises(LandslideError, match=r"B04\.tif: band 1 \(red\) has scale .* expected finite numbers"):
        open_scene([path], ("red",))


@pytest.mark.parametrize("stated", [{"scale": np.nan}, {"scale": np.inf}, {"scale": 0.0}, {"offset": np.inf}])
def test_a_scale_that_is_given_and_is_no_number_is_refused(tmp_path, stated):
    with pytest.raises(LandslideError, match="expected finite numbers, the scale not 0"):
        open_scene([tif(tmp_path / "B04.tif")], ("red",), **stated)


def test_of_a_raster_without_a_place_one_line_is_said(tmp_path, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(tmp_path / "B04.tif", "w", "GTiff", 8, 8, 1, dtype="uint16") as raster:
            raster.write(np.ones((1, 8, 8), np.uint16))
    assert main(["patches", str(tmp_path / "B04.tif"), "polygons.gpkg", "--out", str(tmp_path / "out")]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("error: ") and "has no coordinate reference system" in said
