"""Training step and inference of the paper's models on this machine, as a Markdown table.

    python benchmarks/models.py [--batch 8] [--steps 5] [NAME …]
    python benchmarks/models.py --ratio unet_resnext50 unet_resnet50     one's time over the other's, call by call
    python benchmarks/models.py --ratio unet_vgg16 unet_vgg16_before     NAME_before: as the configs were before

A training step is forward, backward and Adam at 128 x 128 x 6 in graph mode without XLA; inference is the predictor's.
Each model has a process of its own (``contest``); the figures are medians, after one call that compiles.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from contest import Calls, Contender, Describe, contest, median_seconds, speed_ratio, work
from ours import random_channels, random_masks

from serving.startup import start_tensorflow
from tf_landslide.core.tables import markdown_table
from tf_landslide.runs.config import shipped_configs

# Beside the paper's models: what ResNeXt's step is measured against, and NAME_before.
BESIDE = {"unet_resnet50": ("unet", "resnet50")}
BEFORE = "_before"


def model(facts: dict, name: str, batch: int) -> tuple[Calls, Describe]:
    """The contender: one model, its training step and its inference on ``batch`` patches."""
    start_tensorflow()
    import keras  # once TensorFlow is quiet

    from tf_landslide.jobs.catalogue import build_paper_model, paper_models
    from tf_landslide.models.build import build_model
    from tf_landslide.predict.backends.keras import KerasBackend
    from tf_landslide.training.losses import BCEDice
    from tf_landslide.training.optimizers import FusedAdam

    if name in BESIDE:
        built = build_model(*BESIDE[name], channels=6)
    elif name.endswith(BEFORE):
        paper = paper_models()[name.removesuffix(BEFORE)]
        options = {key: value for key, value in paper.options.items() if key != "center"}
        built = build_model(_plain(paper.architecture), _plain(paper.encoder), channels=6, **options)
    else:
        built = build_paper_model(name)
    x, y = random_channels(batch), random_masks(batch)
    with tempfile.TemporaryDirectory() as folder:
        built.save(Path(folder) / "m.keras")
        facts["megabytes"] = (Path(folder) / "m.keras").stat().st_size / 1e6
    infer = KerasBackend(built, batch).probability
    built.compile(optimizer=FusedAdam(1e-3), loss=BCEDice(), jit_compile=False)
    facts["keras"] = keras.version()
    return {"step": lambda: built.train_on_batch(x, y), "inference": lambda: infer(x)}, dict


def _plain(name: str) -> str:
    """A name without the library that it is of."""
    return name.removeprefix("smp_").removeprefix("hf_")


def measured(names: list[str], variants: list[str], batch: int, rounds: int) -> dict[str, dict]:
    """A contest among models."""
    contenders = {
        name: Contender(sys.executable, "models.py", {"kind": "model", "name": name, "batch": batch, "warmup": 1})
        for name in names
    }
    return contest(contenders, dict.fromkeys(variants, 1), rounds)


def row(name: str, batch: int, rounds: int) -> tuple[str, ...]:
    """One model alone: fourteen together would not fit into memory."""
    result = measured([name], ["step", "inference"], batch, rounds)[name]
    if "error" in result:
        return name, result["error"], "", ""
    step, inference = (median_seconds(result, variant) for variant in ("step", "inference"))
    return name, f"{step:.2f}", f"{batch / inference:.1f}", f"{result['facts']['megabytes']:.0f}"


def main() -> int:
    models = [name for name in shipped_configs() if not name.startswith(("mmls", "bijie", "paper_recipe"))]
    known = [*models, *BESIDE]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=known, metavar="NAME")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--ratio", nargs=2, metavar="NAME", help="only the ratios of two models' times")
    a = parser.parse_args()
    if a.ratio:
        one, other = a.ratio
        variants = ["step", "inference"]
        results = measured(a.ratio, variants, a.batch, a.steps)
        for variant in variants:
            print(variant, "{:.2f} ({:.2f}-{:.2f})".format(*speed_ratio(results[other], results[one], variant)))
        return 0
    header = ("model", f"s a step of {a.batch}", "patches/s", ".keras MB")
    print(markdown_table(header, [row(name, a.batch, a.steps) for name in a.names]))
    return 0


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1].startswith("{"):
        work({"model": model})
    else:
        sys.exit(main())
