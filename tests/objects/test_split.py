"""A scene shared out: splits a buffer apart, near their shares, whatever the scene; against shapely."""

import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tf_landslide.core.errors import LandslideError
from tf_landslide.objects.density import Density, Tables
from tf_landslide.objects.split import Cutting, divide, windows

SIDE = 16


def density(shape, seed=0, landslides=0.05, known=1.0):
    rng = np.random.default_rng(seed)
    cells = tuple(-(-side // SIDE) for side in shape)
    told = (rng.random(cells) < known) * SIDE**2
    return Density(shape, SIDE, told, np.minimum(told, (rng.random(cells) < landslides) * rng.integers(1, 200, cells)))


def boxes_by_split(regions, cutting):
    found = {}
    for region in regions:
        for window in windows(region, cutting):
            box = shapely.box(window.column, window.row, window.column + window.width, window.end)
            found.setdefault(region.split, []).append(box)
    return found


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(130, 900), st.integers(130, 900)),
    st.sampled_from([32, 64, 128]),
    st.integers(1, 150),
    st.integers(0, 90),
    st.integers(0, 90),
    st.floats(0.05, 0.4),
    st.sampled_from([0.0, 0.1, 0.3]),
    st.integers(0, 5),
)
def test_no_two_patches_of_different_splits_are_nearer_than_the_buffer(
    shape, size, stride, rows, columns, valid, test, seed
):
    cutting = Cutting(size, max(stride, size // 4), valid, test, (float(rows), float(columns)), seed=seed)
    try:
        regions = divide(density(shape, seed), cutting, tries=8)
    except LandslideError as error:
        assume("too few" not in str(error))
        raise
    found = boxes_by_split(regions, cutting)
    assert set(found) == set(cutting.shares)
    scene = shapely.box(0, 0, shape[1], shape[0])
    assert all(scene.covers(box) for boxes in found.values() for box in boxes)
    splits = list(found)
    for i, a in enumerate(splits):
        for b in splits[i + 1 :]:
            first, second = (shapely.bounds(np.array(found[split])) for split in (a, b))
            across = np.maximum(first[:, None, 0] - second[None, :, 2], second[None, :, 0] - first[:, None, 2])
            down = np.maximum(first[:, None, 1] - second[None, :, 3], second[None, :, 1] - first[:, None, 3])
            assert ((across >= columns) | (down >= rows)).all()
    for split in ("valid", "test"):  # judged once
        for k, box in enumerate(found.get(split, [])):
            assert not any(box.intersection(other).area for other in found[split][:k])


def test_the_distance_between_splits_is_shapely_s():
    cutting = Cutting(64, 64, buffer=(50.0, 50.0))
    found = boxes_by_split(divide(density((900, 700)), cutting), cutting)
    merged = {split: shapely.union_all(boxes) for split, boxes in found.items()}
    for a, b in (("train", "valid"), ("train", "test"), ("valid", "test")):
        assert merged[a].distance(merged[b]) >= 50


@pytest.mark.parametrize("seed", [0, 5])
def test_a_large_scene_comes_near_its_shares_and_is_held_out_in_several_places(seed):
    scene, cutting = density((6000, 5000), seed), Cutting(seed=seed)
    regions = divide(scene, cutting)
    found = boxes_by_split(regions, cutting)
    total = sum(map(len, found.values()))
    for split, share in cutting.shares.items():
        assert len(found[split]) / total == pytest.approx(share, abs=0.05)
    landslides = dict.fromkeys(found, 0)
    fine = np.kron(scene.landslide / SIDE**2, np.ones((SIDE, SIDE)))[:6000, :5000]
    for region in regions:
        w = region.window
        landslides[region.split] += fine[w.rows, w.columns].sum()
    for split, share in cutting.shares.items():
        assert landslides[split] / sum(landslides.values()) == pytest.approx(share, abs=0.05)
    assert sum(region.split == "valid" for region in regions) >= 2
    assert regions == divide(scene, cutting)


def test_landslides_in_a_corner_are_shared_out_too():
    cells = np.zeros((40, 40), int)
    cells[:14, :14] = 100
    scene = Density((640, 640), SIDE, np.full((40, 40), SIDE**2), cells)
    cutting = Cutting(32, 32, buffer=(16.0, 16.0))
    held = dict.fromkeys(cutting.shares, 0)
    for region in divide(scene, cutting):
        for window in windows(region, cutting):
            held[region.split] += scene.landslide[window.row // SIDE : window.end // SIDE, window.column // SIDE :][
                :, : window.width // SIDE
            ].sum()
    assert all(count > 0 for count in held.values())


def test_what_is_unknown_gets_no_patches():
    scene = density((512, 1024))  # of which the west is known
    scene.known[:, 32:] = 0
    scene.landslide[:, 32:] = 0
    cutting = Cutting(64, 64, buffer=(32.0, 32.0))
    for region in divide(scene, cutting):
        assert all(window.column < 512 for window in windows(region, cutting))


def test_sums_of_a_density_are_numpy_s():
    scene = density((130, 100), known=0.7)
    tables = Tables(scene)
    known, landslide = tables.counts([0, 32, 96], [0, 48], 32)
    for i, row in enumerate((0, 2, 6)):
        for j, column in enumerate((0, 3)):
            assert known[i, j] == scene.known[row : row + 2, column : column + 2].sum()
            assert landslide[i, j] == scene.landslide[row : row + 2, column : column + 2].sum()


@pytest.mark.parametrize(
    "options, told",
    [
        ({"size": 100}, "multiple of 32"),
        ({"size": 2048}, "32 to 1024"),
        ({"stride": 0}, "stride"),
        ({"valid": 0.0}, "validate on something"),
        ({"valid": 0.7, "test": 0.3}, "something to train on"),
        ({"buffer": (-1.0, 0.0)}, "buffer"),
        ({"missing": 1.0}, "unknown"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_cannot_be_is_refused(options, told):
    with pytest.raises(LandslideError, match=told):
        Cutting(**options)


def test_a_scene_too_small_says_what_to_do():
    with pytest.raises(LandslideError, match=r"256 x 256 pixels are too few .* --size or --buffer, or --test 0"):
        divide(density((256, 256)), Cutting())
