import gc
import hashlib
import weakref
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from tf_landslide.bands.features import Features
from tf_landslide.bands.recipes import channel_recipe
from tf_landslide.core.errors import LandslideError
from tf_landslide.data.checks import DuplicateFinder
from tf_landslide.data.folders import find_patches
from tf_landslide.data.hdf5 import read_image, read_mask
from tf_landslide.data.pipeline import as_dataset, load_dataset
from tf_landslide.data.plan import epoch_plan
from tf_landslide.data.source import PatchSource, turned


def dataset_digest(dataset: tf.data.Dataset) -> str:
    """SHA-256 over every batch of one iteration: equal digests mean equal batches."""
    digest = hashlib.sha256()
    for x, y in dataset:
        digest.update(np.ascontiguousarray(x).tobytes())
        digest.update(np.ascontiguousarray(y).tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def source(sample):
    return PatchSource.open(sample, "train", channel_recipe())


def test_batches_are_the_features_of_the_files(sample):
    dataset = load_dataset(sample, "train", batch_size=4)
    features = Features("landslide4sense", "six")
    patches = find_patches(sample, "train")
    x, y = (np.concatenate(parts) for parts in zip(*dataset.as_numpy_iterator(), strict=True))
    assert len(dataset) == 3 and x.shape == (10, 128, 128, 6) and y.shape == (10, 128, 128, 1)
    assert x.dtype == y.dtype == np.float32
    np.testing.assert_array_equal(x, np.concatenate([features(read_image(p.image)[None]) for p in patches]))
    np.testing.assert_array_equal(y[..., 0], np.stack([read_mask(p.mask) for p in patches]))


@pytest.mark.parametrize("cache", ["disk", "none"])
def test_every_cache_gives_the_same_batches(sample, tmp_path, cache):
    options = {"batch_size": 4, "shuffle": True, "augment": True, "seed": 5}
    plain = load_dataset(sample, "train", **options)
    cached = load_dataset(sample, "train", cache=cache, cache_dir=tmp_path, **options)
    for _ in range(2):
        assert dataset_digest(cached) == dataset_digest(plain)
    assert not list(tmp_path.glob("*.partial"))


def test_a_broken_file_leaves_no_disk_cache(copy, tmp_path):
    (copy / "TrainData/img/image_9.h5").write_bytes(b"")
    cache = tmp_path / "cache"
    with pytest.raises(LandslideError, match="image_9"):
        load_dataset(copy, "train", cache="disk", cache_dir=cache)
    assert not list(cache.iterdir())


def test_one_seed_gives_one_sequence_of_batches_and_another_gives_another(source):
    def epochs(seed, first=0, n=3):
        dataset = as_dataset(source, 4, shuffle=True, augment=True, seed=seed)
        if first:
            dataset.epochs.draw(first)
            return [dataset_digest(dataset), *epochs(seed, first + 1, n - 1)] if n else []
        return [dataset_digest(dataset) for _ in range(n)]

    assert epochs(1) == epochs(1)
    assert len({*epochs(1), *epochs(2)}) == 6
    assert epochs(1, first=1, n=2) == epochs(1)[1:]  # what a resumed run sees


def test_looking_at_a_batch_is_no_epoch(source):
    options = {"shuffle": True, "augment": True, "seed": 3}
    expected = [dataset_digest(as_dataset(source, 2, **options))]
    looked_at = as_dataset(source, 2, **options)
    expected.append(dataset_digest(looked_at) and dataset_digest(looked_at))
    looked_at = as_dataset(source, 2, **options)
    for _ in range(3):
        next(iter(looked_at))
        list(looked_at.take(4))  # of five
    found = []
    for _ in range(2):
        found.append(dataset_digest(looked_at))
        next(iter(looked_at))
    assert found == expected and found[0] != found[1]


def test_who_counts_epochs_himself_sees_each_as_often_as_he_likes(source):
    dataset = as_dataset(source, 4, shuffle=True, seed=3)
    first, second = dataset_digest(dataset), dataset_digest(dataset)
    for epoch, digest in ((1, second), (1, second), (0, first), (1, second)):
        dataset.epochs.draw(epoch)
        assert dataset_digest(dataset) == digest != dataset_digest(as_dataset(source, 4))


def test_a_dataset_keeps_its_patches_as_long_as_anything_iterates_and_no_longer(sample):
    dataset = as_dataset(PatchSource.open(sample, "train", channel_recipe()), 2)
    source = weakref.ref(dataset.source)
    assert repr(source()).startswith("PatchSource(10 patches")
    iterator = iter(dataset.take(4).map(lambda *batch: batch[0]))
    next(iterator)
    del dataset
    gc.collect()
    assert len(list(iterator)) == 3
    del iterator
    gc.collect()
    assert source() is None


def test_classes_are_balanced_by_their_pixels_and_one_class_is_not(source):
    masks = source.fetch(np.arange(len(source)))[1]
    assert source.balance == pytest.approx((1 - masks.mean()) / masks.mean(), rel=1e-12)
    part = source.subset(np.flatnonzero(source.positive)[:2])
    masks = part.fetch(np.arange(2))[1]
    assert part.balance == pytest.approx((1 - masks.mean()) / masks.mean(), rel=1e-12) != source.balance
    for label, said in ((0, "no landslide pixel"), (1, "nothing but landslide pixels")):
        pixels = np.zeros_like(source.pixels)
        pixels[:, label] = 9
        with pytest.raises(LandslideError, match=f"holds {said}, so that there is no weight"):
            _ = replace(source, pixels=pixels).balance


def test_a_shuffled_epoch_holds_every_patch_once():
    positions, symmetries = epoch_plan(0, np.zeros(50, bool), 3, shuffle=True, augment=True)
    assert sorted(positions) == list(range(50)) and list(positions) != list(range(50))
    assert set(symmetries) == set(range(8))
    ordered, none = epoch_plan(0, np.zeros(50, bool), 3, shuffle=False, augment=False)
    assert list(ordered) == list(range(50)) and not none.any()


@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.9, 1.0])
def test_positive_fraction_oversamples_in_whole_rounds(fraction):
    positive = np.arange(40) < 8
    positions, _ = epoch_plan(4, positive, 0, shuffle=True, augment=False, positive_fraction=fraction)
    drawn = positive[positions]
    assert len(positions) == 40 and drawn.sum() == round(40 * fraction)
    for kind in (True, False):
        counts = np.bincount(positions[drawn == kind], minlength=40)[positive == kind]
        assert counts.max() - counts.min() <= 1


def test_impossible_oversampling_is_refused():
    with pytest.raises(LandslideError, match="needs patches with landslides"):
        epoch_plan(0, np.zeros(4, bool), 0, shuffle=True, augment=False, positive_fraction=0.5)
    for settings in ({"positive_fraction": 0.5}, {"hard_share": 0.5}):
        with pytest.raises(LandslideError, match="need shuffle"):
            epoch_plan(0, np.ones(4, bool), 0, shuffle=False, augment=False, **settings)


@pytest.mark.parametrize("fraction", [None, 0.5])
def test_hard_patches_are_drawn_by_their_errors_beside_the_others(fraction):
    """Over many epochs each is drawn as often as the formula says: (1 - share) times as without, and by its error."""
    positive, errors = np.arange(20) < 10, np.linspace(0, 1, 20) ** 2

    def drawn(share, by, epochs=2000):
        plans = [
            epoch_plan(
                *(epoch, positive, 3),
                shuffle=True,
                augment=False,
                positive_fraction=fraction,
                hard_share=share,
                errors=by,
            )[0]
            for epoch in range(epochs)
        ]
        return np.bincount(np.concatenate(plans), minlength=20) / epochs, plans

    found, plans = drawn(0.4, errors)
    np.testing.assert_allclose(found, 0.6 + 8 * errors / errors.sum(), atol=0.08)
    assert found[0] == pytest.approx(0.6, abs=0.05) and {len(plan) for plan in plans} == {20}
    np.testing.assert_array_equal(plans[:20], drawn(0.4, errors, 20)[1])
    firsts = np.mean([errors[plan[:8]].mean() for plan in plans])  # the hard ones do not all come first
    assert firsts == pytest.approx(np.mean([errors[plan].mean() for plan in plans]), abs=0.01)
    for share, by in ((0.4, None), (0.4, np.zeros(20)), (0.0, errors)):
        np.testing.assert_array_equal(drawn(share, by, 20)[1], drawn(0.0, None, 20)[1])


def test_a_dataset_draws_by_the_errors_it_is_told(source):
    dataset = as_dataset(source, 5, shuffle=True, seed=3, hard_share=0.9)
    plain = dataset_digest(dataset)
    errors = np.zeros(10)
    errors[7] = 2.0
    dataset.epochs.draw(0, errors)
    masks = np.concatenate([y for _, y in dataset.as_numpy_iterator()])
    assert (masks == source.fetch(np.array([7]))[1]).all((1, 2, 3)).sum() >= 9
    dataset.epochs.draw(0)
    assert dataset_digest(dataset) == plain


def test_symmetries_are_the_eight_of_the_square():
    square = np.arange(9.0).reshape(3, 3, 1)
    found = {np.ascontiguousarray(turned(square, s)).tobytes() for s in range(8)}
    rotations = [np.rot90(square, k) for k in range(4)]
    expected = {np.ascontiguousarray(a).tobytes() for r in rotations for a in (r, r[::-1])}
    assert found == expected and len(expected) == 8


def test_image_and_mask_turn_together(source):
    plain = {y.tobytes(): x for x, y in zip(*source.fetch(np.arange(len(source))), strict=True) if y.any()}
    seen = 0
    for x, y in as_dataset(source, 10, shuffle=True, augment=True, seed=2).as_numpy_iterator():
        for image, mask in zip(x, y, strict=True):
            for s in range(8):
                back = turned(mask, _inverse(s)).astype(np.uint8).tobytes()
                if back in plain and np.array_equal(turned(image, _inverse(s)), plain[back]):
                    seen += 1
                    break
    assert seen == len(plain) > 2


def _inverse(symmetry: int) -> int:
    """Transposing exchanges rows and columns, so the flips change places; without it each symmetry undoes itself."""
    if not symmetry & 1:
        return symmetry
    return 1 | (symmetry & 2) << 1 | (symmetry & 4) >> 1


def test_twins_across_splits_are_found_while_loading(copy):
    import shutil

    shutil.copy(copy / "TrainData/img/image_2.h5", copy / "ValidData/img/image_1.h5")
    recipe, duplicates = channel_recipe(), DuplicateFinder()
    PatchSource.open(copy, "train", recipe, duplicates=duplicates)
    with pytest.raises(LandslideError, match=r"splits 'train' and 'valid'"):
        PatchSource.open(copy, "valid", recipe, duplicates=duplicates)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"cache": "ram"}, "unknown cache"),
        ({"cache": "disk"}, "needs a folder"),
        ({"batch_size": 0}, "at least 1"),
        ({"split": "tset"}, "did you mean 'test'"),
        ({"channels": "sic"}, "did you mean 'six'"),
    ],
)
def test_senseless_arguments_are_refused(sample, arguments, said):
    with pytest.raises(LandslideError, match=said):
        load_dataset(sample, **arguments)


def test_real_mars_data_gives_six_finite_channels_but_for_no_data(real_data):
    channels = ["red", "green", "blue", "thermal_inertia", "slope", "dem"]
    dataset = load_dataset(real_data / "mmls", "valid", channels=channels, batch_size=31)
    x, y = next(dataset.as_numpy_iterator())
    assert x.shape == (31, 128, 128, 6) and 0.35 < y.mean() < 0.45
    assert np.isfinite(x[..., [0, 1, 2, 4, 5]]).all()
