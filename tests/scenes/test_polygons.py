"""Rasters and polygons of a map: against NumPy, SciPy's labels, rio-cogeo and equal-area projections."""

import numpy as np
import pytest
import rasterio
import shapely
from pyproj import CRS, Transformer
from rasterio import Affine
from scipy import ndimage

from tests.scenes.conftest import GRID
from tests.scenes.test_attributes import COMMON
from tests.scenes.test_sampler import UTM, WGS84, write
from tf_landslide.scenes.attributes import describe
from tf_landslide.scenes.grid import Grid
from tf_landslide.scenes.polygons import measured, touches_the_end, traced, without_small_holes, zonal_statistics
from tf_landslide.scenes.writer import NO_DATA


@pytest.fixture(scope="module")
def polygons(written):
    return list(traced(written[1]))


def test_rasters_are_cloud_optimised_and_hold_what_was_given(written, probability):
    cogeo = pytest.importorskip("rio_cogeo", reason="the judge: pip install rio-cogeo")
    for path in written:
        valid, errors, warnings = cogeo.cog_validate(path)
        assert valid and not errors and not warnings
    with rasterio.open(written[0]) as raster:
        np.testing.assert_array_equal(raster.read(1), probability)
        assert raster.crs.to_epsg() == 32654 and raster.transform == GRID.transform and np.isnan(raster.nodata)
        assert raster.tags()["model"] == "m" and raster.tags()["threshold"] == "0.62" and raster.overviews(1)
    with rasterio.open(written[1]) as raster:
        expected = np.where(np.isnan(probability), NO_DATA, probability >= np.float32(0.62))
        np.testing.assert_array_equal(raster.read(1), expected)
        assert raster.nodata == NO_DATA and raster.colormap(1)[1][:3] == (214, 39, 40)
    assert sorted(path.name for path in written[0].parent.iterdir()) == ["mask.tif", "probability.tif"]


def test_polygons_are_scipys_labels_valid_and_whole(polygons, probability):
    labels, count = ndimage.label(probability >= np.float32(0.62), np.ones((3, 3)))
    assert len(polygons) == count > 30 and all(polygon.is_valid for polygon in polygons)
    assert sum(polygon.area for polygon in polygons) == pytest.approx(100 * (labels > 0).sum())
    sizes = sorted(np.bincount(labels.ravel())[1:] * 100.0)
    np.testing.assert_allclose(sorted(polygon.area for polygon in polygons), sizes)


def test_areas_are_those_of_an_equal_area_projection(polygons):
    ease = Transformer.from_crs(UTM, CRS.from_epsg(6933), always_xy=True)
    for polygon in polygons[:20]:
        moved = shapely.transform(polygon, lambda x: np.stack(ease.transform(x[:, 0], x[:, 1]), axis=1))
        assert measured(polygon, GRID).area == pytest.approx(moved.area, rel=1e-4)


@pytest.mark.parametrize("angle", [0, 30, 90, 135])
@pytest.mark.parametrize("geographic", [False, True])
def test_length_width_and_orientation_of_a_rectangle(angle, geographic):
    turn = np.radians(90 - angle)
    along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    centre = np.array([572000.0, 4730000.0])
    corners = [centre + i * 200 * along + j * 50 * across for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    polygon, grid = shapely.Polygon(corners), GRID
    if geographic:
        to = Transformer.from_crs(UTM, WGS84, always_xy=True)
        polygon = shapely.transform(polygon, lambda x: np.stack(to.transform(x[:, 0], x[:, 1]), axis=1))
        grid = Grid(Affine(1e-4, 0, 141, 0, -1e-4, 43), WGS84, (10, 10))
    shape = measured(polygon, grid)
    assert shape.length == pytest.approx(400, rel=1e-3) and shape.width == pytest.approx(100, rel=1e-3)
    assert shape.area == pytest.approx(40000, rel=2e-3)
    assert shape.compactness == pytest.approx(4 * np.pi * 40000 / 1000**2, rel=1e-3)
    assert min(abs(shape.orientation - angle), 180 - abs(shape.orientation - angle)) < 1.5  # grid north is not north


def test_small_holes_are_filled_and_large_ones_kept():
    ring = shapely.box(569100, 4736000, 569500, 4736400)
    small, large = shapely.box(569150, 4736050, 569160, 4736060), shapely.box(569300, 4736200, 569400, 4736300)
    (filled,) = without_small_holes([ring - small - large], 500, GRID)
    assert filled.equals(ring - large)


def nested():
    """(60, 80) bool: rings in rings, one in a small hole of them touching it at a corner, one by itself."""
    mask = np.zeros((60, 80), bool)
    for centre, radii in (((15, 15), (14, 9, 4)), ((15, 50), (7, 3)), ((45, 20), (13, 11, 5))):
        for i, radius in enumerate(radii):  # a ring of two pixels, and within it another
            box = np.s_[centre[0] - radius : centre[0] + radius + 1, centre[1] - radius : centre[1] + radius + 1]
            mask[box] = True
            mask[box][2:-2, 2:-2] = False
            if i == len(radii) - 1:
                mask[centre] = True
    mask[40:50, 50:60] = True
    mask[42:46, 52:56] = False
    mask[42, 52] = mask[43, 53] = True
    return mask


@pytest.mark.parametrize("pixels", [2, 10, 30, 60, 300, 600])
def test_what_lies_in_a_hole_that_is_filled_is_one_with_what_lies_around(tmp_path, pixels):
    """Against SciPy, which fills the holes of each landslide by itself."""
    mask = nested()
    grid = Grid(GRID.transform, UTM, mask.shape)
    path = write(tmp_path / "mask.tif", mask.astype(np.uint8), grid, nodata=255)
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    expected = mask.copy()
    for one in range(1, count + 1):
        holes, number = ndimage.label(ndimage.binary_fill_holes(labels == one) & (labels != one))
        for hole in range(1, number + 1):
            expected |= (holes == hole) & ((holes == hole).sum() < pixels)
    layers = {"probability": lambda w: np.full(w.shape, 0.5, np.float32)}
    found = describe(path, grid, layers, fill_holes=100.0 * pixels, common=dict.fromkeys(COMMON, "x"))
    pieces = ndimage.label(expected, np.ones((3, 3)))
    assert len(found.geometries) == pieces[1]
    np.testing.assert_allclose(
        sorted(g.area for g in found.geometries), sorted(100.0 * np.bincount(pieces[0].ravel())[1:])
    )
    assert shapely.union_all(found.geometries).area == pytest.approx(100 * expected.sum())
    assert all(geometry.is_valid for geometry in found.geometries)
    assert [row.area_m2 for row in found.attributes] == pytest.approx([g.area for g in found.geometries], rel=2e-3)


def test_in_noise_no_ground_is_filled_twice(tmp_path):
    mask = np.random.default_rng(3).random((80, 90)) < 0.4
    path = write(tmp_path / "mask.tif", mask.astype(np.uint8), Grid(GRID.transform, UTM, mask.shape), nodata=255)
    filled = without_small_holes(list(traced(path)), 1e9, GRID)
    assert all(geometry.is_valid for geometry in filled)
    both = shapely.union_all(filled)
    assert sum(geometry.area for geometry in filled) == pytest.approx(both.area)
    burnt = rasterio.features.rasterize([both], mask.shape, transform=GRID.transform).astype(bool)
    assert (burnt >= mask).all() and (burnt <= ndimage.binary_fill_holes(mask)).all() and (burnt > mask).sum() > 50


def test_statistics_are_numpys(polygons, probability):
    layers = {"probability": probability, "row": np.broadcast_to(np.arange(700.0)[:, None], GRID.shape).copy()}
    layers["row"][400:410] = np.nan
    found = zonal_statistics(
        polygons, GRID, {name: lambda w, v=values: v[w.rows, w.columns] for name, values in layers.items()}
    )
    for polygon, of_layers in zip(polygons, found, strict=True):
        inside = rasterio.features.rasterize([polygon], GRID.shape, transform=GRID.transform).astype(bool)
        for name, values in layers.items():
            chosen = values[inside][np.isfinite(values[inside])]
            assert of_layers[name].count == len(chosen)
            if len(chosen):
                expected = chosen.astype(float).mean(), chosen.min(), chosen.max()
                got = of_layers[name].mean, of_layers[name].minimum, of_layers[name].maximum
                np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_what_goes_on_beyond_the_data_is_marked(polygons, written, probability):
    marked = probability >= np.float32(0.62)
    beyond = np.pad(np.isnan(probability), 1, constant_values=True)
    near = ndimage.binary_dilation(beyond, np.ones((3, 3)))[1:-1, 1:-1]
    found = touches_the_end(polygons, GRID, written[1])
    for polygon, truncated in zip(polygons, found, strict=True):
        inside = rasterio.features.rasterize([polygon], GRID.shape, transform=GRID.transform).astype(bool)
        assert truncated == bool((inside & marked & near).any())
    assert 0 < found.sum() < len(polygons)
