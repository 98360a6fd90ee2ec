"""Export: a run's model as a versioned SavedModel that TensorFlow Serving, our server and ``load_predictor`` read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tf_landslide.bands import get_layout
from tf_landslide.card import ModelCard
from tf_landslide.errors import LandslideError
from tf_landslide.features import Features
from tf_landslide.files import replacing, write_text
from tf_landslide.predictor import REFERENCE_FILE

TOLERANCE = 1e-5
CARD_FILE = "assets.extra/model_card.json"
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"


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
    card = replace(card, name=name, parameters=model.count_params())
    versions = [int(child.name) for child in folder.iterdir() if child.name.isdigit()] if folder.exists() else []
    target = folder / str(max(versions, default=0) + 1)
    with replacing(target) as partial:
        save_model(model, card, partial)
        verify(model, card, partial)
    return target


def save_model(model: keras.Model, card: ModelCard, path: Path) -> None:
    """Write a SavedModel with its card, the requests that warm it up, and an answer to prove other runtimes on.

    Its signatures, for any N, H and W (multiples of 32):

    ================== ============================================== ==========================================
    serving_default    channels (N, H, W, C) float32                  probability (N, H, W, 1) float32
    from_bands         bands (N, H, W, B) float32, as stored          probability
    segment            channels                                       probability, mask (N, H, W, 1) uint8, 0 or 1
    features           bands                                          channels
    describe           nothing                                        card, a string of JSON
    ================== ============================================== ==========================================
    """
    archive = keras.export.ExportArchive()
    archive.track(model)
    for name, (function, inputs) in signatures(model, card).items():
        archive.add_endpoint(name, function, input_signature=inputs)
    archive.write_out(str(path), verbose=False)
    write_text(path / CARD_FILE, card.as_json() + "\n")
    write_text((path / CARD_FILE).with_suffix(".md"), card.markdown())
    _write_warmup(card, path)
    _write_reference(model, card, path)


def signatures(model: keras.Model, card: ModelCard) -> dict[str, tuple]:
    """The function and the input specification of every signature."""
    features = card.features()
    channels = tf.TensorSpec((None, None, None, len(card.channels)), tf.float32, name="channels")
    bands = tf.TensorSpec((None, None, None, len(get_layout(card.layout).bands)), tf.float32, name="bands")
    threshold, text = np.float32(card.threshold), card.as_json()

    predict = tf.function(lambda channels: model(channels, training=False), input_signature=[channels])  # traced once

    def serving_default(channels):
        return {"probability": predict(channels)}

    def from_bands(bands):
        return {"probability": predict(features(bands))}

    def segment(channels):
        probability = predict(channels)
        return {"probability": probability, "mask": tf.cast(probability >= threshold, tf.uint8)}

    def compute_features(bands):
        return {"channels": features(bands)}

    def describe():
        return {"card": tf.constant(text)}

    return {
        "serving_default": (serving_default, [channels]),
        "from_bands": (from_bands, [bands]),
        "segment": (segment, [channels]),
        "features": (compute_features, [bands]),
        "describe": (describe, []),
    }


def _write_warmup(card: ModelCard, path: Path) -> None:
    """One request for each signature with inputs, which a server replays before it serves the version.

    Not for ``describe``: with batching on, TensorFlow Serving refuses requests without inputs, and so would not load
    a version that carries one.
    """
    from serving.protos import PredictionLog, TensorProto

    sizes = {"channels": len(card.channels), "bands": len(get_layout(card.layout).bands)}
    inputs = {"serving_default": "channels", "from_bands": "bands", "segment": "channels", "features": "bands"}
    with tf.io.TFRecordWriter(str(path / WARMUP_FILE)) as writer:
        for signature, name in inputs.items():
            image = TensorProto(dtype=tf.float32.as_datatype_enum, float_val=[0.5])  # one value stands for all
            image.tensor_shape.CopyFrom(tf.TensorShape((1, 128, 128, sizes[name])).as_proto())
            record = PredictionLog()
            request = record.predict_log.request
            request.model_spec.name, request.model_spec.signature_name = card.name, signature
            request.inputs[name].CopyFrom(image)
            writer.write(record.SerializeToString())


def _write_reference(model: keras.Model, card: ModelCard, path: Path) -> None:
    """Some channels and what the model makes of them, by which another runtime proves itself without TensorFlow."""
    channels, _ = next(_samples(model, card.features()))
    np.savez_compressed(path / REFERENCE_FILE, channels=channels, probability=_graph_of(model)(channels).numpy())


def _graph_of(model: keras.Model):
    return tf.function(lambda x: model(x, training=False), input_signature=[tf.TensorSpec(model.input_shape)])


def verify(model: keras.Model, card: ModelCard, path: Path) -> float:
    """Compare every signature with the live model, as a graph, on random input of two sizes, some of it missing.

    Calling the model layer by layer instead rounds otherwise than any graph of it: EfficientNet-B0 by up to 3e-5.

    Returns:
        the largest difference: of probability, and of channels relative to the largest value.

    Raises:
        LandslideError: they differ by more than 1e-5, or one is NaN where the other is not.
    """
    exported = tf.saved_model.load(str(path)).signatures
    graph = _graph_of(model)
    features, worst = card.features(), 0.0
    for channels, bands in _samples(model, features):
        live, live_from_bands = graph(channels).numpy(), graph(features(bands)).numpy()
        segmented = exported["segment"](channels=tf.constant(channels))
        pairs = [
            (exported["serving_default"](channels=tf.constant(channels))["probability"], live),
            (exported["from_bands"](bands=tf.constant(bands))["probability"], live_from_bands),
            (segmented["probability"], live),
        ]
        pairs.append((exported["features"](bands=tf.constant(bands))["channels"], features(bands).numpy()))
        worst = np.max([worst, *(_difference(found.numpy(), expected) for found, expected in pairs)])  # keeps a NaN
        marked = segmented["probability"].numpy() >= np.float32(card.threshold)
        if not np.array_equal(segmented["mask"].numpy(), marked):
            raise LandslideError(f"{path}: the exported mask is not its own probability at the threshold")
    if exported["describe"]()["card"].numpy().decode() != card.as_json():
        raise LandslideError(f"{path}: the exported card is not the model's")
    if not worst <= TOLERANCE:
        raise LandslideError(f"{path}: the exported model differs from the live one by {worst:.2g}; not published")
    return float(worst)


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    if not np.array_equal(np.isnan(found), np.isnan(expected)):
        return float("nan")
    return float(np.nanmax(np.abs(found - expected)) / max(1.0, np.nanmax(np.abs(expected))))


def _samples(model: keras.Model, features: Features) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Random channels around those the model was trained on, and random stored bands."""
    normalization = model.get_layer("normalization")
    mean, std = (keras.ops.convert_to_numpy(v) for v in (normalization.mean, normalization.variance**0.5))
    rng = np.random.default_rng(0)
    for shape in ((2, 64, 96), (1, 128, 128)):
        channels = (rng.standard_normal((*shape, len(mean))) * std + mean).astype(np.float32)
        bands = rng.uniform(0.05, 2, (*shape, len(features.layout.bands))).astype(np.float32)
        channels[:, :3, :5] = bands[:, :3, :5] = np.nan
        yield channels, bands
