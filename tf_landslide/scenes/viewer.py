"""A map as one HTML page that asks nobody for anything: ``map.html``, which also stands in a frame's ``srcdoc``.

Pictures are embedded as data, style and script are named by their hashes in a content security policy that forbids all
else, and every text that comes from a file is escaped by the template or set as text by the script.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import shapely
from markupsafe import Markup
from PIL import Image
from shapely.geometry.base import BaseGeometry

from tf_landslide.core.templates import render
from tf_landslide.scenes.attributes import Attributes, Found
from tf_landslide.scenes.grid import Grid
from tf_landslide.scenes.polygons import grid_north
from tf_landslide.scenes.preview import Preview

_FOLDER = Path(__file__).parent
MOST_POLYGONS, MOST_POINTS = 2000, 200_000
"""Of landslides that are drawn, the largest first: what a browser pans without stumbling."""

_FINEST = 0.25  # pixels by which an outline may be simplified in any case
_EMPTY = 236  # grey of a picture where there is none
_SHOWN: Mapping[str, tuple[str, str]] = {
    "area_ha": ("area", "ha"),
    "probability_mean": ("probability, mean", ""),
    "probability_max": ("probability, highest", ""),
    "confidence": ("confidence", ""),
    "rules_confidence": ("confidence of the rules", ""),
    "slope_mean": ("slope, mean", "°"),
    "slope_max": ("slope, steepest", "°"),
    "aspect_deg": ("aspect of the slope", "°"),
    "elevation_min": ("elevation, lowest", "m"),
    "elevation_max": ("elevation, highest", "m"),
    "ndvi_mean": ("NDVI, mean", ""),
    "length_m": ("length", "m"),
    "width_m": ("width", "m"),
    "orientation_deg": ("orientation of the length", "°"),
    "off_aspect_deg": ("length to way downhill", "°"),
    "compactness": ("compactness", ""),
    "truncated": ("cut by the image's end", ""),
    "det_method": ("detected by", ""),
    "event_date_from": ("event not before", ""),
    "event_date_to": ("event not after", ""),
    "source_ids": ("images", ""),
    "review_status": ("review", ""),
}


def viewer_html(
    preview: Preview,
    found: Found,
    *,
    title: str,
    facts: Sequence[tuple[str, str]],
    threshold: float,
    notes: Sequence[str] = (),
) -> str:
    """The page.

    Args:
        preview: of the map.
        found: its landslides; the largest ``MOST_POLYGONS`` are drawn, and the page says so where there are more.
        title: of the page.
        facts: names and values below the title.
        threshold: marked on the colour bar.
        notes: sentences below the facts: warnings, and what the map is not.
    """
    outlines = _outlines(found.geometries, preview)
    drawn, total = len(outlines), len(found.geometries)
    if drawn < total:
        notes = [*notes, f"The {drawn:,} largest of {total:,} landslides are drawn; the GeoPackage has all of them."]
    data = {
        **_geometry(preview),
        "fields": [[name, *_SHOWN[name]] for name in _SHOWN],
        "landslides": [
            {"id": row.id, "rings": rings, "values": _values(row)}
            for row, rings in zip(found.attributes, outlines, strict=False)
        ],
        "palette": [_hex(colour) for colour in matplotlib.colormaps["plasma"](np.linspace(0, 1, 33))],
        "threshold": threshold,
    }
    style, script = ((_FOLDER / f"viewer.{kind}").read_text() for kind in ("css", "js"))
    return render(
        _FOLDER / "viewer.html.jinja",
        title=title,
        facts=facts,
        notes=notes,
        threshold=threshold,
        total=total,
        style=Markup(style),
        script=Markup(script),
        policy=_policy(style, script),
        data=Markup(json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")),
        pictures={
            "picture": _jpeg(np.where(preview.valid[..., None], preview.picture, _EMPTY).astype(np.uint8)),
            "probability": _png(_probability_levels(preview.probability), _plasma()),
            "mask": _png(_shares(preview.marked), _reds()),
        },
    )


def _policy(style: str, script: str) -> str:
    """A content security policy by which nothing is loaded, sent or framed, and no other script runs."""
    hashes = {
        kind: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for kind, text in (("style", style), ("script", script))
    }
    allowed = [f"{kind}-src 'sha256-{value}'" for kind, value in hashes.items()]
    return "; ".join(["default-src 'none'", "img-src data:", *allowed, "base-uri 'none'", "form-action 'none'"])


def _geometry(preview: Preview) -> dict[str, Any]:
    """Where the pixels lie: all that the script needs for scale bar, north and coordinates."""
    grid: Grid = preview.scene
    rows, columns = grid.shape
    sampled = np.linspace(0, rows - 1, 17)
    heights, widths = grid.pixel_sizes(sampled)
    t = grid.transform
    return {
        "size": [columns, rows],
        "pictureSize": [preview.grid.shape[1] * preview.factor, preview.grid.shape[0] * preview.factor],
        "pixelWidths": [round(float(width), 6) for width in widths],
        "pixelHeight": float(heights[len(heights) // 2]),
        "transform": [t.a, t.c, t.e, t.f],
        "geographic": grid.is_geographic,
        "crs": grid.crs.to_string() if len(grid.crs.to_string()) < 40 else grid.crs.name,
        "north": -grid_north(grid, *(t @ (columns / 2, rows / 2))),
    }


def _outlines(geometries: Sequence[BaseGeometry], preview: Preview) -> list[list[list[float]]]:
    """Of the largest landslides, each ring's columns and rows in turn, in pixels of the scene."""
    t = ~preview.scene.transform
    digits = 2 if preview.factor == 1 else 1
    outlines: list[list[list[float]]] = []
    points = 0
    for geometry in geometries[:MOST_POLYGONS]:
        moved = shapely.transform(geometry, lambda p: np.stack([t.a * p[:, 0] + t.c, t.e * p[:, 1] + t.f], axis=1))
        simple = moved.simplify(max(_FINEST, preview.factor / 2))
        rings = [ring for part in shapely.get_parts(simple) for ring in (part.exterior, *part.interiors)]
        points += sum(len(ring.coords) for ring in rings)
        if points > MOST_POINTS and outlines:
            break
        outlines.append([np.round(ring.coords, digits).ravel().tolist() for ring in rings])
    return outlines


def _values(row: Attributes) -> list[str | None]:
    """The attributes in words, None where there is nothing to say."""
    values = []
    for name, (_, unit) in _SHOWN.items():
        value = getattr(row, name)
        if isinstance(value, bool):
            value = "yes" if value else "no"
        elif isinstance(value, float):
            value = f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}"
        values.append(None if value in (None, "") else f"{value}{'' if unit in ('', '°') else ' '}{unit}")
    return values


def _hex(colour: Sequence[float]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour[:3])


def _probability_levels(probability: np.ndarray) -> np.ndarray:
    """0 where nothing can be told, else 1..255."""
    levels = np.clip(np.nan_to_num(probability), 0, 1) * 254 + 1
    return np.where(np.isfinite(probability), levels.round(), 0).astype(np.uint8)


def _plasma() -> np.ndarray:
    colours = (matplotlib.colormaps["plasma"](np.linspace(0, 1, 255)) * 255).round().astype(np.uint8)
    return np.concatenate([np.zeros((1, 4), np.uint8), colours])


def _shares(marked: np.ndarray) -> np.ndarray:
    """0 where nothing is marked, else 1..255: a pixel that is marked in part is seen too."""
    return np.ceil(np.clip(np.nan_to_num(marked), 0, 1) * 255).astype(np.uint8)


def _reds() -> np.ndarray:
    colours = np.tile(np.array([[230, 30, 40, 0]], np.uint8), (256, 1))
    colours[1:, 3] = np.linspace(96, 255, 255)
    return colours


def _png(levels: np.ndarray, palette: np.ndarray) -> str:
    """A picture of 256 colours with their own opacity, as data."""
    image = Image.fromarray(levels, mode="P")
    image.putpalette(palette[:, :3].tobytes())
    return _as_data(image, "png", transparency=palette[:, 3].tobytes(), optimize=True)


def _jpeg(picture: np.ndarray) -> str:
    return _as_data(Image.fromarray(picture), "jpeg", quality=88)


def _as_data(image: Image.Image, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
