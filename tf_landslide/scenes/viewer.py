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
from markupsafe import Markup
from PIL import Image
from shapely.geometry.base import BaseGeometry

from tf_landslide.core.templates import render
from tf_landslide.scenes.attributes import Attributes, Found
from tf_landslide.scenes.canvas import FINEST, SCRIPT, STYLE, map_geometry, outlines, stage
from tf_landslide.scenes.preview import Preview

_FOLDER = Path(__file__).parent
MOST_POLYGONS, MOST_POINTS = 2000, 200_000
"""Of landslides that are drawn, the largest first: what a browser pans without stumbling."""

_EMPTY = 236  # grey of a picture where there is none
SHOWN: Mapping[str, tuple[str, str]] = {
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
"""What is told of a landslide: the attribute, its name in words, and its unit."""


def viewer_html(
    preview: Preview,
    found: Found,
    *,
    title: str,
    facts: Sequence[tuple[str, str]],
    threshold: float,
    notes: Sequence[str] = (),
    outlined: str = "landslides",
    quantity: str = "probability",
) -> str:
    """The page.

    Args:
        preview: of the map.
        found: its landslides; the largest ``MOST_POLYGONS`` are drawn, and the page says so where there are more.
        title: of the page.
        facts: names and values below the title.
        threshold: marked on the colour bar.
        notes: sentences below the facts: warnings, and what the map is not.
        outlined: what the outlines are, in the plural.
        quantity: what ``preview.probability`` is.
    """
    shown = _outlines(found.geometries, preview)
    drawn, total = len(shown), len(found.geometries)
    if drawn < total:
        notes = [*notes, f"The {drawn:,} largest of {total:,} {outlined} are drawn; the GeoPackage has all of them."]
    data = {
        **map_geometry(preview.scene),
        "pictureSize": [side * preview.factor for side in reversed(preview.grid.shape)],
        "fields": [[name, label.replace("probability", quantity), unit] for name, (label, unit) in SHOWN.items()],
        "one": outlined.removesuffix("s").capitalize(),
        "landslides": [
            {"id": row.id, "rings": rings, "values": _values(row)}
            for row, rings in zip(found.attributes, shown, strict=False)
        ],
        "palette": [_hex(colour) for colour in matplotlib.colormaps["plasma"](np.linspace(0, 1, 33))],
        "threshold": threshold,
    }
    style, script = (
        shared.read_text(encoding="utf-8") + (_FOLDER / f"viewer.{kind}").read_text(encoding="utf-8")
        for shared, kind in ((STYLE, "css"), (SCRIPT, "js"))
    )
    return render(
        _FOLDER / "viewer.html.jinja",
        title=title,
        facts=facts,
        notes=notes,
        threshold=threshold,
        outlined=outlined,
        quantity=quantity,
        stage=stage(f"Map of {total} {outlined}. Arrow keys move it, plus and minus zoom, 0 shows all of it."),
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


def _outlines(geometries: Sequence[BaseGeometry], preview: Preview) -> list[list[list[float]]]:
    """Of the largest landslides, each ring's columns and rows in turn, in pixels of the scene."""
    tolerance, digits = max(FINEST, preview.factor / 2), 2 if preview.factor == 1 else 1
    drawn: list[list[list[float]]] = []
    points = 0
    for rings in outlines(geometries[:MOST_POLYGONS], preview.scene, tolerance, digits):
        points += sum(len(ring) // 2 for ring in rings)
        if points > MOST_POINTS and drawn:
            break
        drawn.append(rings)
    return drawn


def _values(row: Attributes) -> list[str | None]:
    """The attributes in words, None where there is nothing to say."""
    return [in_words(getattr(row, name), unit) for name, (_, unit) in SHOWN.items()]


def in_words(value: Any, unit: str = "") -> str | None:
    """A value as people read it, with its unit; None where there is nothing to say."""
    if isinstance(value, bool):
        value = "yes" if value else "no"
    elif isinstance(value, float):
        value = f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}"
    return None if value in (None, "") else f"{value}{'' if unit in ('', '°') else ' '}{unit}"


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
