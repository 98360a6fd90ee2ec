"""An exported SavedModel, or its graph in a short format, by OpenVINO: an optional package; no TensorFlow is needed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tf_landslide.core.errors import LandslideError, first_line
from tf_landslide.predict.predictor import BATCH_SIZE, MAX_BYTES
from tf_landslide.runs import formats
from tf_landslide.runs.precision import BFLOAT16, FLOAT32, graph_digest

if TYPE_CHECKING:
    import openvino

TOLERANCE = 1e-4


class Unfit(Exception):
    """Why OpenVINO does not run a model."""


class OpenVINOBackend:
    """Computes on the CPU: one image by all cores together, several by streams that share cores and images.

    Args:
        model: from channels to probabilities.
        path: of what it was read from, to name it.
        fingerprint: of its weights, when it is asked for.
        precision: what to compute in; where a CPU has bfloat16, OpenVINO would take it by itself.

    Raises:
        RuntimeError: what OpenVINO cannot compile.
    """

    name = "openvino"
    batch_size = BATCH_SIZE
    max_bytes = MAX_BYTES
    in_flight = 1

    def __init__(self, model: openvino.Model, path: Path, fingerprint: Callable[[], str], precision: str = FLOAT32):
        self._path, self.fingerprint = path, fingerprint
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "bf16" if precision == BFLOAT16 else "f32"}
        if (threads := os.environ.get("OMP_NUM_THREADS", "")).isdecimal():  # where processes share a machine
            settings["INFERENCE_NUM_THREADS"] = int(threads)
        self._of_thread = threading.local()
        core = _openvino().Core()
        self._compiled = {
            hint: core.compile_model(model, "CPU", {**settings, "PERFORMANCE_HINT": hint})
            for hint in ("LATENCY", "THROUGHPUT")
        }

    def probability(self, channels: np.ndarray) -> np.ndarray:
        requests = self._requests("LATENCY" if len(channels) == 1 else "THROUGHPUT")[: len(channels)]
        for request, part in zip(requests, np.array_split(channels, len(requests)), strict=True):
            request.start_async({0: part})
        for request in requests:
            request.wait()
        return np.concatenate([request.output_tensors[0].data for request in requests])

    def uncertainty(self, channels: np.ndarray) -> np.ndarray:
        raise LandslideError(f"{self._path}: OpenVINO computes probabilities alone; TensorFlow says how sure it is")

    def _requests(self, hint: str) -> list[Any]:
        """The calling thread's own, since a request answers one caller at a time."""
        requests = self._of_thread.__dict__
        if hint not in requests:
            compiled = self._compiled[hint]
            count = 1 if hint == "LATENCY" else compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
            requests[hint] = [compiled.create_infer_request() for _ in range(count)]
        return requests[hint]


def of_saved_model(path: Path) -> OpenVINOBackend:
    """What computes an exported SavedModel in float32, if it gives what the model gave when it was exported.

    That is ``reference.npz``, to 1e-4.

    Raises:
        Unfit: not installed, nothing to prove it on, or another answer.
    """
    channels, expected = _reference(path)
    _openvino()
    from tf_landslide.predict.backends.openvino_graph import read_saved_model  # optional

    try:
        backend = OpenVINOBackend(read_saved_model(path), path, lambda: formats.export_digest(path))
        found = np.concatenate([backend.probability(channels), backend.probability(channels[:1])])
    except RuntimeError as error:  # all that OpenVINO raises
        raise Unfit(_reason(error)) from None
    expected = np.concatenate([expected, expected[:1]])
    if found.shape != expected.shape or not np.abs(found - expected).max() <= TOLERANCE:
        raise Unfit(f"its answer differs from the exported model's by more than {TOLERANCE:g}")
    return backend


def of_graph(folder: Path, precision: str) -> OpenVINOBackend:
    """What computes the graph of a short format that a folder holds.

    Raises:
        Unfit: not installed, or a damaged graph.
    """
    try:
        model = _openvino().Core().read_model(folder / formats.GRAPH)
        return OpenVINOBackend(model, folder, lambda: f"{graph_digest(folder)} in {precision}", precision)
    except RuntimeError as error:
        raise Unfit(_reason(error)) from None


def _openvino() -> Any:
    """The package. Raises ``Unfit`` where it is not installed."""
    try:
        import openvino  # optional
    except ImportError:
        raise Unfit("it is not installed; pip install openvino") from None
    return openvino


_WHERE = ("Exception from ", "Check ", "FrontEnd API failed", "Model wasn't fully converted", "-- ")


def _reason(error: RuntimeError) -> str:
    """What is said behind the lines of where in OpenVINO's source it is said."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith(_WHERE)]
    return said[0] if said else first_line(error)


def _reference(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Channels, and what the model that was exported made of them."""
    try:
        with np.load(path / formats.REFERENCE) as reference:
            return reference["channels"], reference["probability"]
    except Exception:  # a damaged archive makes NumPy raise almost anything
        raise Unfit(f"there is no {formats.REFERENCE} to prove it on; export the model again") from None
