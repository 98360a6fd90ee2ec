"""Archives of arrays: what NumPy reads of a sound one, and one line for any other, before memory is taken for it."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from tf_landslide.core.safe_npz import DamagedError, read_npz

ARRAYS = {
    "plain": np.arange(6.0).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
    "scalar": np.float32(3).reshape(()),
    "empty": np.zeros((0, 4)),
    "words": np.array(["a", "bcd"]),
    "part/0": np.array([True, False]),
}


def saved(write=np.savez, **arrays):
    memory = io.BytesIO()
    write(memory, **(arrays or ARRAYS))
    return memory.getvalue()


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_a_sound_one_is_what_numpy_reads(write, tmp_path):
    (tmp_path / "a.npz").write_bytes(saved(write))
    found, expected = read_npz(tmp_path / "a.npz", 10**6), np.load(tmp_path / "a.npz")
    assert list(found) == expected.files
    for name in expected.files:
        assert found[name].dtype == expected[name].dtype and np.array_equal(found[name], expected[name])


def archive(content, declared=None, name="a.npy", packing=zipfile.ZIP_STORED):
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", packing) as file:
        file.writestr(name, content)
        info = file.infolist()[0]
        if declared is not None:
            info.file_size = declared  # in the index, which is written last
    return memory.getvalue()


def header(shape):
    memory = io.BytesIO()
    np.lib.format.write_array_header_1_0(memory, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return memory.getvalue()


def encrypted():
    content = bytearray(archive(b"x"))
    content[content.rfind(b"PK\1\2") + 8] |= 1
    return bytes(content)


def corrupt():
    content = bytearray(saved(np.savez_compressed, a=np.random.default_rng(0).normal(size=100)))
    content[60:90] = b"\xff" * 30
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive",
        saved()[:300],
        encrypted(),
        corrupt(),
        archive(b"no array"),
        archive(header((2**40,))),
        archive(header((-1,))),
        archive(b"\x93NUMPY\x01\x00\x10\x00" + b"(" * 15 + b"\n"),
        archive(b"\x93NUMPY\x09\x00" + b"\0" * 100),
        saved(a=np.array([{}], object)),
    ],
    ids=[
        *(
            "empty",
            "words",
            "cut",
            "encrypted",
            "corrupt",
            "no array",
            "huge",
            "negative",
            "header",
            "version",
            "pickle",
        ),
    ],
)
def test_any_other_is_one_error(content):
    with pytest.raises(DamagedError) as error:
        read_npz(io.BytesIO(content), 10**6)
    assert len(str(error.value).splitlines()) == 1


def test_more_than_is_taken_is_refused():
    with pytest.raises(DamagedError, match="more than 100 bytes"):
        read_npz(io.BytesIO(saved()), 100)


def test_a_member_that_unpacks_to_more_than_it_declares_takes_no_more_memory():
    content = archive(bytes(50_000_000), declared=100, packing=zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    with pytest.raises(DamagedError):
        read_npz(io.BytesIO(content), 10**6)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000
