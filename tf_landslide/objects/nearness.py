"""How far pixels are from flat ground or a river, by strips of an image."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt

from tf_landslide.objects.strips import Image, Strip

FARTHEST_METRES = 500.0
"""What is farther away counts as this far, so that a pixel's surroundings decide."""
FARTHEST_PIXELS = 50.0

_BAND = 256  # rows, counted from the image's first one, that take the middle one's pixel size on a grid of degrees


def farthest(image: Image) -> float:
    """The greatest distance that is told, in metres or, without a size of pixels, in pixels."""
    return FARTHEST_METRES if image.metric else FARTHEST_PIXELS


def halo(image: Image) -> int:
    """Rows that must be known above and below a strip."""
    return int(np.ceil(farthest(image) / image.heights.min()))


def distance(strip: Strip, mask: np.ndarray, start: int) -> np.ndarray:
    """Distance of a strip's pixels to the nearest one of a mask, centre to centre, at most ``farthest``.

    Args:
        strip: that is asked about.
        mask: (rows, W) bool, over the strip and ``halo`` rows on either side.
        start: the mask's first row.

    Returns:
        (h, W) float64.
    """
    image, reach = strip.image, halo(strip.image)
    ends = [strip.bottom]
    if not image.uniform:
        ends = [*range((strip.top // _BAND + 1) * _BAND, strip.bottom, _BAND), strip.bottom]
    parts, top = [], strip.top
    for end in ends:
        first = max(top - reach, start)
        around = mask[first - start : end + reach - start]
        middle = min(top // _BAND * _BAND + _BAND // 2, image.shape[0] - 1)
        size = image.heights[middle], image.widths[middle]
        far = np.full(around.shape, np.inf) if not around.any() else distance_transform_edt(~around, sampling=size)
        parts.append(far[top - first :][: end - top])
        top = end
    return np.minimum(np.concatenate(parts), farthest(image))
