"""What is kept of how candidates were found, and what their reader must know."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np
import rasterio

from tf_landslide.jobs.publish import inputs_of
from tf_landslide.objects.candidates import Candidates
from tf_landslide.objects.coregister import TOLERATED, Shift
from tf_landslide.objects.pair import NIR, Pair
from tf_landslide.objects.radiometry import Normalisation
from tf_landslide.objects.rules import Rules
from tf_landslide.runs.provenance import version_of
from tf_landslide.scenes.scene import SLOPE, Scene

_PACKAGES = ("tf-landslide", "numpy", "scipy", "scikit-image", "rasterio", "pyproj", "shapely", "geopandas")
_MOST = 0.5  # of the image after: who compares less is told


def record_of(
    images: Pair,
    shift: Shift,
    normalisation: Normalisation,
    candidates: Candidates,
    rules: Rules,
    form: Rules,
    dates: Mapping[str, str | None],
    polygons: Mapping[str, Any],
) -> dict[str, Any]:
    """Inputs, shift, lines, rules and versions, for ``summary.json``.

    Args:
        images: the pair, as it was moved.
        shift: that was estimated.
        normalisation: of the image before.
        candidates: that were found.
        rules, form: that they were judged by.
        dates: between which the landslides have happened.
        polygons: how these were made.
    """
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
        **dates,
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
        "polygons": dict(polygons),
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


def warnings_of(images: Pair, shift: Shift, summary: dict[str, Any]) -> list[str]:
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
    if summary["left_out"]:
        left_out = ", ".join(dict.fromkeys(summary["left_out"]))
        told.append(f"The rules' {left_out} cannot be told of these images and were left out.")
    lines, unchanged = summary["normalisation"]["lines"], summary["normalisation"]["unchanged_share"]
    if unchanged == 1 and all(line == {"gain": 1.0, "offset": 0.0} for line in lines.values()):
        told.append("The images are equal wherever they were looked at: are they one and the same?")
    share = summary["valid_pixels"] / (summary["shape"][0] * summary["shape"][1])
    if not share:
        told.append("No pixel has data in both images: nothing could be told.")
    elif share < _MOST:
        told.append(f"Only {100 * share:.1f} % of the image after was compared: elsewhere one of them has no data.")
    if summary["truncated"]:
        told.append(f"{summary['truncated']:,} candidates are cut by the images' end or by missing data.")
    return told
