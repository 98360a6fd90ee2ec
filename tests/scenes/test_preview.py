"""A map made small: against NumPy's means, whatever pieces it is read in, and in bounded memory."""

import tracemalloc

import numpy as np
import pytest
import rasterio
from rasterio import Affine

from tests.scenes.looks import small_map
from tests.scenes.test_sampler import UTM, terrain, write
from tf_landslide.bands.layouts import Band
from tf_landslide.figures.maps import Sheet, overview, round_length
from tf_landslide.scenes.grid import Grid
from tf_landslide.scenes.preview import coarser, preview, reduced
from tf_landslide.scenes.raster import RasterBand
from tf_landslide.scenes.scene import Scene


@pytest.mark.parametrize("factor", [1, 3, 7, 600])
def test_means_are_numpys(factor):
    values = terrain((1100, 250))
    values[100:140, 30:90] = np.nan
    shape = (-(-1100 // factor), -(-250 // factor))
    found = reduced(lambda window: values[window.rows, window.columns], values.shape, factor)
    assert found.shape == shape
    for row, column in ((0, 0), (shape[0] - 1, shape[1] - 1), (110 // factor, 40 // factor)):
        block = values[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
        expected = np.nan if np.isnan(block).all() else np.nanmean(block.astype(float))
        np.testing.assert_allclose(found[row, column], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "side"),
    [((1, 2**22), 2000), ((2**22, 1), 2000), ((20, 2**21), 500), ((2**21, 20), 500), ((3001, 4001), 3), ((7, 11), 4)],
)
def test_a_scene_of_any_form_is_read_in_pieces_of_bounded_size(shape, side):
    factor = -(-max(shape) // side)
    asked = np.zeros(shape, np.uint8)
    largest = 0

    def read(window):
        nonlocal largest
        assert min(window.row, window.column) >= 0
        largest = max(largest, window.height * window.width)
        asked[window.rows, window.columns] += 1
        rows, columns = (np.arange(part.start, part.stop) for part in (window.rows, window.columns))
        return np.add.outer(rows % 5, columns % 7).astype(np.float32)

    found = reduced(read, shape, factor)
    assert (asked == 1).all() and largest <= max(2**21, factor * min(factor, *shape))
    means = [
        np.array([(np.arange(i, min(i + factor, size)) % period).mean() for i in range(0, size, factor)])
        for size, period in zip(shape, (5, 7), strict=True)
    ]
    np.testing.assert_allclose(found, np.add.outer(*means), rtol=1e-6)


@pytest.fixture
def mapped(tmp_path):
    """A scene of 900 x 1300 pixels and the rasters of its map."""
    grid = Grid(Affine(10, 0, 569000, 0, -10, 4737000), UTM, (900, 1300))
    rng = np.random.default_rng(1)
    bands = {}
    for name in ("red", "green", "blue"):
        stored = rng.integers(1, 3000, grid.shape).astype(np.uint16)
        stored[:, 1000:] = 0
        write(tmp_path / f"{name}.tif", stored, grid, tiled=True)
        bands[name] = RasterBand.open(tmp_path / f"{name}.tif", 1, Band(name, 1e-4, 0.0, 0.0))
    probability = rng.random(grid.shape).astype(np.float32)
    probability[:, 1000:] = np.nan
    mask = np.where(np.isnan(probability), 255, probability > 0.98).astype(np.uint8)
    write(tmp_path / "probability.tif", probability, grid, tiled=True)
    write(tmp_path / "mask.tif", mask, grid, tiled=True, nodata=255)
    return Scene(grid, bands), tmp_path / "probability.tif", tmp_path / "mask.tif"


def test_a_preview_of_a_scene(mapped):
    scene, probability, mask = mapped
    shown = preview(scene, probability, mask, side=500)
    assert shown.factor == 3 and shown.grid.shape == shown.valid.shape == (300, 434)
    np.testing.assert_allclose(shown.grid.transform @ (0, 0), scene.grid.transform @ (0, 0))
    np.testing.assert_allclose(shown.grid.transform @ (100, 50), scene.grid.transform @ (300, 150))
    assert shown.valid[:, :333].all() and not shown.valid[:, 334:].any() and np.isnan(shown.probability[:, 334:]).all()
    with rasterio.open(mask) as raster:
        marked = raster.read(1)[:, :999] == 1
    np.testing.assert_allclose(shown.marked[:, :333], marked.reshape(300, 3, 333, 3).mean((1, 3)), atol=1e-6)


def test_a_coarser_preview_holds_the_means_of_the_fine_one(mapped):
    fine = preview(*mapped, side=500)
    shown = coarser(fine, 220)
    k = 2
    assert coarser(fine, 434) is fine and shown.grid.shape == (150, 217) and shown.factor == 6
    np.testing.assert_allclose(shown.grid.transform @ (10, 20), fine.grid.transform @ (10 * k, 20 * k))
    block = np.s_[10 * k : 11 * k, 20 * k : 21 * k]
    np.testing.assert_allclose(shown.probability[10, 20], fine.probability[block].mean(), rtol=1e-5)
    np.testing.assert_allclose(shown.picture[10, 20], fine.picture[block].mean((0, 1)), atol=0.51)
    assert shown.valid[:, 0].all() and not shown.valid[:, -1].any() and (shown.picture[:, -1] == 0).all()


def test_memory_does_not_grow_with_the_scenes_height():
    peaks = []
    for rows in (2048, 8192):
        tracemalloc.start()
        reduced(lambda window: np.ones(window.shape, np.float32), (rows, 2048), 8)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] + 4 * 256 * 8192 // 8


@pytest.mark.parametrize(
    ("metres", "expected"), [(1, 1), (1.9, 1), (2, 2), (499, 200), (500, 500), (12345, 10000), (0.3, 0.2)]
)
def test_lengths_of_a_scale_bar_are_round(metres, expected):
    assert round_length(metres) == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(60, 90), (20, 120), (200, 30), (1, 1)])
def test_the_figure_is_drawn_whatever_its_form(tmp_path, shape):
    from PIL import Image

    probability = np.random.default_rng(0).random(shape).astype(np.float32)
    outline = np.array([[1, 1], [10, 1], [10, 10], [1, 1]], float)
    sheet = Sheet(
        np.full((*shape, 3), 120, np.uint8),
        probability > 0.1,
        probability,
        [outline],
        (10, 10),
        3.0,
        "$a_b^{ & <c>",
        ["n"],
        0.4,
    )
    overview(tmp_path / "o.png", sheet)
    with Image.open(tmp_path / "o.png") as image:
        assert 300 < image.width < 3500 and 200 < image.height < 3000
        assert len(image.convert("RGB").getcolors(2**24)) > 50


def test_previews_for_tests_are_as_they_should_be():
    shown, found = small_map(factor=2)
    assert shown.picture.shape[:2] == shown.probability.shape == (100, 150) and len(found.geometries) == 3
