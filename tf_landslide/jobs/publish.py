"""What a finished map is published as, beside its rasters: polygons, a figure, a page, and the record of it all."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import write_json, write_text
from tf_landslide.figures.maps import Sheet, overview
from tf_landslide.jobs.map_notes import map_notes
from tf_landslide.jobs.map_options import MapOptions, Watch, unwatched
from tf_landslide.jobs.rasters import GDAL_CACHE
from tf_landslide.jobs.refining import NETWORK_MASK, Refinement
from tf_landslide.predict.predictor import Predictor
from tf_landslide.runs.card import ModelCard
from tf_landslide.runs.provenance import version_of
from tf_landslide.scenes.attributes import Found, describe
from tf_landslide.scenes.grid import Grid
from tf_landslide.scenes.lacking import what_lacks
from tf_landslide.scenes.layers import layers_of
from tf_landslide.scenes.polygons import grid_north, outlines
from tf_landslide.scenes.preview import Preview, coarser, preview
from tf_landslide.scenes.scene import Scene
from tf_landslide.scenes.schemas import SOURCE_ID
from tf_landslide.scenes.vectors import VECTORS, write_vectors
from tf_landslide.scenes.viewer import viewer_html
from tf_landslide.scenes.writer import MASK, NO_DATA, UNCERTAINTY

SUMMARY, OVERVIEW, PAGE = "summary.json", "overview.png", "map.html"
_PACKAGES = ("tf-landslide", "tensorflow", "openvino", "numpy", "rasterio", "pyproj", "shapely", "geopandas")
_OUTLINED = 5000  # landslides drawn in the figure, the largest
MADE = (*VECTORS, OVERVIEW, PAGE, UNCERTAINTY, MASK, NETWORK_MASK)  # with the probability and the record, a map's files
DRAWN = 1300  # pixels of the figure's pictures: about as many as its panels have, and memory for no more


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the time that a stage takes."""
    started = time.monotonic()
    yield
    seconds[stage] = round(seconds.get(stage, 0.0) + time.monotonic() - started, 2)


def withdraw(out: Path, names: Sequence[str]) -> None:
    """Remove files of a folder's earlier map, the record first: stopped from here on, no old file tells of new ones."""
    for name in (SUMMARY, *names):
        (out / name).unlink(missing_ok=True)


def publish(
    scene: Scene,
    predictor: Predictor,
    out: Path,
    options: MapOptions,
    rasters: tuple[Path, Path],
    threshold: float,
    seconds: dict[str, float],
    more: dict[str, Any],
    refinement: Refinement | None = None,
    watch: Watch = unwatched,
) -> dict[str, Any]:
    """Write all that is made of a map's finished rasters.

    Args:
        scene, predictor, out, options: as of ``map_scene``.
        rasters: ``probability.tif`` and ``mask.tif``.
        threshold: that the mask was made with.
        seconds: that earlier stages took, by name; those of this one are added.
        more: what the caller knows for the record.
        refinement: by which the mask is not the network's own.
        watch: told before each stage.

    Returns:
        what ``summary.json`` holds.
    """
    with rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE):
        watch("polygons", 0, 1)
        with timed(seconds, "polygons"):
            found = _describe(scene, predictor.card, options, rasters, refinement)
            vectors = write_vectors(out, scene.grid, found, options.schema)
        valid, marked = count_pixels(rasters[1])
        summary = _record(scene, predictor, options, threshold) | more
        areas = [row.area_ha for row in found.attributes]
        summary |= {
            "valid_share": round(valid / (scene.grid.shape[0] * scene.grid.shape[1]), 6),
            "landslide_pixels": marked,
            "landslides": len(areas),
            "area_ha": round(sum(areas), 4),
            "largest_ha": areas[0] if areas else None,
            "truncated": sum(row.truncated for row in found.attributes),
        }
        if refinement:
            summary["objects"] = refinement.record
        summary["warnings"] = [*options.warnings, *map_notes(predictor.card, summary)]
        if valid == 0:
            needed = [band.name for band in predictor.card.channel_recipe.bands]
            lacks = what_lacks(scene, needed, options.whole_paths)
            summary["warnings"].append(f"No pixel has all bands that the model needs: {lacks}.")
        watch("pictures", 0, 1)
        with timed(seconds, "pictures"):
            shown = preview(scene, *rasters)
            facts, notes = _facts(summary), summary["warnings"]
            small = coarser(shown, DRAWN)
            overview(out / OVERVIEW, sheet_of(small, found, _title(summary), facts, notes, threshold))
            page = viewer_html(shown, found, title=_title(summary), facts=facts, threshold=threshold, notes=notes)
            write_text(out / PAGE, page)
        summary["seconds"] = seconds
        own = [refinement.network_mask] if refinement else []
        unsure = [out / UNCERTAINTY] if "uncertainty" in summary else []
        summary["files"] = [*(path.name for path in (*rasters, *own, *unsure, *vectors)), OVERVIEW, PAGE]
        write_json(out / SUMMARY, summary)
        return summary


def _describe(
    scene: Scene, card: ModelCard, options: MapOptions, rasters: tuple[Path, Path], refinement: Refinement | None
) -> Found:
    method = f"{card.architecture} {card.name}"
    with rasterio.open(rasters[0]) as raster:
        layers = layers_of(scene, raster)
        if refinement:
            layers["rules_confidence"] = refinement.confidence
            method += f", refined by rules {refinement.record['rules']}"
        return describe(
            rasters[1],
            scene.grid,
            layers,
            minimum_area=options.minimum_area,
            fill_holes=options.fill_holes,
            smooth=options.smooth,
            common={
                "det_method": method,
                **event_dates(scene, options),
                "source_ids": ", ".join(scene.source_ids),
            },
        )


def event_dates(scene: Scene, options: MapOptions) -> dict[str, str | None]:
    """Between which days the landslides have happened: as the caller says, else as is known of the scene.

    Raises:
        LandslideError: the first comes after the last.
    """
    return checked_dates(
        options.event_date_from or scene.origin.event_from,
        options.event_date_to or scene.origin.event_to or scene.origin.date,
    )


def checked_dates(first: str | None, last: str | None) -> dict[str, str | None]:
    """Both as attributes of polygons. Raises ``LandslideError`` where the first comes after the last."""
    if first and last and first > last:
        raise LandslideError(
            f"the event's first day, {first}, comes after its last, {last} (where nobody says, that is the image's "
            "date); say both with --event-from and --event-to"
        )
    return {"event_date_from": first, "event_date_to": last}


def inputs_of(scene: Scene, whole_paths: bool = True) -> list[dict[str, Any]]:
    """The bands of a scene and where each is from; files as they were named, or by their names alone."""
    return [
        {
            "band": name,
            "files": [str(source) if whole_paths else source.id for source in band.sources],
            "bytes": [source.size for source in band.sources],
            "index": band.index,
            "scale": band.band.scale,
            "offset": band.band.offset,
            "nodata": list(band.missing),
            "unit": band.band.unit,
        }
        for name, band in scene.bands.items()
    ]


def count_pixels(mask: Path) -> tuple[int, int]:
    """Of a mask file: pixels where something can be told, and those of landslides."""
    valid = marked = 0
    with rasterio.open(mask) as raster:
        for top in range(0, raster.height, 512):
            values = raster.read(1, window=((top, min(top + 512, raster.height)), (0, raster.width)))
            valid += int(np.count_nonzero(values != NO_DATA))
            marked += int(np.count_nonzero(values == 1))
    return valid, marked


def _record(scene: Scene, predictor: Predictor, options: MapOptions, threshold: float) -> dict[str, Any]:
    card, grid = predictor.card, scene.grid
    height, width = grid.pixel_sizes(np.array([grid.shape[0] // 2]))
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": card.name,
        "model_path": options.model,
        "network": " + ".join(filter(None, (card.architecture, card.encoder))),
        "card_sha256": hashlib.sha256(card.as_json().encode()).hexdigest(),
        "weights_sha256": predictor.backend.fingerprint(),
        "runtime": predictor.runtime,
        "precision": card.precision,
        "synthetic": card.synthetic,
        "threshold": threshold,
        "threshold_from": "the model's card" if options.threshold is None else "the caller",
        "shape": list(grid.shape),
        "crs": grid.crs.to_string(),
        "bounds": list(grid.bounds),
        "pixel_size_m": [round(float(height[0]), 4), round(float(width[0]), 4)],
        "inputs": inputs_of(scene, options.whole_paths),
        "source_id": SOURCE_ID,
        "scene": asdict(scene.origin) | {"ids": list(scene.source_ids), "clouds_left_out": scene.clouds is not None},
        **event_dates(scene, options),
        "tiles": {"window": options.window, "overlap": options.overlap, "drop": options.drop},
        "polygons": {
            "minimum_area_m2": options.minimum_area,
            "fill_holes_m2": options.fill_holes,
            "smooth": options.smooth,
            "schema": options.schema,
        },
        "versions": {"python": platform.python_version(), "gdal": rasterio.__gdal_version__}
        | {name: version_of(name) for name in _PACKAGES},
    }


def _title(summary: dict[str, Any]) -> str:
    dates = " to ".join(filter(None, dict.fromkeys((summary["event_date_from"], summary["event_date_to"]))))
    name = summary["scene"]["ids"][0]
    return f"Landslides in {name}{f', event {dates}' if dates else ''}"


def _facts(summary: dict[str, Any]) -> list[tuple[str, str]]:
    rows, columns = summary["shape"]
    return [
        ("landslides", f"{summary['landslides']:,}"),
        ("area", f"{summary['area_ha']:,.1f} ha"),
        ("model", f"{summary['model']} ({summary['network']})"),
        ("threshold", f"{summary['threshold']:.3f}, by {summary['threshold_from']}"),
        (
            "image",
            f"{columns:,} × {rows:,} pixels of {summary['pixel_size_m'][1]:.3g} m, {crs_in_words(summary['crs'])}",
        ),
        ("mapped", f"{100 * summary['valid_share']:.1f} % of it"),
        *([("uncertainty of", summary["uncertainty"]["of"])] if "uncertainty" in summary else []),
        ("made", summary["made"][:10]),
    ]


def crs_in_words(text: str) -> str:
    return text if len(text) < 40 else "a reference system of its own"


def sheet_of(
    shown: Preview,
    found: Found,
    title: str,
    facts: Sequence[tuple[str, str]],
    notes: Sequence[str],
    threshold: float,
    **more: Any,
) -> Sheet:
    """What the figure of a map shows: its preview, the largest landslides, facts and notes; ``more`` fields of it."""
    grid: Grid = shown.grid
    height, width = grid.pixel_sizes(np.array([grid.shape[0] // 2]))
    middle = grid.transform @ (grid.shape[1] / 2, grid.shape[0] / 2)
    told = [f"{name} {value}" for name, value in facts]
    return Sheet(
        picture=shown.picture,
        valid=shown.valid,
        probability=shown.probability,
        outlines=outlines(found.geometries[:_OUTLINED], grid),
        pixel_size=(float(height[0]), float(width[0])),
        north=-grid_north(grid, *middle),
        title=title,
        notes=[" · ".join(told[:4]), " · ".join(told[4:]), *notes],
        threshold=threshold,
        **more,
    )
