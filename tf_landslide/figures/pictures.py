"""Pictures of patches and masks as (H, W, 3) uint8 arrays."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from scipy.ndimage import binary_erosion

from tf_landslide.bands.layouts import BandLayout
from tf_landslide.bands.recipes import holds_value

OVERLAY_COLOUR = np.array([255, 40, 40], np.float64)


def rgb(stored: np.ndarray, layout: BandLayout) -> np.ndarray:
    """A picture of stored bands, (H, W, 3) uint8: natural colours, or the first bands where there are none.

    Each band is stretched between its own 2nd and 98th percentile: the air brightens blue far more than red, so that
    one stretch for all three would show every landscape blue. Missing values, no-data ones too, are black. A layout
    without red, green or blue shows its first three bands as such, or its first in grey where it has fewer.
    """
    natural = [layout.names.index(name) for name in ("red", "green", "blue") if name in layout.names]
    shown = [natural, [0, 1, 2], [0, 0, 0]][0 if len(natural) == 3 else 1 if len(layout.bands) >= 3 else 2]
    return stretched(np.stack([valued(stored, layout, i) for i in shown], axis=-1))


def valued(stored: np.ndarray, layout: BandLayout, i: int) -> np.ndarray:
    """Band ``i`` of stored bands (H, W, B) as (H, W) float32, NaN where it says nothing."""
    values = np.asarray(stored[..., i], np.float32)
    return np.where(holds_value(values, layout.bands[i]), values, np.float32(np.nan))


def stretched(channels: np.ndarray, ends: np.ndarray | None = None) -> np.ndarray:
    """Three channels (H, W, 3), each between its own percentiles, or between ``ends``, as uint8; 0 where missing."""
    ends = percentiles(channels) if ends is None else ends
    picture = np.zeros(channels.shape, np.uint8)
    for i, (low, high) in enumerate(ends):
        valid = np.isfinite(channels[..., i])
        values = channels[valid, i] - low  # one array from here on: a map's picture is large
        values /= max(high - low, 1e-9)
        np.clip(values, 0, 1, out=values)
        values *= 255
        picture[valid, i] = np.rint(values, out=values)
    return picture


def percentiles(channels: np.ndarray, ends: tuple[float, float] = (2, 98)) -> np.ndarray:
    """(C, 2): two percentiles of each of (..., C) channels; 0 and 0 of one without values."""
    columns = (channels[..., i].astype(np.float64) for i in range(channels.shape[-1]))
    found = (values[np.isfinite(values)] for values in columns)
    return np.array([np.percentile(values, ends) if values.size else (0.0, 0.0) for values in found])


def overlay(picture: np.ndarray, mask: np.ndarray, opacity: float = 0.45) -> np.ndarray:
    """The picture with the mask laid over it in translucent red and outlined, (H, W, 3) uint8."""
    mask = np.asarray(mask).astype(bool)
    result = picture.astype(np.float64)
    result[mask] += opacity * (OVERLAY_COLOUR - result[mask])
    result[mask & ~binary_erosion(mask)] = OVERLAY_COLOUR
    return result.round().astype(np.uint8)


FOUND, MISSED, INVENTED = "#009e73", "#e69f00", "#cc79a7"  # apart for the colour-blind (Okabe & Ito 2008)


def errors(picture: np.ndarray, marked: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A picture in grey, with what was found, missed and invented in their colours, (H, W, 3) uint8.

    Args:
        picture: (H, W, 3) uint8.
        marked: (H, W) bool.
        mask: (H, W) 0 and 1; what is neither shows the picture alone.
    """
    result = np.repeat(picture.mean(-1, keepdims=True), 3, -1) * 0.8
    for colour, where in (
        (FOUND, marked & (mask == 1)),
        (MISSED, ~marked & (mask == 1)),
        (INVENTED, marked & (mask == 0)),
    ):
        tint = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
        result[where] = 0.3 * result[where] + 0.7 * tint
    return result.round().astype(np.uint8)


def png(picture: np.ndarray) -> bytes:
    """A (H, W, 3) uint8 picture as a PNG file's bytes."""
    written = io.BytesIO()
    Image.fromarray(picture).save(written, "PNG", optimize=True)
    return written.getvalue()
