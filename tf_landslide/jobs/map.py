"""A georeferenced scene in, a landslide map out: blocks are predicted and put together, ``publish`` makes the rest."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tf_landslide.core.errors import require_known
from tf_landslide.jobs.map_notes import uncertainty_of
from tf_landslide.jobs.map_options import MapOptions, Watch, unwatched
from tf_landslide.jobs.publish import MADE, event_dates, publish, timed, withdraw
from tf_landslide.jobs.rasters import Workers, map_folder, map_rasters
from tf_landslide.jobs.refining import raster_names, refined_mask
from tf_landslide.models import STRIDE
from tf_landslide.objects.refine import PROBABILITY, layer_names, layer_units, usable
from tf_landslide.predict.predictor import Predictor
from tf_landslide.predict.result import check_threshold
from tf_landslide.scenes.blocks import tiling
from tf_landslide.scenes.scene import Scene
from tf_landslide.scenes.schemas import SCHEMAS
from tf_landslide.scenes.writer import UNCERTAINTY_BANDS


def map_scene(
    scene: Scene,
    predictor: Predictor,
    out: Path,
    options: MapOptions,
    workers: Workers | None = None,
    watch: Watch = unwatched,
) -> dict[str, Any]:
    """Map a scene into a folder.

    A run that was stopped goes on from the blocks that are done, if scene, model and settings are the same.

    Args:
        scene: to map.
        predictor: the model.
        out: folder for the map.
        options: how it is mapped.
        workers: who predict the blocks, if not this process.
        watch: told how far it is.

    Returns:
        what ``summary.json`` holds.

    Raises:
        LandslideError: options that cannot be, a block that cannot be read or predicted, too little disk, or another
            process that writes to the folder.
    """
    threshold = check_threshold(predictor.card.threshold if options.threshold is None else options.threshold)
    require_known(options.schema, SCHEMAS, "schema")
    event_dates(scene, options)  # which contradict one another are refused before anything is predicted
    cut = tiling(scene.grid.shape, options.window, options.overlap, options.drop)
    tags = {"model": predictor.card.name, "channels": ", ".join(predictor.card.channel_names)}
    rules = options.rules
    if rules is not None:  # what cannot be asked of the model's channels is refused before they are predicted
        usable(rules, dict.fromkeys((PROBABILITY, *layer_names(predictor.card))), layer_units(predictor.card))
    more: dict[str, Any] = {"computed_pixels": cut.computed_pixels}
    seconds: dict[str, float] = {}
    unsure = None
    if options.unsure:
        _require_uncertainty(predictor)
        unsure = uncertainty_of(predictor.card)
        more["uncertainty"] = {"of": unsure, "bands": UNCERTAINTY_BANDS}
    with map_folder(out):
        with timed(seconds, "rasters"):
            rasters = map_rasters(
                scene,
                predictor,
                out,
                cut,
                threshold=threshold,
                tags=tags,
                names=raster_names(rules),
                unsure=unsure,
                workers=workers,
                watch=watch,
                first=partial(withdraw, out, MADE),
            )
        with refined_mask(scene, predictor.card, rules, rasters, threshold, seconds, watch) as (mask, refinement):
            rasters = rasters[0], mask
            return publish(scene, predictor, out, options, rasters, threshold, seconds, more, refinement, watch)


def _require_uncertainty(predictor: Predictor) -> None:
    """Ask the model of the smallest image there is, so that one that cannot say how sure it is is refused at once."""
    predictor.uncertainty(np.zeros((1, STRIDE, STRIDE, len(predictor.card.channel_names)), np.float32))
