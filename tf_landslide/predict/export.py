"""Export: a model as a versioned SavedModel that TensorFlow Serving, our server and ``load_predictor`` read."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from serving.protos import PredictionLog, TensorProto
from tf_landslide.bands.features import Features
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import beside, telling_a_full_disk, write_text
from tf_landslide.models.layers.norm import input_normalization
from tf_landslide.models.uncertainty import of_votes
from tf_landslide.predict.predictor import UNCERTAINTY
from tf_landslide.runs import formats
from tf_landslide.runs.card import ModelCard

TOLERANCE = 1e-5


def publish(
    model: keras.Model,
    card: ModelCard,
    models_dir: str | Path,
    name: str | None = None,
    finish: Callable[[Path], None] | None = None,
) -> Path:
    """Publish a model as ``MODELS/NAME/VERSION``, one version above the highest there.

    The folder appears whole or not at all, so that a server which polls ``MODELS/NAME`` never sees half a version. Two
    exports at the same time each get a version of their own.

    Args:
        model: from channels to probabilities.
        card: of it.
        models_dir: the folder that a model server watches.
        name: of the model; by default the card's.
        finish: adds to the version's folder before it appears.

    Returns:
        the version's folder.

    Raises:
        LandslideError: a name that is no folder name, an export that differs from the model, or a full disk.
    """
    name = name or card.name
    formats.check_model_name(name)
    folder = Path(models_dir) / name
    if folder.exists() and not folder.is_dir():
        raise LandslideError(f"{folder}: is a file, expected a folder of versions")
    card = replace(card, name=name, parameters=model.count_params())
    with beside(folder / "export") as partial, telling_a_full_disk(folder):
        save_model(model, card, partial)
        verify(model, card, partial)
        if finish:
            finish(partial)
        return _as_next_version(partial, folder)


def _as_next_version(export: Path, folder: Path) -> Path:
    """Move a whole export to the next version that is free; a folder cannot be moved onto one that holds something."""
    while True:
        version = formats.next_version(folder)
        try:
            return export.rename(version)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


def save_model(model: keras.Model, card: ModelCard, path: Path) -> None:
    """Write a SavedModel with its card, the requests that warm it up, and an answer to prove other runtimes on.

    Its signatures, for any N, H and W (multiples of 32):

    ================== ============================================== ==========================================
    serving_default    channels (N, H, W, C) float32                  probability (N, H, W, 1) float32
    from_bands         bands (N, H, W, B) float32, as stored          probability
    segment            channels                                       probability, mask (N, H, W, 1) uint8, 0 or 1
    features           bands                                          channels
    uncertainty        channels                                       probability, deviation and mutual_information
                                                                      (N, H, W, 1); of combined models only
    describe           nothing                                        card, a string of JSON
    ================== ============================================== ==========================================
    """
    _name_for_graphs(model)
    archive = keras.export.ExportArchive()
    archive.track(model)
    for name, (function, inputs) in signatures(model, card).items():
        archive.add_endpoint(name, function, input_signature=inputs)
    archive.write_out(str(path), verbose=False)
    write_text(path / formats.CARD, card.as_json() + "\n")
    write_text(path / formats.CARD_TEXT, card.markdown())
    _write_warmup(card, path, unsure=of_votes(model) is not None)
    _write_reference(model, card, path)


def _name_for_graphs(model: keras.Model) -> None:
    """Rename variables of layers called as PyTorch's modules (``_bn0``): no name in a graph may begin with ``_``."""
    for variable in model.variables:
        if (held := variable.value).name.startswith("_"):
            held._handle_name = f"variable{held.name}"  # which has no public setter


def signatures(model: keras.Model, card: ModelCard) -> dict[str, tuple[Callable[..., Any], list[tf.TensorSpec]]]:
    """The function and the input specification of every signature."""
    features = Features.of(card.channel_recipe)
    channels = tf.TensorSpec((None, None, None, len(card.channel_names)), tf.float32, name="channels")
    bands = tf.TensorSpec((None, None, None, len(card.layout.bands)), tf.float32, name="bands")
    threshold, text = np.float32(card.threshold), card.as_json()

    predict = tf.function(lambda channels: model(channels, training=False), input_signature=[channels])  # traced once

    def serving_default(channels: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probability": predict(channels)}

    def from_bands(bands: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probability": predict(features(bands))}

    def segment(channels: tf.Tensor) -> dict[str, tf.Tensor]:
        probability = predict(channels)
        return {"probability": probability, "mask": tf.cast(probability >= threshold, tf.uint8)}

    def compute_features(bands: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"channels": features(bands)}

    answers = of_votes(model)

    def uncertainty(channels: tf.Tensor) -> dict[str, tf.Tensor]:
        assert answers  # else there is no such signature
        return dict(zip(UNCERTAINTY, tf.split(answers(channels, training=False), 3, axis=-1), strict=True))

    def describe() -> dict[str, tf.Tensor]:
        return {"card": tf.constant(text)}

    return {
        "serving_default": (serving_default, [channels]),
        "from_bands": (from_bands, [bands]),
        "segment": (segment, [channels]),
        "features": (compute_features, [bands]),
        **({"uncertainty": (uncertainty, [channels])} if answers else {}),
        "describe": (describe, []),
    }


def _write_warmup(card: ModelCard, path: Path, unsure: bool) -> None:
    """One request for each signature with inputs, which a server replays before it serves the version.

    Not for ``describe``: with batching on, TensorFlow Serving refuses requests without inputs, and so would not load
    a version that carries one.
    """
    sizes = {"channels": len(card.channel_names), "bands": len(card.layout.bands)}
    inputs = {"serving_default": "channels", "from_bands": "bands", "segment": "channels", "features": "bands"}
    inputs |= {"uncertainty": "channels"} if unsure else {}
    with tf.io.TFRecordWriter(str(path / formats.WARMUP)) as writer:
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
    channels, _ = next(_samples(model, card))
    np.savez_compressed(path / formats.REFERENCE, channels=channels, probability=_graph_of(model)(channels).numpy())


def _graph_of(model: keras.Model) -> Callable[[Any], tf.Tensor]:
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
    features, worst = Features.of(card.channel_recipe), 0.0
    for channels, bands in _samples(model, card):
        live, live_from_bands = graph(channels).numpy(), graph(features(bands)).numpy()
        segmented = exported["segment"](channels=tf.constant(channels))
        pairs = [
            (exported["serving_default"](channels=tf.constant(channels))["probability"], live),
            (exported["from_bands"](bands=tf.constant(bands))["probability"], live_from_bands),
            (segmented["probability"], live),
        ]
        pairs.append((exported["features"](bands=tf.constant(bands))["channels"], features(bands).numpy()))
        if answers := of_votes(model):
            unsure = exported["uncertainty"](channels=tf.constant(channels))
            found = tf.concat([unsure[name] for name in UNCERTAINTY], axis=-1)
            pairs.append((found, _graph_of(answers)(channels).numpy()))
        worst = np.max([worst, *(_difference(found.numpy(), expected) for found, expected in pairs)])  # keeps a NaN
        marked = segmented["probability"].numpy() >= np.float32(card.threshold)
        if not np.array_equal(segmented["mask"].numpy(), marked):
            raise LandslideError(f"{card.name}: the exported mask is not its own probability at the threshold")
    if exported["describe"]()["card"].numpy().decode() != card.as_json():
        raise LandslideError(f"{card.name}: the exported card is not the model's")
    if not worst <= TOLERANCE:
        raise LandslideError(f"{card.name}: the exported model differs from the live one by {worst:.2g}; not published")
    return float(worst)


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    if not np.array_equal(np.isnan(found), np.isnan(expected)):
        return float("nan")
    return float(np.nanmax(np.abs(found - expected)) / max(1.0, np.nanmax(np.abs(expected))))


def _samples(model: keras.Model, card: ModelCard) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Random channels around those the model was trained on, and random stored bands."""
    normalization = input_normalization(model)
    mean, std = (keras.ops.convert_to_numpy(v) for v in (normalization.mean, normalization.variance**0.5))
    rng = np.random.default_rng(0)
    for shape in ((2, 64, 96), (1, 128, 128)):
        channels = (rng.standard_normal((*shape, len(mean))) * std + mean).astype(np.float32)
        bands = rng.uniform(0.05, 2, (*shape, len(card.layout.bands))).astype(np.float32)
        channels[:, :3, :5] = bands[:, :3, :5] = np.nan
        yield channels, bands
