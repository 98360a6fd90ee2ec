"""Which band is which, and what its numbers mean: rasters, layouts, and files that contradict what is said of them."""

import warnings

import numpy as np
import pytest
import rasterio
import yaml
from pyproj import CRS, Transformer
from rasterio import Affine
from rasterio.merge import merge
from rasterio.warp import Resampling, reproject
from scipy.ndimage import binary_dilation

from tests.scenes.test_sampler import SCENE, UTM, WGS84, terrain, write
from tf_landslide.bands.layouts import BIJIE, LANDSLIDE4SENSE
from tf_landslide.bands.recipes import ChannelRecipe, channel_recipe
from tf_landslide.core.errors import LandslideError, LandslideWarning
from tf_landslide.scenes.grid import Grid, Window
from tf_landslide.scenes.inputs import Inputs, open_inputs
from tf_landslide.scenes.source import file
from tf_landslide.scenes.stack import open_dem, open_scene

GRID = Grid(SCENE.transform, UTM, (40, 50))
STORED = np.random.default_rng(0).integers(1, 4000, (3, *GRID.shape)).astype(np.uint16)
NAMES = ("red", "green", "blue")
RGB = ChannelRecipe(LANDSLIDE4SENSE, NAMES)


def stack(path, descriptions=NAMES, stored=STORED, **tags):
    profile = {"driver": "GTiff", "count": len(stored), "dtype": stored.dtype, "height": 40, "width": 50}
    with rasterio.open(path, "w", **profile, crs=UTM.to_wkt(), transform=GRID.transform) as file:
        file.write(stored)
        for i, name in enumerate(descriptions, 1):
            file.set_band_description(i, name)
        for name, values in tags.items():
            setattr(file, name, values)
    return path


def values(scene, name):
    return scene.read(name, scene.grid.window)


@pytest.mark.parametrize("descriptions", [NAMES, ("B04", "B3", "b2"), (" Red ", "GREEN", "blue")])
def test_descriptions_name_bands_also_by_code(tmp_path, descriptions):
    scene = open_scene([stack(tmp_path / "s.tif", descriptions)], NAMES)
    for i, name in enumerate(NAMES):
        np.testing.assert_allclose(values(scene, name), STORED[i] * 1e-4, rtol=1e-6)


def test_files_for_one_band_each_by_name_and_by_code(tmp_path):
    codes = {"T54TWN_20180919T012651_B04_10m.tif": 0, "post_B03.tif": 1, "b02.tif": 2}
    files = [write(tmp_path / name, STORED[i], GRID) for name, i in codes.items()]
    by_code = open_scene(files, NAMES)
    by_word = open_scene([f"{n}={write(tmp_path / f'{i}.tif', STORED[i], GRID)}" for i, n in enumerate(NAMES)], NAMES)
    for i, name in enumerate(NAMES):
        for scene in (by_code, by_word):
            np.testing.assert_allclose(values(scene, name), STORED[i] * 1e-4, rtol=1e-6)
    assert by_code.source_ids == tuple(codes)


def test_bands_are_of_a_file_without_a_name(tmp_path):
    path = stack(tmp_path / "s.tif")
    np.testing.assert_allclose(
        values(open_scene([path], ("red",), bands={"red": 3}), "red"), STORED[2] * 1e-4, rtol=1e-6
    )
    with pytest.raises(LandslideError, match=r"^red=.*: names its band itself; leave --bands out, or .*$"):
        open_scene([f"red={path}"], ("red",), bands={"red": 3})


def test_a_named_file_of_several_bands_gives_the_one_that_is_called_so(tmp_path):
    path, red = stack(tmp_path / "s.tif"), NAMES.index("red")
    found = values(open_scene([f"red={path}"], ("red",)), "red")
    np.testing.assert_allclose(found, STORED[red] * 1e-4, rtol=1e-6)
    for texts, count in (((), "none"), (("red", "red"), "2")):
        path = stack(tmp_path / f"{count}.tif", texts)
        with pytest.raises(
            LandslideError, match=rf"holds \d+ bands, of which {count} are called 'red'; .*--bands red=N$"
        ):
            open_scene([f"red={path}"], ("red",))


@pytest.mark.parametrize("name", ["LC08_L1TP_107030_20180910_B04.tif", "HLS.L30.T54TWN.2018253.B04.tif", "B04_B03.tif"])
def test_a_name_of_another_sensor_or_of_two_bands_names_none(tmp_path, name):
    with pytest.raises(
        LandslideError, match="no band of it has a name; say which with --bands NAME=N, or give NAME=FILE"
    ):
        open_scene([write(tmp_path / name, STORED[0], GRID)], ("red",))


def test_what_is_missing_is_asked_before_the_offset_by_the_given_value_and_the_file_s_own(tmp_path):
    stored = STORED.copy()
    stored[0, :3], stored[0, 3:6] = 0, 65535
    path = stack(tmp_path / "s.tif", stored=stored, nodata=65535)
    scene = open_scene([path], NAMES, scale=1e-4, offset=-0.1)
    missing = (stored[0] == 0) | (stored[0] == 65535)
    expected = np.where(missing, np.nan, stored[0] * 1e-4 - 0.1)
    np.testing.assert_allclose(values(scene, "red"), expected, rtol=1e-4, atol=1e-7)
    own = open_scene([path], NAMES, nodata=None)
    np.testing.assert_array_equal(np.isnan(values(own, "red")), stored[0] == 65535)


def test_the_file_s_own_scale_is_taken_and_another_is_refused_with_both(tmp_path):
    path = stack(tmp_path / "s.tif", scales=(2e-4,) * 3, offsets=(-0.1,) * 3)
    np.testing.assert_allclose(values(open_scene([path], NAMES), "green"), STORED[1] * 2e-4 - 0.1, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(
        values(open_scene([path], NAMES, scale=2e-4, offset=-0.1), "green"),
        STORED[1] * 2e-4 - 0.1,
        rtol=1e-4,
        atol=1e-7,
    )
    said = r"states scale 0.0002 and offset -0.1 in the file, but scale 0.0002 and offset 0 are given"
    with pytest.raises(LandslideError, match=said):
        open_scene([path], NAMES, scale=2e-4)


def test_a_picture_of_bytes_is_not_taken_for_reflectance(tmp_path):
    path = stack(tmp_path / "s.tif", stored=(STORED // 40).astype(np.uint8))
    with pytest.raises(LandslideError, match="stores uint8, too few numbers for reflectance x 10,000"):
        open_scene([path], NAMES)
    expected = (STORED[1] // 40).astype(np.uint8) / 255
    found = values(open_scene([path], NAMES, scale=1 / 255, nodata=None), "green")
    assert np.allclose(found, expected, atol=1e-6, equal_nan=True)


def test_floats_of_an_unknown_unit_are_refused_and_taken_when_it_is_said(tmp_path):
    path = stack(tmp_path / "s.tif", stored=(STORED * 1e-4).astype(np.float32))
    with pytest.raises(LandslideError, match="stores float32 and nobody says in which unit; say --scale 1"):
        open_scene([path], NAMES)
    np.testing.assert_allclose(values(open_scene([path], NAMES, scale=1.0), "blue"), STORED[2] * 1e-4, rtol=1e-6)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (lambda at: [stack(at / "s.tif", ("red", "red", "blue"))], "bands 1 and 2 are both called 'red'"),
        (lambda at: [stack(at / "s.tif"), f"red={at / 's.tif'}"], "band 'red' is also in"),
        (
            lambda at: [stack(at / "x_B03.tif", ("red",), STORED[:1])],
            "holds 'red' by its description, 'green' by its name",
        ),
        (lambda at: [stack(at / "s.tif", ("red", "", ""))], "unknown band of the scene 'green'"),
        (lambda at: [at / "none.tif"], "no such file"),
        (lambda at: [at], "is a folder"),
    ],
)
def test_names_that_contradict_or_lack_are_one_line(tmp_path, files, said):
    with pytest.raises(LandslideError) as refused:
        open_scene(files(tmp_path), NAMES)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_the_finest_band_s_grid_is_the_map_s(tmp_path):
    coarse = Grid(Affine(20, 0, SCENE.transform.c, 0, -20, SCENE.transform.f), UTM, (20, 25))
    files = [write(tmp_path / "B11.tif", STORED[0, :20, :25], coarse), write(tmp_path / "B04.tif", STORED[1], GRID)]
    assert open_scene(files, ("red", "swir_1")).grid == GRID


def test_a_pixel_is_valid_only_where_every_needed_band_is(tmp_path):
    from tf_landslide.scenes.mapper import Mapping

    stored = STORED.copy()
    stored[1, 4:9, 5:11] = 0
    scene = open_scene([stack(tmp_path / "s.tif", stored=stored)], NAMES)

    class Given:
        class card:
            channel_recipe = RGB

    channels = Mapping(scene, Given(), None, 1).channels(GRID.window)
    assert (np.isnan(channels).all(-1) == (stored[1] == 0)).all() and (np.isfinite(channels[stored[1] > 0])).all()


def layout(path, text):
    path.write_text(text)
    return path


def test_a_layout_says_what_the_bands_of_a_stack_are(tmp_path):
    path = stack(tmp_path / "s.tif", ("", "", ""))
    text = """
    bands:
      - {name: red, index: 3, scale: 0.0002, offset: -0.05, nodata: 7}
      - {name: green, index: 1, scale: 1e-4}
      - {name: blue, file: other/blue.tif, scale: 1.0, unit: relative}
    """
    (tmp_path / "other").mkdir()
    write(tmp_path / "other" / "blue.tif", STORED[1], GRID)
    scene = open_inputs(Inputs((str(path),), layout=layout(tmp_path / "l.yaml", text)), RGB)
    expected = np.where(STORED[2] == 7, np.nan, STORED[2] * 2e-4 - 0.05)
    np.testing.assert_allclose(values(scene, "red"), expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(values(scene, "green"), STORED[0] * 1e-4, rtol=1e-6)
    np.testing.assert_allclose(values(scene, "blue"), STORED[1], rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bands: [{name: red, index: 1, sclae: 1}]", "did you mean 'scale'"),
        ("bands: [{name: red, index: 1, scale: 0}]", "scale: must not be 0"),
        ("bands: [{name: red, index: 0}]", "expected a whole number from 1, found '0'"),
        ("bands: [{name: red, index: 9}]", "has 3 bands, no band 9"),
        ("bands: [{name: red}]", "expected its file, or its index"),
        ("bands: [{name: red, index: 1}, {name: red, index: 2}]", "listed twice"),
        ("bands: [{name: red, index: 1}]", "unknown band of the scene 'blue'"),
        ("band: []", "did you mean 'bands'"),
        ("bands: {}", "expected a list of bands"),
        ("- 1", "expected keys and values"),
        ("bands: [{name: red, index: 1}]\nlevel: 3", "expected 1C or 2A, found '3'"),
        ("bands: [{name: red, index: 1}]\nbaseline: 5.09", "expected it in quotes"),
        ('bands: [{name: red, index: 1}]\nid: "a\\e[31m"', "at most 200 printable characters"),
        ('bands: [{name: red, index: 1}]\nid: " "', "at most 200 printable characters"),
        ("bands: [{name: red, index: 1}]\nevent_from: 2018-09-07\nevent_to: 2018-09-06", "comes after event_to"),
        ("bands: [{name: red, index: 1}]\ndate: yesterday", "expected a day like 2018-09-06"),
        ("a: &a [1]\nbands: &b [*b]", "holds itself"),
    ],
)
def test_layouts_that_make_no_sense_are_one_line(tmp_path, text, said):
    inputs = Inputs((str(stack(tmp_path / "s.tif")),), layout=layout(tmp_path / "l.yaml", text))
    with pytest.raises(LandslideError) as refused:
        open_inputs(inputs, RGB)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_tiles_of_a_terrain_model_are_one(tmp_path):
    whole = Grid(Affine(0.000277, 0, 141.8, 0, -0.000277, 42.83), WGS84, (324, 512))
    dem = terrain(whole.shape)
    red = write(tmp_path / "B04.tif", STORED[0], GRID)
    together = open_scene([red], ("red", "dem"), dem=write(tmp_path / "dem.tif", dem, whole))
    parts = [Window(0, 0, 324, 140), Window(0, 140, 150, 372), Window(150, 140, 174, 372)]
    files = [
        write(tmp_path / f"{i}.tif", dem[part.rows, part.columns], whole.of_window(part))
        for i, part in enumerate(parts)
    ]
    tiles = open_scene([red], ("red", "dem"), dem=files[::-1])
    for name in ("dem", "slope"):
        np.testing.assert_allclose(values(tiles, name), values(together, name), rtol=1e-6)
    assert np.isfinite(values(tiles, "slope")).all()
    other = write(tmp_path / "o.tif", dem, Grid(Affine(0.0003, 0, 141.8, 0, -0.0003, 42.83), WGS84, dem.shape))
    with pytest.raises(LandslideError, match="its pixels do not continue those of"):
        open_scene([red], ("red", "dem"), dem=[*files, other])


def test_of_tiles_that_overlap_the_last_that_has_a_value_is_read(tmp_path):
    """As rasterio's own merge has it, though every tile's end is no data, as a warped one's is."""
    rng, nodata = np.random.default_rng(5), -9999
    cells = [Window(0, 0, 30, 42), Window(10, 8, 30, 30), Window(5, 20, 35, 30)]
    files = []
    for i, cell in enumerate(cells):
        heights = rng.uniform(100 * i, 100 * i + 50, cell.shape).astype(np.float32)
        heights[rng.random(cell.shape) < 0.2] = nodata
        heights[:, :4] = heights[-3:] = nodata
        files.append(write(tmp_path / f"{i}.tif", heights, GRID.of_window(cell), nodata=nodata))
    for ordered in (files, files[::-1]):
        band = open_dem([file(path) for path in ordered])
        expected, _ = merge(ordered, method="last", nodata=nodata)
        found = band.read(band.grid.window)
        np.testing.assert_array_equal(found, np.where(expected[0] == nodata, np.nan, expected[0]))
        inside = Window(7, 5, 25, 33)
        np.testing.assert_array_equal(band.read(inside), found[inside.rows, inside.columns])


def test_tiles_on_both_sides_of_180_degrees_are_neighbours(tmp_path):
    """As the terrain model's tiles of 179 degrees east and of 180 degrees west are, whichever comes first."""
    x, y = Transformer.from_crs(WGS84, CRS.from_epsg(32601), always_xy=True).transform(180.0, 65.0)
    grid = Grid(Affine(30, 0, x - 900, 0, -30, y + 900), CRS.from_epsg(32601), (60, 60))
    red = write(tmp_path / "B04.tif", np.full(grid.shape, 900, np.uint16), grid)
    tiles = []
    for west in (179.9, -180.0):
        tile = Grid(Affine(0.0005, 0, west, 0, -0.0005, 65.02), WGS84, (80, 200))
        longitudes, latitudes = np.meshgrid(*tile.centres(np.arange(80), np.arange(200)))
        plane = 1000 * (longitudes % 360 - 179) + 500 * (latitudes - 65)
        tiles.append(write(tmp_path / f"{west}.tif", plane, tile))
    lon, lat = Transformer.from_crs(grid.crs, WGS84, always_xy=True).transform(
        *np.meshgrid(*grid.centres(np.arange(60), np.arange(60)))
    )
    expected = 1000 * (lon % 360 - 179) + 500 * (lat - 65)
    for files in (tiles, tiles[::-1]):
        np.testing.assert_allclose(values(open_scene([red], ("dem",), dem=files), "dem"), expected, atol=1e-2)


@pytest.mark.parametrize("value", [-9999, -32768, np.finfo(np.float32).min, 32767])
def test_terrain_that_earth_does_not_have_is_missing_though_the_file_does_not_say_so(tmp_path, value):
    dem = terrain(GRID.shape).astype(np.float32)
    hole = np.zeros(GRID.shape, bool)
    hole[10:14, 20:30] = True
    red = write(tmp_path / "B04.tif", STORED[0], GRID)
    path = write(tmp_path / "dem.tif", np.where(hole, np.float32(value), dem), GRID)
    scene = open_scene([red], ("red", "dem", "slope"), dem=path)
    np.testing.assert_array_equal(values(scene, "dem"), np.where(hole, np.nan, dem))
    np.testing.assert_array_equal(np.isnan(values(scene, "slope")), binary_dilation(hole, np.ones((3, 3))))


@pytest.mark.parametrize("height", [-430, 8849])
def test_the_lowest_and_the_highest_land_stay(tmp_path, height):
    dem = np.full(GRID.shape, height, np.int16)
    red, path = write(tmp_path / "B04.tif", STORED[0], GRID), write(tmp_path / "dem.tif", dem, GRID)
    np.testing.assert_array_equal(values(open_scene([red], ("dem",), dem=path), "dem"), dem)


def test_a_fine_terrain_model_is_averaged_in_bounded_pieces(tmp_path, monkeypatch):
    fine = Grid(Affine(1, 0, SCENE.transform.c, 0, -1, SCENE.transform.f), UTM, (400, 500))
    path = write(tmp_path / "dem.tif", terrain(fine.shape), fine)
    scene = open_scene([write(tmp_path / "B04.tif", STORED[0], GRID)], ("dem",), dem=path)
    whole = values(scene, "dem")
    with rasterio.open(path) as raster:
        expected = np.empty(GRID.shape, np.float32)
        reproject(raster.read(1), expected, src_transform=fine.transform, src_crs=UTM.to_wkt(),
                  dst_transform=GRID.transform, dst_crs=UTM.to_wkt(), resampling=Resampling.average)  # fmt: skip
    np.testing.assert_allclose(whole, expected, rtol=1e-5)
    monkeypatch.setattr("tf_landslide.scenes.raster.MOST_AT_ONCE", 900)
    np.testing.assert_array_equal(values(scene, "dem"), whole)
    monkeypatch.setattr("tf_landslide.scenes.raster.MOST_AVERAGED", 8)
    with pytest.raises(
        LandslideError, match="10 x 10 to one of the scene's; average it first: gdalwarp -tr 10 10 -r average"
    ):
        open_scene([tmp_path / "B04.tif"], ("dem",), dem=path)


def test_terrain_among_the_bands_is_averaged_as_the_terrain_model_is(tmp_path, monkeypatch):
    """1 m pixels of noise under a scene of 10 m: sampling them would give the slope of the noise."""
    fine = Grid(Affine(1, 0, SCENE.transform.c, 0, -1, SCENE.transform.f), UTM, (400, 500))
    noise = np.random.default_rng(1).normal(500, 5, fine.shape).astype(np.float32)
    dem, steep = write(tmp_path / "d.tif", noise, fine), write(tmp_path / "s.tif", noise / 50, fine)
    red = f"red={write(tmp_path / 'B04.tif', STORED[0], GRID)}"
    model, band = open_scene([red], (), dem=dem), open_scene([red, f"dem={dem}"], ())
    for name in ("dem", "slope"):
        np.testing.assert_array_equal(values(band, name), values(model, name))
    slope = values(open_scene([red, f"slope={steep}"], ()), "slope")
    np.testing.assert_allclose(slope, (noise / 50).reshape(40, 10, 50, 10).mean((1, 3)), rtol=1e-5)
    monkeypatch.setattr("tf_landslide.scenes.raster.MOST_AVERAGED", 8)
    for word in (f"dem={dem}", f"slope={steep}"):
        with pytest.raises(LandslideError, match="10 x 10 to one of the scene's; average it first"):
            open_scene([red, word], ())


@pytest.mark.parametrize("channels", [["red", "dem"], ["red", "slope"]])
def test_terrain_in_another_unit_than_the_model_learned_is_refused(tmp_path, channels):
    red, dem = write(tmp_path / "B04.tif", STORED[0], GRID), write(tmp_path / "d.tif", terrain(GRID.shape), GRID)
    inputs = Inputs((f"red={red}",), dem=(dem,))
    own = {"name": "own", "bands": ["red", {"name": "dem", "unit": "relative"}, {"name": "slope", "unit": "relative"}]}
    for layout in ("mmls", own):
        said = f"{channels[1]} is in (metres|degrees), but the model learned it in relative; take a model that learned"
        with pytest.raises(LandslideError, match=said):
            open_inputs(inputs, channel_recipe(layout, channels))
    own["bands"] = ["red", {"name": "dem", "unit": "m"}, {"name": "slope", "unit": "deg"}]
    for layout in ("landslide4sense", own):
        open_inputs(inputs, channel_recipe(layout, channels))


def test_a_model_of_pictures_is_told_that_reflectance_is_something_else(tmp_path):
    path = stack(tmp_path / "s.tif", stored=(STORED // 40).astype(np.uint8))
    with pytest.warns(LandslideWarning, match=r"gives red in reflectance \(relative\), green in .*; expect worse"):
        open_inputs(Inputs((str(path),), scale=1 / 255), channel_recipe("bijie", NAMES))
    text = "bands: [" + ", ".join(
        f"{{name: {n}, index: {i}, unit: relative, scale: 0.004}}" for i, n in enumerate(NAMES, 1)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", LandslideWarning)
        open_inputs(
            Inputs((str(path),), layout=layout(tmp_path / "l.yaml", text + "]")), channel_recipe("bijie", NAMES)
        )


def test_the_real_cuts_have_both_no_data_values(real_data):
    folder = real_data / "sentinel2_products"
    scene = open_scene(
        [folder / "S2A1C_20170703_022_Barbellino_TOA_10.tif"], NAMES, bands={"blue": 2, "green": 3, "red": 4}
    )
    assert scene.bands["red"].missing == (0.0, 65535.0)
    with rasterio.open(folder / "S2A1C_20170703_022_Barbellino_TOA_10.tif") as raster:
        stored = raster.read(4)
    expected = np.where((stored == 0) | (stored == 65535), np.nan, stored * 1e-4)
    np.testing.assert_allclose(values(scene, "red"), expected, rtol=1e-5)


def test_the_real_scar_scene_opens_from_three_files(real_data):
    files = [real_data / "hokkaido_2018" / f"post_B0{i}.tif" for i in (4, 3, 2)]
    scene = open_scene(files, (*NAMES, "slope", "dem"), dem=real_data / "hokkaido_2018" / "dsm.tif")
    assert scene.grid.shape == (970, 1533)
    with rasterio.open(files[0]) as raster:
        stored = raster.read(1)
    np.testing.assert_allclose(values(scene, "red"), np.where(stored == 0, np.nan, stored * 1e-4), rtol=1e-5)
    assert np.nanmin(values(scene, "slope")) >= 0 and np.nanmax(values(scene, "slope")) < 80


def test_layouts_of_other_sensors_are_no_level_1c():
    from tf_landslide.bands.layouts import LEVEL_1C

    assert LANDSLIDE4SENSE.name in LEVEL_1C and BIJIE.name not in LEVEL_1C


def test_yaml_that_is_written_is_read_again(tmp_path):
    path = stack(tmp_path / "s.tif", ("", "", ""))
    text = {"bands": [{"name": name, "file": "s.tif", "index": i, "scale": 1e-4} for i, name in enumerate(NAMES, 1)]}
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(text))
    scene = open_inputs(Inputs((str(tmp_path / "m.yaml"),)), RGB)
    np.testing.assert_allclose(values(scene, "blue"), STORED[2] * 1e-4, rtol=1e-6)
    assert path.exists()
