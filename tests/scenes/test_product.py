"""Products of Sentinel-2, Level-1C and Level-2A: against NumPy, rasterio, SciPy and shapely."""

import shutil
import warnings

import numpy as np
import pytest
import shapely
from rasterio import Affine
from scipy.ndimage import map_coordinates

from tests.scenes import products
from tests.scenes.products import SIDE, cloud_polygons, make_product, numbers
from tests.scenes.test_sampler import UTM
from tf_landslide.bands.layouts import LANDSLIDE4SENSE
from tf_landslide.bands.recipes import ChannelRecipe
from tf_landslide.core.errors import LandslideError, LandslideWarning
from tf_landslide.scenes.clouds import read_polygons
from tf_landslide.scenes.grid import Grid, Window
from tf_landslide.scenes.inputs import Inputs, open_inputs

RGB = ChannelRecipe(LANDSLIDE4SENSE, ("red", "green", "blue"))


def opened(safe, channels=("red", "green", "blue"), **given):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LandslideWarning)
        return open_inputs(Inputs((str(safe),), **given), ChannelRecipe(LANDSLIDE4SENSE, channels))


@pytest.mark.parametrize(
    ("level", "baseline", "offset", "quantification"),
    [
        ("1C", "05.09", -1000, 10000),
        ("2A", "05.11", -1000, 10000),
        ("1C", "02.06", None, 10000),
        ("2A", "04.00", -900, 5000),
    ],
)
def test_reflectance_is_by_the_metadata_and_dn_0_is_missing_before_the_offset(
    tmp_path, level, baseline, offset, quantification
):
    safe = make_product(tmp_path, level, baseline=baseline, offset=offset, quantification=str(quantification))
    scene = opened(safe)
    assert scene.grid.shape == (SIDE, SIDE) and scene.grid.crs == UTM
    assert (scene.origin.level, scene.origin.baseline, scene.origin.date) == (level, baseline, "2023-06-01")
    assert scene.source_ids == (safe.name.removesuffix(".SAFE"),)
    for name, code in (("red", "B04"), ("blue", "B02")):
        stored = numbers(code).astype(np.float64)
        expected = np.where(stored == 0, np.nan, (stored + (offset or 0)) / quantification)
        np.testing.assert_allclose(scene.read(name, scene.grid.window), expected, rtol=1e-5, atol=1e-6)


def test_each_band_has_its_own_offset_and_saturated_pixels_are_missing(tmp_path):
    offsets = {i: -1000 - i for i in range(13)}
    safe = make_product(tmp_path, offsets=offsets)
    stored = numbers("B08")
    stored[5, 50] = 65535
    image = next(safe.glob("GRANULE/*/IMG_DATA/*_B08.jp2"))
    products.write_jp2(image, stored, 10)
    scene = opened(safe, ("nir", "swir_1"))
    nir = scene.read("nir", scene.grid.window)
    assert np.isnan(nir[5, 50]) and nir[7, 60] == pytest.approx((stored[7, 60] - 1007) / 1e4)
    assert scene.bands["swir_1"].band.offset == pytest.approx(-0.1011)


@pytest.mark.parametrize(("name", "code", "factor"), [("swir_1", "B11", 2), ("water_vapour", "B09", 6)])
def test_coarse_bands_come_onto_the_10_m_grid_by_their_pixel_centres(tmp_path, name, code, factor):
    scene = opened(make_product(tmp_path), (name,))
    stored = numbers(code).astype(np.float64)
    stored[stored == 0] = np.nan
    rows, columns = (np.mgrid[:SIDE, :SIDE] + 0.5) / factor - 0.5
    expected = map_coordinates((stored - 1000) / 1e4, [rows, columns], order=1, mode="nearest")
    found = scene.read(name, scene.grid.window)
    inner = np.isfinite(expected)
    assert inner.mean() > 0.8
    np.testing.assert_allclose(found[inner], expected[inner], rtol=1e-4)
    np.testing.assert_array_equal(scene.read(name, Window(31, 47, 20, 9)), found[31:51, 47:56])


def test_what_describes_polygons_is_opened_where_it_is_there(tmp_path):
    assert set(opened(make_product(tmp_path / "a"), ("blue",)).names) == {"blue", "red", "nir"}
    assert set(opened(make_product(tmp_path / "b", codes=("B02", "B11")), ("blue",)).names) == {"blue"}


def test_clouds_of_level_2a_are_classes_3_8_9_10(tmp_path):
    classes = np.arange(SIDE // 2 * (SIDE // 2)).reshape(SIDE // 2, -1) % 12
    scene = opened(make_product(tmp_path, "2A", clouds=classes.astype(np.uint8)))
    cloudy = np.kron(np.isin(classes, (3, 8, 9, 10)), np.ones((2, 2), bool))
    np.testing.assert_array_equal(np.isnan(scene.read("red", scene.grid.window)), cloudy | (numbers("B04") == 0))
    window = Window(-3, 100, 30, 30)
    np.testing.assert_array_equal(scene.clouds(window)[3:, :20], cloudy[:27, 100:])
    assert not scene.clouds(window)[:3].any()


def test_clouds_of_level_1c_are_opaque_or_cirrus_but_not_snow(tmp_path):
    mask = np.random.default_rng(3).integers(0, 2, (3, SIDE // 6, SIDE // 6)).astype(np.uint8)
    safe = make_product(tmp_path, "1C", clouds=mask)
    scene = opened(safe)
    cloudy = np.kron((mask[0] | mask[1]).astype(bool), np.ones((6, 6), bool))
    np.testing.assert_array_equal(np.isnan(scene.read("red", scene.grid.window)), cloudy | (numbers("B04") == 0))
    kept = opened(safe, clouds=False)
    np.testing.assert_array_equal(np.isnan(kept.read("red", kept.grid.window)), numbers("B04") == 0)
    assert kept.fingerprint() != scene.fingerprint()


def test_clouds_of_older_products_are_polygons_with_holes(tmp_path):
    west, north = products.WEST, products.NORTH
    outline = [
        (west + 233, north - 200),
        (west + 900, north - 260),
        (west + 700, north - 955),
        (west + 233, north - 200),
    ]
    hole = [(west + 600, north - 400), (west + 700, north - 400), (west + 650, north - 480), (west + 600, north - 400)]
    second = [(west + 1000, north), (west + 1200, north), (west + 1200, north - 90), (west + 1000, north)]
    gml = cloud_polygons([("OPAQUE", outline, hole), ("CIRRUS", second), ("OTHER", [(west, north)] * 4)])
    scene = opened(make_product(tmp_path, "1C", clouds=gml, baseline="02.06", offset=None))
    x, y = np.meshgrid(*scene.grid.centres(np.arange(SIDE), np.arange(SIDE)))
    expected = shapely.contains_xy(shapely.union(shapely.Polygon(outline, [hole]), shapely.Polygon(second)), x, y)
    np.testing.assert_array_equal(scene.clouds(scene.grid.window), expected)
    window = Window(20, 30, 33, 41)
    np.testing.assert_array_equal(scene.clouds(window), expected[window.rows, window.columns])


def test_a_product_without_a_mask_and_one_of_another_level_are_warned_of(tmp_path):
    safe = make_product(tmp_path, "2A")
    with pytest.warns(LandslideWarning) as told:
        open_inputs(Inputs((str(safe),)), RGB)
    texts = [str(warning.message) for warning in told]
    assert any("is Level-2A (surface reflectance), the model learned Level-1C" in text for text in texts)
    assert any("brings no cloud mask" in text for text in texts) and all("\n" not in text for text in texts)


def changed(old, new, level="1C"):
    def change(safe):
        file = safe / f"MTD_MSIL{level}.xml"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
        return safe

    return change


def renamed(old, new):
    def change(safe):
        assert old in safe.name
        return safe.rename(safe.with_name(safe.name.replace(old, new)))

    return change


def second_tile(safe):
    (safe / "GRANULE" / "L1C_T54TXN_A032566_20230601T012649").mkdir()
    return safe


def zipped(safe):
    shutil.make_archive(str(safe), "zip", safe)
    return safe.with_name(f"{safe.name}.zip")


def without_red(safe):
    next(safe.glob("GRANULE/*/IMG_DATA/*_B04.jp2")).unlink()
    return safe


def linked_outside(safe):
    image = next(safe.glob("GRANULE/*/IMG_DATA/*_B04.jp2"))
    other = shutil.move(image, safe.parent / "other.jp2")
    image.symlink_to(other)
    return safe


def tagged(safe):
    image = next(safe.glob("GRANULE/*/IMG_DATA/*_B04.jp2"))
    image.unlink()
    products.write_jp2(image.with_suffix(".tif"), numbers("B04"), 10, driver="GTiff")
    import rasterio

    with rasterio.open(image.with_suffix(".tif"), "r+") as file:
        file.scales, file.offsets = [1e-4], [0.0]
    return safe


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (renamed("N0509", "N0204"), "says baseline 02.04, its metadata baseline 05.09"),
        (renamed("T54TWN", "T33UUP"), "says tile 33UUP, its metadata tile 54TWN"),
        (renamed("20230601T01", "20230602T01"), "says date 2023-06-02, its metadata date 2023-06-01"),
        (renamed("MSIL1C", "MSIL2A"), "says level 2A, its metadata level 1C"),
        (changed("Level-1C</PROC", "Level-2A</PROC"), "states Level-2A, in a file of Level-1C"),
        (second_tile, "holds tiles 54TWN, 54TXN"),
        (changed("RADIO_ADD_OFFSET", "SOMETHING"), "no RADIO_ADD_OFFSET is stated"),
        (changed('<RADIO_ADD_OFFSET band_id="3">-1000</RADIO_ADD_OFFSET>', ""), "of some bands only, not of red"),
        (changed('band_id="3">-1000', 'band_id="2">-900'), "two offsets of band green: -1000 and -900"),
        (changed('band_id="3">-1000', 'band_id="3">nan'), "states an offset of 'nan'"),
        (changed(">10000<", ">0<"), "quantification value of 0"),
        (changed('<QUANTIFICATION_VALUE unit="none">10000</QUANTIFICATION_VALUE>', ""), "found nothing"),
        (changed('physicalBand="B4"', 'physicalBand="B5"'), "calls band 3 B5; in every product it is B04"),
        (tagged, "states scale 0.0001 and offset 0 in the file, but scale 0.0001 and offset -0.1 are given"),
        (zipped, "is zipped; unzip it"),
        (without_red, "_B04.jp2 is not there; is the download whole?"),
        (linked_outside, "lies outside of the product"),
        (changed("IMG_DATA/T54TWN_20230601T012649_B04", "../../../etc/x_B04"), "not there"),
        (changed("<n1:General", '<!DOCTYPE a [<!ENTITY b "c">]><n1:General'), "declares a document type"),
        (changed("</n1:General_Info>", ""), "is not valid XML"),
        (lambda safe: safe / "GRANULE", "is no product of Sentinel-2"),
    ],
)
def test_contradictions_and_broken_products_are_refused_in_one_line(tmp_path, change, said):
    safe = change(make_product(tmp_path, codes=("B02", "B03", "B04")))
    with pytest.raises(LandslideError) as refused:
        opened(safe)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_a_band_that_the_level_lacks_is_named(tmp_path):
    with pytest.raises(LandslideError, match=r"no image of band cirrus \(B10\): Level-2A leaves B10 out"):
        opened(make_product(tmp_path, "2A"), ("red", "cirrus"))


def test_a_product_is_mapped_by_the_command_line(tmp_path, run_folder, capsys):
    """Level-2A under a model that learned Level-1C: a warning, nothing under clouds, the image's date kept."""
    import json

    import geopandas
    import rasterio

    from tests.scenes.test_sampler import WGS84, terrain, write
    from tf_landslide.cli.main import main
    from tf_landslide.scenes.grid import Grid

    classes = np.full((SIDE // 2, SIDE // 2), 4, np.uint8)
    classes[20:30, 30:50] = 9
    safe = make_product(tmp_path, "2A", clouds=classes)
    dem = Grid(rasterio.Affine(0.00027, 0, 141.8, 0, -0.00027, 42.83), WGS84, (324, 512))
    words = ["map", str(run_folder), str(safe), "--dem", str(write(tmp_path / "d.tif", terrain(dem.shape), dem))]
    words += ["--out", str(tmp_path / "map"), "--window", "96", "--overlap", "32", "--threshold", "0", "--json"]
    assert main(words) == 0
    told = capsys.readouterr()
    assert told.err.count("warning: ") == 1 and "is Level-2A" in told.err
    scene = json.loads(told.out)["scene"]
    assert scene["ids"] == [safe.name.removesuffix(".SAFE")] and scene["level"] == "2A" and scene["clouds_left_out"]
    with rasterio.open(tmp_path / "map" / "probability.tif") as raster:
        probability = raster.read(1)
    missing = np.kron(classes == 9, np.ones((2, 2), bool)) | (numbers("B04") == 0)
    np.testing.assert_array_equal(np.isnan(probability), missing)
    polygons = geopandas.read_file(tmp_path / "map" / "landslides.gpkg")
    assert len(polygons) and (polygons["event_date_to"].astype(str).str[:10] == "2023-06-01").all()


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        (":32654", ":nowhere", "names a reference system that is none"),
        (":32654", ":32655", "its polygons lie in"),
        ('srsDimension="2"', 'srsDimension="1"', "holds an outline that is none"),
        ('srsDimension="2"', 'srsDimension="0"', "holds an outline that is none"),
    ],
)
def test_damaged_polygons_of_clouds_are_one_line(tmp_path, was, becomes, said):
    path, grid = tmp_path / "MSK_CLOUDS_B00.gml", Grid(Affine(10, 0, 0, 0, -10, 100), UTM, (10, 10))
    gml = cloud_polygons([("OPAQUE", [(0, 0), (50, 0), (50, 50), (0, 0)])])
    path.write_text(gml)
    assert read_polygons(path, grid)(Window(0, 0, 10, 10)).any()
    path.write_text(gml.replace(was, becomes))
    with pytest.raises(LandslideError, match=said):
        read_polygons(path, grid)
