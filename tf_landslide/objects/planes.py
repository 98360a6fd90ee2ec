"""What segments are described by, strip by strip: the layers as they are, and what is computed from them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tf_landslide.bands.terrain import curvature, downhill
from tf_landslide.objects import nearness
from tf_landslide.objects.strips import Strip, with_row_above

NEARNESS = ("flat_distance", "river_distance")
DERIVED = ("downhill_east", "downhill_north", "probability_share", "curvature")
VISIBLE = ("red", "green", "blue")


def planes(strip: Strip, threshold: float, flat: float) -> Iterator[tuple[str, np.ndarray]]:
    """The layers over a strip and the row above it, and over the strip alone what is computed from them.

    Args:
        strip: rows of an image.
        threshold: of ``probability_share``.
        flat: slope up to which ground is flat.

    Yields:
        name and (h + 1, W) or (h, W) values, NaN where missing: every layer but ``river``, ``brightness`` from the
        visible bands, and those of ``NEARNESS`` and ``DERIVED``.
    """
    image, visible = strip.image, []
    for name in image.layers:
        reach = {"slope": nearness.halo(image), "river": nearness.halo(image)}.get(name, 1)
        values, start = strip.read(name, reach)
        own = slice(max(strip.top - 1 - start, 0), strip.bottom - start)
        plane = with_row_above(values[own], strip.top, np.nan)
        if name == "river":
            distance = nearness.distance(strip, values > 0.5, start)
            yield "river_distance", np.where(np.isfinite(plane[1:]), distance, np.nan)
            continue
        yield name, plane
        if name in VISIBLE:
            visible.append(plane.astype(np.float64))
        elif name == "slope":
            distance = nearness.distance(strip, values <= flat, start)
            yield "flat_distance", np.where(np.isfinite(plane[1:]), distance, np.nan)
        elif name == "probability":
            yield "probability_share", np.where(np.isfinite(plane[1:]), plane[1:] >= threshold, np.nan)
        elif name == "dem":
            yield from _terrain(strip, values, start)
    if len(visible) == len(VISIBLE) and "brightness" not in image.layers:
        yield "brightness", np.mean(visible, axis=0)


def _terrain(strip: Strip, dem: np.ndarray, start: int) -> Iterator[tuple[str, np.ndarray]]:
    """What is computed from elevations over a strip and a row on either side."""
    image, own = strip.image, slice(strip.top - start, strip.bottom - start)
    size = image.heights[start : start + len(dem)], image.widths[start : start + len(dem)]
    for name, values in zip(("downhill_east", "downhill_north"), downhill(dem, size), strict=True):
        yield name, values[own]
    if image.metric:
        yield "curvature", curvature(dem, size)[own]
