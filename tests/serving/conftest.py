"""One embedded server, with a model of ours and one of every kind, serves all tests that do not change it."""

from __future__ import annotations

import argparse
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from serving import flags
from serving.protos import (
    ModelSpec,
    PredictRequest,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)
from serving.tensors import to_proto


def options(*words: str) -> argparse.Namespace:
    """Flags as typed; any free ports unless said otherwise."""
    parser = argparse.ArgumentParser()
    flags.add_flags(parser)
    ours = ("--port=-1", "--rest_api_port=-1", "--file_system_poll_wait_seconds=0")
    return parser.parse_args(flags.spelt_out([*ours, *words]))


@contextmanager
def running(models: Path, *words: str) -> Iterator:
    from serving.server import Server, models_under

    server = Server(options(*words), find_models=lambda: models_under(models))
    try:
        yield server
    finally:
        server.stop(5)


class Stubs:
    """Plain stubs, as an engineer would generate them: nothing of our client in between."""

    def __init__(self, port: int | str, credentials=None):
        address = f"localhost:{port}" if isinstance(port, int) else port
        self.channel = grpc.secure_channel(address, credentials) if credentials else grpc.insecure_channel(address)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def predict(self, model: str, signature: str = "", timeout: float = 60, version=None, label="", **inputs):
        return self.prediction.Predict(predict_request(model, signature, version, label, **inputs), timeout=timeout)


def predict_request(model: str, signature: str = "", version=None, label="", **inputs) -> PredictRequest:
    request = PredictRequest(model_spec=ModelSpec(name=model, signature_name=signature))
    if version is not None:
        request.model_spec.version.value = version
    if label:
        request.model_spec.version_label = label
    for name, array in inputs.items():
        request.inputs[name].CopyFrom(to_proto(array))
    return request


def code_of(call: Callable) -> tuple[str, str]:
    """Name of the code and message that a call ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code().name, caught.value.details()


@pytest.fixture(autouse=True)
def quiet():
    """Logging set up by one test must not write into the captured output of another."""
    yield
    logging.getLogger("serving").handlers.clear()


QUANTISED = ("qint8", "quint8", "qint16", "quint16", "qint32")


@pytest.fixture(scope="session")
def every_kind(tmp_path_factory) -> Path:
    """A SavedModel that gives back what it gets, of every dtype, with a lookup in a file of its own (an asset)."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("every")
    words = folder / "words.txt"
    words.write_text("rock\nsoil\nwater\n")

    class EveryKind(tf.Module):
        def __init__(self):
            table = tf.lookup.TextFileInitializer(
                str(words), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
            )
            self.table = tf.lookup.StaticHashTable(table, -1)

    module, signatures = EveryKind(), {}

    def echo(dtype):
        return tf.function(lambda x: {"y": x}).get_concrete_function(tf.TensorSpec(None, dtype, name="x"))

    for dtype in ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"):
        signatures[dtype] = echo(dtype)
    for dtype in ("bool", "float16", "bfloat16", "complex64", "complex128", "string", *QUANTISED):
        signatures[dtype] = echo(dtype)
    signatures["lookup"] = tf.function(lambda words: {"index": module.table.lookup(words)}).get_concrete_function(
        tf.TensorSpec([None], tf.string, name="words")
    )
    signatures["serving_default"] = tf.function(
        lambda a, b: {"sum": a + b, "difference": a - b, "label_bytes": tf.fill(tf.shape(a)[:1], b"\xff\x00")}
    ).get_concrete_function(
        tf.TensorSpec([None, 2], tf.float32, name="a"), tf.TensorSpec([None, 2], tf.float32, name="b")
    )
    signatures["scalar"] = tf.function(lambda x: {"double": 2 * x}).get_concrete_function(
        tf.TensorSpec([], tf.int32, name="x")
    )
    signatures["fails"] = tf.function(lambda x: {"y": x[None] @ tf.ones([7, 1])}).get_concrete_function(
        tf.TensorSpec([None], tf.float32, name="x")
    )
    tf.saved_model.save(module, str(folder / "every" / "1"), signatures=signatures)
    words.unlink()
    return folder / "every"


@pytest.fixture(scope="session")
def models(tmp_path_factory, exported, every_kind) -> Path:
    """A folder of models: ``tiny`` and ``every``. Read only."""
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(exported.parent, folder / "tiny")
    shutil.copytree(every_kind, folder / "every")
    return folder


@pytest.fixture(scope="session")
def server(models):
    with running(models) as server:
        yield server


@pytest.fixture(scope="session")
def stubs(server) -> Stubs:
    return Stubs(server.port)
