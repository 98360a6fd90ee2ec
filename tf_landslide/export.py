"""Export: a run's model as a versioned SavedModel that TensorFlow Serving and ``load_predictor`` read."""

from __future__ import annotations

import re
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tf_landslide.errors import LandslideError
from tf_landslide.files import replacing, write_json
from tf_landslide.predictor import ModelCard

TOLERANCE = 1e-5


def export_run(run, models_dir: str | Path, name: str | None = None) -> Path:
    """Publish a run's model as ``MODELS/NAME/VERSION``, one version above the highest there.

    The folder appears whole or not at all, so that a server which polls ``MODELS/NAME`` never sees half a version.

    Args:
        run: a finished ``tf_landslide.training.run.Run``.
        models_dir: the folder that a model server watches.
        name: of the model; by default the config's.

    Returns:
        the version's folder.

    Raises:
        LandslideError: a name that is no folder name, an unfinished run, or an export that differs from the model.
    """
    card = run.card()
    name = name or card.name
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise LandslideError(f"model name {name!r}: use letters, digits, '_' and '-' only")
    folder = Path(models_dir) / name
    if folder.exists() and not folder.is_dir():
        raise LandslideError(f"{folder}: is a file, expected a folder of versions")
    model = run.load_model()
    versions = [int(child.name) for child in folder.iterdir() if child.name.isdigit()] if folder.exists() else []
    target = folder / str(max(versions, default=0) + 1)
    with replacing(target) as partial:
        save_model(model, card, partial)
        verify(model, partial)
    return target


def save_model(model: keras.Model, card: ModelCard, path: Path) -> None:
    """Write a SavedModel whose ``serving_default`` takes ``channels`` and gives ``probability``, any N, H and W."""
    archive = keras.export.ExportArchive()
    archive.track(model)
    channels = tf.TensorSpec((None, None, None, len(card.channels)), tf.float32, name="channels")

    def serving_default(channels):
        return {"probability": model(channels, training=False)}

    archive.add_endpoint("serving_default", serving_default, input_signature=[channels])
    archive.write_out(str(path), verbose=False)
    write_json(path / "assets.extra" / "model_card.json", card.as_dict())


def verify(model: keras.Model, path: Path) -> float:
    """Compare a SavedModel with the live model on random channels, some of them missing, of two sizes.

    Returns:
        the largest absolute difference of probability.

    Raises:
        LandslideError: they differ by more than 1e-5.
    """
    exported = tf.saved_model.load(str(path)).signatures["serving_default"]
    normalization = model.get_layer("normalization")
    mean, std = (keras.ops.convert_to_numpy(v) for v in (normalization.mean, normalization.variance**0.5))
    rng, worst = np.random.default_rng(0), 0.0
    for shape in ((2, 64, 96), (1, 128, 128)):
        channels = (rng.standard_normal((*shape, len(mean))) * std + mean).astype(np.float32)
        channels[:, :3, :5] = np.nan
        live = keras.ops.convert_to_numpy(model(channels, training=False))
        worst = max(worst, float(np.abs(exported(channels=tf.constant(channels))["probability"].numpy() - live).max()))
    if not worst <= TOLERANCE:
        raise LandslideError(f"{path}: the exported model differs from the live one by {worst:.2g}; not published")
    return worst
