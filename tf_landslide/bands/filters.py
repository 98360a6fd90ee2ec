"""Noise filters on bands, by NumPy or by ``keras.ops``, that neither spread nor invent missing values."""

from __future__ import annotations

from typing import Any

import numpy as np


def is_missing(x: Any, xp: Any) -> Any:
    return xp.logical_not(xp.isfinite(x))


def nanmedian_filter(x: Any, size: int, xp: Any = np) -> Any:
    """Median of each pixel's ``size`` x ``size`` neighbourhood, band by band, skipping missing values.

    Edges are mirrored (``d c b a | a b c d``), as in ``scipy.ndimage.median_filter(mode="reflect")``. A missing pixel
    stays missing, so that the filter neither spreads nor invents values; an even number of valid neighbours gives the
    mean of the middle two.

    Args:
        x: (N, H, W, B) float array or tensor.
        size: odd window side, in pixels.
        xp: NumPy, or ``keras.ops`` for a tensor.
    """
    radius = size // 2
    height, width = xp.shape(x)[-3], xp.shape(x)[-2]
    padded = xp.pad(x, [[0, 0], [radius, radius], [radius, radius], [0, 0]], mode="symmetric")
    window = xp.stack(
        [padded[:, row : row + height, column : column + width, :] for row in range(size) for column in range(size)],
        axis=-1,
    )
    missing = is_missing(window, xp)
    ordered = xp.sort(xp.where(missing, float("inf"), window), axis=-1)
    valid = xp.sum(xp.where(missing, 0, 1), axis=-1, keepdims=True)
    lower = xp.take_along_axis(ordered, xp.maximum(valid - 1, 0) // 2, axis=-1)[..., 0]
    upper = xp.take_along_axis(ordered, xp.minimum(valid // 2, size * size - 1), axis=-1)[..., 0]
    return xp.where(is_missing(x, xp), float("nan"), (lower + upper) / 2)
