"""Candidates for landslides from an image before and one after: what has changed, judged by rules, to be checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import beside, require_space, write_json, write_text
from tf_landslide.figures.maps import overview
from tf_landslide.jobs.annotate_record import record_of, warnings_of
from tf_landslide.jobs.publish import (
    DRAWN,
    OVERVIEW,
    PAGE,
    SUMMARY,
    checked_dates,
    count_pixels,
    crs_in_words,
    sheet_of,
    timed,
    withdraw,
)
from tf_landslide.jobs.rasters import map_folder
from tf_landslide.objects.candidates import find_candidates
from tf_landslide.objects.change import change_layers
from tf_landslide.objects.coregister import Shift, estimate_shift
from tf_landslide.objects.pair import NIR, VISIBLE, Pair, pair
from tf_landslide.objects.radiometry import fit_normalisation
from tf_landslide.objects.review.pictures import AFTER, BEFORE, picture_path, write_pictures
from tf_landslide.objects.rules import Rules
from tf_landslide.scenes.attributes import CONFIDENCES, Found, describe
from tf_landslide.scenes.grid import Window
from tf_landslide.scenes.layers import Layer, layers_of
from tf_landslide.scenes.polygons import told_parts, zonal_statistics
from tf_landslide.scenes.preview import coarser, preview
from tf_landslide.scenes.scene import Scene
from tf_landslide.scenes.vectors import write_geopackage, write_vectors
from tf_landslide.scenes.viewer import viewer_html
from tf_landslide.scenes.writer import bytes_needed, write_rasters

RASTERS = ("confidence.tif", "candidates.tif")
VECTORS = ("candidates.gpkg", "candidates.geojson")
AREA = "area.gpkg"
"""Where both images have data: what a person can look at, for ``patches --area``."""
MADE = (*VECTORS, AREA, OVERVIEW, PAGE, *(picture_path(Path(), when).name for when in (BEFORE, AFTER)))
"""With the rasters and the record, all that it writes."""
RULES = {True: "change", False: "change_visible"}
"""With near infrared in both images, and without."""
FORM = "change_form"
AUTO = "auto"


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
    _require_order(before, after)
    _dates(images, options)  # which contradict one another are refused before anything is computed
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
            first = partial(withdraw, out, MADE)
            rasters = write_rasters(out, images.grid, candidates.rows(), form.accept, tags, RASTERS, first)
        with timed(seconds, "polygons"):
            found, changes = _described(images, layers, rasters, rules, options)
            write_vectors(out, images.grid, found, options.schema, names=VECTORS, more=changes)
            area = geopandas.GeoDataFrame(geometry=list(told_parts(rasters[1])), crs=images.grid.crs.to_wkt())
            write_geopackage(out / AREA, area, Path(AREA).stem)
        told = _dates(images, options), _polygons_record(options)
        summary = record_of(images, shift, normalisation, candidates, rules, form, *told)
        summary |= _counted(found, rasters[1])
        summary["warnings"] = [*options.warnings, *warnings_of(images, shift, summary)]
        with timed(seconds, "pictures"):
            _pictures(images, found, rasters, out, form.accept, summary)
            colours = partial(_colours, images.before), partial(_colours, images.after)
            pictures = [path.name for path in write_pictures(out, colours[0], colours[1], images.grid)]
        summary |= {"seconds": seconds, "files": [*RASTERS, *VECTORS, AREA, *pictures, OVERVIEW, PAGE]}
        write_json(out / SUMMARY, summary)
        return summary


def _require_order(before: Scene, after: Scene) -> None:
    """Raise ``LandslideError`` where the image before is the later one, as far as they say their days."""
    first, second = before.origin.date, after.origin.date
    if first and second and first > second:
        raise LandslideError(
            f"{before.source_ids[0]} is of {first}, after {after.source_ids[0]} of {second}; give the earlier one first"
        )


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
    return checked_dates(
        options.event_date_from or images.after.origin.event_from or images.before.origin.date,
        options.event_date_to or images.after.origin.event_to or images.after.origin.date,
    )


def _polygons_record(options: AnnotateOptions) -> dict[str, Any]:
    return {
        "minimum_area_m2": options.minimum_area,
        "fill_holes_m2": options.fill_holes,
        "smooth": options.smooth,
        "schema": options.schema,
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
    words, notes = {"outlined": "candidates", "quantity": "confidence"}, summary["warnings"]
    overview(out / OVERVIEW, sheet_of(small, found, title, facts, notes, accept, before=before, **words))
    page = viewer_html(shown, found, title=title, facts=facts, threshold=accept, notes=notes, **words)
    write_text(out / PAGE, page)
