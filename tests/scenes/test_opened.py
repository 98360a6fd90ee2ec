"""How many files stay open, by the operating system's own list."""

import os
import pickle
import sys
from contextlib import suppress
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from rasterio import Affine

from tests.scenes.test_sampler import UTM, write
from tf_landslide.bands.layouts import Band
from tf_landslide.core.errors import LandslideError
from tf_landslide.jobs.rasters import map_folder
from tf_landslide.scenes.grid import Grid
from tf_landslide.scenes.opened import MOST_OPEN
from tf_landslide.scenes.raster import RasterBand, mosaic

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
SIDE = 4


def held(folder):
    """The files of a folder that this process holds open, deleted ones too."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sorted(str(link.readlink()) for link in links if str(link.readlink()).startswith(str(folder)))


def tile(folder, number):
    grid = Grid(Affine(10, 0, 5e5 + 10 * SIDE * number, 0, -10, 4e6), UTM, (SIDE, SIDE))
    path = write(folder / f"{number:03}.tif", np.full(grid.shape, number, np.float32), grid)
    return RasterBand.open(path, 1, Band("dem", unit="metres"))


def on_a_thread(work):
    """Do it on a thread that begins with nothing open, as the page's and workers' do."""
    errors = []

    def run():
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def test_of_many_tiles_the_last_used_stay_open(tmp_path):
    tiles = [tile(tmp_path, i) for i in range(MOST_OPEN + 8)]
    together = mosaic(tiles)

    def work():
        expected = np.repeat(np.arange(len(tiles)), SIDE)
        for _ in range(2):  # what was closed is opened again
            assert (together.read(together.grid.window) == expected).all()
            assert held(tmp_path) == [str(tmp_path / f"{i:03}.tif") for i in range(8, len(tiles))]
        tiles[8].read(tiles[8].grid.window)  # used again: the next oldest goes
        tiles[0].read(tiles[0].grid.window)
        assert str(tmp_path / "008.tif") in held(tmp_path) and str(tmp_path / "009.tif") not in held(tmp_path)

    on_a_thread(work)


def test_a_file_that_is_deleted_does_not_keep_its_disk_and_a_new_one_of_its_name_is_read(tmp_path):
    first, second = tile(tmp_path, 1), tile(tmp_path, 2)

    def work():
        first.read(first.grid.window)
        (tmp_path / "001.tif").unlink()
        second.read(second.grid.window)
        assert held(tmp_path) == [str(tmp_path / "002.tif")]
        write(tmp_path / "002.tif.new", np.full((SIDE, SIDE), 7, np.float32), second.grid).replace(tmp_path / "002.tif")
        again = RasterBand.open(tmp_path / "002.tif", 1, second.band)
        assert (again.read(second.grid.window) == 7).all() and held(tmp_path) == [str(tmp_path / "002.tif")]

    on_a_thread(work)


@pytest.mark.parametrize("side", [SIDE, SIDE // 2, 2 * SIDE])
@pytest.mark.parametrize("how", ["replaced", "overwritten"])
def test_a_file_that_another_takes_the_place_of_is_not_mixed_with_it(tmp_path, how, side):
    one = tile(tmp_path, 1)
    grid = Grid(one.grid.transform, UTM, (side, side))

    def work():
        one.read(one.grid.window)
        before = (tmp_path / "001.tif").stat().st_mtime_ns
        new = tmp_path / ("new.tif" if how == "replaced" else "001.tif")
        write(new, np.full(grid.shape, 7, np.float32), grid)
        os.utime(new, ns=(before + 10**9, before + 10**9))
        new.replace(tmp_path / "001.tif")
        for asked in (lambda: one.read(one.grid.window), one.require_unchanged):
            with pytest.raises(LandslideError, match=r"001\.tif: has changed since it was opened, .* begin again"):
                asked()
        assert not held(tmp_path)

    on_a_thread(work)


def test_a_worker_s_copy_of_a_file_may_have_another_time_but_not_another_size(tmp_path):
    sent = pickle.dumps(tile(tmp_path, 1))
    os.utime(tmp_path / "001.tif", ns=(1, 1))
    received = pickle.loads(sent)
    assert (received.read(received.grid.window) == 1).all()
    with (tmp_path / "001.tif").open("ab") as file:
        file.write(b"0")
    with pytest.raises(LandslideError, match="has changed since it was opened"):
        received.read(received.grid.window)


@pytest.mark.parametrize("fails", [False, True])
def test_after_a_map_nothing_of_its_scene_is_open(tmp_path, fails):
    bands = [tile(tmp_path, i) for i in range(5)]

    def work():
        for i, band in enumerate(bands):
            with suppress(KeyError), map_folder(tmp_path / f"map_{i}"):
                band.read(band.grid.window)
                assert held(tmp_path / f"{i:03}.tif")
                if fails:
                    raise KeyError(i)
            assert not held(tmp_path)

    on_a_thread(work)
