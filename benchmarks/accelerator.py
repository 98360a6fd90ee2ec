"""Models and loss on an accelerator by another backend of Keras: equal to TensorFlow's, and how fast they train there.

    python benchmarks/accelerator.py reference FILE                        here, by TensorFlow: answers to compare with
    KERAS_BACKEND=jax python benchmarks/accelerator.py compare FILE        on the accelerator, in float32
    KERAS_BACKEND=jax python benchmarks/accelerator.py train [--networks NAME …] [--batch 16 128] [--precision …]

Needs Keras, NumPy, Pydantic and PyYAML beside the backend; TensorFlow only for ``reference``. Weights are drawn by
NumPy, so that nothing but FILE (half a megabyte) travels; ``compare`` ends with 1 if a probability differs by more than
1e-4. ``train`` runs ``fit`` on arrays in the host's memory and prints the rate of the epochs after the first.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
if "compare" in sys.argv:
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")  # float32 means float32 where answers are compared
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import keras
import numpy as np

from tf_landslide.models._keras_compat import sublayers
from tf_landslide.models.build import build_model
from tf_landslide.training.losses import BCEDice

NETWORKS = {
    "plain_unet": ("plain_unet", None),
    "smp_unet/smp_resnet34": ("smp_unet", "smp_resnet34"),
    "smp_deeplabv3plus/smp_resnet34": ("smp_deeplabv3plus", "smp_resnet34"),
    "smp_unet/smp_efficientnetb0": ("smp_unet", "smp_efficientnetb0"),
    "hf_segformer/hf_mit_b1": ("hf_segformer", "hf_mit_b1"),
}
STEPS = 3
"""Of plain gradient descent, whose losses are compared."""
TOLERANCE = 1e-4


def batch(n: int, size: int = 128, channels: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Channels with some missing values, and masks."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, size, size, channels), np.float32)
    x[0, :8, :8, 0] = np.nan
    return x, (rng.random((n, size, size, 1), np.float32) < 0.1).astype(np.float32)


def drawn(network: str, precision: str | None = None) -> keras.Model:
    """A model whose weights NumPy drew: kernels by He's variance, the rest small, variances and scales above 0."""
    model = build_model(*NETWORKS[network], channels=6, precision=precision)
    rng = np.random.default_rng(7)
    for weight in model.weights:
        shape, kind = tuple(weight.shape), weight.path.rpartition("/")[2]
        if "seed" in kind or "int" in str(weight.dtype):
            continue
        if len(shape) > 1:
            values = rng.standard_normal(shape) * (2 / max(np.prod(shape[:-1]), 1)) ** 0.5
        elif "variance" in kind:
            values = rng.uniform(0.8, 1.2, shape)
        elif kind == "gamma":  # below 1: thirty residual blocks add up
            values = rng.uniform(0.3, 0.6, shape)
        else:
            values = rng.normal(0, 0.05, shape)
        weight.assign(values.astype(np.float32))
    return model


def answers(network: str) -> dict[str, np.ndarray]:
    """What a drawn model answers, and its loss before each step of plain gradient descent."""
    x, y = batch(2)
    model = drawn(network)
    for layer in sublayers(model):  # no two backends draw the same
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    probability = keras.ops.convert_to_numpy(model(x, training=False))
    model.compile(optimizer=keras.optimizers.SGD(0.01), loss=BCEDice())
    losses = [float(model.train_on_batch(x, y, return_dict=True)["loss"]) for _ in range(STEPS)]
    return {"probability": probability.astype(np.float32), "losses": np.array(losses)}


def reference(file: Path, names: list[str]) -> bool:
    """Write the answers of the backend that runs here."""
    found = {name: answers(name) for name in names}
    np.savez_compressed(file, **{f"{name}|{key}": value for name, got in found.items() for key, value in got.items()})
    print(f"{file}: {len(found)} models by {keras.backend.backend()}, Keras {keras.version()}")
    return True


def compare(file: Path, names: list[str]) -> bool:
    """Print the greatest differences from a file of another backend's answers; whether all are small."""
    greatest = 0.0
    with np.load(file) as kept:
        for name in names:
            got = answers(name)
            p, losses = (np.abs(got[key] - kept[f"{name}|{key}"]).max() for key in ("probability", "losses"))
            greatest = max(greatest, p)
            print(f"{name:32} probability {p:.1e}   losses {losses:.1e}", flush=True)
    return greatest <= TOLERANCE


def train(names: list[str], batches: list[int], precisions: list[str], patches: int, epochs: int) -> None:
    """Print patches a second of ``fit`` for every combination, one JSON object a line."""
    x, y = batch(patches)
    for name in names:
        for precision in precisions:
            for size in batches:
                model = build_model(*NETWORKS[name], channels=6, precision=precision)
                model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=BCEDice())
                clock = Epochs()
                model.fit(x, y, batch_size=size, epochs=1 + epochs, shuffle=False, verbose=0, callbacks=[clock])
                rate = round(patches / statistics.median(clock.seconds[1:]))
                row = {"network": name, "precision": precision, "batch": size, "patches/s": rate}
                print(json.dumps(row | {"first epoch, s": round(clock.seconds[0], 1)}), flush=True)


class Epochs(keras.callbacks.Callback):
    """Times every epoch."""

    def __init__(self):
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.began)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("reference", "compare", "train"):
        command = commands.add_parser(name)
        command.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS), metavar="NAME")
        if name != "train":
            command.add_argument("file", type=Path)
    command.add_argument("--batch", nargs="+", type=int, default=[16, 128])
    command.add_argument("--precision", nargs="+", default=["float32", "mixed_bfloat16"])
    command.add_argument("--patches", type=int, default=3840)
    command.add_argument("--epochs", type=int, default=3, help="after the first, which compiles")
    a = parser.parse_args()
    if a.command == "train":
        train(a.networks, a.batch, a.precision, a.patches, a.epochs)
        return 0
    return int(not {"reference": reference, "compare": compare}[a.command](a.file, a.networks))


if __name__ == "__main__":
    sys.exit(main())
