"""The predictor: channels in, probabilities out, whatever stands behind it.

Everything that needs predictions (judging, ``predict``, the page, scene mapping) takes a ``Predictor`` and does not
know whether a run, a SavedModel or a server answers.
"""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from tf_landslide.card import ModelCard
from tf_landslide.errors import LandslideError, first_line

STRIDE = 32  # models take heights and widths that are multiples of this
RUNTIMES = ("auto", "tensorflow", "openvino")
REFERENCE_FILE = "assets.extra/reference.npz"  # channels, and what the model that was exported made of them
_OPENVINO_TOLERANCE = 1e-4


class Predictor:
    """Maps channels of any size to probabilities, ``max_bytes`` at a time but never less than an image.

    Args:
        card: of the model.
        run: ``(n, H, W, C) float32 -> (n, H, W, 1) float32`` for H and W multiples of 32 and n up to ``batch_size``.
        batch_size: images handed over at a time.

    Attributes:
        runtime: what computes: ``tensorflow``, ``openvino`` or ``server``.
    """

    runtime = "tensorflow"
    max_bytes = 2**28

    def __init__(self, card: ModelCard, run: Callable[[np.ndarray], np.ndarray], batch_size: int = 16):
        self.card, self._run, self.batch_size = card, run, batch_size
        self._features = None

    def __call__(self, channels: np.ndarray) -> np.ndarray:
        """Probabilities of channels.

        Args:
            channels: (N, H, W, C) in physical units, NaN where missing; any H and W.

        Returns:
            (N, H, W, 1) float32.

        Raises:
            LandslideError: not four axes, or another number of channels than the model has.
        """
        channels = np.asarray(channels, np.float32)
        if channels.ndim != 4 or channels.shape[-1] != len(self.card.channels):
            raise LandslideError(
                f"model {self.card.name!r} takes (N, H, W, {len(self.card.channels)}) channels "
                f"({', '.join(self.card.channels)}), got {channels.shape}"
            )
        height, width = channels.shape[1:3]
        padding = [(0, 0), (0, -height % STRIDE), (0, -width % STRIDE), (0, 0)]
        if any(after for _, after in padding):
            channels = np.pad(channels, padding, mode="symmetric")
        parts = self._map(self._run, self._parts(channels))
        return np.concatenate(parts)[:, :height, :width] if parts else np.empty((0, height, width, 1), np.float32)

    def _parts(self, images: np.ndarray) -> list[np.ndarray]:
        """Consecutive images, so many that a part has neither too many nor too many bytes."""
        size = min(self.batch_size, max(1, self.max_bytes // max(1, images[:1].nbytes)))
        return [images[i : i + size] for i in range(0, len(images), size)]

    def _map(self, call: Callable[[np.ndarray], np.ndarray], parts: list[np.ndarray]) -> list[np.ndarray]:
        return [call(part) for part in parts]

    def channels(self, stored: np.ndarray) -> np.ndarray:
        """The model's channels of stored bands (N, H, W, B)."""
        if self._features is None:
            self._features = self.card.features()
        return np.asarray(self._features(stored), np.float32)

    def from_bands(self, stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Channels and probabilities of stored bands (N, H, W, B)."""
        channels = self.channels(stored)
        return channels, self(channels)


def predictor_of(model, card: ModelCard, batch_size: int = 16) -> Predictor:
    """A predictor around a live Keras model, compiled once for any size."""
    import tensorflow as tf

    signature = [tf.TensorSpec((None, None, None, len(card.channels)), tf.float32, name="channels")]
    graph = tf.function(lambda channels: model(channels, training=False), input_signature=signature)
    return Predictor(card, lambda channels: graph(channels).numpy(), batch_size)


def is_server(model: str | Path) -> bool:
    """Whether a model is named by the address of a server."""
    return str(model).startswith(("grpc://", "grpcs://"))


def load_predictor(path: str | Path, *, runtime: str = "auto", **options) -> Predictor:
    """A predictor from a run folder, a SavedModel folder (a version, or its parent: the highest version), or a server
    (``grpc://HOST:PORT/NAME``, for which ``options`` are those of ``serving.client.connect``).

    Args:
        path: of these.
        runtime: what computes a SavedModel: ``tensorflow``; ``openvino``, an optional package that is faster on CPUs
            and must give what the exported model gave, to 1e-4, or is refused; ``auto`` takes OpenVINO where it is
            installed, passes that test and there is no NVIDIA GPU, else TensorFlow.

    Raises:
        LandslideError: none of these, unfinished, unreadable or unreachable, or a runtime that cannot be had.
    """
    if runtime not in RUNTIMES:
        raise LandslideError(f"unknown runtime {runtime!r}; known: {', '.join(RUNTIMES)}")
    if is_server(path):
        if runtime != "auto":
            raise LandslideError(f"{path}: is a server, which chooses itself what computes; leave out the runtime")
        from serving.client import connect

        return connect(str(path), **options)
    path = Path(path)
    if not path.exists():
        raise LandslideError(f"{path}: no such run or SavedModel folder")
    if (path / "config.yaml").is_file():
        if runtime == "openvino":
            raise LandslideError(f"{path}: is a run; OpenVINO takes SavedModels, see tf-landslide export")
        return _from_run(path)
    versions = [child for child in path.iterdir() if child.name.isdigit()] if path.is_dir() else []
    folder = max(versions, key=lambda child: int(child.name)) if versions else path
    if (folder / "saved_model.pb").is_file():
        return _from_saved_model(folder, runtime)
    raise LandslideError(f"{path}: is neither a run (config.yaml, model.keras) nor a SavedModel (saved_model.pb)")


def _from_run(path: Path) -> Predictor:
    from tf_landslide.training.run import Run

    run = Run.open(path)
    return predictor_of(run.load_model(), run.card())


def _from_saved_model(path: Path, runtime: str) -> Predictor:
    card_path = path / "assets.extra" / "model_card.json"
    try:
        card = ModelCard.from_dict(json.loads(card_path.read_text()))
    except (OSError, ValueError, TypeError):
        raise LandslideError(f"{card_path}: missing or unreadable; export the model with tf-landslide export") from None
    if runtime == "openvino" or (runtime == "auto" and find_spec("openvino") and not _has_gpu()):
        try:
            return _by_openvino(path, card)
        except _Unfit as reason:
            if runtime == "openvino":
                raise LandslideError(f"{path}: OpenVINO cannot run it: {reason}") from None
            warnings.warn(f"{path}: TensorFlow runs it, since OpenVINO cannot: {reason}", stacklevel=3)
    return _by_tensorflow(path, card)


def _by_tensorflow(path: Path, card: ModelCard) -> Predictor:
    import tensorflow as tf

    try:
        model = tf.saved_model.load(str(path))
        signature = model.signatures["serving_default"]
    except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0]
        raise LandslideError(f"{path}: cannot be loaded as a SavedModel ({reason})") from None

    def run(channels):
        return signature(channels=tf.constant(channels))["probability"].numpy()

    predictor = Predictor(card, run)
    predictor.model = model  # the signature's variables live only as long as the object they were loaded with
    return predictor


class _Unfit(Exception):
    """Why OpenVINO does not run a model."""


def _by_openvino(path: Path, card: ModelCard) -> Predictor:
    """A predictor that needs no TensorFlow; proved on the answer that was kept when the model was exported."""
    try:
        import openvino
    except ImportError:
        raise _Unfit("it is not installed; pip install openvino") from None
    try:
        with np.load(path / REFERENCE_FILE) as reference:
            channels, expected = reference["channels"], reference["probability"]
    except Exception:  # a damaged archive makes NumPy raise almost anything
        raise _Unfit(f"there is no {REFERENCE_FILE} to prove it on; export the model again") from None
    try:
        run = _OpenVINO(openvino.Core(), path)
        found = np.concatenate([run(channels), run(channels[:1])])
        expected = np.concatenate([expected, expected[:1]])
    except RuntimeError as error:  # all that OpenVINO raises
        raise _Unfit(first_line(error)) from None
    if found.shape != expected.shape or not np.abs(found - expected).max() <= _OPENVINO_TOLERANCE:
        raise _Unfit(f"its answer differs from the exported model's by more than {_OPENVINO_TOLERANCE:g}")
    predictor = Predictor(card, run)
    predictor.runtime = "openvino"
    return predictor


class _OpenVINO:
    """A SavedModel on the CPU: one image by all cores together, several by streams that share cores and images."""

    def __init__(self, core, path: Path):
        model = core.read_model(path)
        # Where a CPU has bfloat16, OpenVINO would take it, and give two or three digits.
        settings = {"INFERENCE_PRECISION_HINT": "f32"}
        self._compiled = {
            hint: core.compile_model(model, "CPU", {**settings, "PERFORMANCE_HINT": hint})
            for hint in ("LATENCY", "THROUGHPUT")
        }
        self._of_thread = threading.local()

    def _requests(self, hint: str) -> list:
        """The calling thread's own, since a request answers one caller at a time."""
        requests = self._of_thread.__dict__
        if hint not in requests:
            compiled = self._compiled[hint]
            count = 1 if hint == "LATENCY" else compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
            requests[hint] = [compiled.create_infer_request() for _ in range(count)]
        return requests[hint]

    def __call__(self, channels: np.ndarray) -> np.ndarray:
        requests = self._requests("LATENCY" if len(channels) == 1 else "THROUGHPUT")[: len(channels)]
        for request, part in zip(requests, np.array_split(channels, len(requests)), strict=True):
            request.start_async({0: part})
        for request in requests:
            request.wait()
        return np.concatenate([request.output_tensors[0].data for request in requests])


def _has_gpu() -> bool:
    return any(Path("/dev").glob("nvidia[0-9]*"))
