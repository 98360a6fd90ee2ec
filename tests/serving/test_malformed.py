"""More than a hundred kinds of malformed request, drawn at random: each time the code that the table of
docs/serving.md says, and a server that lives on and does not grow."""

import gc
import os
import random
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.protos import PredictRequest
from serving.tensors import DTYPES, STRING, to_proto
from tests.serving.conftest import Stubs, predict_request, running

PATH = "/tensorflow.serving.PredictionService/Predict"


def good() -> PredictRequest:
    return predict_request("tiny", channels=np.zeros((1, 32, 32, 6), np.float32))


def with_input(array=None, name="channels", **fields) -> Callable:
    """A good request but for one input."""

    def make(_):
        request = good()
        proto = request.inputs[name]
        if array is not None:
            proto.CopyFrom(to_proto(array))
        for field, value in fields.items():
            setattr(proto, field, value)
        return request

    return make


def with_shape(*sizes) -> Callable:
    def make(_):
        request = good()
        shape = request.inputs["channels"].tensor_shape
        del shape.dim[:]
        for size in sizes:
            shape.dim.add().size = size
        return request

    return make


def with_spec(**fields) -> Callable:
    def make(rng):
        request = good()
        for field, value in fields.items():
            value = value(rng) if callable(value) else value
            if field == "version":
                request.model_spec.version.value = value
            else:
                setattr(request.model_spec, field, value)
        return request

    return make


def with_outputs(*names) -> Callable:
    def make(_):
        request = good()
        request.output_filter.extend(names)
        return request

    return make


def word(rng: random.Random) -> str:
    return "".join(rng.choice("abcxyz-_/:é😀 \n") for _ in range(rng.randint(1, 40))) + "?"


def garbage(rng: random.Random) -> bytes:
    return b"\xff" + rng.randbytes(rng.randint(1, 200))  # 0xff starts no field


def truncated(rng: random.Random) -> bytes:
    message = good().SerializeToString()
    return message[: rng.randint(len(message) // 2, len(message) - 1)]


INVALID, NOT_FOUND, PRECONDITION, INTERNAL = "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "INTERNAL"
WRONG_DTYPES = [d for d in DTYPES.values() if d.numpy != "float32" and d.number != STRING]
KINDS: dict[str, tuple[Callable, str]] = {
    "empty": (lambda _: PredictRequest(), INVALID),
    "no name": (with_spec(name=""), INVALID),
    "unknown model": (with_spec(name=word), NOT_FOUND),
    "unknown version": (with_spec(version=lambda rng: rng.randint(2, 2**63 - 1)), NOT_FOUND),
    "version zero": (with_spec(version=0), NOT_FOUND),
    "negative version": (with_spec(version=lambda rng: -rng.randint(1, 2**63)), NOT_FOUND),
    "unknown label": (with_spec(version_label=word), INVALID),
    "unknown signature": (with_spec(signature_name=word), PRECONDITION),
    "other inputs' signature": (with_spec(signature_name="from_bands"), INVALID),
    "signature without inputs": (with_spec(signature_name="describe"), INVALID),
    "extra input": (with_input(np.zeros(1, np.float32), name="more"), INVALID),
    "no inputs": (lambda _: predict_request("tiny"), INVALID),
    "misspelt input": (
        lambda rng: predict_request("tiny", **{word(rng): np.zeros((1, 32, 32, 6), np.float32)}),
        INVALID,
    ),
    "unknown output": (with_outputs("nothing"), INVALID),
    "output twice": (with_outputs("probability", "probability"), INVALID),
    "strings": (with_input(np.full((1, 32, 32, 6), b"x", object)), INVALID),
    "unknown rank": (lambda _: _unknown_rank(), INVALID),
    "not a message": (garbage, INTERNAL),
    "half a message": (truncated, INTERNAL),
    **{f"{d.name} for float": (with_input(np.zeros((1, 32, 32, 6), d.array_dtype)), INVALID) for d in WRONG_DTYPES},
    **{f"dtype {n}": (with_input(dtype=n), INVALID) for n in (0, 11, 12, 13, 15, 16, 20, 21, 24, 101, 119, 999)},
    **{f"rank {n}": (with_input(np.zeros((1,) * n, np.float32)), INVALID) for n in (0, 1, 2, 3, 5, 6, 8)},
    **{
        f"{n} channels": (with_input(np.zeros((1, 32, 32, n), np.float32)), INVALID)
        for n in (0, 2, 3, 4, 5, 7, 8, 9, 10, 12, 13, 14, 15, 100)
    },
    **{
        f"{n} bytes": (with_input(tensor_content=b"\0" * n), INVALID)
        for n in (1, 2, 3, 4, 5, 7, 100, 24575, 24577, 24580, 49152)
    },
    **{
        f"shape {sizes}": (with_shape(*sizes), INVALID)
        for sizes in (
            (),
            (1,),
            (1, 32, 32, 7),
            (2, 32, 32, 6),
            (1, 32, 33, 6),
            (-1, 32, 32, 6),
            (1, -32, -32, 6),
            (0, 32, 32, 6),
            (1, 2**31, 32, 6),
            (2**62, 2**62, 1, 6),
            (2**63 - 1, 32, 32, 6),
            (1, 1, 1, 6144),
            (1,) * 255,
        )
    },
    **{
        f"{n} pixels not filled up": (
            lambda _, n=n: _filled(n),
            INVALID,
        )
        for n in (2**27, 2**30, 2**40)
    },
    **{f"size {n}": (with_input(np.zeros((1, n, 64, 6), np.float32)), INVALID) for n in (33, 34, 37, 50, 61, 63)},
}


def _unknown_rank() -> PredictRequest:
    request = good()
    request.inputs["channels"].tensor_shape.unknown_rank = True
    return request


def _filled(pixels: int) -> PredictRequest:
    """A few bytes that ask for an array of many."""
    request = with_shape(1, pixels, 1, 6)(None)
    request.inputs["channels"].ClearField("tensor_content")
    request.inputs["channels"].float_val.append(1.0)
    return request


def resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module")
def ask(models):
    """Send a request, or bytes in place of one, and get the code."""
    with running(models) as server:
        stubs = Stubs(server.port)
        raw = stubs.channel.unary_unary(PATH, request_serializer=lambda message: message)

        def ask(request):
            message = request if isinstance(request, bytes) else request.SerializeToString()
            try:
                raw(message, timeout=30)
            except grpc.RpcError as error:
                return error.code().name
            return "OK"

        yield ask


def test_there_are_a_hundred_kinds():
    assert len(KINDS) >= 100


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_its_code(ask, kind):
    make, code = KINDS[kind]
    assert ask(make(random.Random(0))) == code


@pytest.mark.slow
def test_two_thousand_of_them_and_the_server_lives_and_does_not_grow(ask):
    quick = settings(
        max_examples=1000, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True
    )

    @quick
    @given(st.sampled_from(sorted(KINDS)), st.integers(0, 2**32))
    def a_thousand(kind, seed):
        make, code = KINDS[kind]
        assert ask(make(random.Random(seed))) == code

    a_thousand()
    first = resident()
    a_thousand()
    assert resident() < 1.05 * first
    assert ask(good()) == "OK"
