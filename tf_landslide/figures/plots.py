"""Figures: the paper's triptych, curves, and the bands of a patch. Matplotlib's object interface, no global state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tf_landslide.bands.layouts import BandLayout
from tf_landslide.core.files import replacing
from tf_landslide.figures.pictures import rgb
from tf_landslide.metrics.calibration import Reliability

_PNG = {"Software": None}  # no version stamp: equal input gives equal files


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file, whole or not at all."""
    with replacing(path) as partial:
        FigureCanvasAgg(figure).print_png(partial, metadata=_PNG)


def triptych(path: Path, picture: np.ndarray, truth: np.ndarray, probability: np.ndarray, title: str) -> None:
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
    save(figure, path)


def precision_recall(path: Path, curve: dict, scores: dict, title: str) -> None:
    """Precision against recall over all thresholds, with the chosen one marked and lines of equal F1."""
    figure = Figure(figsize=(5, 4.6), layout="constrained")
    axis = figure.subplots()
    x = np.linspace(0.01, 1, 200)
    for f1 in (0.2, 0.4, 0.6, 0.8):
        with np.errstate(divide="ignore", invalid="ignore"):
            y = f1 * x / (2 * x - f1)
        shown = (y > 0) & (y <= 1)
        axis.plot(x[shown], y[shown], color="0.8", linewidth=0.8, zorder=0)
        axis.annotate(f"F1 {f1}", (1, f1 / (2 - f1)), fontsize=7, color="0.5", ha="right", va="bottom")
    marked = (curve["recall"] > 0) | (curve["precision"] > 0)
    axis.plot(curve["recall"][marked], curve["precision"][marked])
    axis.plot(scores["recall"], scores["precision"], "o", color="C3")
    axis.annotate(
        f"threshold {scores['threshold']:.3f}\nF1 {scores['f1']:.3f}",
        (scores["recall"], scores["precision"]),
        xytext=(-8, -8),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=9,
    )
    axis.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="recall", ylabel="precision", title=title)
    save(figure, path)


def reliability(path: Path, curves: dict[str, Reliability], title: str) -> None:
    """Frequency against predicted probability, a line for each way of binning, above the pixels of each bin."""
    figure = Figure(figsize=(5, 5.2), layout="constrained")
    axis, below = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    axis.plot((0, 1), (0, 1), color="0.6", linewidth=0.8, linestyle="--", zorder=0)
    axis.annotate("calibrated", (0.04, 0.06), fontsize=7, color="0.5", rotation=38, rotation_mode="anchor")
    for (label, curve), marker in zip(curves.items(), "os", strict=False):
        axis.plot(curve.probability, curve.frequency, marker=marker, markersize=4, linewidth=1.2, label=label)
    axis.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share that is landslide", title=title)
    axis.legend(fontsize=8, loc="lower right")
    wide = next(iter(curves.values()))
    below.bar(wide.low, wide.pixels, wide.high - wide.low, align="edge", color="C0", alpha=0.5, edgecolor="C0")
    below.set(yscale="log", xlabel="predicted probability", ylabel="pixels")
    save(figure, path)


def learning_curve(path: Path, history: list[dict[str, float]], title: str) -> None:
    """Loss and F1 of training and validation by epoch."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    epochs = [row["epoch"] + 1 for row in history]
    for axis, key in zip(figure.subplots(1, 2), ("loss", "f1"), strict=True):
        axis.plot(epochs, [row[key] for row in history], label="train (augmented)")
        axis.plot(epochs, [row[f"val_{key}"] for row in history], label="validation")
        axis.set(xlabel="epoch", ylabel={"loss": "loss", "f1": "F1 at threshold 0.5"}[key])
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.suptitle(title, fontsize=11)
    save(figure, path)


def all_bands(path: Path, stored: np.ndarray, mask: np.ndarray | None, layout: BandLayout, title: str) -> None:
    """Every band of a patch in physical units, with the mask's outline in red (the paper's Fig. 6)."""
    columns = 5 if len(layout.bands) > 8 else 4
    rows = -(-(len(layout.bands) + 1) // columns)
    figure = Figure(figsize=(2.5 * columns, 2.7 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    axes[0].imshow(rgb(stored, layout))
    axes[0].set_title("RGB", fontsize=9)
    for axis, band, values in zip(axes[1:], layout.bands, np.moveaxis(stored, -1, 0), strict=False):
        physical = values * band.scale + band.offset
        image = axis.imshow(physical, cmap="terrain" if band.name == "dem" else "viridis")
        axis.set_title(f"{band.name} ({band.unit})", fontsize=9)
        figure.colorbar(image, ax=axis, shrink=0.75).ax.tick_params(labelsize=6)
    if mask is not None and mask.any():
        for axis in axes[: len(layout.bands) + 1]:
            axis.contour(mask, levels=[0.5], colors="red", linewidths=0.9)
    figure.suptitle(title, fontsize=11)
    save(figure, path)
