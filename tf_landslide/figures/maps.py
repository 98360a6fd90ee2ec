"""A map as a figure: the scene with outlines over it, the probability beside it, scale bar and north."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from tf_landslide.figures.plots import save

_HALO = [withStroke(linewidth=3, foreground="black", alpha=0.75)]
_WIDEST, _TALLEST = 11.0, 8.0  # inches of a panel


@dataclass(frozen=True)
class Sheet:
    """What a map's figure shows.

    Attributes:
        picture: (H, W, 3) uint8.
        valid: (H, W) bool: where there is a picture.
        probability: (H, W) float32, NaN where nothing can be told.
        outlines: (n, 2) columns and rows of each ring, in the picture's pixels.
        pixel_size: height and width of a pixel in metres, in the middle.
        north: where north points, degrees clockwise from up.
        title: above the figure.
        notes: below it, a line each.
        threshold: marked on the colour bar.
    """

    picture: np.ndarray
    valid: np.ndarray
    probability: np.ndarray
    outlines: Sequence[np.ndarray]
    pixel_size: tuple[float, float]
    north: float
    title: str
    notes: Sequence[str]
    threshold: float


def overview(path: Path, sheet: Sheet) -> None:
    """Write the figure as a PNG file."""
    rows, columns = sheet.valid.shape
    height, width = sheet.pixel_size
    tall = rows * height / (columns * width)
    beside = tall > 0.6
    size = min(_WIDEST / 1.4 if beside else _WIDEST, _TALLEST / tall / (1 if beside else 2))
    panel = max(size, 3.2), max(size * tall, 1.2)
    figure = Figure(
        figsize=(2 * panel[0] + 1.2, panel[1] + 1.5) if beside else (panel[0] + 1.2, 2 * panel[1] + 1.9),
        dpi=120,
        layout="constrained",
    )
    left, right = figure.subplots(1, 2) if beside else figure.subplots(2, 1)
    shown = np.where(sheet.valid[..., None], sheet.picture, 235).astype(np.uint8)
    left.imshow(shown, aspect=height / width, interpolation="antialiased")
    left.add_collection(LineCollection(list(sheet.outlines), colors="black", linewidths=1.6, alpha=0.6))
    left.add_collection(LineCollection(list(sheet.outlines), colors="#ffd400", linewidths=0.8))
    left.set_title("image and landslides", fontsize=10)
    right.set_facecolor("#c4c4c4")
    image = right.imshow(sheet.probability, cmap="plasma", vmin=0, vmax=1, aspect=height / width, interpolation="none")
    right.set_title("probability; grey: nothing can be told", fontsize=10)
    bar = figure.colorbar(image, ax=right, shrink=0.85, pad=0.02)
    bar.set_label("landslide probability")
    bar.ax.axhline(sheet.threshold, color="white", linewidth=2)
    bar.ax.axhline(sheet.threshold, color="black", linewidth=0.8)
    for axis in (left, right):
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    scale_bar(left, columns, rows, width)
    north_arrow(left, sheet.north)
    figure.suptitle(sheet.title, fontsize=13, parse_math=False)  # a file's name may hold dollars
    figure.supxlabel("\n".join(sheet.notes), fontsize=8.5, parse_math=False)
    save(figure, path)


def round_length(metres: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is no longer."""
    power = 10 ** np.floor(np.log10(metres))
    return float(power * max(step for step in (1, 2, 5) if step * power <= metres * (1 + 1e-9)))


def scale_bar(axis: Axes, columns: int, rows: int, width: float) -> None:
    """A bar of a round length, about a fifth of the map."""
    metres = round_length(columns * width / 4)
    x, y, length = 0.04 * columns, 0.955 * rows, metres / width
    axis.plot([x, x + length], [y, y], color="white", linewidth=3, path_effects=_HALO, solid_capstyle="butt")
    text = f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"
    axis.text(
        x + length / 2, y - 0.015 * rows, text, color="white", ha="center", va="bottom", fontsize=10, path_effects=_HALO
    )


def north_arrow(axis: Axes, north: float) -> None:
    """An arrow in the upper right corner."""
    turn = np.radians(north)
    tip = 0.95 + 0.035 * np.sin(turn), 0.90 + 0.05 * np.cos(turn)
    tail = 0.95 - 0.035 * np.sin(turn), 0.90 - 0.05 * np.cos(turn)
    arrow = {"arrowstyle": "-|>", "color": "white", "lw": 2, "path_effects": _HALO}
    axis.annotate("", tip, tail, xycoords="axes fraction", textcoords="axes fraction", arrowprops=arrow)
    axis.annotate(
        "N", tail, xycoords="axes fraction", color="white", ha="center", va="top", fontsize=11, path_effects=_HALO
    )
