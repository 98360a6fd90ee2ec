"""The scale of segments, chosen by a published objective: alike inside, unlike their neighbours.

Inside, segments are judged by the variance of their values, weighted by area; against their neighbours by Moran's I of
their means. Fine segments have little variance and neighbours that resemble one another; coarse ones the reverse. Both
are brought to 0..1 over the scales that are compared, averaged over the layers, and added; the smallest sum is chosen
(Espindola et al. 2006, doi:10.1080/01431160600617194; over several layers Johnson & Xie 2011,
doi:10.1016/j.isprsjprs.2011.02.006).

The finest and the coarsest score about 1 by construction. So the choice depends on which scales are compared, and tells
the balanced one, not the one that finds most landslides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tf_landslide.core.errors import LandslideError, lookup
from tf_landslide.objects.pieces import Borders
from tf_landslide.objects.segmenting import Segmenting
from tf_landslide.objects.segments import segment

SIZES = (16, 32, 64, 128, 256, 512)
"""Mean areas that are compared where none are named, in pixels: 0.16 to 5.1 hectares at 10 m."""


@dataclass(frozen=True)
class Score:
    """How good one scale is.

    Attributes:
        size: wanted mean area of a segment, in pixels.
        segments: that there are.
        variance: weighted by area, averaged over the layers, in squared spreads.
        moran: Moran's I of the segments' means, averaged over the layers.
        total: both, brought to 0..1 over the scales layer by layer, averaged, and added: 0 (best) to 2.
    """

    size: int
    segments: int
    variance: float
    moran: float
    total: float


@dataclass(frozen=True)
class Choice:
    """The scale that was chosen, and how all of them scored.

    Attributes:
        settings: those given, with the chosen size and every layer's spread.
        scores: a row for each size, from the finest.
    """

    settings: Segmenting
    scores: tuple[Score, ...]


def weighted_variance(labels: np.ndarray, values: np.ndarray) -> float:
    """Variance inside segments, weighted by area: the sum over segments of area x variance, over the summed area.

    Args:
        labels: (H, W) of segments 1, 2, …, 0 outside.
        values: (H, W), finite inside.

    Returns:
        in squared units of ``values``; NaN without segments.
    """
    sums = _Sums.of(labels, values)
    inside = sums.squares - sums.totals**2 / sums.areas
    return float(np.maximum(inside, 0).sum() / sums.areas.sum()) if len(sums.areas) else float("nan")


def morans_i(labels: np.ndarray, values: np.ndarray) -> float:
    """Moran's I of the segments' means, with weight 1 for two that share an edge of a pixel, else 0.

    Args:
        labels: (H, W) of segments 1, 2, …, 0 outside.
        values: (H, W), finite inside.

    Returns:
        1 where neighbours are alike, about 0 where they are as by chance, less where they differ; 0 where all segments
        are alike or none has a neighbour.
    """
    sums = _Sums.of(labels, values)
    if len(sums.areas) < 2:
        return 0.0
    means = sums.totals / sums.areas
    apart = means - means.mean()
    borders = Borders.of(labels)
    total = (apart**2).sum()
    if not len(borders.a) or total <= np.finfo(np.float64).eps * (means**2).sum():
        return 0.0
    return float(len(means) / len(borders.a) * (apart[borders.a - 1] * apart[borders.b - 1]).sum() / total)


@dataclass(frozen=True)
class _Sums:
    """Of each segment: pixels, sum of values, sum of squares. Values are taken from their mean, for precision."""

    areas: np.ndarray
    totals: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray, values: np.ndarray) -> _Sums:
        inside = labels > 0
        which, found = labels[inside] - 1, values[inside].astype(np.float64)
        found -= found.mean() if found.size else 0.0
        count = int(labels.max(initial=0))
        areas, totals, squares = (np.bincount(which, weights, count) for weights in (None, found, found**2))
        return cls(areas, totals, squares)


def choose_scale(
    patches: Sequence[Mapping[str, np.ndarray]], settings: Segmenting, sizes: Sequence[int] = SIZES
) -> Choice:
    """Segment patches at several scales and choose the best one.

    Args:
        patches: the layers of each, (H, W) by name, NaN where missing; of a scene, some windows of it. Those without a
            valid pixel do not count; the others count by their valid pixels.
        settings: their ``size`` does not matter. Spreads that they do not state are measured on all patches together.
        sizes: mean areas to compare, in pixels; at least two.

    Raises:
        LandslideError: fewer than two sizes, or no valid pixel.
    """
    sizes = sorted(set(sizes))
    if len(sizes) < 2:
        raise LandslideError(f"a scale is chosen among at least two sizes, got {sizes}")
    used = [{name: lookup(patch, name, "layer") for name in settings.layers} for patch in patches]
    together = (
        {name: np.concatenate([np.ravel(patch[name]) for patch in used]) for name in settings.layers} if used else {}
    )
    settings = settings.with_spreads(together) if used else settings
    rows = [_measured(used, replace(settings, size=size)) for size in sizes]
    if not any(count for count, _ in rows):
        raise LandslideError("no pixel of the patches has all layers; no scale can be chosen")
    measures = np.array([measured for _, measured in rows])  # (sizes, 2, layers)
    low, high = measures.min(0), measures.max(0)
    normal = np.divide(measures - low, high - low, out=np.zeros_like(measures), where=high > low)
    totals = normal.mean(-1).sum(-1)
    scores = tuple(
        Score(size, count, float(measured[0].mean()), float(measured[1].mean()), float(total))
        for size, (count, _), measured, total in zip(sizes, rows, measures, totals, strict=True)
    )
    return Choice(replace(settings, size=sizes[int(totals.argmin())]), scores)


def _measured(patches: Sequence[Mapping[str, np.ndarray]], settings: Segmenting) -> tuple[int, np.ndarray]:
    """Segments of all patches, and (2, layers) weighted variance, in spreads, and Moran's I, averaged by area."""
    spreads = dict(settings.spreads)
    total, count, area = np.zeros((2, len(settings.layers))), 0, 0
    for patch in patches:
        labels = segment(patch, settings)
        pixels = int((labels > 0).sum())
        if not pixels:
            continue
        variances = [weighted_variance(labels, patch[name]) / spreads[name] ** 2 for name in settings.layers]
        total += pixels * np.array([variances, [morans_i(labels, patch[name]) for name in settings.layers]])
        count, area = count + int(labels.max()), area + pixels
    return count, total / max(area, 1)
