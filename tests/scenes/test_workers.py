"""Workers that are lost, refused, or ask a server: real schedulers and workers, each a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.scenes.test_cluster import finished, parts_in, rasters, scene, start, wait_for  # noqa: F401
from tf_landslide.core.errors import LandslideError, LandslideWarning
from tf_landslide.scenes.blocks import Block
from tf_landslide.scenes.grid import Window

distributed = pytest.importorskip("distributed", reason="needs the extra scale")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def dask():
    """Starts ``dask scheduler`` and ``dask worker``s; all are ended with the test."""
    started = []

    def run(*words: str) -> subprocess.Popen:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, "-m", "distributed.cli.dask_" + words[0], *words[1:]]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment))
        return started[-1]

    yield run
    for process in reversed(started):
        process.kill()
        process.wait()
        process.stderr.close()


def scheduler(dask) -> tuple[subprocess.Popen, str]:
    process = dask("scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0")
    for line in process.stderr:
        if match := re.search(rb"(tcp://127\.0\.0\.1:\d+)", line):
            threading.Thread(target=process.stderr.read, daemon=True).start()  # or its pipe would fill up
            return process, match[1].decode()
    raise AssertionError("the scheduler ended")


def worker(dask, address: str, *more: str) -> subprocess.Popen:
    process = dask("worker", address, "--nthreads", "1", "--memory-limit", "0", "--no-nanny", "--no-dashboard", *more)
    threading.Thread(target=process.stderr.read, daemon=True).start()
    return process


@pytest.fixture(scope="module")
def expected(exported, scene, tmp_path_factory):  # noqa: F811
    out = tmp_path_factory.mktemp("maps") / "one"
    assert finished(start(exported, scene, out, "here")) == []
    return rasters(out)


class Nobody:
    """A client whose workers are there as it is told."""

    def __init__(self, *there):
        self.there = list(there)

    def nthreads(self):
        return {"a worker": 1} if (self.there.pop(0) if self.there else False) else {}

    def has_ready(self):
        return False


def test_that_no_worker_is_left_is_told_once_and_given_up_after_a_while(monkeypatch):
    from tf_landslide.scenes import cluster

    monkeypatch.setattr(cluster, "TOLD_AFTER", 0.2)
    monkeypatch.setattr(cluster, "GIVEN_UP_AFTER", 0.6)
    monkeypatch.setattr(cluster, "_LOOK", 0.05)
    client = Nobody(*[True] * 8)  # 0.4 seconds
    began = time.monotonic()
    with pytest.warns(LandslideWarning) as told, pytest.raises(LandslideError, match=r"for 0\.6 seconds none has come"):
        cluster._wait(client, client)
    assert 0.9 < time.monotonic() - began < 3
    assert [str(warning.message) for warning in told] == [
        "all workers are lost; waiting up to 0.6 seconds for new ones"
    ]


def test_workers_that_cannot_be_started_are_one_line(monkeypatch):
    """As where memory or processes are short, or a script lacks its main guard."""
    from tf_landslide.scenes import cluster

    def failing(**_):
        raise RuntimeError("Nanny failed to start.")

    monkeypatch.setattr(cluster, "LocalCluster", failing)
    said = r"^2 workers cannot be started on this machine \(Nanny failed to start"
    with pytest.raises(LandslideError, match=said), cluster._local(2):
        raise AssertionError("there are none")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(28, "No space left on device"),
            r"^block 1, 2 of the scene: a worker failed \(OSError: .*No space left",
        ),
        (distributed.comm.CommClosedError("closed"), "^the scheduler is lost .closed"),
    ],
)
def test_what_fails_in_a_worker_is_told_apart_from_a_lost_scheduler(monkeypatch, error, said):
    from tf_landslide.scenes import cluster

    def failing(_, __):
        raise error

    monkeypatch.setattr(cluster, "_answer", failing)
    where = {"processes": False, "n_workers": 1, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    block = Block(1, 2, (), Window(0, 0, 64, 64))
    with distributed.Client(**where, set_as_default=False) as client, pytest.raises(LandslideError, match=said):
        next(cluster._answers(client, None, [block], {}))


@pytest.mark.long
def test_a_map_that_lost_all_workers_waits_for_new_ones(exported, scene, expected, tmp_path, dask):  # noqa: F811
    _, address = scheduler(dask)
    first = worker(dask, address)
    process = start(exported, scene, tmp_path / "map", address)
    wait_for(lambda: parts_in(tmp_path / "map"))
    first.kill()
    time.sleep(2)
    assert process.poll() is None
    worker(dask, address)
    finished(process)
    assert rasters(tmp_path / "map") == expected


@pytest.mark.long
def test_a_scheduler_that_is_lost_is_one_line_and_the_parts_stay(exported, scene, tmp_path, dask):  # noqa: F811
    process, address = scheduler(dask)
    worker(dask, address)
    mapping = start(exported, scene, tmp_path / "map", address)
    wait_for(lambda: parts_in(tmp_path / "map"))
    process.kill()
    _, errors = mapping.communicate(timeout=120)
    assert mapping.returncode == 2 and "the scheduler is lost" in errors.splitlines()[-1], errors
    assert parts_in(tmp_path / "map") and not (tmp_path / "map" / "mask.tif").exists()


@pytest.mark.slow
def test_a_worker_of_another_version_is_refused_by_name_and_difference(exported, scene, tmp_path, dask):  # noqa: F811
    _, address = scheduler(dask)
    worker(dask, address, "--preload", str(Path(__file__).with_name("refusing.py")))
    process = start(exported, scene, tmp_path / "map", address)
    _, errors = process.communicate(timeout=120)
    last = errors.splitlines()[-1]
    assert process.returncode == 2 and errors.count("error:") == 1, errors
    assert "the worker would answer otherwise: versions tf-landslide" in last and "tf-landslide 9.9.9" in last
    assert not (tmp_path / "map" / "mask.tif").exists()


@pytest.mark.long
def test_workers_that_ask_a_server_give_what_one_process_that_asks_it_does(exported, scene, tmp_path):  # noqa: F811
    from tests.serving.conftest import running

    with running(exported.parent.parent) as server:
        model = f"grpc://127.0.0.1:{server.port}/{exported.parent.name}"
        for how in ("here", "2"):
            assert finished(start(model, scene, tmp_path / how, how)) == []
    assert rasters(tmp_path / "here") == rasters(tmp_path / "2")
