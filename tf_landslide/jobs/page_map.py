"""A scene that somebody uploaded to the page, mapped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tf_landslide.jobs.map import map_scene
from tf_landslide.jobs.map_options import MapOptions, named_bands
from tf_landslide.page.scenes import SceneRequest
from tf_landslide.predict.predictor import Predictor
from tf_landslide.scenes.stack import open_scene


def map_request(request: SceneRequest, predictor: Predictor, out: Path) -> dict[str, Any]:
    """Map an upload into a folder. Returns what ``summary.json`` holds; raises as ``map_scene``."""
    needed = tuple(band.name for band in predictor.card.channel_recipe.bands)
    scene = open_scene([request.scene], needed, bands=named_bands(request.bands) or None, dem=request.dem or ())
    options = MapOptions(
        window=256,
        overlap=64,
        drop=16,
        minimum_area=request.minimum_area,
        smooth=request.smooth,
        whole_paths=False,  # where an upload lies here is nobody's business
    )
    return map_scene(scene, predictor, out, options)
