"""A map where the disk is full or the folder is taken: one line with the path, nothing half-written."""

import errno
import os
import resource
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from tests.scenes.conftest import GRID
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import require_space
from tf_landslide.core.locks import locked
from tf_landslide.core.processes import this_process
from tf_landslide.jobs.rasters import map_folder
from tf_landslide.scenes import writer
from tf_landslide.scenes.blocks import tiling
from tf_landslide.scenes.parts import Parts, encoded
from tf_landslide.scenes.writer import write_rasters

Usage = namedtuple("Usage", "total used free")


def noise():
    """Rows that cannot be compressed."""
    values = np.random.default_rng(0).random(GRID.shape).astype(np.float32)
    yield from ((top, values[top : top + 512]) for top in range(0, GRID.shape[0], 512))


@pytest.fixture
def few_bytes_a_file():
    """Files of at most 400 kB, as a disk that is nearly full would take them; Python ignores the signal."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("few_bytes_a_file")
def test_what_gdal_cannot_write_is_one_line_with_the_path(tmp_path):
    with pytest.raises(LandslideError, match=r"(probability|mask)\.tif: cannot be written") as caught:
        write_rasters(tmp_path / "map", GRID, noise(), 0.5, {})
    assert "\n" not in str(caught.value) and list((tmp_path / "map").iterdir()) == []


def test_a_disk_that_fills_up_meanwhile_leaves_nothing(tmp_path, monkeypatch):
    asked = []

    def usage(_):
        asked.append(1)
        return Usage(2**40, 0, 2**40 if len(asked) < 2 else 1000)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    with pytest.raises(LandslideError, match=r"map: the next strip needs 0\.00 GB of disk, 0\.00 GB are free"):
        write_rasters(tmp_path / "map", GRID, noise(), 0.5, {})
    assert len(asked) == 2 and list((tmp_path / "map").iterdir()) == []


def test_too_little_room_is_told_before_anything_is_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**40, 0, 3 * 10**9))
    require_space(tmp_path / "not" / "yet", 3 * 10**9, "this map")
    with pytest.raises(LandslideError, match=r"yet: this map needs 3\.01 GB of disk, 3\.00 GB are free; make room"):
        require_space(tmp_path / "not" / "yet", 3_010_000_000, "this map")
    assert not (tmp_path / "not").exists()
    rows, columns = GRID.shape
    assert writer.bytes_needed(GRID) == pytest.approx(rows * columns * 5 * 2 * 4 / 3, abs=1)
    assert writer.bytes_needed(GRID, unsure=True) == pytest.approx(rows * columns * 13 * 2 * 4 / 3, abs=1)


def test_a_full_disk_under_a_part_is_one_line_with_its_path(tmp_path, monkeypatch):
    parts = Parts(tmp_path / "parts", tiling((64, 64), 64, 32, 8))

    def full(self, _):
        os.close(os.open(self, os.O_CREAT))
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(LandslideError, match=r"parts/0_0\.npy: no space left on the disk; make room"):
        parts.keep(next(parts.tiling.blocks()), encoded(np.zeros((1, 64, 64), np.float32)))
    assert list(parts.folder.iterdir()) == []


def test_one_map_at_a_time_is_written_to_a_folder(tmp_path):
    out = tmp_path / "map"
    with (
        locked(out),
        pytest.raises(LandslideError, match=r"map: process \d+ on .* writes to it; wait"),
        map_folder(out),
    ):
        raise AssertionError
    with map_folder(out):
        pass


def test_what_dead_processes_left_is_swept_and_parts_go_when_all_is_done(tmp_path):
    out = tmp_path / "map"
    alive = Parts(out / ".parts-1", tiling((64, 64), 64, 32, 8))
    alive.keep(next(alive.tiling.blocks()), encoded(np.zeros((1, 64, 64), np.float32)))
    gone = this_process().split("-")[0] + "-999999999"
    left = out / f".mask.{gone}-0123abcd.partial"
    left.mkdir()
    (left / "plain.tif").write_bytes(b"half")
    with pytest.raises(LandslideError), map_folder(out):
        assert not left.exists()
        raise LandslideError("stopped")
    assert len(alive.missing()) == 0
    with map_folder(out):
        pass
    assert list(out.iterdir()) == []
