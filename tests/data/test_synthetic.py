import h5py
import numpy as np
import pytest

from tf_landslide.bands.layouts import LANDSLIDE4SENSE_DIVISORS
from tf_landslide.bands.terrain import slope_degrees
from tf_landslide.core.errors import LandslideError
from tf_landslide.data.folders import find_patches
from tf_landslide.data.landscape import SCENE, make_scene
from tf_landslide.data.synthetic import write_sample

# Means of the real training split's stored bands.
REAL_MEANS = [0.93, 0.92, 0.95, 0.96, 1.02, 1.04, 1.04, 1.05, 1.17, 1.17, 1.05, 1.04, 1.25, 1.65]


@pytest.fixture(scope="module")
def scenes():
    return [make_scene([11, 0, i]) for i in range(3)]


def test_files_are_in_exactly_the_released_format(sample):
    for patch in find_patches(sample, "test"):
        with h5py.File(patch.image) as file:
            image = file["img"]
            assert list(file) == ["img"] and image.shape == (128, 128, 14) and image.dtype == np.float64
            assert image.chunks is None and image.compression is None and image.id.get_offset() == 2048
        with h5py.File(patch.mask) as file:
            mask = file["mask"]
            assert list(file) == ["mask"] and mask.shape == (128, 128) and set(np.unique(mask[()])) <= {0, 1}
        assert patch.image.stat().st_size == 1_837_056


def test_files_look_like_the_real_ones(sample, real_data):
    real = next((real_data / "landslide4sense_samples" / "img").glob("*.h5"))
    ours = sample / "TrainData/img/image_1.h5"
    for path in (real, ours):
        with h5py.File(path) as file:
            described = (list(file), file["img"].dtype, file["img"].shape, file["img"].id.get_offset())
        assert described == (["img"], np.dtype("float64"), (128, 128, 14), 2048)
    assert real.stat().st_size == ours.stat().st_size


def test_stored_values_are_whole_in_original_units(sample):
    for patch in find_patches(sample, "valid"):
        with h5py.File(patch.image) as file:
            original = file["img"][()] * LANDSLIDE4SENSE_DIVISORS
        assert np.abs(original - original.round()).max() < 1e-9


def test_slope_is_the_slope_of_the_dem(scenes):
    for scene in scenes:
        slope, dem = scene.original[..., 12], scene.original[..., 13]
        assert np.abs(slope - slope_degrees(dem, 10.0)).max() <= 0.5 + 1e-9


def test_slope_is_horns(scenes):
    """Against Horn's formula written out, away from the edges."""
    z = scenes[0].original[..., 13].astype(float)
    a, b, c, d, f, g, h, i = (
        np.roll(z, shift, (0, 1)) for shift in ((1, 1), (1, 0), (1, -1), (0, 1), (0, -1), (-1, 1), (-1, 0), (-1, -1))
    )
    east = ((c + 2 * f + i) - (a + 2 * d + g)) / 80
    south = ((g + 2 * h + i) - (a + 2 * b + c)) / 80
    expected = np.degrees(np.arctan(np.hypot(east, south)))
    np.testing.assert_allclose(slope_degrees(z, 10.0)[1:-1, 1:-1], expected[1:-1, 1:-1])


def test_statistics_are_near_the_real_ones(scenes):
    stored = np.stack([s.original for s in scenes]) / LANDSLIDE4SENSE_DIVISORS
    masks = np.stack([s.mask for s in scenes])
    np.testing.assert_allclose(stored.mean((0, 1, 2)), REAL_MEANS, rtol=0.25)
    assert 0.012 < masks.mean() < 0.03
    patches = masks.reshape(len(scenes), SCENE // 128, 128, SCENE // 128, 128).any((2, 4))
    assert 0.4 < patches.mean() < 0.8


def test_scars_are_steep_and_bare_and_so_are_other_places(scenes):
    for scene in scenes:
        x, scar = scene.original.astype(float), scene.mask.astype(bool)
        ndvi = (x[..., 7] - x[..., 3]) / (x[..., 7] + x[..., 3])
        bare = ndvi < np.quantile(ndvi[scar], 0.75)
        assert x[..., 12][scar].mean() > 20
        lookalikes = (bare & (x[..., 12] > 15) & ~scar).sum() / (bare & (x[..., 12] > 15) & scar).sum()
        assert lookalikes > 1


@pytest.mark.slow
def test_equal_seeds_give_equal_files_and_others_differ(tmp_path):
    def contents(name, seed):
        write_sample(tmp_path / name, train=2, valid=0, test=1, seed=seed)
        return {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*.h5")}

    first, again, other = contents("a", 1), contents("b", 1), contents("c", 2)
    assert first == again and len(first) == 6
    assert all(first[path] != other[path] for path in first if "img" in str(path))


def test_splits_share_no_terrain(sample):
    profiles = {}
    for split in ("train", "valid", "test"):
        for patch in find_patches(sample, split):
            with h5py.File(patch.image) as file:
                profiles.setdefault(split, []).append(file["img"][..., 13])
    means = {split: {round(float(p.mean()), 3) for p in patches} for split, patches in profiles.items()}
    assert not means["train"] & means["valid"] and not means["train"] & means["test"]


def test_says_that_it_is_synthetic_and_never_overwrites(sample, tmp_path):
    assert "Synthetic" in (sample / "SYNTHETIC.txt").read_text()
    with pytest.raises(LandslideError, match="already holds something"):
        write_sample(sample)
    with pytest.raises(LandslideError, match="nothing to write"):
        write_sample(tmp_path / "none", train=0, valid=0, test=0)
    with pytest.raises(LandslideError, match="nothing to write"):
        write_sample(tmp_path / "none", train=-1)
    assert not (tmp_path / "none").exists()
