"""Several workers that train one model are one process that has the whole batch; a killed one is started again."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from tf_landslide.core.errors import LandslideError
from tf_landslide.training.team import join

CONFIG = """
name: team
model: {architecture: plain_unet, encoder: null, options: {width: 4, depth: 2, batch_norm: true}}
training: {epochs: 3, batch_size: 4, learning_rate: 0.001, seed: 3}
"""


def free_ports(n):
    sockets = [socket.create_server(("localhost", 0)) for _ in range(n)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture
def start(sample, tmp_path):
    """Begin to train; two workers where a rank is given, each with one thread."""
    begun = []
    (tmp_path / "team.yaml").write_text(CONFIG)

    def begin(out, *more, rank=None, ports=()):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TF_CPP_MIN_LOG_LEVEL": "3"}
        if rank is not None:
            workers = [f"localhost:{port}" for port in ports]
            task = {"type": "worker", "index": rank}
            environment["TF_CONFIG"] = json.dumps({"cluster": {"worker": workers}, "task": task})
            more += ("training.strategy=multi_worker",)
        command = [
            sys.executable,
            "-m",
            "tf_landslide",
            "train",
            tmp_path / "team.yaml",
            "--data",
            sample,
            "--out",
            out,
        ]
        log = (tmp_path / f"log_{len(begun)}").open("w+")
        begun.append(subprocess.Popen([*map(str, command), *more], env=environment, stdout=log, stderr=log))
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.wait()


def said(tmp_path):
    return "\n".join(path.read_text()[-2000:] for path in sorted(tmp_path.glob("log_*")))


@pytest.mark.long
def test_two_workers_are_one_also_when_one_was_killed(start, tmp_path):
    alone = start(tmp_path / "one")
    assert alone.wait(600) == 0, said(tmp_path)

    ports = free_ports(2)
    workers = [start(tmp_path / "two", rank=rank, ports=ports) for rank in (0, 1)]
    end = time.monotonic() + 600
    while not (tmp_path / "two/last/state.npz").exists():
        assert time.monotonic() < end and workers[0].poll() is None, said(tmp_path)
        time.sleep(0.05)
    workers[1].send_signal(signal.SIGKILL)
    assert workers[0].wait(600) == 2, said(tmp_path)
    assert "start all of them again with --resume" in said(tmp_path)
    assert not (tmp_path / "two/metrics.json").exists()

    ports = free_ports(2)
    workers = [start(tmp_path / "two", "--resume", rank=rank, ports=ports) for rank in (0, 1)]
    assert [worker.wait(600) for worker in workers] == [0, 0], said(tmp_path)
    assert "the first worker judges" in said(tmp_path)

    with np.load(tmp_path / "one/last/state.npz") as one, np.load(tmp_path / "two/last/state.npz") as two:
        names = [name for name in one.files if name.startswith("model/")]
        assert len(names) > 20 and set(one.files) == set(two.files)
        for name in names:
            np.testing.assert_allclose(two[name], one[name], rtol=2e-3, atol=1e-4)
    one, two = (np.genfromtxt(tmp_path / f"{run}/history.csv", delimiter=",", names=True) for run in ("one", "two"))
    assert len(one) == len(two) == 3
    np.testing.assert_allclose(two["val_best_f1"], one["val_best_f1"], atol=2e-3)
    np.testing.assert_allclose(two["loss"], one["loss"], rtol=1e-3)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "TF_CONFIG lacks 'TF_CONFIG'"),
        ("{}", "TF_CONFIG lacks 'cluster'"),
        ("worker 3", "TF_CONFIG is 'worker 3'; expected"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', "expected"),
        ('{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}', "expected"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}', "expected"),
        ("[]", "expected"),
    ],
)
def test_a_place_that_cannot_be_understood_is_told_with_an_example(monkeypatch, value, told):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if value is not None:
        monkeypatch.setenv("TF_CONFIG", value)
    with pytest.raises(LandslideError) as error:
        join("multi_worker")
    assert told in str(error.value) and '"index": 0' in str(error.value) and "\n" not in str(error.value)


def test_one_device_is_a_team():
    team = join("none")
    assert team.chief and team.devices == 1
    team.check_batch(1)
