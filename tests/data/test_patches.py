import dataclasses
import shutil

import h5py
import numpy as np
import pytest

from tf_landslide.bands.layouts import LANDSLIDE4SENSE, LAYOUTS, MMLS
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.threads import in_order
from tf_landslide.data import hdf5 as patches_module
from tf_landslide.data.folders import Patch, available_splits, find_patches
from tf_landslide.data.hdf5 import image_layout, read_image, read_mask
from tf_landslide.data.readings import _at_once
from tf_landslide.data.safe_hdf5 import IMAGE, dataset


def write(path, key, values, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset(key, data=values, **options)
    return path


def offset(path):
    """Where the values lie, if in one piece."""
    with dataset(path, IMAGE) as (found, _):
        return found.offset


def test_pairs_go_by_number_not_by_order(tmp_path):
    for n in (2, 10, 1):
        write(tmp_path / f"TrainData/img/image_{n}.h5", "img", np.full((4, 4, 14), n, float))
    for n in (10, 3, 1):
        write(tmp_path / f"TrainData/mask/mask_{n}.h5", "mask", np.zeros((4, 4), np.uint8))
    found = {p.number: (p.image is not None, p.mask is not None) for p in find_patches(tmp_path, "train")}
    assert found == {1: (True, True), 2: (True, False), 3: (False, True), 10: (True, True)}
    assert [p.number for p in find_patches(tmp_path, "train")] == [1, 2, 3, 10]
    for patch in find_patches(tmp_path, "train"):
        if patch.image:
            assert read_image(patch.image).mean() == patch.number


def test_both_published_layouts_give_the_same_patches(sample, tmp_path):
    for released, split in (("TrainData", "train"), ("ValidData", "validation"), ("TestData", "test")):
        shutil.copytree(sample / released / "img", tmp_path / "images" / split)
        shutil.copytree(sample / released / "mask", tmp_path / "annotations" / split)
    assert available_splits(tmp_path) == available_splits(sample) == ["train", "valid", "test"]
    for split in available_splits(sample):
        for ours, theirs in zip(find_patches(sample, split), find_patches(tmp_path, split), strict=True):
            assert ours.number == theirs.number
            np.testing.assert_array_equal(read_image(ours.image), read_image(theirs.image))
            np.testing.assert_array_equal(read_mask(ours.mask), read_mask(theirs.mask))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16])
@pytest.mark.parametrize("options", [{}, {"compression": "gzip", "chunks": (8, 8, 1)}])
def test_any_number_type_compressed_or_contiguous(tmp_path, dtype, options):
    values = np.arange(8 * 8 * 7).reshape(8, 8, 7).astype(dtype)
    image = read_image(write(tmp_path / "image_1.h5", "img", values, **options), MMLS)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, values.astype(np.float32))


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", "<f2", "<i2"])
@pytest.mark.parametrize("options", [{}, {"userblock_size": 512}, {"libver": "latest"}], ids=str)
def test_what_lies_in_one_piece_is_read_as_hdf5_reads_it(tmp_path, dtype, options):
    path = tmp_path / "image_1.h5"
    with h5py.File(path, "w", **options) as file:
        file["before"] = np.arange(99)
        file["img"] = np.random.default_rng(0).integers(-99, 99, (8, 9, 14)).astype(dtype)
    assert offset(path) is not None
    with h5py.File(path) as file:
        np.testing.assert_array_equal(read_image(path), file["img"][()].astype(np.float32))


def test_hdf5_is_asked_once_for_files_with_one_header(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(patches_module, "dataset", lambda *a: asked.append(a[0]) or dataset(*a))
    monkeypatch.setattr(patches_module, "_KNOWN", {})
    paths = [write(tmp_path / f"image_{i}.h5", "img", np.full((16, 16, 14), i, np.float64)) for i in range(3)]
    other = write(tmp_path / "image_3.h5", "img", np.full((16, 8, 14), 3, np.float64))
    assert [float(read_image(path).mean()) for path in paths] == [0, 1, 2] and asked == paths[:1]
    assert read_image(other).shape == (16, 8, 14) and asked == [paths[0], other]
    with paths[1].open("r+b") as file:
        file.truncate(paths[1].stat().st_size - 8)
    with pytest.raises(LandslideError, match=r"image_1\.h5: truncated HDF5 file"):
        read_image(paths[1])


def test_reading_another_file_leaves_what_was_read(tmp_path):
    images = [write(tmp_path / f"image_{i}.h5", "img", np.full((4, 4, 14), i, np.float32)) for i in range(3)]
    masks = [write(tmp_path / f"mask_{i}.h5", "mask", np.full((4, 4), i % 2, np.uint8)) for i in range(3)]
    assert [float(x.mean()) for x in [read_image(path) for path in images]] == [0, 1, 2]
    assert [int(y.max()) for y in [read_mask(path) for path in masks]] == [0, 1, 0]


def test_what_does_not_lie_in_one_piece_goes_through_hdf5(tmp_path):
    assert offset(write(tmp_path / "a.h5", "img", np.zeros((8, 8, 7)), compression="gzip")) is None
    assert offset(write(tmp_path / "b.h5", "img", np.zeros((8, 8, 7), bool))) is None


def test_numbers_that_numpy_has_not_are_converted_by_hdf5(tmp_path):
    twelve = h5py.h5t.NATIVE_INT16.copy()
    twelve.set_precision(12)
    values = np.arange(-56, 56, dtype=np.int16).reshape(4, 4, 7)
    with h5py.File(tmp_path / "image_1.h5", "w") as file:
        dataset = h5py.h5d.create(file.id, b"img", twelve, h5py.h5s.create_simple(values.shape))
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, values)
    np.testing.assert_array_equal(read_image(tmp_path / "image_1.h5"), values)


def test_one_number_is_no_image(tmp_path):
    with pytest.raises(LandslideError, match=r"image_1\.h5.*expected an array of numbers"):
        read_image(write(tmp_path / "image_1.h5", "img", 1.0))


def test_large_images_are_read_a_few_at_a_time(tmp_path):
    small = [Patch(1, write(tmp_path / "image_1.h5", "img", np.zeros((128, 128, 14))), None)]
    large = [Patch(2, write(tmp_path / "image_2.h5", "img", np.zeros((1024, 1024, 2), np.uint8)), None)]
    assert (_at_once(small), _at_once(large), _at_once([])) == (16, 2, 16)


def test_real_files_of_both_kinds(real_data):
    samples = sorted((real_data / "landslide4sense_samples" / "img").glob("*.h5"))
    assert len(samples) == 10
    for path in samples:
        with h5py.File(path) as file:
            np.testing.assert_array_equal(read_image(path, LANDSLIDE4SENSE), file["img"][()].astype(np.float32))
        assert offset(path) == 2048
    assert [len(find_patches(real_data / "mmls", split)) for split in ("train", "valid")] == [275, 31]


@pytest.mark.parametrize(
    ("name", "said"),
    [("img_1.h5", "expected a name like image_12.h5"), ("image_01.h5", "same number as")],
)
def test_unnumbered_and_repeated_names_are_refused(tmp_path, name, said):
    write(tmp_path / "TrainData/img/image_1.h5", "img", np.zeros((4, 4, 14)))
    write(tmp_path / "TrainData/img" / name, "img", np.zeros((4, 4, 14)))
    with pytest.raises(LandslideError, match=said):
        find_patches(tmp_path, "train")


def test_a_folder_without_splits_is_refused(tmp_path):
    with pytest.raises(LandslideError, match="found neither TrainData"):
        available_splits(tmp_path)
    with pytest.raises(LandslideError, match="no such folder"):
        available_splits(tmp_path / "nowhere")
    with pytest.raises(LandslideError, match="unknown split 'vald'"):
        (tmp_path / "TrainData/img").mkdir(parents=True)
        find_patches(tmp_path, "vald")


def test_wrong_band_count_names_the_layout_it_fits(tmp_path):
    path = write(tmp_path / "image_1.h5", "img", np.zeros((4, 4, 7)))
    with pytest.raises(LandslideError, match=r"7 bands, layout 'landslide4sense' has 14; that is layout 'mmls'"):
        read_image(path, LANDSLIDE4SENSE)


def test_missing_values_pass_only_where_allowed_and_infinite_ones_never(tmp_path):
    values = np.ones((4, 4, 14))
    values[1, 2, 13] = np.nan
    path = write(tmp_path / "image_1.h5", "img", values)
    with pytest.raises(LandslideError, match=r"1 values are NaN or infinite \(NaN in dem\)"):
        read_image(path, LANDSLIDE4SENSE)
    assert np.isnan(read_image(path, LANDSLIDE4SENSE, allow_missing=True)).sum() == 1
    values[0, 0, 3] = np.inf
    path = write(tmp_path / "image_2.h5", "img", values)
    with pytest.raises(LandslideError, match="infinite in red"):
        read_image(path, LANDSLIDE4SENSE, allow_missing=True)


def test_in_order_keeps_order_and_raises_what_the_function_raises():
    assert list(in_order(lambda x: x * x, range(50))) == [x * x for x in range(50)]
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda x: 1 / x, [1, 0, 2]))


def test_a_layout_is_told_by_name_else_by_the_first_with_as_many_bands(tmp_path, monkeypatch):
    path = write(tmp_path / "image_1.h5", "img", np.zeros((8, 8, 14)))
    assert image_layout(path) is LANDSLIDE4SENSE
    twin = dataclasses.replace(LANDSLIDE4SENSE, name="twin")
    monkeypatch.setitem(LAYOUTS, "twin", twin)
    assert image_layout(path) is LANDSLIDE4SENSE and image_layout(path, [twin]) is twin
    with h5py.File(path, "a") as file:
        file["img"].attrs["layout"] = "twin"
    assert image_layout(path) is twin
    with h5py.File(path, "a") as file:
        file["img"].attrs["layout"] = np.bytes_(b"landslide4sens")
    with pytest.raises(LandslideError, match=r"landslide4sens'.*did you mean 'landslide4sense'"):
        image_layout(path)
    assert image_layout(write(tmp_path / "image_2.h5", "img", np.zeros((8, 8, 5)))) is None
