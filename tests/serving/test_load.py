"""Under load: versions are swapped and the server is stopped, and no caller gets a wrong answer or none."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import pytest

from serving.tensors import to_array
from tests.serving.conftest import Stubs, running

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """Twenty-one versions of a model that answers with its version."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("numbered")
    for version in range(1, 22):
        module = tf.Module()
        module.version = tf.Variable(float(version))
        call = tf.function(lambda x, module=module: {"y": 0 * x + module.version})
        signature = call.get_concrete_function(tf.TensorSpec([None], tf.float32, name="x"))
        tf.saved_model.save(module, str(folder / str(version)), signatures=signature)
    return folder


@pytest.mark.long
def test_a_thousand_requests_across_twenty_swaps(numbered, tmp_path):
    watched = tmp_path / "numbered"
    watched.mkdir()
    shutil.copytree(numbered / "1", watched / "1")
    wrong, answered, done = [], [], threading.Event()

    with running(tmp_path) as server:

        def ask():
            stubs = Stubs(server.port)
            while not done.is_set():
                try:
                    response = stubs.predict("numbered", x=np.zeros(3, np.float32))
                except grpc.RpcError as error:
                    wrong.append(error.details())
                    continue
                version = response.model_spec.version.value
                if to_array(response.outputs["y"]).tolist() != [version] * 3:
                    wrong.append(version)
                answered.append(version)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for version in range(2, 22):
            target = len(answered) + 50
            while len(answered) < target and not wrong:
                time.sleep(0.01)
            shutil.copytree(numbered / str(version), tmp_path / "aside")
            (tmp_path / "aside").rename(watched / str(version))
            server.manager.poll()
        done.set()
        for thread in threads:
            thread.join()
    assert not wrong and len(answered) >= 1000 and set(answered) >= set(range(1, 21))


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """A folder with a model that takes a while."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def multiply(x):
        matrix = tf.zeros([512, 512])
        for _ in tf.range(150):
            matrix = matrix @ matrix
        return {"y": x + matrix[0, 0]}

    folder = tmp_path_factory.mktemp("slow")
    tf.saved_model.save(tf.Module(), str(folder / "slow" / "1"), signatures=multiply)
    return folder


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_every_request_that_was_accepted_is_answered_before_the_server_ends(slow, tmp_path, signal_number):
    log = (tmp_path / "log").open("w+")
    command = [sys.executable, "-m", "tf_landslide", "serve", str(slow), "--port=-1", "--rest_api_port=0"]
    process = subprocess.Popen([*command, "--max_concurrency=1", "--log_format=json"], stderr=log)
    try:
        address = _address(process, tmp_path / "log")
        results, stop = [], threading.Event()

        def ask():
            stubs = Stubs(address)
            while not stop.is_set():
                sent = time.monotonic()
                try:
                    stubs.predict("slow", x=np.zeros(1, np.float32))
                    results.append((sent, time.monotonic(), "OK"))
                except grpc.RpcError as error:
                    results.append((sent, time.monotonic(), error.code().name))
                    return

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        while len(results) < 8:
            time.sleep(0.01)
        told = time.monotonic()
        os.kill(process.pid, signal_number)
        assert process.wait(60) == 0
        stop.set()
        for thread in threads:
            thread.join()
    finally:
        process.kill()
    # What was sent half a second before has arrived, however busy the machine; some of it was still waiting.
    accepted = [(done, code) for sent, done, code in results if sent < told - 0.5]
    assert {code for _, code in accepted} == {"OK"} and max(done for done, _ in accepted) > told
    assert {code for *_, code in results} <= {"OK", "UNAVAILABLE"}
    assert '"message": "stopped"' in (tmp_path / "log").read_text()


def _address(process, log):
    """Where the server says that it listens."""
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        if "embedded server ready" in (text := log.read_text()):
            return text.split("grpc://")[1].split(",")[0].split(";")[0]
        time.sleep(0.1)
    raise AssertionError(log.read_text())
