"""Candidates for landslides from an image before and one after: what has changed, judged by rules, to be checked."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import beside, require_space, write_json, write_text
from tf_landslide.figures.maps import overview
from tf_landslide.jobs.publish import (
    DRAWN,
    OVERVIEW,
    PAGE,
    SUMMARY,
    count_pixels,
    crs_in_words,
    inputs_of,
    sheet_of,
    timed,
)
from tf_landslide.jobs.rasters import map_folder
from tf_landslide.objects.candidates import Candidates, find_candidates
from tf_landslide.objects.change import change_layers
from tf_landslide.objects.coregister import TOLERATED, Shift, estimate_shift
from tf_landslide.objects.pair import NIR, VISIBLE, Pair, pair
from tf_landslide.objects.radiometry import Normalisation, fit_normalisation
from tf_landslide.objects.review.pictures import write_pictures
from tf_landslide.objects.rules import Rules
from tf_landslide.runs.provenance import version_of
from tf_landslide.scenes.attributes import CONFIDENCES, Found, describe
from tf_landslide.scenes.grid import Window
from tf_landslide.scenes.layers import Layer, layers_of
from tf_landslide.scenes.polygons import told_parts, zonal_statistics
from tf_landslide.scenes.preview import coarser, preview
from tf_landslide.scenes.scene import SLOPE, Scene
from tf_landslide.scenes.vectors import write_geopackage, write_vectors
from tf_landslide.scenes.viewer import viewer_html
from tf_landslide.scenes.writer import bytes_needed, write_rasters

RASTERS = ("confidence.tif", "candidates.tif")
VECTORS = ("candidates.gpkg", "candidates.geojson")
AREA = "area.gpkg"
"""Where both images have data: what a person can look at, for ``patches --area``."""
RULES = {True: "change", False: "change_visible"}
"""With near infrared in both images, and without."""
FORM = "change_form"
AUTO = "auto"

_PACKAGES = ("tf-landslide", "numpy", "scipy", "scikit-image", "rasterio", "pyproj", "shapely", "geopandas")


@dataclass(frozen=True)
class AnnotateOptions:
    """How candidates are found.

    Attributes:
        rules: name or file of those that segments are judged by; None takes what the bands allow.
        form: of those that groups of them are judged by.
        shift: rows and columns by which what the image before shows lies further on; ``auto`` takes what is estimated;
            None leaves it, and warns of it.
        minimum_area, fill_holes: of polygons, in square metres.
        smooth: cut the corners of the polygons' pixels; their areas stay.
        schema: whose field names the polygons have.
        event_date_from, event_date_to: kept with every polygon; None takes the images' dates.
        warnings: that were told before, for the record.
    """

    rules: str | None = None
    form: str = FORM
    shift: tuple[float, float] | str | None = None
    minimum_area: float = 500.0
    fill_holes: float = 0.0
    smooth: bool = False
    schema: str = "plain"
    event_date_from: str | None = None
    event_date_to: str | None = None
    warnings: tuple[str, ...] = ()


def annotate(before: Scene, after: Scene, out: Path, options: AnnotateOptions | None = None) -> dict[str, Any]:
    """Write candidates for landslides into a folder.

    Args:
        before, after: with red, green and blue; terrain is the after one's.
        out: folder for them.
        options: how they are found.

    Returns:
        what ``summary.json`` holds.

    Raises:
        LandslideError: scenes that do not overlap, rules or options that cannot be, too little disk, or another process
            that writes to the folder.
    """
    options = options or AnnotateOptions()
    images = pair(before, after)
    rules = Rules.read(options.rules or RULES[NIR in images.bands])
    form = Rules.read(options.form)
    seconds: dict[str, float] = {}
    with timed(seconds, "registration"):
        shift, images = _registered(images, options.shift)
    with timed(seconds, "radiometry"):
        normalisation = fit_normalisation(images.read, images.bands, images.grid.shape)
    with map_folder(out):
        out.mkdir(parents=True, exist_ok=True)
        rows, columns = images.grid.shape
        require_space(out, 2 * 4 * rows * columns + bytes_needed(images.grid), "finding candidates")
        layers = change_layers(images, normalisation)
        with beside(out / "labels") as scratch, timed(seconds, "candidates"):
            scratch.mkdir()
            candidates = find_candidates(layers, images.grid, rules, form, scratch)
            tags = {"rules": f"{rules.name}, {form.name}"}
            rasters = write_rasters(out, images.grid, candidates.rows(), form.accept, tags, RASTERS)
        with timed(seconds, "polygons"):
            found, changes = _described(images, layers, rasters, rules, options)
            write_vectors(out, images.grid, found, options.schema, names=VECTORS, more=changes)
            area = geopandas.GeoDataFrame(geometry=list(told_parts(rasters[1])), crs=images.grid.crs.to_wkt())
            write_geopackage(out / AREA, area, Path(AREA).stem)
        summary = _record(images, shift, normalisation, candidates, rules, form, options) | _counted(found, rasters[1])
        summary["warnings"] = [*options.warnings, *_warnings(images, shift, summary)]
        with timed(seconds, "pictures"):
            _pictures(images, found, rasters, out, form.accept, summary)
            colours = partial(_colours, images.before), partial(_colours, images.after)
            pictures = [path.name for path in write_pictures(out, colours[0], colours[1], images.grid)]
        summary |= {"seconds": seconds, "files": [*RASTERS, *VECTORS, AREA, *pictures, OVERVIEW, PAGE]}
        write_json(out / SUMMARY, summary)
        return summary


def _registered(images: Pair, wanted: tuple[float, float] | str | None) -> tuple[Shift, Pair]:
    """The shift that is estimated, and the pair moved as it is wanted."""
    shift = estimate_shift(
        lambda window: images.read(window)["red_before"],
        lambda window: images.read(window)["red"],
        images.grid.shape,
    )
    if wanted is None or (wanted == AUTO and not shift.known):
        return shift, images
    if isinstance(wanted, str):
        if wanted != AUTO:
            raise LandslideError(f"shift: expected auto, or rows and columns, got {wanted!r}")
        wanted = shift.rows, shift.columns
    return shift, images.moved(wanted)


def _described(
    images: Pair, layers: Mapping[str, Layer], rasters: tuple[Path, Path], rules: Rules, options: AnnotateOptions
) -> tuple[Found, dict[str, list[float]]]:
    """The polygons and what is said of them, and the mean change of each."""
    changes = {name: layer for name, layer in layers.items() if name.endswith("_change") or name == "rdndvi"}
    with rasterio.open(rasters[0]) as raster:
        found = describe(
            rasters[1],
            images.grid,
            layers_of(images.after, raster),
            minimum_area=options.minimum_area,
            fill_holes=options.fill_holes,
            smooth=options.smooth,
            common={
                "det_method": f"difference of two images, rules {rules.name}",
                **_dates(images, options),
                "source_ids": ", ".join((*images.before.source_ids, *images.after.source_ids)),
            },
        )
    statistics = zonal_statistics(found.geometries, images.grid, changes)
    return found, {name: [round(of_layers[name].mean, 4) for of_layers in statistics] for name in changes}


def _dates(images: Pair, options: AnnotateOptions) -> dict[str, str | None]:
    """Between which days the landslides have happened: as the caller says, else between the images."""
    return {
        "event_date_from": options.event_date_from or images.after.origin.event_from or images.before.origin.date,
        "event_date_to": options.event_date_to or images.after.origin.event_to or images.after.origin.date,
    }


def _counted(found: Found, mask: Path) -> dict[str, Any]:
    valid, marked = count_pixels(mask)
    areas = [row.area_ha for row in found.attributes]
    return {
        "valid_pixels": valid,
        "candidate_pixels": marked,
        "candidates": len(areas),
        "by_confidence": {word: sum(row.confidence == word for row in found.attributes) for word in CONFIDENCES},
        "area_ha": round(sum(areas), 4),
        "largest_ha": areas[0] if areas else None,
        "truncated": sum(row.truncated for row in found.attributes),
    }


def _record(
    images: Pair,
    shift: Shift,
    normalisation: Normalisation,
    candidates: Candidates,
    rules: Rules,
    form: Rules,
    options: AnnotateOptions,
) -> dict[str, Any]:
    grid = images.grid
    height, width = grid.pixel_sizes(np.array([grid.shape[0] // 2]))
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "method": f"difference of two images, rules {rules.name} and {form.name}",
        "shape": list(grid.shape),
        "crs": grid.crs.to_string(),
        "bounds": list(grid.bounds),
        "pixel_size_m": [round(float(height[0]), 4), round(float(width[0]), 4)],
        "bands": list(images.bands),
        "before": _scene_record(images.before),
        "after": _scene_record(images.after),
        **_dates(images, options),
        "shift": _shift_record(shift) | {"undone": list(images.shift)},
        "normalisation": {
            "lines": {name: asdict(line) for name, line in normalisation.lines.items()},
            "unchanged_share": round(normalisation.kept, 4),
            "noise": round(normalisation.noise, 6),
        },
        "rules": {"segments": rules.as_dict(), "form": form.as_dict()},
        "left_out": [*candidates.segments.left_out, *candidates.groups.left_out],
        "segments": {
            "total": candidates.segments.segments.count,
            "accepted": int(np.count_nonzero(candidates.segments.confidence >= rules.accept)),
            "groups": candidates.groups.segments.count,
            "accepted_groups": int(np.count_nonzero(candidates.groups.confidence >= form.accept)),
        },
        "polygons": {
            "minimum_area_m2": options.minimum_area,
            "fill_holes_m2": options.fill_holes,
            "smooth": options.smooth,
            "schema": options.schema,
        },
        "versions": {"python": platform.python_version(), "gdal": rasterio.__gdal_version__}
        | {name: version_of(name) for name in _PACKAGES},
    }


def _shift_record(shift: Shift) -> dict[str, Any]:
    told = {"rows": shift.rows, "columns": shift.columns, "pixels": shift.pixels, "spread": shift.spread}
    numbers = {name: round(value, 3) if shift.known else None for name, value in told.items()}
    return {**numbers, "windows": shift.windows, "agreeing": shift.agreeing}


def _scene_record(scene: Scene) -> dict[str, Any]:
    origin = asdict(scene.origin) | {"ids": list(scene.source_ids), "clouds_left_out": scene.clouds is not None}
    return origin | {"inputs": inputs_of(scene)}


def _warnings(images: Pair, shift: Shift, summary: dict[str, Any]) -> list[str]:
    """What a reader must know of the candidates, in sentences."""
    told = [
        "Candidates by rules, unreviewed: somebody must look at each. What is called probability is the rules' "
        "confidence."
    ]
    left = np.subtract((shift.rows, shift.columns), images.shift)
    if not shift.known:
        told.append(
            f"How far the images lie apart could not be told: {shift.agreeing} of {shift.windows} windows agree. Look "
            "at roads and rivers in both."
        )
    elif np.hypot(*left) > TOLERATED:
        told.append(
            f"The image before lies {np.hypot(*left):.2f} pixels off ({left[0]:+.2f} rows, {left[1]:+.2f} columns, by "
            f"{shift.agreeing} of {shift.windows} windows): edges look like change. --shift auto moves it."
        )
    if NIR not in images.bands:
        told.append("No near infrared in both images: brown leaves, haze and low sun are easily taken for bare soil.")
    if SLOPE not in images.after.names:
        told.append("No terrain model: fields and river beds cannot be told from landslides by their slope.")
    levels = {scene.origin.level for scene in (images.before, images.after)} - {None}
    if len(levels) > 1:
        told.append("One image is Level-1C, the other Level-2A: what the air adds differs from place to place.")
    if not summary["valid_pixels"]:
        told.append("No pixel has data in both images: nothing could be told.")
    if summary["truncated"]:
        told.append(f"{summary['truncated']:,} candidates are cut by the images' end or by missing data.")
    return told


def _colours(scene: Scene, window: Window) -> np.ndarray:
    """(H, W, 3) red, green and blue."""
    return np.stack([scene.read(name, window) for name in VISIBLE], axis=-1)


def _pictures(
    images: Pair, found: Found, rasters: tuple[Path, Path], out: Path, accept: float, summary: dict[str, Any]
) -> None:
    """The figure and the page."""
    shown = preview(images.after, *rasters)
    small, earlier = coarser(shown, DRAWN), coarser(preview(images.before, *rasters), DRAWN)
    dates = " to ".join(filter(None, (summary["event_date_from"], summary["event_date_to"])))
    title = f"Landslide candidates in {images.after.source_ids[0]}{f', event {dates}' if dates else ''}"
    rows, columns = summary["shape"]
    facts = [
        ("candidates", f"{summary['candidates']:,}"),
        ("area", f"{summary['area_ha']:,.1f} ha"),
        ("rules", summary["method"].partition("rules ")[2]),
        ("before", images.before.source_ids[0]),
        (
            "image",
            f"{columns:,} × {rows:,} pixels of {summary['pixel_size_m'][1]:.3g} m, {crs_in_words(summary['crs'])}",
        ),
        ("compared", f"{100 * summary['valid_pixels'] / (rows * columns):.1f} % of it"),
        ("made", summary["made"][:10]),
    ]
    before = np.where(earlier.valid[..., None], earlier.picture, 235).astype(np.uint8)
    more = {"before": before, "outlined": "candidates", "quantity": "confidence"}
    overview(out / OVERVIEW, sheet_of(small, found, title, facts, summary["warnings"], accept, **more))
    page = viewer_html(shown, found, title=title, facts=facts, threshold=accept, notes=summary["warnings"])
    write_text(out / PAGE, page)
