"""The predictor: channels in, probabilities out, whatever stands behind it.

Everything that needs predictions (judging, ``predict``, the page, scene mapping) takes a ``Predictor`` and does not
know whether a run, a SavedModel or a server answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from tf_landslide.errors import LandslideError

STRIDE = 32  # models take heights and widths that are multiples of this


@dataclass(frozen=True)
class ModelCard:
    """What a caller must know to use a model: how its channels are made, where its threshold lies, what it scored."""

    name: str
    architecture: str
    encoder: str | None
    layout: str
    channels: tuple[str, ...]
    threshold: float
    median_size: int = 0
    median_bands: tuple[str, ...] | None = None
    description: str = ""
    scores: dict = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: dict) -> ModelCard:
        known = {key: values[key] for key in cls.__dataclass_fields__ if key in values}
        for key in ("channels", "median_bands"):
            if known.get(key) is not None:
                known[key] = tuple(known[key])
        return cls(**known)

    def as_dict(self) -> dict:
        return asdict(self)

    def features(self):
        """The layer that turns stored bands into this model's channels."""
        from tf_landslide.features import Features

        return Features(self.layout, self.channels, self.median_size, self.median_bands)


class Predictor:
    """Maps channels of any size to probabilities.

    Args:
        card: of the model.
        run: ``(n, H, W, C) float32 -> (n, H, W, 1) float32`` for H and W multiples of 32 and n up to ``batch_size``.
        batch_size: images handed over at a time.
    """

    def __init__(self, card: ModelCard, run: Callable[[np.ndarray], np.ndarray], batch_size: int = 16):
        self.card, self._run, self.batch_size = card, run, batch_size

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
        n, height, width, _ = channels.shape
        padding = [(0, 0), (0, -height % STRIDE), (0, -width % STRIDE), (0, 0)]
        if any(after for _, after in padding):
            channels = np.pad(channels, padding, mode="symmetric")
        parts = [self._run(channels[i : i + self.batch_size]) for i in range(0, n, self.batch_size)]
        return np.concatenate(parts)[:, :height, :width] if parts else np.empty((0, height, width, 1), np.float32)

    def from_bands(self, stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Channels and probabilities of stored bands (N, H, W, B)."""
        channels = np.asarray(self._features(stored), np.float32)
        return channels, self(channels)

    @property
    def _features(self):
        if not hasattr(self, "_features_layer"):
            self._features_layer = self.card.features()
        return self._features_layer


def predictor_of(model, card: ModelCard, batch_size: int = 16) -> Predictor:
    """A predictor around a live Keras model, compiled once for any size."""
    import tensorflow as tf

    signature = [tf.TensorSpec((None, None, None, len(card.channels)), tf.float32, name="channels")]
    graph = tf.function(lambda channels: model(channels, training=False), input_signature=signature)
    return Predictor(card, lambda channels: graph(channels).numpy(), batch_size)


def load_predictor(path: str | Path) -> Predictor:
    """A predictor from a run folder or from a SavedModel folder (a version, or its parent: the highest version).

    Raises:
        LandslideError: neither of the two, unfinished, or unreadable.
    """
    path = Path(path)
    if not path.exists():
        raise LandslideError(f"{path}: no such run or SavedModel folder")
    if (path / "config.yaml").is_file():
        return _from_run(path)
    versions = [child for child in path.iterdir() if child.name.isdigit()] if path.is_dir() else []
    folder = max(versions, key=lambda child: int(child.name)) if versions else path
    if (folder / "saved_model.pb").is_file():
        return _from_saved_model(folder)
    raise LandslideError(f"{path}: is neither a run (config.yaml, model.keras) nor a SavedModel (saved_model.pb)")


def _from_run(path: Path) -> Predictor:
    from tf_landslide.training.run import Run

    run = Run.open(path)
    return predictor_of(run.load_model(), run.card())


def _from_saved_model(path: Path) -> Predictor:
    import tensorflow as tf

    card_path = path / "assets.extra" / "model_card.json"
    try:
        card = ModelCard.from_dict(json.loads(card_path.read_text()))
    except (OSError, ValueError, TypeError):
        raise LandslideError(f"{card_path}: missing or unreadable; export the model with tf-landslide export") from None
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
