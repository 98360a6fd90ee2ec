"""One process, several workers, lost workers and killed runs: the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import rasterio
from rasterio import Affine

from tests.scenes.test_sampler import UTM, WGS84, terrain, write
from tf_landslide.predict.load import load_predictor
from tf_landslide.scenes.grid import Grid
from tf_landslide.scenes.identity import identity_of

pytest.importorskip("distributed", reason="needs the extra scale")
pytestmark = pytest.mark.slow

GRID = Grid(Affine(10, 0, 569000, 0, -10, 4737000), UTM, (480, 544))
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    values = np.random.default_rng(0).integers(300, 3000, (4, *GRID.shape)).astype(np.uint16)
    values[:, :, 400:] = 0
    profile = {"driver": "GTiff", "count": 4, "dtype": "uint16", "height": GRID.shape[0], "width": GRID.shape[1]}
    with rasterio.open(folder / "s.tif", "w", **profile, crs=UTM.to_wkt(), transform=GRID.transform) as file:
        file.write(values)
        for i, name in enumerate(("red", "green", "blue", "nir"), 1):
            file.set_band_description(i, name)
    dem = Grid(Affine(0.00027, 0, 141.8, 0, -0.00027, 42.83), WGS84, (400, 512))
    write(folder / "dem.tif", terrain(dem.shape), dem)
    return folder


def start(exported, scene, out, how) -> subprocess.Popen:
    command = [
        sys.executable,
        str(Path(__file__).with_name("cluster_run.py")),
        str(exported),
        str(scene),
        str(out),
        how,
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1"}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True)


def ended(process, timeout: float) -> str:
    """What a process has said when it ends; of one that does not, where its threads are too."""
    try:
        return process.communicate(timeout=timeout)[1]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGABRT)
        raise AssertionError(f"still there after {timeout:g} s: {process.communicate()[1]}") from None


def finished(process) -> list[str]:
    errors = ended(process, 300)
    assert process.returncode == 0, errors
    return [line for line in errors.splitlines() if not line.startswith("mapping: ")]  # of a slow machine


def rasters(out) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in ("probability.tif", "mask.tif")}


def parts_in(out) -> list[Path]:
    return sorted(out.glob(".parts-*/[0-9]*.npy"))


def wait_for(condition, seconds=120):
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


@pytest.fixture(scope="module")
def expected(exported, scene, tmp_path_factory):
    """What one process gives."""
    out = tmp_path_factory.mktemp("maps") / "one"
    assert finished(start(exported, scene, out, "here")) == []
    return rasters(out)


@pytest.mark.parametrize("workers", ["2", pytest.param("4", marks=pytest.mark.long)])
def test_workers_give_the_bytes_of_one_process(exported, scene, expected, tmp_path, workers):
    assert finished(start(exported, scene, tmp_path / "map", workers)) == []
    assert rasters(tmp_path / "map") == expected
    assert sorted(path.name for path in (tmp_path / "map").iterdir() if path.name.startswith(".")) == []


def workers_of(process) -> list[psutil.Process]:
    family = psutil.Process(process.pid).children(recursive=True)
    found = []
    for child in family:
        with suppress(psutil.NoSuchProcess):  # some other one that has just ended
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


def test_a_worker_that_is_killed_loses_nothing(exported, scene, expected, tmp_path):
    process = start(exported, scene, tmp_path / "map", "2")
    wait_for(lambda: parts_in(tmp_path / "map"))
    workers = workers_of(process)
    assert len(workers) == 2
    workers[0].kill()
    finished(process)
    assert rasters(tmp_path / "map") == expected


@pytest.mark.parametrize(
    ("how", "by"),
    [
        ("here", signal.SIGKILL),
        *(pytest.param("2", by, marks=pytest.mark.long) for by in (signal.SIGKILL, signal.SIGINT)),
    ],
)
def test_a_run_that_is_killed_goes_on_where_it_stopped_and_leaves_nobody_behind(
    exported, scene, expected, tmp_path, how, by
):
    out = tmp_path / "map"
    process = start(exported, scene, out, how)
    wait_for(lambda: parts_in(out))
    family = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, by) if by == signal.SIGINT else process.kill()
    errors = ended(process, 60)
    if by == signal.SIGINT:
        told = [line for line in errors.splitlines() if not line.startswith("mapping: ")]
        assert process.returncode == 130 and told == ["error: interrupted"], errors  # of the workers not a word
    psutil.wait_procs(family, timeout=60)
    assert not any(child.is_running() for child in family)
    before = {path: path.stat().st_mtime_ns for path in parts_in(out)}
    assert before and not (out / "mask.tif").exists()
    second = start(exported, scene, out, "here")
    finished(second)
    assert rasters(out) == expected
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    "seconds", [pytest.param(0.0, marks=pytest.mark.long), 0.7, pytest.param(1.5, marks=pytest.mark.long)]
)
def test_ctrl_c_while_workers_start_is_one_line(exported, scene, tmp_path, seconds):
    process = start(exported, scene, tmp_path / "map", "2")
    wait_for(lambda: workers_of(process))
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    errors = ended(process, 60)
    assert process.returncode == 130 and errors.splitlines() == ["error: interrupted"], errors


def test_another_workers_weights_or_versions_are_told(exported):
    mine = identity_of(load_predictor(exported))
    assert mine.differences(replace(mine, cpu="another")) == ""
    said = mine.differences(replace(mine, weights="0", runtime="server"))
    assert said == f"weights {mine.weights} here, 0 there; runtime {mine.runtime} here, server there"
