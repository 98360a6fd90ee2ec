"""Training step and inference of the paper's models on this machine, as a Markdown table.

    python benchmarks/models.py [--batch 8] [--steps 5] [NAME …]
    python benchmarks/models.py --ratio unet_resnext50 unet_resnet50     one's step over the other's, step by step

A training step is forward, backward and Adam at 128 x 128 x 6 in graph mode without XLA; inference is the predictor's.
Both are medians, after one call that compiles.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from tf_landslide.training.optimizers import FusedAdam

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

from tf_landslide.jobs.catalogue import build_paper_model, paper_models
from tf_landslide.models.build import build_model
from tf_landslide.predict.backends.keras import KerasBackend
from tf_landslide.predict.predictor import Predictor
from tf_landslide.runs.card import ModelCard
from tf_landslide.training.losses import BCEDice

# Beside the paper's models: what ResNeXt's step is measured against.
BESIDE = {"unet_resnet50": ("unet", "resnet50")}
MODELS = (*paper_models(), *BESIDE)


def median_seconds(call, times: int) -> float:
    call()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def patches(batch: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, 128, 128, 6)).astype(np.float32)
    return x, (rng.random((batch, 128, 128, 1)) < 0.02).astype(np.float32)


def build(name: str) -> keras.Model:
    return build_model(*BESIDE[name], channels=6) if name in BESIDE else build_paper_model(name)


def compiled(model: keras.Model) -> keras.Model:
    model.compile(optimizer=FusedAdam(1e-3), loss=BCEDice(), jit_compile=False)
    return model


def ratio(one: str, other: str, batch: int, steps: int) -> float:
    """The median ratio of two models' training steps, taken in turn."""
    x, y = patches(batch)
    models = []
    for name in (one, other):
        models.append(compiled(build(name)))
        models[-1].train_on_batch(x, y)
    ratios = []
    for _ in range(steps):
        seconds = []
        for model in models:
            start = time.perf_counter()
            model.train_on_batch(x, y)
            seconds.append(time.perf_counter() - start)
        ratios.append(seconds[0] / seconds[1])
    return statistics.median(ratios)


def measure(name: str, batch: int, steps: int) -> tuple[float, float, float]:
    """Seconds a training step, patches a second of inference, megabytes of the ``.keras`` file."""
    model = build(name)
    x, y = patches(batch)
    predictor = Predictor(ModelCard(name, "", None, "", tuple("abcdef"), 0.5), KerasBackend(model, batch))
    inference = batch / median_seconds(lambda: predictor(x), steps)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "m.keras")
        megabytes = (Path(folder) / "m.keras").stat().st_size / 1e6
    compiled(model)
    step = median_seconds(lambda: model.train_on_batch(x, y), steps)
    return step, inference, megabytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(MODELS), metavar="NAME")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--ratio", nargs=2, choices=MODELS, metavar="NAME", help="only the ratio of two models' steps")
    arguments = parser.parse_args()
    if arguments.ratio:
        print(f"{ratio(*arguments.ratio, arguments.batch, arguments.steps):.2f}")
        return
    print(f"| model | s a step of {arguments.batch} | patches/s | .keras MB |\n|---|---|---|---|")
    for name in arguments.names:
        step, inference, megabytes = measure(name, arguments.batch, arguments.steps)
        print(f"| {name} | {step:.2f} | {inference:.1f} | {megabytes:.0f} |", flush=True)
        keras.backend.clear_session()


if __name__ == "__main__":
    main()
