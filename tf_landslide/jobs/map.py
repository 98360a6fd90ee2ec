"""A georeferenced scene in, a landslide map out: probability, mask, polygons, a summary."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import write_json
from tf_landslide.predict.predictor import Predictor
from tf_landslide.predict.result import check_threshold
from tf_landslide.scenes.attributes import describe
from tf_landslide.scenes.blocks import Tiling, tiling
from tf_landslide.scenes.layers import layers_of
from tf_landslide.scenes.mapper import Mapping, map_blocks, rows_of, settings_hash
from tf_landslide.scenes.scene import Scene
from tf_landslide.scenes.vectors import write_vectors
from tf_landslide.scenes.writer import write_rasters

SUMMARY = "summary.json"


@dataclass(frozen=True)
class MapOptions:
    """How a scene is mapped.

    Attributes:
        threshold: None takes the model's own.
        window, overlap, drop: of what the model is given, in pixels; see ``scenes.blocks``.
        minimum_area, fill_holes: of polygons, in square metres.
        smooth: cut the corners of the polygons' pixels; their areas stay.
        schema: whose field names the polygons have, one of ``scenes.schemas.SCHEMAS``.
        event_date_from, event_date_to: kept with every polygon.
    """

    threshold: float | None = None
    window: int = 512
    overlap: int = 128
    drop: int = 32
    minimum_area: float = 500.0
    fill_holes: float = 0.0
    smooth: bool = False
    schema: str = "plain"
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
            layers_of(scene, raster),
            minimum_area=options.minimum_area,
            fill_holes=options.fill_holes,
            smooth=options.smooth,
            common={
                "det_method": f"{predictor.card.architecture} {predictor.card.name}",
                "event_date_from": options.event_date_from,
                "event_date_to": options.event_date_to,
                "source_ids": ", ".join(sorted({band.path.name for band in scene.bands.values()})),
            },
        )
    vectors = write_vectors(out, scene.grid, found, options.schema)
    areas = [row.area_ha for row in found.attributes]
    summary = {
        "model": predictor.card.name,
        "threshold": threshold,
        "shape": list(scene.grid.shape),
        "crs": scene.grid.crs.to_string(),
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


def _settings(scene: Scene, predictor: Predictor, cut: Tiling) -> dict[str, object]:
    """All that a block's result depends on."""
    files = {
        name: [
            str(band.path),
            band.index,
            band.averaged,
            str(band.band),
            band.path.stat().st_size,
            band.path.stat().st_mtime_ns,
        ]
        for name, band in scene.bands.items()
    }
    grid = [list(scene.grid.transform), scene.grid.crs.to_wkt(), list(scene.grid.shape)]
    card = json.loads(predictor.card.as_json())
    model = {"card": card, "weights": predictor.backend.fingerprint(), "runtime": predictor.runtime}
    return {"files": files, "grid": grid, "model": model, "tiling": str(cut)}
