"""Patches over their scene, by split, as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch as Swatch
from matplotlib.patches import Rectangle

from tf_landslide.figures.maps import north_arrow, scale_bar
from tf_landslide.figures.plots import save

COLOURS = {"train": "#56b4e9", "valid": "#e69f00", "test": "#cc79a7"}  # apart for the colour-blind (Okabe & Ito 2008)
_SIDE = 9.0  # inches of the longer side
_LANDSLIDES = "#ffff00"


@dataclass(frozen=True)
class Box:
    """A patch: its split, the column and row of its upper left corner, its width and height in the picture's pixels."""

    split: str
    column: float
    row: float
    width: float
    height: float
    kept: bool


@dataclass(frozen=True)
class SplitSheet:
    """What the figure shows.

    Attributes:
        picture: (H, W, 3) uint8.
        valid: (H, W) bool: where there is a picture.
        boxes: of the patches.
        outlines: (n, 2) columns and rows of each ring of the landslides, in the picture's pixels.
        pixel_size: height and width of a pixel in metres, in the middle.
        north: where north points, degrees clockwise from up.
        title: above the figure.
        legend: a line for each split.
        notes: below it, a line each.
    """

    picture: np.ndarray
    valid: np.ndarray
    boxes: Sequence[Box]
    outlines: Sequence[np.ndarray]
    pixel_size: tuple[float, float]
    north: float
    title: str
    legend: dict[str, str]
    notes: Sequence[str]


def split_overview(path: Path, sheet: SplitSheet) -> None:
    """Write the figure as a PNG file."""
    rows, columns = sheet.valid.shape
    height, width = sheet.pixel_size
    tall = rows * height / (columns * width)
    panel = _SIDE * min(1.0, 1 / tall), _SIDE * min(1.0, tall)
    figure = Figure(figsize=(max(panel[0], 4.5) + 0.4, max(panel[1], 2.0) + 1.6), dpi=130, layout="constrained")
    axis = figure.subplots()
    axis.imshow(
        np.where(sheet.valid[..., None], sheet.picture, 235).astype(np.uint8),
        aspect=height / width,
        interpolation="antialiased",
    )
    axis.add_collection(LineCollection(list(sheet.outlines), colors="black", linewidths=1.4, alpha=0.6))
    axis.add_collection(LineCollection(list(sheet.outlines), colors=_LANDSLIDES, linewidths=0.7))
    for split, colour in COLOURS.items():
        for kept in (True, False):
            shapes = [_rectangle(box) for box in sheet.boxes if box.split == split and box.kept is kept]
            style = {"facecolor": (colour, 0.22 if kept else 0.0), "linestyle": "-" if kept else ":"}
            axis.add_collection(PatchCollection(shapes, edgecolor=colour, linewidth=1.2, match_original=False, **style))
    axis.set(xticks=[], yticks=[], xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    scale_bar(axis, columns, rows, width)
    north_arrow(axis, sheet.north)
    swatches = [Swatch(facecolor=(COLOURS[s], 0.4), edgecolor=COLOURS[s], label=sheet.legend[s]) for s in sheet.legend]
    swatches.append(Swatch(facecolor="none", edgecolor="#c8b400", label="landslides"))
    if not all(box.kept for box in sheet.boxes):
        swatches.append(Swatch(facecolor="none", edgecolor="0.5", linestyle=":", label="left out"))
    figure.legend(handles=swatches, loc="outside lower center", ncols=2, fontsize=8.5, frameon=False)
    figure.suptitle(sheet.title, fontsize=12, parse_math=False)  # a file's name may hold dollars
    axis.set_xlabel("\n".join(sheet.notes), fontsize=8.5, parse_math=False)
    save(figure, path)


def _rectangle(box: Box) -> Rectangle:
    return Rectangle((box.column - 0.5, box.row - 0.5), box.width, box.height)
