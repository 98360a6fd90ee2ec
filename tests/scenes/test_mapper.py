"""A scene through a model, block by block: equal to a single shot, resumable, and nothing where there is no data."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from rasterio import Affine
from scipy.ndimage import uniform_filter

from tests.scenes.test_sampler import UTM, WGS84, terrain, write
from tf_landslide.bands.layouts import Band
from tf_landslide.core.errors import LandslideError
from tf_landslide.predict.predictor import Predictor
from tf_landslide.runs.card import ModelCard
from tf_landslide.scenes.blocks import tiling
from tf_landslide.scenes.grid import Grid, Window
from tf_landslide.scenes.mapper import Mapping, predicted_here, rows_of, unsure_rows_of
from tf_landslide.scenes.parts import Parts
from tf_landslide.scenes.raster import RasterBand
from tf_landslide.scenes.scene import Scene

GRID = Grid(Affine(10, 0, 569000, 0, -10, 4737000), UTM, (352, 416))


class Smoothing:
    """A model whose pixels see three pixels around them: a thousandth of the mean of all channels.

    NaN counts as zero.
    """

    name, batch_size, max_bytes, in_flight = "test", 64, 2**30, 1

    def __init__(self):
        self.shapes = []

    def probability(self, channels):
        self.shapes.append(channels.shape)
        return smooth(channels)[..., None]


def smooth(channels):
    mean = np.nan_to_num(channels).mean(-1) / 1000
    return uniform_filter(mean, (0, 7, 7), mode="constant").astype(np.float32)


@pytest.fixture
def scene(tmp_path):
    rng = np.random.default_rng(0)
    bands = {}
    for name in ("red", "green", "blue"):
        values = rng.integers(1, 4000, GRID.shape).astype(np.uint16)
        values[:, 330:] = 0  # beyond the swath
        bands[name] = values
    bands["green"][20:26, 30:37] = 0  # one band only
    opened = {
        name: RasterBand.open(write(tmp_path / f"{name}.tif", values, GRID), 1, Band(name, 1e-4, nodata=0))
        for name, values in bands.items()
    }
    dem = Grid(Affine(0.00027, 0, 141.8, 0, -0.00027, 42.83), WGS84, (324, 512))
    opened["dem"] = RasterBand.open(write(tmp_path / "dem.tif", terrain(dem.shape), dem), 1, Band("dem"))
    return Scene(GRID, opened)


@pytest.fixture
def mapping(scene):
    names = ("red", "green", "blue", "slope", "dem")
    predictor = Predictor(ModelCard("m", "a", None, "landslide4sense", names, 0.5), Smoothing())
    return Mapping(scene, predictor, tiling(GRID.shape, 64, 32, 8, 3), 4)


@pytest.fixture
def parts(mapping, tmp_path):
    return Parts(tmp_path / "parts", mapping.tiling)


def assembled(mapping, parts):
    """The whole probability; what has no part yet is predicted."""
    with predicted_here(mapping, parts.missing()) as finished:
        return np.concatenate([rows for _, rows in rows_of(parts, mapping.scene.grid.shape, finished)])


def test_blocks_add_up_to_a_single_shot(mapping, parts):
    found = assembled(mapping, parts)
    channels = mapping.channels(GRID.window)
    valid = np.isfinite(channels).all(-1)
    assert found.shape == GRID.shape and 0.5 < valid.mean() < 0.85
    np.testing.assert_array_equal(np.isfinite(found), valid)
    assert not valid[20:26, 30:37].any() and not valid[:, 330:].any()
    np.testing.assert_allclose(found[valid], smooth(channels[None])[0][valid], atol=1e-7, rtol=1e-5)


def test_every_batch_is_alike_and_what_holds_no_data_skips_the_model(mapping, parts):
    assembled(mapping, parts)
    shapes = mapping.predictor.backend.shapes
    assert set(shapes) == {(4, 64, 64, 5)}
    windows = [window for block in mapping.tiling.blocks() for window in block.windows]
    empty = [window for window in windows if window.column >= 330]
    assert empty and len(shapes) * 4 < len(windows) + 4 * len(list(mapping.tiling.blocks()))


def test_a_block_without_data_is_found_by_its_first_band_and_kept_without_pixels(mapping, tmp_path, monkeypatch):
    mapping = replace(mapping, tiling=tiling(GRID.shape, 64, 32, 8, 1))
    parts = Parts(tmp_path / "parts", mapping.tiling)
    read, asked = Scene.read, []
    monkeypatch.setattr(Scene, "read", lambda self, name, window: asked.append(name) or read(self, name, window))
    assert mapping.channels(Window(0, 330, 96, 86)) is None and asked == ["blue"]
    asked.clear()
    assert mapping.channels(Window(20, 30, 6, 7)) is None and asked == ["blue", "green"]
    found = assembled(mapping, parts)
    sizes = {block: parts.path(block).stat().st_size for block in mapping.tiling.blocks()}
    empty = [block for block in sizes if block.region.column >= 330]
    assert empty and all((sizes[block] < 200) == (block in empty) for block in sizes)
    assert all(np.isnan(found[block.region.rows, block.region.columns]).all() for block in empty)


def test_a_stopped_run_goes_on_where_it_stopped_and_gives_the_same(mapping, parts):
    whole = assembled(mapping, parts)
    blocks = list(mapping.tiling.blocks())
    for block in (blocks[0], blocks[3]):
        parts.path(block).unlink()
    (parts.folder / ".x.partial.npy").write_bytes(b"half")
    before = len(mapping.predictor.backend.shapes)
    assert parts.missing() == [blocks[0], blocks[3]]
    np.testing.assert_array_equal(assembled(mapping, parts), whole)
    assert 0 < len(mapping.predictor.backend.shapes) - before <= 6


def test_a_block_that_fails_is_named_and_what_was_done_is_kept(mapping, parts, monkeypatch):
    model = mapping.predictor.backend
    original = model.probability

    def failing(channels):
        if len(model.shapes) == 7:
            raise LandslideError("the server has gone")
        return original(channels)

    monkeypatch.setattr(model, "probability", failing)
    with pytest.raises(LandslideError, match=r"^block \d, \d of the scene: the server has gone$"):
        assembled(mapping, parts)
    kept = [path.name for path in parts.folder.iterdir()]
    assert kept and all(not name.startswith(".") for name in kept)


def test_reading_predicting_and_writing_overlap(mapping, parts, monkeypatch):
    """Each waits, a while, until the others are at work on neighbouring blocks."""
    together = threading.Barrier(3, timeout=20)
    blocks = list(mapping.tiling.blocks())
    channels, share = Mapping.channels, Mapping.share

    def reading(self, window):
        if window == blocks[2].region:
            together.wait()
        return channels(self, window)

    def predicting(self, block, *rest):
        if block == blocks[1]:
            together.wait()
        return share(self, block, *rest)

    monkeypatch.setattr(Mapping, "channels", reading)
    monkeypatch.setattr(Mapping, "share", predicting)
    with predicted_here(mapping, blocks) as finished:
        block, content = next(finished)
        assert block == blocks[0]
        together.wait()  # while the first block would be written
        parts.keep(block, content)


def test_who_stops_waiting_stops_the_model(mapping):
    with predicted_here(mapping, list(mapping.tiling.blocks())) as finished:
        next(finished)
    done = len(mapping.predictor.backend.shapes)
    assert done <= 3 * 3  # of three blocks at most, three batches each


def test_a_scene_smaller_than_a_window_is_one_window(scene, tmp_path):
    small = Grid(GRID.transform, UTM, (40, 50))
    scene = Scene(small, {"red": scene.bands["red"], "green": scene.bands["green"]})
    predictor = Predictor(ModelCard("m", "a", None, "landslide4sense", ("red", "green"), 0.5), Smoothing())
    mapping = Mapping(scene, predictor, tiling(small.shape, 64, 32, 8), 1)
    found = assembled(mapping, Parts(tmp_path / "parts", mapping.tiling))
    assert found.shape == (40, 50)
    expected = smooth(mapping.channels(Window(0, 0, 64, 64))[None])[0, :40, :50]
    np.testing.assert_allclose(found[np.isfinite(found)], expected[np.isfinite(found)], atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("per_side", [1, 2, 5, 40])
def test_the_size_of_blocks_and_the_order_in_which_they_come_do_not_matter(mapping, parts, tmp_path, per_side):
    other = replace(mapping, tiling=tiling(GRID.shape, 64, 32, 8, per_side))
    others = Parts(tmp_path / "others", other.tiling)
    blocks = np.random.default_rng(0).permutation(np.array(others.missing(), object)).tolist()
    with predicted_here(other, blocks) as finished:
        found = np.concatenate([rows for _, rows in rows_of(others, GRID.shape, finished)])
    np.testing.assert_allclose(found, assembled(mapping, parts), atol=1e-6)
    np.testing.assert_array_equal(found, assembled(other, others))


def test_fewer_windows_a_block_give_the_same_map(mapping, parts, tmp_path, monkeypatch):
    monkeypatch.setattr("tf_landslide.scenes.blocks.BLOCK_SIDE", 100)
    other = replace(mapping, tiling=tiling(GRID.shape, 64, 32, 8, 3))
    assert (mapping.tiling.per_side, other.tiling.per_side) == (3, 1)
    found, expected = assembled(other, Parts(tmp_path / "others", other.tiling)), assembled(mapping, parts)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))


class Unsure(Smoothing):
    """Whose deviation is half its probability, the mutual information a quarter."""

    def uncertainty(self, channels):
        return self.probability(channels) * np.array([1, 0.5, 0.25], np.float32)


def test_windows_and_blocks_add_up_to_a_single_shot_and_stopped_ones_go_on(mapping, parts):
    unsure = replace(mapping, predictor=Predictor(mapping.predictor.card, Unsure()), unsure=True)
    whole = replace(parts, maps=unsure.maps)
    blocks = list(whole.tiling.blocks())
    with predicted_here(unsure, blocks[:5]) as finished:  # and then it is stopped
        for block, content in finished:
            whole.keep(block, content)
    assert whole.missing() == blocks[5:]
    with predicted_here(unsure, whole.missing()) as finished:
        probability = np.concatenate([rows for _, rows in rows_of(whole, GRID.shape, finished)])
    found = np.concatenate([rows for _, rows in unsure_rows_of(whole, GRID.shape)], axis=1)
    channels = unsure.channels(GRID.window)
    valid, expected = np.isfinite(channels).all(-1), smooth(channels[None])[0]
    for ours, share in zip((probability, *found), (1, 0.5, 0.25), strict=True):
        np.testing.assert_array_equal(np.isfinite(ours), valid)
        np.testing.assert_allclose(ours[valid], share * expected[valid], atol=1e-7, rtol=1e-5)
