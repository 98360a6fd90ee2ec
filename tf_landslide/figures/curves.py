"""Curves that a report shows, each as a Matplotlib figure; ``plots`` writes them."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tf_landslide.metrics.calibration import Reliability

_CHOSEN = "C3"


def precision_recall(curve: dict[str, np.ndarray], scores: dict[str, Any], title: str) -> Figure:
    """Precision against recall over all thresholds, with the chosen one marked and lines of equal F1."""
    figure = Figure(figsize=(5, 4.6), layout="constrained")
    axis = figure.subplots()
    x = np.linspace(0.01, 1, 200)
    for f1 in (0.2, 0.4, 0.6, 0.8):
        with np.errstate(divide="ignore", invalid="ignore"):
            y = f1 * x / (2 * x - f1)
        shown = (y > 0) & (y <= 1)
        axis.plot(x[shown], y[shown], color="0.7", linewidth=0.8, zorder=0)
        axis.annotate(f"F1 {f1}", (1, f1 / (2 - f1)), fontsize=7, color="0.5", ha="right", va="bottom")
    marked = (curve["recall"] > 0) | (curve["precision"] > 0)
    axis.plot(curve["recall"][marked], curve["precision"][marked])
    axis.plot(scores["recall"], scores["precision"], "o", color=_CHOSEN)
    low = scores["precision"] < 0.5  # then the words stand above the point
    axis.annotate(
        f"threshold {scores['threshold']:.3f}\nF1 {scores['f1']:.3f}",
        (scores["recall"], scores["precision"]),
        xytext=(-8, 8 if low else -8),
        textcoords="offset points",
        ha="right" if scores["recall"] > 0.3 else "left",
        va="bottom" if low else "top",
        fontsize=9,
    )
    axis.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axis.set_title(title, parse_math=False)
    return figure


def over_threshold(curve: dict[str, np.ndarray], band: np.ndarray, threshold: float, title: str) -> Figure:
    """F1 with its band, precision and recall over all thresholds; the chosen one as a line.

    Args:
        curve: of ``metrics.counts.curve``.
        band: (2, thresholds) low and high of F1 at each.
        threshold: the chosen one.
        title: above the figure.
    """
    figure = Figure(figsize=(5, 4.6), layout="constrained")
    axis = figure.subplots()
    axis.fill_between(curve["threshold"], *band, alpha=0.2, color="C0", linewidth=0, label="95 % of F1")
    axis.plot(curve["threshold"], curve["f1"], color="C0", label="F1")
    axis.plot(curve["threshold"], curve["precision"], color="C1", linewidth=1, linestyle="--", label="precision")
    axis.plot(curve["threshold"], curve["recall"], color="C2", linewidth=1, linestyle=":", label="recall")
    axis.axvline(threshold, color=_CHOSEN, linewidth=1, label=f"chosen, {threshold:.3f}")
    axis.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="threshold", ylabel="score")
    axis.set_title(title, parse_math=False)
    figure.legend(fontsize=8, loc="outside lower center", ncols=3, frameon=False)
    return figure


def reliability(curves: dict[str, Reliability], title: str) -> Figure:
    """Frequency against predicted probability, a line for each way of binning, above the pixels of each bin."""
    figure = Figure(figsize=(5, 5.2), layout="constrained")
    axis, below = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    axis.plot((0, 1), (0, 1), color="0.6", linewidth=0.8, linestyle="--", zorder=0)
    axis.annotate("calibrated", (0.04, 0.06), fontsize=7, color="0.5", rotation=38, rotation_mode="anchor")
    for (label, curve), marker in zip(curves.items(), "os", strict=False):
        axis.plot(curve.probability, curve.frequency, marker=marker, markersize=4, linewidth=1.2, label=label)
    axis.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share that is landslide")
    axis.set_title(title, parse_math=False)
    axis.legend(fontsize=8, loc="lower right")
    wide = next(iter(curves.values()))
    below.bar(wide.low, wide.pixels, wide.high - wide.low, align="edge", color="C0", alpha=0.5, edgecolor="C0")
    below.set(yscale="log", xlabel="predicted probability", ylabel="pixels")
    return figure


def learning_curve(history: list[dict[str, float]], title: str) -> Figure:
    """Loss and F1 of training and validation by epoch."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    epochs = [row["epoch"] + 1 for row in history]
    marker = "o" if len(history) == 1 else None  # a line has two points
    for axis, key in zip(figure.subplots(1, 2), ("loss", "f1"), strict=True):
        axis.plot(epochs, [row[key] for row in history], marker=marker, label="train (augmented)")
        axis.plot(epochs, [row[f"val_{key}"] for row in history], marker=marker, label="validation")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set(xlabel="epoch", ylabel={"loss": "loss", "f1": "F1 at threshold 0.5"}[key])
        seen = [row[name] for row in history for name in (key, f"val_{key}")]
        if key == "loss" and min(seen) > 0 and max(seen) > 10 * min(seen):  # or one bad epoch would hide all others
            axis.set_yscale("log")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.suptitle(title, fontsize=11, parse_math=False)
    return figure


def ranking(rows: list[dict[str, Any]], unit: str, reference: str = "best") -> Figure:
    """F1 of models, the best above: a point and its interval over ``unit`` each, their runs as rings; and beside it the
    paired difference of each from the reference, with its interval and mark.
    """
    figure = Figure(figsize=(9, 1.3 + 0.42 * len(rows)), layout="constrained")
    axis, apart = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    for place, row in enumerate(rows):
        low, high = row["interval"]
        axis.plot((low, high), (place, place), color="C0", linewidth=2, solid_capstyle="butt")
        if row["over_seeds"] is not None:
            ends = np.clip((row["f1"] - row["over_seeds"], row["f1"] + row["over_seeds"]), 0, 1)
            axis.plot(ends, (place + 0.18,) * 2, color="C1", linewidth=2, solid_capstyle="butt")
        axis.plot(row["f1"], place, "o", color="C0")
        if len(row["members"]) > 1:
            runs = [member["f1"] for member in row["members"]]
            axis.plot(runs, [place + 0.18] * len(runs), "o", markersize=4, color="C1", fillstyle="none")
        _apart(apart, place, row["difference"])
    axis.plot([], [], color="C0", marker="o", label=f"95 % over {unit}")
    if any(row["over_seeds"] is not None for row in rows):
        axis.plot([], [], color="C1", marker="o", fillstyle="none", label="runs, 95 % of their mean over seeds")
    level = next(row["f1"] for row in rows if row["difference"] is None)
    axis.axvline(level, color="0.6", linewidth=0.8, linestyle="--", zorder=0)
    apart.axvline(0, color="0.6", linewidth=0.8, linestyle="--", zorder=0)
    axis.set_yticks(range(len(rows)), [row["model"] for row in rows], parse_math=False)
    axis.set(ylim=(len(rows) - 0.5, -0.6), xlabel="F1")
    apart.set_xlabel(f"F1 from the {reference}")
    apart.margins(x=0.15)  # room for marks
    apart.tick_params(left=False)
    for one in (axis, apart):
        one.grid(axis="x", alpha=0.3)
    figure.legend(fontsize=8, loc="outside lower right", ncols=2, frameon=False)
    return figure


def _apart(axis: Axes, place: int, difference: dict[str, Any] | None) -> None:
    """A difference, its interval, and behind it whether it is one."""
    if difference is None:
        axis.plot(0, place, "D", color="0.5", markersize=5)
        return
    axis.plot(difference["interval"], (place, place), color="C0", linewidth=2, solid_capstyle="butt")
    axis.plot(difference["value"], place, "o", color="C0")
    axis.annotate(
        difference["mark"], (max(difference["interval"]), place), (5, 0), textcoords="offset points", va="center"
    )


def bars(rows: list[dict[str, Any]], key: str, label: str) -> Figure:
    """A value of each row with its interval, as bars in their order."""
    figure = Figure(figsize=(8, 1.0 + 0.32 * len(rows)), layout="constrained")
    axis, places = figure.subplots(), range(len(rows))
    values = np.array([row[key] for row in rows])
    ends = np.array([row["interval"] for row in rows]).reshape(-1, 2).T
    spread = np.maximum(np.stack([values - ends[0], ends[1] - values]), 0)
    axis.barh(places, values, xerr=spread, color="C0", alpha=0.6, ecolor="0.4", capsize=2)
    axis.set_yticks(places, [row["name"] for row in rows], parse_math=False)
    axis.set(ylim=(len(rows) - 0.4, -0.6), xlabel=label)
    axis.axvline(0, color="0.4", linewidth=0.8)
    axis.grid(axis="x", alpha=0.3)
    return figure


def risk_coverage(measures: dict[str, dict[str, Any]]) -> Figure:
    """Error and F1 among the surest pixels, by the share that is kept, a line for each measure of uncertainty."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    for axis, key, label in zip(figure.subplots(1, 2), ("risk", "f1"), ("share wrong", "F1"), strict=True):
        for name, told in measures.items():
            coverage, values = ([row[column] for row in told["curve"]] for column in ("coverage", key))
            axis.plot(coverage, values, marker="o", markersize=3, label=name)
        axis.set(xlim=(0, 1.02), xlabel="share of pixels kept, the surest first", ylabel=label)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=8)
    return figure
