"""HDF5 files whose heap of texts is damaged, which HDF5 itself walks through forever."""

import subprocess
import sys

import h5py
import numpy as np
import pytest

from tests.conftest import ROOT
from tf_landslide.core.errors import LandslideError
from tf_landslide.data.hdf5 import image_layout, read_image
from tf_landslide.data.safe_hdf5 import MASK, dataset

IMAGE = np.ones((4, 4, 14), np.float32)


def written(path, layout="landslide4sense", image=IMAGE):
    with h5py.File(path, "w") as file:
        file.create_dataset("img", data=image).attrs["layout"] = layout
    return path


def damaged(path, object_, size):
    """With another size of an object of the heap; the first is the text, the second what is free."""
    content = bytearray(written(path).read_bytes())
    heap = content.find(b"GCOL")
    at = heap + 16 if object_ == 0 else heap + 16 + 16 + 16
    assert content[at] == (1, 0)[object_]
    content[at + 8 : at + 16] = size.to_bytes(8, "little")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("by_chance", [b"GCOLKAiGc\xdeR\xd9\x03\xde\xc9\x02", b"GCOL\x01\0\0\0" + b"\xff" * 8])
def test_values_may_look_like_one(tmp_path, by_chance):
    image = np.resize(np.frombuffer(by_chance, np.uint8), IMAGE.shape)
    path = written(tmp_path / "a.h5", image=image)
    assert path.read_bytes().count(b"GCOL") > 2
    assert image_layout(path).name == "landslide4sense" and np.array_equal(read_image(path), image)


SIZES = {"text": (0, 2**64 - 16), "nothing is free": (1, 0), "a little is free": (1, 8), "too much is free": (1, 2**40)}


def test_a_sound_one_is_read(tmp_path):
    path = written(tmp_path / "a.h5")
    assert image_layout(path).name == "landslide4sense" and np.array_equal(read_image(path), IMAGE)


def test_a_damaged_one_is_told_and_not_walked(tmp_path):
    paths = [damaged(tmp_path / f"{name}.h5", *values) for name, values in SIZES.items()]
    paths.append(written(tmp_path / "a heap beyond the file.h5"))
    content = paths[-1].read_bytes()
    at = content.find(b"GCOL") + 8
    paths[-1].write_bytes(content[:at] + (2**40).to_bytes(8, "little") + content[at + 8 :])
    many = np.resize(np.frombuffer(b"GCOL\x01\0\0\0" + b"\xff" * 8, np.uint8), (1000, 1000, 14))
    paths.append(written(tmp_path / "more than anybody writes.h5", image=many))
    code = """
import sys
from pathlib import Path
from tf_landslide.core.errors import LandslideError
from tf_landslide.data.hdf5 import read_image
for path in sys.argv[1:]:
    try:
        read_image(Path(path))
    except LandslideError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, paths)], capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    expected = [f"{path}: not a readable HDF5 file (damaged); fetch or write it again" for path in paths]
    assert done.stdout.splitlines() == expected, done.stderr


def test_names_that_are_no_utf_8(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file[b"\xff"] = IMAGE
    assert np.array_equal(read_image(tmp_path / "a.h5"), IMAGE)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file[b"\xfe"] = IMAGE
    with (
        pytest.raises(LandslideError, match=r"has no dataset 'mask' \(found: .*udcfe") as error,
        dataset(tmp_path / "a.h5", MASK),
    ):
        pass
    assert str(error.value).isprintable()
