"""Requests run together give what each gives alone."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from serving.api import Gate, Limits
from serving.batching import Batcher, BatchingOptions, can_batch
from serving.caller import Caller
from serving.protos import SignatureDef
from serving.status import Code, ServingError
from serving.tensors import to_array
from tests.serving.conftest import Stubs, running


class Doubler:
    """Stands in for a servable: doubles, and remembers how much it was given at a time."""

    def __init__(self, wait=None):
        self.sizes, self.wait, self.started = [], wait, False

    def run(self, _, inputs, outputs):
        self.started = True
        if self.wait:
            self.wait.wait(5)
        self.sizes.append(len(inputs["x"]))
        return dict.fromkeys(outputs, 2 * inputs["x"])


def ask(batcher, servable, x, caller=None):
    return batcher.run(servable, "", {"x": x}, ["y"], caller or Caller())["y"]


def test_requests_of_one_shape_run_together_and_each_gets_its_own(request):
    batcher = Batcher(BatchingOptions(max_batch_size=8, batch_timeout_micros=1_000_000, num_batch_threads=1))
    request.addfinalizer(batcher.close)
    doubler = Doubler()
    arrays = [np.full((1 + i % 2, 3 + i % 2), i, np.float32) for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda x: ask(batcher, doubler, x), arrays))
    for x, y in zip(arrays, answers, strict=True):
        np.testing.assert_array_equal(y, 2 * x)
    assert sorted(doubler.sizes) == [4, 8]  # two shapes, a batch each


def test_batches_are_filled_up_to_an_allowed_size(request):
    batcher = Batcher(BatchingOptions(max_batch_size=8, allowed_batch_sizes=(4, 8), num_batch_threads=1))
    request.addfinalizer(batcher.close)
    doubler = Doubler()
    np.testing.assert_array_equal(ask(batcher, doubler, np.ones((3, 2))), np.full((3, 2), 2))
    assert doubler.sizes == [4]


def test_a_full_queue_and_a_request_larger_than_a_batch_are_refused(request):
    go = threading.Event()
    request.addfinalizer(go.set)
    batcher = Batcher(BatchingOptions(max_batch_size=2, max_enqueued_batches=1, num_batch_threads=1))
    request.addfinalizer(batcher.close)
    doubler = Doubler(go)
    with pytest.raises(ServingError, match="larger than maximum input batch size 2") as caught:
        ask(batcher, doubler, np.ones((3, 1)))
    assert caught.value.code == Code.INVALID_ARGUMENT
    with ThreadPoolExecutor(2) as pool:
        running_ = pool.submit(ask, batcher, doubler, np.ones((2, 1)))
        while not doubler.started:
            time.sleep(0.01)
        waiting = pool.submit(ask, batcher, doubler, np.ones((2, 1)))
        while not batcher._queue:
            time.sleep(0.01)
        with pytest.raises(ServingError, match="queue to which this task was submitted is full") as caught:
            ask(batcher, doubler, np.ones((1, 1)))
        assert caught.value.code == Code.UNAVAILABLE
        go.set()
        assert running_.result(5).sum() == waiting.result(5).sum() == 4


def test_a_deadline_may_be_farther_than_any_clock_waits(request):
    batcher = Batcher(BatchingOptions(max_batch_size=2, num_batch_threads=1))
    request.addfinalizer(batcher.close)
    assert ask(batcher, Doubler(), np.ones((1, 1)), Caller(time.monotonic() + 1e11)) == 2


def test_an_output_that_is_no_batch_is_refused_rather_than_cut(request):
    class Summing:
        def run(self, _, inputs, outputs):
            return {name: np.ones(5) for name in outputs}

    batcher = Batcher(BatchingOptions(num_batch_threads=1))
    request.addfinalizer(batcher.close)
    with pytest.raises(ServingError, match="0th dimension") as caught:
        ask(batcher, Summing(), np.ones((1, 1)))
    assert caught.value.code == Code.FAILED_PRECONDITION


def test_nothing_is_run_for_a_caller_who_has_gone(request):
    batcher = Batcher(BatchingOptions(num_batch_threads=1))
    request.addfinalizer(batcher.close)
    doubler = Doubler()
    with pytest.raises(ServingError) as caught:
        ask(batcher, doubler, np.ones((1, 1)), Caller(connected=lambda: False))
    assert caught.value.code == Code.DEADLINE_EXCEEDED and doubler.sizes == []


def test_what_fails_fails_for_all_of_its_batch(request):
    class Failing:
        def run(self, *_):
            raise ServingError(Code.INTERNAL, "broken")

    batcher = Batcher(BatchingOptions(num_batch_threads=1))
    request.addfinalizer(batcher.close)
    with pytest.raises(ServingError, match="broken"):
        ask(batcher, Failing(), np.ones((1, 1)))
    assert ask(batcher, Doubler(), np.ones((1, 1)))[0, 0] == 2  # and the thread lives on


def test_only_signatures_with_an_open_first_axis_are_batched():
    def signature(*first):
        message = SignatureDef()
        for i, size in enumerate(first):
            dim = message.inputs[f"x{i}"].tensor_shape.dim.add()
            dim.size = size
        message.outputs["y"].tensor_shape.dim.add().size = -1
        return message

    x = np.ones((2, 3))
    assert can_batch({"x0": x, "x1": x}, signature(-1, -1))
    assert not can_batch({"x0": x, "x1": x[:1]}, signature(-1, -1))
    assert not can_batch({"x0": x}, signature(2))
    assert not can_batch({}, signature())


@pytest.mark.slow
def test_a_server_with_batching_answers_the_same(models, tmp_path, stubs):
    parameters = tmp_path / "batching.config"
    parameters.write_text("max_batch_size { value: 4 }\nbatch_timeout_micros { value: 20000 }")
    rng = np.random.default_rng(0)
    inputs = [rng.random((1, 32, 32 * (1 + i % 2), 6)).astype(np.float32) for i in range(8)]
    expected = [to_array(stubs.predict("tiny", channels=x).outputs["probability"]) for x in inputs]
    where = f"--batching_parameters_file={parameters}"
    with running(models, "--enable_batching", where, "--max_queue=0", "--max_concurrency=8") as server:
        batched = Stubs(server.port)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda x: batched.predict("tiny", channels=x), inputs))
        assert batched.predict("tiny", "describe").outputs["card"].string_val
    for answer, y in zip(answers, expected, strict=True):
        np.testing.assert_allclose(to_array(answer.outputs["probability"]), y, atol=1e-5)


def test_the_gate_lets_so_many_in_and_refuses_one_too_many():
    gate, inside, most = Gate(Limits(concurrency=2, queue=3)), [], []
    hold = threading.Event()

    def enter():
        with gate.turn(Caller()):
            inside.append(1)
            most.append(len(inside))
            hold.wait(5)
            inside.pop()

    with ThreadPoolExecutor(8) as pool:
        entered = [pool.submit(enter) for _ in range(5)]
        while gate.waiting < 3:
            time.sleep(0.005)
        with pytest.raises(ServingError, match="3 requests wait") as caught, gate.turn(Caller()):
            pass
        assert caught.value.code == Code.UNAVAILABLE
        hold.set()
        for future in entered:
            future.result(5)
    assert max(most) == 2 and len(most) == 5


def test_the_gate_keeps_the_order_of_arrival():
    gate, order, hold = Gate(Limits(concurrency=1, queue=9)), [], threading.Event()

    def enter(number):
        with gate.turn(Caller()):
            hold.wait(5)
            order.append(number)

    with ThreadPoolExecutor(8) as pool:
        for number in range(6):
            pool.submit(enter, number)
            while gate.waiting < number:
                time.sleep(0.002)
        hold.set()
    assert order == list(range(6))


def test_the_gate_is_left_by_callers_whose_deadline_passes_or_who_hang_up():
    gate = Gate(Limits(concurrency=1, queue=5))
    with gate.turn(Caller()):
        for caller in (Caller(time.monotonic() + 0.05), Caller(connected=lambda: False)):
            with pytest.raises(ServingError) as caught, gate.turn(caller):
                pytest.fail("nothing must run")
            assert caught.value.code == Code.DEADLINE_EXCEEDED
    with gate.turn(Caller()):
        pass  # the way is free again
