"""Segments of a scene: whole across tiles, and the same however the work is cut up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tests.objects.test_segments import METHODS, blobs, check_partition
from tf_landslide.core.errors import LandslideError
from tf_landslide.objects import tiles
from tf_landslide.objects.pieces import connected
from tf_landslide.objects.segmenters import SEGMENTERS
from tf_landslide.objects.segments import Segmenting, segment
from tf_landslide.objects.stitch import Seen, Stitcher, _Side, _touching
from tf_landslide.objects.tiled import FILE, segment_scene
from tf_landslide.objects.tiles import Tiles
from tf_landslide.scenes.grid import Window


def use_small_tiles(patch):
    for name, value in {"_SIDE": 40, "_MARGIN": 12, "_SIDE_STEPS": 2, "_MARGIN_STEPS": 2}.items():
        patch.setattr(tiles, name, value)


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles of some 40 pixels, so that small scenes have many."""
    use_small_tiles(monkeypatch)


def readers(layers):
    return {name: lambda window, values=values: values[window.rows, window.columns] for name, values in layers.items()}


def labels_of(segments):
    return segments.read(Window(0, 0, *segments.shape))


def scene(shape, seed=0, gaps=True):
    layers = {"a": blobs(shape, seed, 2.5), "b": blobs(shape, seed + 1, 1.5) * 30}
    if gaps:
        layers["a"][ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), 3) < 0.46] = np.nan
    return layers


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=12, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 130), st.integers(1, 130)), size=st.sampled_from([9, 30, 64]), seed=st.integers(0)
)
def test_segments_of_a_scene_are_a_partition(method, shape, size, seed, tmp_path_factory):
    layers = scene(shape, seed)
    with pytest.MonkeyPatch.context() as patch:
        use_small_tiles(patch)
        wanted = Segmenting(method, size, ("a", "b"))
        found = segment_scene(readers(layers), shape, wanted, tmp_path_factory.mktemp("s"))
    labels = labels_of(found)
    valid = np.isfinite(layers["a"])
    np.testing.assert_array_equal(labels > 0, valid)
    assert labels.dtype == np.int32 and labels.max() == found.count == len(np.unique(labels[valid]))
    for number, where in enumerate(ndimage.find_objects(labels), 1):
        assert ndimage.label(labels[where] == number)[1] == 1
    small = np.flatnonzero(np.bincount(labels.ravel(), minlength=1)[1:] < wanted.least) + 1
    for number in small:  # only such as stand alone
        around = ndimage.binary_dilation(labels == number) & (labels != number)
        assert not labels[around].any()


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("method", METHODS)
def test_blocks_threads_and_order_change_no_byte(method, tmp_path, monkeypatch):
    layers, wanted = scene((170, 215)), Segmenting(method, 30, ("a", "b"))
    files = []
    for i, (per_side, threads) in enumerate([(1, 1), (2, 2), (3, 1), (9, 3)]):
        segment_scene(readers(layers), (170, 215), wanted, tmp_path / str(i), per_side=per_side, threads=threads)
        files.append((tmp_path / str(i) / FILE).read_bytes())
    blocks = Tiles.blocks
    monkeypatch.setattr(Tiles, "blocks", lambda self, per_side: reversed(list(blocks(self, per_side))))
    segment_scene(readers(layers), (170, 215), wanted, tmp_path / "turned")
    files.append((tmp_path / "turned" / FILE).read_bytes())
    assert len(set(files)) == 1


@pytest.mark.usefixtures("small_tiles")
def test_tiles_in_any_order_are_named_alike():
    wanted = Segmenting("slic", 30, ("a", "b")).with_spreads(scene((100, 130)))
    cut, layers = Tiles.of((100, 130), wanted), scene((100, 130))
    seen = []
    for tile in cut:
        around = {name: values[tile.around.rows, tile.around.columns] for name, values in layers.items()}
        seen.append(Seen.of(tile, segment(around, wanted), wanted.least))
    results = []
    for order in (range(len(seen)), np.random.default_rng(0).permutation(len(seen))):
        stitcher = Stitcher(cut, wanted.least)
        for i in order:
            stitcher.add(seen[i])
        names, count = stitcher.names()
        results.append((count, np.concatenate(names).tolist()))
    assert results[0] == results[1]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_segments_are_one_object_where_they_share_most_of_what_they_cover(seed):
    """Two views of a strip whose line lies between columns 4 and 5, against sets of pixels."""
    rng = np.random.default_rng(seed)
    first = connected(np.kron(rng.integers(0, 3, (3, 3)), np.ones((3, 4), int)))
    second = np.roll(first, rng.integers(-2, 3), axis=int(rng.integers(2)))
    second[first == 0], first[second == 0] = 0, 0
    lines = first[:, 4], second[:, 5]
    a, b, same = _touching(_Side(first, lines[0] * 10, lines[0]), _Side(second, lines[1] * 10, lines[1]))
    there = (lines[0] > 0) & (lines[1] > 0)
    assert a.tolist() == (lines[0][there] * 10).tolist() and b.tolist() == (lines[1][there] * 10).tolist()
    for i, j, one in zip(lines[0][there], lines[1][there], same, strict=True):
        pixels = {tuple(p) for p in np.argwhere(first == i)}, {tuple(p) for p in np.argwhere(second == j)}
        assert one == (2 * len(pixels[0] & pixels[1]) > len(pixels[0] | pixels[1]))


@pytest.mark.parametrize("method", METHODS)
def test_a_scene_of_one_tile_is_a_patch(method, tmp_path):
    layers, wanted = scene((70, 90)), Segmenting(method, 30, ("a", "b"))
    found = segment_scene(readers(layers), (70, 90), wanted, tmp_path)
    np.testing.assert_array_equal(labels_of(found), segment(layers, wanted))
    check_partition(labels_of(found), np.isfinite(layers["a"]))
    assert found.settings == wanted.with_spreads(layers)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("method", METHODS)
def test_a_disc_across_the_corner_of_tiles_is_one_object(method, tmp_path):
    """It lies on four tiles. With the slightest compactness superpixels too keep to it."""
    wanted = Segmenting(method, 100, ("a",), compactness=0.01, smoothing=0, spreads={"a": 0.1})
    side = Tiles.of((100, 100), wanted).side
    rows, columns = np.mgrid[:100, :100]
    disc = np.hypot(rows - side + 0.5, columns - side + 0.5) < 5.2
    found = segment_scene(readers({"a": disc.astype(np.float32)}), (100, 100), wanted, tmp_path)
    labels = labels_of(found)
    quarters = [labels[side - 1, side - 1], labels[side - 1, side], labels[side, side - 1], labels[side, side]]
    assert len(set(quarters)) == 1
    np.testing.assert_array_equal(labels == quarters[0], disc)


@pytest.mark.parametrize(("method", "apart"), [("watershed", 0.002), ("slic", 0.02), ("felzenszwalb", 0.02)])
def test_the_lines_between_tiles_hardly_show(method, apart, tmp_path):
    """Nearly the borders of the scene cut at once, and hardly more of them along the tiles' lines."""
    layers = scene((600, 700), 3, gaps=False)
    wanted = Segmenting(method, 64, ("a", "b")).with_spreads(layers)
    labels, whole = labels_of(segment_scene(readers(layers), (600, 700), wanted, tmp_path)), segment(layers, wanted)
    side = Tiles.of((600, 700), wanted).side
    assert side < 600
    for axis, line in ((0, np.s_[side - 1]), (1, np.s_[:, side - 1])):
        cut, wanted_cut = (np.diff(image, axis=axis) != 0 for image in (labels, whole))
        assert (cut != wanted_cut).mean() < apart
        assert cut[line].mean() < wanted_cut[line].mean() + 0.05


def test_a_tile_tells_the_borders_of_its_small_pieces():
    """Which big ones border on one another is not needed, and would be most of what is held."""
    labels = np.array([[1, 1, 1, 2, 2, 2], [1, 1, 3, 2, 2, 2], [1, 1, 1, 2, 2, 2]], np.int32)
    (tile,) = Tiles.of(labels.shape, Segmenting())
    borders = Seen.of(tile, labels, 2).borders
    assert list(zip(borders.a, borders.b, borders.length, strict=True)) == [(1, 3, 3), (2, 3, 1)]


@pytest.mark.usefixtures("small_tiles")
def test_empty_tiles_are_neither_read_on_nor_segmented(tmp_path, monkeypatch):
    layers = scene((40, 200), gaps=False)
    layers["a"][:, 40:] = np.nan
    asked, segmented = [], []
    each = readers(layers)
    recorded = {"a": each["a"], "b": lambda window: asked.append(window) or each["b"](window)}
    real = SEGMENTERS["slic"]
    monkeypatch.setitem(SEGMENTERS, "slic", lambda *given: segmented.append(given[0].shape) or real(*given))
    wanted = Segmenting("slic", 25, ("a", "b"), spreads={"a": 1.0, "b": 30.0})
    found = segment_scene(recorded, (40, 200), wanted, tmp_path, per_side=1)
    assert len(asked) == len(segmented) == 2  # the second tile's margin reaches over the first one
    assert not labels_of(found)[:, 40:].any() and labels_of(found)[:, :40].all()


@pytest.mark.usefixtures("small_tiles")
def test_spreads_are_the_scenes_and_are_kept(tmp_path):
    layers = {"a": np.random.default_rng(0).normal(0, 4, (400, 500)).astype(np.float32)}
    found = segment_scene(readers(layers), (400, 500), Segmenting("watershed", 25, ("a",)), tmp_path)
    assert dict(found.settings.spreads)["a"] == pytest.approx(4, rel=0.02)


def test_one_pixel_and_reading_beyond_the_scene(tmp_path):
    found = segment_scene(readers({"a": np.ones((1, 1), np.float32)}), (1, 1), Segmenting(layers=("a",)), tmp_path)
    assert found.count == 1 and found.read(Window(-1, -1, 3, 3)).tolist() == [[0] * 3, [0, 1, 0], [0] * 3]
    assert (tmp_path / FILE).stat().st_size == 128 + 4


def test_a_failure_leaves_no_file_and_a_wrong_layer_is_named(tmp_path):
    wanted = Segmenting(layers=("a",), spreads={"a": 1.0})
    with pytest.raises(LandslideError, match=r"layer 'a' gives \(2, 2\) for a window of \(3, 3\)"):
        segment_scene({"a": lambda _: np.ones((2, 2))}, (3, 3), wanted, tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(LandslideError, match="unknown layer 'a'; did you mean 'aa'"):
        segment_scene(readers({"aa": np.ones((3, 3))}), (3, 3), wanted, tmp_path)
