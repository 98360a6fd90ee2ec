"""The whole job on the synthetic sample landscape: data, training, judging, prediction, export, a map."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.locks import is_in_the_way, locked
from tf_landslide.data.folders import find_patches
from tf_landslide.data.synthetic import write_sample
from tf_landslide.evaluation.baselines import baselines
from tf_landslide.jobs.export import export_run
from tf_landslide.jobs.map_options import MapOptions
from tf_landslide.jobs.train import train
from tf_landslide.metrics import SCORES
from tf_landslide.predict.files import predict_files
from tf_landslide.predict.load import load_predictor
from tf_landslide.runs.config import check_config
from tf_landslide.runs.folder import Run
from tf_landslide.runs.sections import Config
from tf_landslide.runs.splits import open_splits

DEMO_CONFIG = {
    "name": "demo",
    "description": "a small plain U-Net on the SYNTHETIC sample landscape",
    "data": {"layout": "landslide4sense", "channels": "six"},
    "model": {"architecture": "plain_unet", "encoder": None, "options": {"width": 16, "depth": 4, "batch_norm": True}},
    "loss": {"name": "bce_dice"},
    "training": {"epochs": 10, "batch_size": 8, "learning_rate": 3e-3, "seed": 0},
}
DEMO_SCENE = {"size": 512, "seed": 1}  # that is mapped; the patches are of other landscapes
DEMO_PATCHES = {"train": 192, "valid": 48, "test": 64}


def demo_config() -> Config:
    return check_config(DEMO_CONFIG, "the demo's config")


def run_demo(out: str | Path = "demo") -> dict[str, Any]:
    """Write the sample landscape, train a small U-Net on it, judge, predict, export.

    Args:
        out: folder to make; an earlier demo in it is replaced.

    Returns:
        the scores by method, the paths of what was made, and what a scene's map says.

    Raises:
        LandslideError: ``out`` holds something that no demo wrote, or another demo is writing to it.
    """
    with locked(out):
        return _demo(Path(out))


def _demo(out: Path) -> dict[str, Any]:
    started = time.monotonic()
    _start_afresh(out)
    say = partial(_say, started)

    say("writing the sample landscape (synthetic)")
    data = out / "data"
    write_sample(data, **DEMO_PATCHES)

    say("training a small U-Net")
    config = demo_config()
    train(config, data, out / "run")
    run = Run.open(out / "run")

    say("judging what it must beat")
    rows = baselines(open_splits(config, data))
    metrics = run.metrics()
    rows["U-Net"] = {score: metrics["test"][score] for score in SCORES}

    say("predicting three test patches")
    patches = [patch.image for patch in find_patches(data, "test")[:3] if patch.image]
    predictions = predict_files(load_predictor(run.path), patches, out / "predictions")

    say("exporting")
    version = export_run(run, out / "models")
    mapped = _map(run, out, say)
    return {
        "scores": rows,
        "threshold": run.threshold,
        "seconds": round(time.monotonic() - started, 1),
        "run": str(run.path),
        "report": str(run.report_path),
        "pictures": [str(path) for path in sorted(run.report_path.parent.glob("*.png"))]
        + [prediction.overlay for prediction in predictions],
        "model": str(version),
        "map": mapped,
    }


def _map(run: Run, out: Path, say: Callable[[str], None]) -> dict[str, Any] | None:
    """A synthetic scene mapped by the run, and its scores against the truth; None without the packages of maps."""
    if find_spec("rasterio") is None:
        say("no map: rasterio is not installed; pip install 'tf-landslide[map]'")
        return None
    from tf_landslide.jobs.map import map_scene  # rasterio, which is optional
    from tf_landslide.scenes.stack import open_scene
    from tf_landslide.scenes.synthetic import score, write_scene

    say("mapping a scene (synthetic) that it has not seen")
    files = write_scene(out / "scene" / "scene.tif", size=DEMO_SCENE["size"], seed=DEMO_SCENE["seed"])
    predictor = load_predictor(run.path)
    needed = tuple(band.name for band in predictor.card.channel_recipe.bands)
    scene = open_scene([files.scene], needed, dem=files.dem)
    options = MapOptions(window=256, overlap=64, drop=16, smooth=True, model=str(run.path))
    summary = map_scene(scene, predictor, out / "map", options)
    return {
        "page": str(out / "map" / "map.html"),
        "landslides": summary["landslides"],
        "area_ha": summary["area_ha"],
        "scores": score(out / "map" / "mask.tif", files.truth),
        "synthetic": True,
    }


def _start_afresh(out: Path) -> None:
    """Make the folder, or empty the one that an earlier demo marked as its own."""
    marker = out / ".tf_landslide_demo"
    if marker.is_file():
        shutil.rmtree(out)
    elif is_in_the_way(out):
        raise LandslideError(f"{out}: holds something that no demo wrote; name another folder with --out")
    out.mkdir(parents=True, exist_ok=True)
    marker.touch()


def _say(started: float, what: str) -> None:
    print(f"[{time.monotonic() - started:4.0f} s] {what}", file=sys.stderr, flush=True)
