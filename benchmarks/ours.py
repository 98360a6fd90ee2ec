"""Contenders in the product's environment: the product itself, and peers on TensorFlow."""

from __future__ import annotations

import os
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
from contest import Calls, Describe, NotApplicable, peak_mb, resident_mb, versions, work

from serving.startup import start_tensorflow

NETWORKS = {"unet_resnet34": ("smp_unet", "smp_resnet34"), "plain_unet": ("plain_unet", None)}
SIZE, CHANNELS = 128, 6


def random_channels(n: int, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, size, size, CHANNELS), np.float32)


def random_masks(n: int, size: int = SIZE) -> np.ndarray:
    return (np.random.default_rng(1).random((n, size, size, 1), np.float32) < 0.02).astype(np.float32)


def _started(facts: dict, *packages: str) -> bool:
    """Import TensorFlow and the product's models, note it; whether there is a GPU."""
    start_tensorflow()
    import keras
    import tensorflow as tf

    import tf_landslide.models.build
    import tf_landslide.training.losses  # noqa: F401

    gpus = tf.config.list_physical_devices("GPU")
    name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU") if gpus else None
    facts |= {"gpu": name, "versions": versions("tensorflow", "keras", "numpy", *packages)}
    facts["imported_mb"] = resident_mb()
    if gpus:
        keras.mixed_precision.set_global_policy("mixed_float16")
    return bool(gpus)


def _train_calls(model, optimizer, batch: int, jit: bool, size: int = SIZE) -> Calls:
    """The step that ``fit`` takes, fed as ``fit`` feeds it, until its loss is known."""
    import tensorflow as tf

    from tf_landslide.training.losses import BCEDice

    model.compile(optimizer=optimizer, loss=BCEDice(), jit_compile=jit)
    model.make_train_function()
    data = iter(tf.data.Dataset.from_tensors((random_channels(batch, size), random_masks(batch, size))).repeat())
    return {str(batch): lambda: float(model.train_function(data)["loss"])}


def training(
    facts: dict,
    network: str,
    jit: bool,
    batch: int = 16,
    precision: str | None = None,
    size: int = SIZE,
    checkpointing: bool = False,
) -> tuple[Calls, Describe]:
    _started(facts)
    from tf_landslide.models.build import build_model
    from tf_landslide.models.complexity import multiply_adds
    from tf_landslide.training.checkpointing import checkpoint_gradients
    from tf_landslide.training.optimizers import FusedAdam

    architecture, encoder = NETWORKS[network]
    model = build_model(architecture, encoder, channels=CHANNELS, precision=precision)
    if checkpointing:
        checkpoint_gradients(model)
    return _train_calls(model, FusedAdam(1e-3), batch, jit, size), lambda: {"multiply_adds": multiply_adds(model)}


def keras_training(facts: dict, batch: int = 16) -> tuple[Calls, Describe]:
    """segmentation-models on Keras, trained as its users do."""
    os.environ["SM_FRAMEWORK"] = "tf.keras"
    _started(facts, "segmentation-models")
    import keras
    import segmentation_models as sm

    from tf_landslide.models.complexity import multiply_adds

    facts["imported_mb"] = resident_mb()
    shape = (SIZE, SIZE, CHANNELS)
    model = sm.Unet("resnet34", input_shape=shape, encoder_weights=None, classes=1, activation="sigmoid")
    return _train_calls(model, keras.optimizers.Adam(1e-3), batch, jit=False), lambda: {
        "multiply_adds": multiply_adds(model)
    }


def export(facts: dict, folder: str) -> tuple[Calls, Describe]:
    """U-Net/ResNet-34 with random weights, as a server's folder of models: ``FOLDER/unet/1``."""
    _started(facts)
    import server

    from tf_landslide.models.complexity import multiply_adds

    model = server.export(Path(folder))
    return {}, lambda: {"multiply_adds": multiply_adds(model)}


def _predictor(path: str, runtime: str):
    from tf_landslide.predict.load import load_predictor

    return load_predictor(path, runtime=runtime)


def inference(facts: dict, path: str, runtime: str, batches: list[int]) -> tuple[Calls, Describe]:
    """The predictor; ``fastest`` is what it chooses by itself."""
    if runtime == "tensorflow":
        start_tensorflow()
    predict = _predictor(path, runtime)
    packages = ("openvino",) if predict.runtime == "openvino" else ("tensorflow",)
    facts |= {"versions": versions(*packages, "numpy"), "imported_mb": resident_mb()}
    calls = {str(n): partial(predict, random_channels(n)) for n in batches}
    return calls, lambda: {
        "probe": predict(random_channels(1)).ravel()[::1021].tolist(),
        "runtime": predict.runtime,
    }


def short_graph(path: str, precision: str):
    """The graph of a short format, as ``prove`` makes it; random weights have nothing to prove."""
    from tf_landslide.predict.backends.openvino_graph import read_saved_model
    from tf_landslide.runs.precision import lacking

    if lacks := lacking(precision):
        raise NotApplicable(lacks)
    graph = read_saved_model(Path(path))
    if precision == "int8":
        from tf_landslide.predict.backends.quantized import quantized

        graph = quantized(graph, random_channels(16))
    return graph


def short_predictor(graph, path: str, precision: str, folder: str):
    """The predictor of such a graph, which is written to a folder; the card is the export's."""
    from tf_landslide.predict.backends.openvino_graph import write_graph
    from tf_landslide.predict.load import load_card
    from tf_landslide.predict.short import short_format

    write_graph(graph, Path(folder))
    return short_format(load_card(Path(path)), Path(folder), precision)


def short(facts: dict, path: str, precision: str, batches: list[int]) -> tuple[Calls, Describe]:
    """A short format's predictor."""
    import tempfile

    graph = short_graph(path, precision)
    packages = ("openvino", "numpy", "nncf") if precision == "int8" else ("openvino", "numpy")
    facts |= {"versions": versions(*packages), "imported_mb": resident_mb()}
    with tempfile.TemporaryDirectory() as folder:
        predict = short_predictor(graph, path, precision, folder)
        calls = {str(n): partial(predict, random_channels(n)) for n in batches}
        for call in calls.values():  # the weights are read from the file when they are first needed
            call()
    return calls, lambda: {"probe": predict(random_channels(1)).ravel()[::1021].tolist()}


def peak(facts: dict, sides: list[int]) -> tuple[Calls, Describe]:
    """Float32 matrix multiplication with all cores."""
    start_tensorflow()
    import tensorflow as tf

    facts |= {"versions": versions("tensorflow")}

    def multiply(a, b):
        return tf.matmul(a, b)[0, 0].numpy()

    squares = {side: tf.random.normal((side, side)) for side in sides}
    return {str(side): partial(multiply, square, square) for side, square in squares.items()}, dict


def loading(facts: dict, folder: str, cache: str = "memory", batch: int = 16) -> tuple[Calls, Describe]:
    """``load_dataset``: the first epoch with all its checks, later ones, and later ones shuffled and turned."""
    start_tensorflow()
    from tf_landslide.data.pipeline import load_dataset

    facts |= {"versions": versions("tensorflow", "h5py", "numpy"), "imported_mb": resident_mb()}
    load = partial(load_dataset, folder, "train", channels="six", batch_size=batch, cache=cache)
    held, turned = load(), load(shuffle=True, augment=True)
    return _epochs(load, held, turned), lambda: _batches(held)


def plain_loading(
    facts: dict, folder: str, scales: list[float], cache: bool, batch: int = 16
) -> tuple[Calls, Describe]:
    """The plain way: a generator over h5py, batched and prefetched; or the same with tf.data's own cache."""
    import plain
    import tensorflow as tf

    facts |= {"versions": versions("tensorflow", "h5py", "numpy"), "imported_mb": resident_mb()}
    pairs, factors, rng = plain.pairs(folder), np.array(scales), np.random.default_rng(0)

    def generate():
        for image, mask in pairs:
            yield plain.read(image, mask, factors)

    def turn(x, y):
        x, y = tf.numpy_function(lambda a, b: plain.turned(a, b, rng), [x, y], (tf.float32, tf.float32))
        return tf.ensure_shape(x, (SIZE, SIZE, CHANNELS)), tf.ensure_shape(y, (SIZE, SIZE, 1))

    def dataset(shuffled: bool = False):
        shapes = tf.TensorSpec((SIZE, SIZE, CHANNELS), tf.float32), tf.TensorSpec((SIZE, SIZE, 1), tf.float32)
        patches = tf.data.Dataset.from_generator(generate, output_signature=shapes)
        if cache:
            patches = patches.cache()
        if shuffled:
            patches = patches.shuffle(len(pairs)).map(turn)
        return patches.batch(batch).prefetch(2)

    held = dataset()
    return _epochs(dataset, held, dataset(shuffled=True)), lambda: _batches(held)


def _epochs(make, held, turned) -> Calls:
    def consume(dataset):
        patches = 0
        for x, _ in dataset:
            patches += x.shape[0]
        return patches

    return {"first": lambda: consume(make()), "later": lambda: consume(held), "turned": lambda: consume(turned)}


def _batches(dataset) -> dict:
    """What shows that the same patches came: means of the first batch's channels, and of its mask."""
    x, y = next(iter(dataset.as_numpy_iterator()))
    return {"probe": [*x.mean(axis=(0, 1, 2), dtype=np.float64).tolist(), float(y.mean())]}


def growth(facts: dict, path: str, patches: int = 1, size: int = SIZE, callers: int = 0) -> tuple[Calls, Describe]:
    """The predictor over so many patches of so many pixels, asked by one, or one by one by so many callers."""
    start_tensorflow()
    predict = _predictor(path, "auto")
    x = random_channels(patches, size)
    predict(x[:1])
    facts["imported_mb"] = resident_mb() - x.nbytes / 2**20

    def ask():
        for i in range(patches):
            predict(x[i : i + 1])

    def ask_together():
        threads = [threading.Thread(target=ask) for _ in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return {"all": ask_together if callers else partial(predict, x)}, dict


def epochs(facts: dict, count: int, before: int = 5, n: int = 32, size: int = 64) -> tuple[Calls, Describe]:
    """Resident memory after each of ``count`` epochs of ``fit``, after some that are not counted."""
    _started(facts)
    import keras
    import tensorflow as tf

    from tf_landslide.models.build import build_model
    from tf_landslide.training.losses import BCEDice
    from tf_landslide.training.optimizers import FusedAdam

    model = build_model("unet", "resnet34", channels=CHANNELS)
    model.compile(optimizer=FusedAdam(1e-3), loss=BCEDice(), jit_compile=False)
    data = tf.data.Dataset.from_tensor_slices((random_channels(n, size), random_masks(n, size))).batch(8)
    resident: list[float] = []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: resident.append(resident_mb()))
    started = time.perf_counter()
    model.fit(data, epochs=before + count, verbose=0, callbacks=[note])
    facts |= {"resident_mb": resident[before:], "seconds": time.perf_counter() - started, "highest_mb": peak_mb()}
    return {}, dict


KINDS = {
    "training": training,
    "keras_training": keras_training,
    "export": export,
    "inference": inference,
    "short": short,
    "peak": peak,
    "loading": loading,
    "plain_loading": plain_loading,
    "growth": growth,
    "epochs": epochs,
}

if __name__ == "__main__":
    work(KINDS)
