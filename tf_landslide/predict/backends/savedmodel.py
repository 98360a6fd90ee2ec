"""An exported SavedModel, by TensorFlow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_landslide.core.errors import LandslideError, first_line
from tf_landslide.predict.predictor import BATCH_SIZE, MAX_BYTES, UNCERTAINTY
from tf_landslide.runs import formats


class SavedModelBackend:
    """Computes by the signature ``serving_default``.

    Args:
        path: folder of the SavedModel.

    Raises:
        LandslideError: it cannot be loaded, or has no such signature from ``channels`` to ``probability``.
    """

    name = "tensorflow"
    batch_size = BATCH_SIZE
    max_bytes = MAX_BYTES
    in_flight = 1

    def __init__(self, path: Path):
        self._path = path
        try:
            # The signature's variables live only as long as the object they were loaded with.
            self._model = tf.saved_model.load(str(path))
            self._signature = self._model.signatures["serving_default"]
        except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
            raise LandslideError(f"{path}: cannot be loaded as a SavedModel ({first_line(error)})") from None
        takes, gives = list(self._signature.structured_input_signature[1]), list(self._signature.structured_outputs)
        if takes != ["channels"] or "probability" not in gives:
            raise LandslideError(
                f"{path}: takes {', '.join(takes)} and gives {', '.join(gives)}; expected channels and probability"
            )

    def fingerprint(self) -> str:
        return formats.export_digest(self._path)

    def probability(self, channels: np.ndarray) -> np.ndarray:
        return self._signature(channels=tf.constant(channels))["probability"].numpy()

    def uncertainty(self, channels: np.ndarray) -> np.ndarray:
        if "uncertainty" not in self._model.signatures:
            raise LandslideError(
                f"{self._path}: averages no answers, so that it cannot say how sure it is; an export of a combined run "
                "can, and a run with dropout before it is exported"
            )
        outputs = self._model.signatures["uncertainty"](channels=tf.constant(channels))
        return np.concatenate([outputs[name].numpy() for name in UNCERTAINTY], axis=-1)
