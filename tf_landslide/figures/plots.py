"""Figures of a patch, and how any figure is written. Matplotlib's object interface, no global state."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tf_landslide.bands.layouts import BandLayout
from tf_landslide.core.files import replacing
from tf_landslide.figures.pictures import rgb, valued

_PNG = {"Software": None}  # no version stamp: equal input gives equal files


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file, whole or not at all."""
    with replacing(path) as partial:
        FigureCanvasAgg(figure).print_png(partial, metadata=_PNG)


def svg(figure: Figure) -> bytes:
    """A figure as SVG without a background, letters as outlines: it looks alike everywhere, and on any ground."""
    written = io.BytesIO()
    with rc_context({"svg.hashsalt": "tf_landslide"}):  # equal input gives equal files
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return written.getvalue()


def triptych(picture: np.ndarray, truth: np.ndarray, probability: np.ndarray, title: str) -> Figure:
    """RGB, ground truth in viridis, predicted probability in plasma, side by side (the paper's Fig. 7)."""
    figure = Figure(figsize=(10.2, 3.8), layout="constrained")
    axes = figure.subplots(1, 3)
    axes[0].imshow(picture)
    axes[1].imshow(truth, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
    image = axes[2].imshow(probability, cmap="plasma", vmin=0, vmax=1)
    for axis, label in zip(axes, ("RGB", "ground truth", "predicted probability"), strict=True):
        axis.set_title(label, fontsize=10)
        axis.set_axis_off()
    figure.colorbar(image, ax=axes[2], shrink=0.85)
    figure.suptitle(title, fontsize=11)
    return figure


def rate_range(path: Path, found: dict, title: str) -> None:
    """The loss against the learning rate of a range test, with the suggested rate and what it comes from."""
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axis = figure.subplots()
    axis.plot(found["rates"], found["losses"], color="0.8", linewidth=0.8, label="loss of the batch")
    axis.plot(found["rates"], found["smoothed"], label="smoothed")
    marks = {"steepest descent": ("steepest", "C2"), "diverges": ("diverges", "C1"), "suggestion": ("suggestion", "C3")}
    for label, (key, colour) in marks.items():
        if found[key] is not None:
            axis.axvline(found[key], color=colour, linestyle="--", label=f"{label}: {found[key]:.2g}")
    low, high = min(found["smoothed"]), max(found["smoothed"][0], min(found["smoothed"]) * 1.01)
    axis.set(xscale="log", ylim=(low - 0.1 * (high - low), high + 0.6 * (high - low)))
    axis.set(xlabel="learning rate", ylabel="loss", title=title)
    axis.legend(fontsize=8)
    save(figure, path)


def all_bands(path: Path, stored: np.ndarray, mask: np.ndarray | None, layout: BandLayout, title: str) -> None:
    """Every band of a patch in its unit, white where missing, with the mask's outline in red (the paper's Fig. 6)."""
    columns = 5 if len(layout.bands) > 8 else 4
    rows = -(-(len(layout.bands) + 1) // columns)
    figure = Figure(figsize=(2.5 * columns, 2.7 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    axes[0].imshow(rgb(stored, layout))
    axes[0].set_title("RGB", fontsize=9)
    for i, (axis, band) in enumerate(zip(axes[1:], layout.bands, strict=False)):
        physical = valued(stored, layout, i) * band.scale + band.offset
        image = axis.imshow(physical, cmap="terrain" if band.name == "dem" else "viridis")
        axis.set_title(f"{band.name} ({band.unit})", fontsize=9)
        figure.colorbar(image, ax=axis, shrink=0.75).ax.tick_params(labelsize=6)
    if mask is not None and mask.any():
        for axis in axes[: len(layout.bands) + 1]:
            axis.contour(mask, levels=[0.5], colors="red", linewidths=0.9)
    figure.suptitle(title, fontsize=11)
    save(figure, path)
