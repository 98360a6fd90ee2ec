"""A live Keras model, compiled once for any size."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import keras
import numpy as np
import tensorflow as tf

from tf_landslide.core.errors import LandslideError, first_line
from tf_landslide.models.layers.norm import in_float32
from tf_landslide.models.uncertainty import uncertainty
from tf_landslide.predict.predictor import BATCH_SIZE, MAX_BYTES


class KerasBackend:
    """Computes by a graph of the model.

    Args:
        model: from (N, H, W, C) channels to (N, H, W, 1) probabilities.
        batch_size: images at a time.
    """

    name = "tensorflow"
    max_bytes = MAX_BYTES
    in_flight = 1

    def __init__(self, model: keras.Model, batch_size: int = BATCH_SIZE):
        self.batch_size, self._model = batch_size, model
        self._uncertainty: Callable[[np.ndarray], tf.Tensor] | None = None  # built where it is asked for
        signature = [tf.TensorSpec((None, None, None, model.input_shape[-1]), tf.float32, name="channels")]
        self._graph = tf.function(lambda channels: model(channels, training=False), input_signature=signature)

    def fingerprint(self) -> str:
        digest = hashlib.sha256(
            self._model.to_json().encode()
        )  # two models of the same weights may turn them otherwise
        for weights in self._model.get_weights():
            digest.update(np.ascontiguousarray(weights).data)
        return digest.hexdigest()

    def probability(self, channels: np.ndarray) -> np.ndarray:
        return self._graph(channels).numpy()

    def uncertainty(self, channels: np.ndarray) -> np.ndarray:
        if self._uncertainty is None:
            self._uncertainty = uncertainty(self._model)
        return self._uncertainty(channels).numpy()


def load_keras_model(path: str | Path, *, compile: bool = False) -> keras.Model:
    """A ``.keras`` file of ours, loaded in safe mode; to predict with, it computes in float32 whatever it trained in.

    Raises:
        LandslideError: it cannot be loaded.
    """
    try:
        with ZipFile(path) as archive:  # from Python 3.13 on, nobody compares checksums where Keras reads
            if damaged := archive.testzip():
                raise BadZipFile(f"Bad CRC-32 for file {damaged!r}")
        model = keras.saving.load_model(path, compile=compile, safe_mode=True)
    except Exception as error:  # a damaged file makes Keras raise almost anything
        raise LandslideError(f"{path}: cannot be loaded ({first_line(error)})") from None
    return model if compile else in_float32(model)
