"""Parts of a map: exact, and nothing in them is believed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tf_landslide.core.errors import LandslideError, LandslideWarning
from tf_landslide.scenes import parts as parts_module
from tf_landslide.scenes.blocks import tiling
from tf_landslide.scenes.grid import Window
from tf_landslide.scenes.parts import Parts, encoded

ROOT = Path(__file__).parents[2]


@pytest.fixture
def parts(tmp_path):
    return Parts(tmp_path / "parts", tiling((100, 90), 64, 32, 8, 1))


@pytest.fixture
def block(parts):
    return next(parts.tiling.blocks())


@pytest.fixture
def share():
    values = np.random.default_rng(0).random((1, 64, 64)).astype(np.float32)
    values[:, 10:20, 30:] = np.nan
    return values


def test_a_part_is_exact_and_numpy_reads_it(parts, block, share):
    parts.keep(block, encoded(share))
    np.testing.assert_array_equal(np.load(parts.path(block), allow_pickle=False), share)
    np.testing.assert_array_equal(parts.total([block], Window(5, 0, 20, 90))[:, :64], share[0, 5:25])
    assert parts.path(block).stat().st_size == parts.nbytes(block) and block not in parts.missing()


def test_each_map_of_a_part_is_added_up_by_itself(parts, block):
    parts = replace(parts, maps=3)
    share = np.random.default_rng(1).random((3, 64, 64)).astype(np.float32)
    parts.keep(block, encoded(share))
    for which in range(3):
        np.testing.assert_array_equal(parts.total([block], Window(7, 3, 20, 50), which), share[which, 7:27, 3:53])
    assert parts.path(block).stat().st_size == parts.nbytes(block) and block not in parts.missing()


def test_a_part_without_data_takes_hardly_any_room(parts, block):
    parts.keep(block, encoded(np.full((1, 64, 64), np.nan, np.float32)))
    assert parts.path(block).stat().st_size < 200 and block not in parts.missing()
    found = parts.total([block], Window(60, 60, 10, 10))
    assert np.isnan(found[:4, :4]).all() and (found[4:] == 0).all() and (found[:, 4:] == 0).all()


def test_someone_may_look_at_its_bytes_meanwhile(share, monkeypatch):
    """A profiler that holds a frame holds what it was called with."""
    held, checksum = [], parts_module._checksum
    monkeypatch.setattr(parts_module, "_checksum", lambda content: (held.append(content), checksum(content))[1])
    content = encoded(share)
    assert held and content == held[0] + checksum(held[0])


def overwritten(at, value):
    return lambda content: content[:at] + value + content[at + len(value) :]


DAMAGES = {
    "nothing": lambda _: b"",
    "cut short": lambda content: content[:-1000],
    "one byte short": lambda content: content[:-1],
    "longer": lambda content: content + b"\0",
    "another byte": overwritten(5000, b"\x01"),
    "another checksum": lambda content: content[:-4] + b"\0\0\0\1",
    "text": lambda _: b"no part at all",
    "another shape": lambda _: encoded(np.zeros((1, 64, 32), np.float32)),
    "more maps": lambda _: encoded(np.zeros((3, 64, 64), np.float32)),
    "no maps": lambda _: encoded(np.full((3, 64, 64), np.nan, np.float32)),
    "too large": lambda _: encoded(np.zeros((1, 640, 640), np.float32)),
    "doubles": lambda _: npy(np.zeros((1, 64, 64))),
    "pickled": lambda _: npy(np.array([[[{}]]], object)),
    "beyond 1": lambda _: encoded(np.full((1, 64, 64), 1.5, np.float32)),
    "infinite": lambda _: encoded(np.full((1, 64, 64), np.inf, np.float32)),
    "one infinite": lambda _: encoded(np.where(np.eye(64, dtype=bool)[None], np.float32("-inf"), np.float32(0))),
}


def npy(values):
    """A file of NumPy's, with our checksum."""
    from io import BytesIO
    from zlib import crc32

    file = BytesIO()
    np.save(file, values)
    return file.getvalue() + crc32(file.getvalue()).to_bytes(4, "little")


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_part_of_the_block_is_warned_of_removed_and_refused(parts, block, share, damage):
    content = DAMAGES[damage](encoded(share))
    with pytest.raises(LandslideError, match=r"block 0, 0 of the scene: its answer "):
        parts.keep(block, content)
    assert not parts.path(block).exists()
    parts.folder.mkdir(exist_ok=True)
    parts.path(block).write_bytes(content)
    with pytest.warns(LandslideWarning, match=r"0_0\.npy: .*; block 0, 0 is predicted again"):
        missing = parts.missing()
    assert block in missing and not parts.path(block).exists()


def test_a_part_that_vanishes_meanwhile_is_one_line(parts, block, share):
    parts.keep(block, encoded(share))
    parts.path(block).write_bytes(b"")
    with pytest.raises(LandslideError, match=r"0_0\.npy: cannot be read .*run the same command again"):
        parts.total([block], Window(0, 0, 10, 10))
    parts.path(block).unlink()
    with pytest.raises(LandslideError, match=r"0_0\.npy: cannot be read"):
        parts.total([block], Window(0, 0, 10, 10))


def test_other_code_under_the_same_version_is_another_identity(tmp_path):
    """Parts that it made are not gone on with, and a worker that runs it is refused."""
    from tf_landslide.scenes.identity import code

    said = []
    for i, (folder, text) in enumerate(
        (("scenes", "a"), ("scenes", "b"), ("bands", "b"), ("page", "b"), ("page", "c"))
    ):
        package = tmp_path / str(i)
        (package / folder).mkdir(parents=True)
        (package / folder / "module.py").write_text(text)
        said.append(code(package))
    assert len(set(said[:4])) == 4 and said[3] == said[4]
    assert code(ROOT / "tf_landslide") == code(ROOT / "tf_landslide") not in said
