"""Scores by what a pixel lies on: slope, vegetation, and the size of the landslide it belongs to.

Each pixel is in one class of each kind, so that the counts of its classes add up to the split's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tf_landslide.bands.indices import INDICES
from tf_landslide.bands.recipes import ChannelRecipe
from tf_landslide.metrics import IGNORED, SCORES
from tf_landslide.metrics.counts import sampled_scores, scores
from tf_landslide.metrics.objects import SIZE_CLASSES, label_objects
from tf_landslide.metrics.resampling import interval

MISSING = "missing"
OUTSIDE = "outside landslides"
SLOPE_EDGES, NDVI_EDGES = (5, 10, 20, 30, 40), (0, 0.2, 0.4, 0.6)


class Strata(Protocol):
    """One way to divide pixels.

    Attributes:
        name: of what they are divided by.
        unit: of it; empty for none.
        labels: of the classes, in order.
        of_truth: whether classes are known of landslide pixels only, so that no marking can be of one class.
    """

    @property
    def name(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def of_truth(self) -> bool: ...

    def codes(self, channels: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """(H, W) uint8: the class of each pixel of a patch, by its channels (H, W, C) and mask (H, W)."""
        ...


@dataclass(frozen=True)
class ByChannel:
    """Pixels by a channel in physical units, in classes [edge, next edge), and those that have no value."""

    name: str
    unit: str
    edges: tuple[float, ...]
    position: int
    of_truth: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        between = (f"{a:g} to {b:g}" for a, b in zip(self.edges[:-1], self.edges[1:], strict=True))
        return (f"below {self.edges[0]:g}", *between, f"{self.edges[-1]:g} and more", MISSING)

    def codes(self, channels: np.ndarray, mask: np.ndarray) -> np.ndarray:
        values = channels[..., self.position]
        codes = np.searchsorted(np.asarray(self.edges, np.float32), values, side="right")
        return np.where(np.isfinite(values), codes, len(self.edges) + 1).astype(np.uint8)


@dataclass(frozen=True)
class BySize:
    """Landslide pixels by the size of their landslide, which is what touches, corners included, within the patch."""

    pixel_size: float | None = None
    name: str = "size"
    of_truth: bool = True

    @property
    def unit(self) -> str:
        return "pixels" if self.pixel_size is None else "pixels (hectares)"

    @property
    def labels(self) -> tuple[str, ...]:
        ends = [*(str(after - 1) for after in SIZE_CLASSES[1:]), ""]
        spans = [f"{a} to {b}" if b else f"{a} and more" for a, b in zip(SIZE_CLASSES, ends, strict=True)]
        if self.pixel_size is not None:
            area = self.pixel_size**2 / 1e4
            spans = [f"{span} (from {least * area:.2g})" for span, least in zip(spans, SIZE_CLASSES, strict=True)]
        return (*spans, OUTSIDE)

    def codes(self, channels: np.ndarray, mask: np.ndarray) -> np.ndarray:
        labels = label_objects(mask == 1)
        sizes = np.bincount(labels.ravel())
        classes = np.searchsorted(SIZE_CLASSES, sizes, side="right") - 1
        classes[0] = len(SIZE_CLASSES)  # what no landslide covers
        return classes[labels].astype(np.uint8)


def strata_of(recipe: ChannelRecipe) -> list[Strata]:
    """The ways to divide pixels that a model's channels allow: those that are there, and in physical units."""
    found: list[Strata] = [BySize(recipe.layout.pixel_size)]
    units = {band.name: band.unit for band in recipe.layout.bands}
    names, ndvi = list(recipe.channel_names), INDICES["ndvi"]
    if "slope" in names and units["slope"] == "degrees":
        found.append(ByChannel("slope", "degrees", SLOPE_EDGES, names.index("slope")))
    computed = "ndvi" in names and "ndvi" not in units  # a stored one may be in any unit
    if computed and {units[ndvi.a], units[ndvi.b]} == {"reflectance"}:
        found.append(ByChannel("ndvi", "", NDVI_EDGES, names.index("ndvi")))
    return found


def stratum_counts(codes: np.ndarray, marked: np.ndarray, mask: np.ndarray, classes: int) -> np.ndarray:
    """(classes, 4) int64: TP, FP, FN, TN of each class of a patch; what is ``IGNORED`` is in none.

    Args:
        codes: (H, W) class of each pixel.
        marked: (H, W) bool.
        mask: (H, W).
        classes: their number.
    """
    kind = np.where(mask == 1, np.where(marked, 0, 2), np.where(marked, 1, 3))
    known = mask != IGNORED
    return np.bincount(codes[known] * 4 + kind[known], minlength=classes * 4).reshape(classes, 4).astype(np.int64)


def stratum_scores(strata: Strata, counts: np.ndarray, draws: np.ndarray) -> dict[str, Any]:
    """Scores of each class.

    Args:
        strata: the way pixels are divided.
        counts: (n, classes, 4) of each patch.
        draws: (resamples, n) of ``resampling.bootstrap``.

    Returns:
        ``unit`` and ``classes``, a row for each that holds a pixel: ``label``, ``tp fp fn tn``, ``f1 precision recall
        iou`` and ``interval`` (95 %) of each. Of classes of landslides there are but ``recall`` and its interval, of
        what lies outside them none: the others are None, as all are where there is nothing to find and nothing marked.
    """
    rows = []
    for position, label in enumerate(strata.labels):
        of_class = counts[:, position]
        tp, fp, fn, tn = (int(v) for v in of_class.sum(0))
        if not tp + fp + fn + tn:
            continue
        told = _told(strata, label) if tp + fp + fn else ()  # of nothing to find and nothing marked, none
        values, sampled = scores(tp, fp, fn), sampled_scores(draws, of_class)
        rows.append(
            {
                "label": label,
                "tp": tp,
                "fp": fp,
                "fn": fn,
                "tn": tn,
                **{name: float(values[name]) if name in told else None for name in SCORES},
                "interval": {name: interval(sampled[name]) for name in SCORES if name in told},
            }
        )
    return {"unit": strata.unit, "classes": rows}


def _told(strata: Strata, label: str) -> Sequence[str]:
    if not strata.of_truth:
        return SCORES
    return () if label == OUTSIDE else ("recall",)
