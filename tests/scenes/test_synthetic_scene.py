"""``synth --scene``: files as real ones come, their truth known; against the landscape they are made of."""

import geopandas
import numpy as np
import pytest
import rasterio
from pyproj import Geod
from scipy import ndimage
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError
from tf_landslide.scenes.grid import Grid
from tf_landslide.scenes.stack import open_scene
from tf_landslide.scenes.synthetic import score, write_scene

NEEDED = ("red", "green", "blue", "nir", "slope", "dem")


@pytest.fixture(scope="module", params=["utm", "geographic"])
def files(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, write_scene(folder / "s.tif", size=192, system=request.param, seed=1)


def test_files_are_as_real_ones_come(files):
    system, found = files
    with rasterio.open(found.scene) as raster, rasterio.open(found.dem) as dem, rasterio.open(found.truth) as truth:
        assert raster.count == 12 and raster.dtypes == ("uint16",) * 12 and raster.shape == (192, 192)
        assert {"red", "green", "blue", "nir"} < set(raster.descriptions) and raster.scales == (1e-4,) * 12
        assert "SYNTHETIC" in raster.tags()["TIFFTAG_IMAGEDESCRIPTION"]
        assert (raster.crs.is_projected, dem.crs.is_projected) == ((system == "utm"), (system != "utm"))
        assert truth.transform == raster.transform and set(np.unique(truth.read(1))) == {0, 1}
        empty = raster.read() == 0
        assert 0.005 < empty.all(0).mean() < 0.15 and 0 < (empty.any(0) & ~empty.all(0)).mean() < 0.1
        assert not empty[:, :, :90].any()
    height, width = Grid.of(found.scene).pixel_sizes(np.array([96]))
    assert height[0] == pytest.approx(10, rel=2e-3) and width[0] == pytest.approx(10, rel=2e-3)
    height, width = Grid.of(found.dem).pixel_sizes(np.array([80]))
    assert height[0] == pytest.approx(12.5, rel=2e-3) and width[0] == pytest.approx(12.5, rel=2e-3)


def test_the_terrain_reaches_everywhere_and_fits_the_image(files):
    """Sunlit slopes are bright: so they are only where the terrain model lies as the image does."""
    scene = open_scene([files[1].scene], NEEDED, dem=files[1].dem)
    dem, slope, nir = (scene.read(name, scene.grid.window) for name in ("dem", "slope", "nir"))
    assert np.isfinite(dem).all() and np.isfinite(slope).all() and 5 < slope.mean() < 45
    south = np.gradient(ndimage.gaussian_filter(dem, 2), axis=0)
    inside = np.isfinite(nir)

    def agreement(shift):
        moved = np.roll(south, shift, (0, 1))
        return -np.corrcoef(moved[inside], nir[inside])[0, 1]

    assert agreement((0, 0)) > 0.3
    assert all(agreement(shift) < agreement((0, 0)) for shift in ((12, 0), (-12, 0), (0, 12), (0, -12)))


def test_polygons_are_the_truth(files):
    found = files[1]
    with rasterio.open(found.truth) as raster:
        truth, transform = raster.read(1), raster.transform
    polygons = geopandas.read_file(found.polygons)
    _, count = ndimage.label(truth, np.ones((3, 3)))
    assert len(polygons) == count > 0 and polygons.geometry.is_valid.all()
    drawn = rasterio.features.rasterize(polygons.geometry, truth.shape, transform=transform)
    np.testing.assert_array_equal(drawn, truth)
    lonlat = polygons.to_crs(4326).geometry[0]
    assert polygons["area_m2"][0] == pytest.approx(
        abs(Geod(ellps="WGS84").geometry_area_perimeter(lonlat)[0]), rel=1e-3
    )
    assert not polygons["area_m2"].diff().gt(0).any()


def test_scores_are_scikit_learns_where_something_can_be_told(files, tmp_path):
    found = files[1]
    with rasterio.open(found.truth) as raster:
        truth, profile = raster.read(1), raster.profile
    mask = (np.roll(truth, 2, 0) | (np.random.default_rng(0).random(truth.shape) < 0.01)).astype(np.uint8)
    mask[:, 150:] = 255
    with rasterio.open(tmp_path / "mask.tif", "w", **profile | {"nodata": 255}) as raster:
        raster.write(mask, 1)
    told = mask != 255
    expected = {
        name: judge(truth[told], mask[told])
        for name, judge in (
            ("f1", f1_score),
            ("precision", precision_score),
            ("recall", recall_score),
            ("iou", jaccard_score),
        )
    }
    assert score(tmp_path / "mask.tif", found.truth) == pytest.approx(expected)
    with pytest.raises(LandslideError, match="another grid"):
        score(found.dem, found.truth)


def test_the_command_writes_it_and_equal_seeds_are_equal(tmp_path, capsys):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        words = ["synth", "--scene", str(tmp_path / folder / "s.tif"), "--scene-size", "128", "--seed", "4"]
        assert main(words) == 0
    told = capsys.readouterr().out
    assert "synthetic" in told and "s_truth.gpkg" in told
    with rasterio.open(tmp_path / "a" / "s.tif") as a, rasterio.open(tmp_path / "b" / "s.tif") as b:
        np.testing.assert_array_equal(a.read(), b.read())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scene", "s.tif", "--scene-size", "64"], "128 to 1024 pixels"),
        (["--scene", "s.tif", "--scene-size", "20000"], "128 to 1024 pixels"),
        (["--scene", "s.png"], "is a GeoTIFF"),
        (["--scene", "s.tif", "--scene-crs", "mercator"], "unknown reference system"),
        (["--scene", "s.tif", "--seed", "-1"], "must not be negative"),
        ([], "name a folder"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    assert main(["synth", *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and not list(tmp_path.iterdir())
