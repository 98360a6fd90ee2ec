"""Rasters that do not meet the scene, or only some of it; bands that lack where the others have values."""

import json

import numpy as np
import pytest
import shapely
from pyproj import CRS, Transformer
from rasterio import Affine

from tests.scenes.test_inputs import GRID, NAMES, STORED, stack
from tests.scenes.test_map import command
from tests.scenes.test_map import scene as map_scene_files  # noqa: F401 (a fixture)
from tests.scenes.test_sampler import UTM, WGS84, terrain, write
from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError, LandslideWarning
from tf_landslide.scenes.footprint import covered, extent
from tf_landslide.scenes.grid import Grid, Window
from tf_landslide.scenes.inputs import Inputs, open_inputs
from tf_landslide.scenes.source import file
from tf_landslide.scenes.stack import open_dem, open_scene

ELSEWHERE = {
    "degrees": Grid(Affine(0.001, 0, 10.0, 0, -0.001, 46.0), WGS84, (50, 60)),
    "beside, by a pixel": Grid(Affine(0.0001, 0, 141.7, 0, -0.0001, 42.9), WGS84, (100, 100)),
    "the same system": Grid(Affine(10, 0, 700000, 0, -10, 4737000), UTM, (40, 50)),
    "another zone": Grid(Affine(10, 0, 569000, 0, -10, 4737000), CRS.from_epsg(32633), (40, 50)),
    "degrees, 0 to 360": Grid(Affine(0.001, 0, 218.1, 0, -0.001, 42.9), WGS84, (500, 500)),
}


@pytest.mark.parametrize("place", ELSEWHERE)
def test_a_terrain_model_elsewhere_is_refused_with_both_extents(tmp_path, place):
    dem = ELSEWHERE[place]
    red = write(tmp_path / "B04.tif", STORED[0], GRID)
    with pytest.raises(LandslideError) as refused:
        open_scene([red], ("red", "dem"), dem=write(tmp_path / "far.tif", terrain(dem.shape), dem))
    said = str(refused.value)
    assert "far.tif: dem does not meet the scene: it covers" in said and "\n" not in said
    for grid in (GRID, dem):
        west, south, *_ = Transformer.from_crs(grid.crs, WGS84, always_xy=True).transform_bounds(*grid.bounds)
        assert f"{west:.4f} to" in said and f"{south:.4f} to" in said


@pytest.mark.parametrize("crs", [WGS84, UTM, CRS.from_epsg(32655), CRS.from_epsg(3857), CRS.from_epsg(6933)])
def test_the_covered_share_is_that_of_shapely_in_the_scene_s_own_system(tmp_path, crs):
    """Outlines of a random raster of each system, brought into the scene's."""
    rng = np.random.default_rng(0)
    west, south, east, north = Transformer.from_crs(UTM, crs, always_xy=True).transform_bounds(*GRID.bounds)
    back = Transformer.from_crs(crs, UTM, always_xy=True)
    for turn in range(12):
        left, top = west + (east - west) * rng.uniform(-1, 1), north - (north - south) * rng.uniform(-1, 1)
        dem = Grid(Affine((east - west) / 50, 0, left, 0, -(north - south) / 50, top), crs, (50, 50))
        band = open_dem([file(write(tmp_path / f"{turn}.tif", terrain(dem.shape), dem))])
        ring = shapely.segmentize(shapely.box(*dem.bounds), (east - west) / 500)
        ring = shapely.transform(ring, lambda xy: np.stack(back.transform(*xy.T), axis=1))
        scene = shapely.box(*GRID.bounds)
        assert covered(band, GRID) == pytest.approx(ring.intersection(scene).area / scene.area, abs=2e-3)


@pytest.mark.parametrize("west", [179.97, -180.03])
def test_terrain_over_the_antimeridian_covers_a_scene_there_and_its_western_half_covers_half(tmp_path, west):
    utm = CRS.from_epsg(32601)
    x, y = Transformer.from_crs(4326, utm, always_xy=True).transform(180.0, 65.0)
    scene = Grid(Affine(30, 0, x - 900, 0, -30, y + 900), utm, (60, 60))
    whole = Grid(Affine(0.0005, 0, west, 0, -0.0005, 65.02), WGS84, (80, 120))
    half = Grid(whole.transform, WGS84, (80, 60))
    bands = [open_dem([file(write(tmp_path / f"{g.shape}.tif", terrain(g.shape), g))]) for g in (whole, half)]
    assert covered(bands[0], scene) == pytest.approx(1) and covered(bands[1], scene) == pytest.approx(0.5, abs=0.03)
    assert extent(scene).startswith("179.98")


def test_of_tiles_that_leave_a_gap_the_gap_is_not_covered(tmp_path):
    west = Grid(GRID.transform, UTM, (40, 20))
    east = GRID.of_window(Window(0, 40, 40, 10))
    tiles = [file(write(tmp_path / f"{i}.tif", terrain(g.shape), g)) for i, g in enumerate((west, east))]
    assert covered(open_dem(tiles), GRID) == pytest.approx(0.6)
    red = write(tmp_path / "B04.tif", STORED[0], GRID)
    with pytest.warns(LandslideWarning, match=r"0\.tif: dem covers 60 % of the scene; the rest is not mapped"):
        open_scene([red], ("red",), dem=[tmp_path / "0.tif", tmp_path / "1.tif"])


def test_a_band_file_and_a_cloud_mask_elsewhere_are_refused(tmp_path):
    files = [write(tmp_path / "B04.tif", STORED[0], GRID)]
    files.append(write(tmp_path / "B03.tif", STORED[1], ELSEWHERE["the same system"]))
    with pytest.raises(LandslideError, match=r"B03\.tif: green does not meet the scene"):
        open_scene(files, ("red", "green"))
    open_scene(files, ("red",))  # which is not needed may lie anywhere
    stack(tmp_path / "s.tif")
    bands = ", ".join(f"{{name: {name}, index: {i}}}" for i, name in enumerate(NAMES, 1))
    (tmp_path / "l.yaml").write_text(f"bands: [{bands}]\nclouds: {{file: B03.tif, values: [1]}}\n")
    from tests.scenes.test_inputs import RGB

    with pytest.raises(LandslideError, match=r"B03\.tif: the cloud mask does not meet the scene"):
        open_inputs(Inputs((str(tmp_path / "s.tif"),), layout=tmp_path / "l.yaml"), RGB)


def test_a_terrain_model_elsewhere_is_one_line_before_any_work(run_folder, map_scene_files, tmp_path, capsys):  # noqa: F811
    far = write(tmp_path / "far.tif", terrain((50, 60)), ELSEWHERE["degrees"])
    words = command(run_folder, map_scene_files, tmp_path / "map")
    assert main([*words[:4], str(far), *words[5:]]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {far}: dem does not meet") and error.count("\n") == 1
    assert not (tmp_path / "map").exists()


def test_what_lacks_is_named_where_nothing_could_be_mapped(run_folder, map_scene_files, tmp_path, capsys):  # noqa: F811
    """A terrain model that meets the scene and holds nothing; and one that has values where the bands have none."""
    dem = Grid(Affine(0.00027, 0, 141.8, 0, -0.00027, 42.83), WGS84, (324, 512))
    nothing = write(tmp_path / "nothing.tif", np.full(dem.shape, -9999, np.float32), dem)
    values = terrain(dem.shape).astype(np.float32)
    longitude, _ = Transformer.from_crs(UTM, WGS84, always_xy=True).transform(569000 + 2600, 4737000 - 1000)
    values[:, : int((longitude - 141.8) / 0.00027)] = -9999  # the bands end at column 250
    apart = write(tmp_path / "apart.tif", values, dem)
    words = command(run_folder, map_scene_files, tmp_path / "map", "--window", "96", "--overlap", "32", "--json")
    for path, said in (
        (nothing, f"slope ({nothing}) and dem ({nothing}) have no valid pixel."),
        (apart, "each has valid pixels, but not the same: blue 86.8 %, green 86.5 %, red 86.8 %"),
    ):
        assert main([*words[:4], str(path), *words[5:]]) == 0
        told = json.loads(capsys.readouterr().out)["warnings"][-1]
        assert told.startswith("No pixel has all bands that the model needs: ") and said in told
