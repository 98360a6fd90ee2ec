"""A georeferenced scene in, a landslide map out: probability, mask, polygons, a summary."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from tf_landslide.bands.recipes import INDICES, channel
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import write_json
from tf_landslide.predict.predictor import Predictor
from tf_landslide.predict.result import check_threshold
from tf_landslide.scenes.attributes import describe, write_vectors
from tf_landslide.scenes.blocks import Tiling, tiling
from tf_landslide.scenes.grid import Window
from tf_landslide.scenes.mapper import Mapping, map_blocks, rows_of, settings_hash
from tf_landslide.scenes.scene import Scene
from tf_landslide.scenes.writer import write_rasters

SUMMARY = "summary.json"


@dataclass(frozen=True)
class MapOptions:
    """How a scene is mapped.

    Attributes:
        threshold: None takes the model's own.
        window, overlap, drop: of what the model is given, in pixels; see ``scenes.blocks``.
        minimum_area, fill_holes: of polygons, in square metres.
        event_date_from, event_date_to: kept with every polygon; None takes the scene's own: what an image shows has
            happened by its date.
    """

    threshold: float | None = None
    window: int = 512
    overlap: int = 128
    drop: int = 32
    minimum_area: float = 500.0
    fill_holes: float = 0.0
    event_date_from: str | None = None
    event_date_to: str | None = None


def map_scene(scene: Scene, predictor: Predictor, out: Path, options: MapOptions) -> dict[str, Any]:
    """Map a scene into a folder.

    A run that was stopped goes on from the blocks that are done, if scene, model and settings are the same.

    Returns:
        what ``summary.json`` holds.

    Raises:
        LandslideError: options that cannot be, or a block that cannot be read or predicted.
    """
    threshold = check_threshold(predictor.card.threshold if options.threshold is None else options.threshold)
    cut = tiling(scene.grid.shape, options.window, options.overlap, options.drop)
    if out.exists() and not out.is_dir():
        raise LandslideError(f"{out}: is a file; name a folder for the map")
    parts = out / f".parts-{settings_hash(_settings(scene, predictor, cut))}"
    mapping = Mapping(scene, predictor, cut, min(predictor.batch_size, cut.per_side**2), parts)
    map_blocks(mapping)
    tags = {"model": predictor.card.name, "channels": ", ".join(predictor.card.channel_names)}
    probability, mask = write_rasters(out, scene.grid, rows_of(mapping), threshold, tags)
    with rasterio.open(probability) as raster:
        found = describe(
            mask,
            scene.grid,
            _layers(scene, raster),
            minimum_area=options.minimum_area,
            fill_holes=options.fill_holes,
            common={
                "det_method": f"{predictor.card.architecture} {predictor.card.name}",
                "event_date_from": options.event_date_from or scene.origin.event_from,
                "event_date_to": options.event_date_to or scene.origin.event_to or scene.origin.date,
                "source_ids": ", ".join(scene.source_ids),
            },
        )
    vectors = write_vectors(out, scene.grid, found)
    areas = [row.area_ha for row in found.attributes]
    summary = {
        "model": predictor.card.name,
        "threshold": threshold,
        "shape": list(scene.grid.shape),
        "crs": scene.grid.crs.to_string(),
        "scene": asdict(scene.origin) | {"ids": list(scene.source_ids), "clouds_left_out": scene.clouds is not None},
        "landslides": len(areas),
        "area_ha": round(sum(areas), 4),
        "largest_ha": areas[0] if areas else None,
        "truncated": sum(row.truncated for row in found.attributes),
        "computed_pixels": cut.computed_pixels,
        "files": [path.name for path in (probability, mask, *vectors)],
    }
    write_json(out / SUMMARY, summary)
    shutil.rmtree(parts, ignore_errors=True)
    return summary


def _layers(scene: Scene, probability: rasterio.io.DatasetReader) -> dict[str, Callable[[Window], np.ndarray]]:
    """What polygons are described by: the probability, and what the scene can give."""
    layers: dict[str, Callable[[Window], np.ndarray]] = {
        "probability": lambda window: probability.read(1, window=window.for_rasterio())
    }
    layers |= {name: partial(scene.read, name) for name in ("slope", "dem") if name in scene.names}
    index = INDICES["ndvi"]
    if {index.a, index.b} <= set(scene.names):

        def ndvi(window: Window) -> np.ndarray:
            with np.errstate(divide="ignore", invalid="ignore"):
                return channel({band: scene.read(band, window) for band in (index.a, index.b)}, "ndvi")

        layers["ndvi"] = ndvi
    return layers


def _settings(scene: Scene, predictor: Predictor, cut: Tiling) -> dict[str, object]:
    """All that a block's result depends on."""
    card = json.loads(predictor.card.as_json())
    model = {"card": card, "weights": predictor.backend.fingerprint(), "runtime": predictor.runtime}
    return {"scene": scene.fingerprint(), "model": model, "tiling": str(cut)}
