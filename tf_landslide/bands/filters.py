"""Noise filters on bands, by NumPy or by ``keras.ops``, that neither spread nor invent missing values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from tf_landslide.bands.kinds import kind_of
from tf_landslide.bands.layout import OPTICAL, BandLayout
from tf_landslide.core.errors import LandslideError

WIDEST_MEDIAN = 15  # pixels, its window's side: 225 copies of what is filtered are sorted at once
WIDEST = 4.0  # pixels, a bilateral filter's sigma_space: 17 x 17 pixels, each a step of the exported graph
_AT_ONCE = 2**20  # numbers that NumPy holds of a filter, about: what fits into a cache is quicker too
_OF_BILATERAL = 16  # copies of what is filtered: sums, weights, differences and what they are made of


@dataclass(frozen=True)
class Bilateral:
    """A bilateral filter, as ``bilateral_filter`` computes it.

    Attributes:
        sigma_space: in pixels.
        sigma_value: in the bands' unit.
        bands: that it filters, all of one unit; none stands for all optical ones until ``channel_recipe`` names them.
    """

    sigma_space: float
    sigma_value: float
    bands: tuple[str, ...] = ()

    @property
    def radius(self) -> int:
        """Of its window, which is square, in pixels."""
        return math.ceil(2 * self.sigma_space)


def named_bilateral(settings: Bilateral, layout: BandLayout) -> Bilateral:
    """A filter whose bands are named, in the layout's order.

    Raises:
        LandslideError: sigmas out of range, or bands that are not of one unit.
    """
    if not (0 < settings.sigma_space <= WIDEST and 0 < settings.sigma_value < math.inf):
        raise LandslideError(
            f"a bilateral filter's sigmas must be above 0, and that of space {WIDEST:g} pixels at most, got "
            f"{settings.sigma_space} and {settings.sigma_value}"
        )
    chosen = [layout.bands[layout.index(name)] for name in settings.bands] or [
        band for band in layout.bands if kind_of(band) == OPTICAL
    ]
    units = list(dict.fromkeys(band.unit for band in chosen))
    if len(units) != 1:
        found = f"they are in {' and '.join(units)}" if units else "none of the layout is optical"
        raise LandslideError(f"a bilateral filter's sigma_value is in the bands' unit, and {found}; name its bands")
    return replace(settings, bands=tuple(band.name for band in layout.bands if band in chosen))


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
    return _mirrored(partial(_nanmedian, size=size, xp=xp), x, size // 2, size * size, xp)


def _mirrored(filtered: Callable[[Any], Any], x: Any, radius: int, copies: int, xp: Any) -> Any:
    """A filter of mirrored edges; by NumPy strip by strip, or the block of a scene would fill the memory.

    Args:
        filtered: gives from values with ``radius`` more on each side what becomes of those within.
        x: (N, H, W, B) float array or tensor.
        radius: in pixels.
        copies: of its values that the filter holds at a time.
        xp: NumPy, or ``keras.ops`` for a tensor.
    """
    padded = xp.pad(x, [[0, 0], [radius, radius], [radius, radius], [0, 0]], mode="symmetric")
    if xp is not np:
        return filtered(padded)
    rows = max(1, _AT_ONCE // (copies * max(1, x[:, :1].size)))
    strips = [filtered(padded[:, top : top + rows + 2 * radius]) for top in range(0, max(1, x.shape[1]), rows)]
    return strips[0] if len(strips) == 1 else np.concatenate(strips, axis=1)


def _within(padded: Any, radius: int, xp: Any) -> tuple[int, int, Any]:
    """Height and width without the border of ``radius`` pixels, and the values there."""
    height, width = (xp.shape(padded)[axis] - 2 * radius for axis in (1, 2))
    return height, width, padded[:, radius : radius + height, radius : radius + width]


def _nanmedian(padded: Any, size: int, xp: Any) -> Any:
    height, width, x = _within(padded, size // 2, xp)
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


def bilateral_filter(x: Any, settings: Bilateral, xp: Any = np) -> Any:
    """Mean of each pixel's neighbourhood, band by band, of pixels that are near and alike; edges between areas stay.

    Weights are ``exp(-d^2 / (2 sigma_space^2) - v^2 / (2 sigma_value^2))`` at distance d and difference v (Tomasi &
    Manduchi 1998), over a square that reaches ``2 sigma_space`` to each side. Edges are mirrored (``d c b a | a b c
    d``). A missing pixel stays missing and has no weight, so that the filter neither spreads nor invents values.

    Args:
        x: (N, H, W, B) float array or tensor.
        settings: the two sigmas; ``bands`` are the caller's.
        xp: NumPy, or ``keras.ops`` for a tensor.
    """
    return _mirrored(partial(_bilateral, settings=settings, xp=xp), x, settings.radius, _OF_BILATERAL, xp)


def _bilateral(padded: Any, settings: Bilateral, xp: Any) -> Any:
    radius, beyond = settings.radius, is_missing(padded, xp)
    height, width, x = _within(padded, radius, xp)
    values, there = xp.where(beyond, 0.0, padded), xp.where(beyond, 0.0, xp.ones_like(padded))
    here, missing = _within(values, radius, xp)[2], is_missing(x, xp)
    total, weights = xp.zeros_like(x), xp.zeros_like(x)
    for row in range(2 * radius + 1):
        for column in range(2 * radius + 1):
            distance = (row - radius) ** 2 + (column - radius) ** 2
            window = (slice(None), slice(row, row + height), slice(column, column + width))
            apart = values[window] - here  # differences are summed, so that an even area stays what it is
            weight = there[window] * xp.exp(
                -distance / (2 * settings.sigma_space**2) - xp.square(apart / settings.sigma_value) / 2
            )
            total, weights = total + weight * apart, weights + weight
    return xp.where(missing, float("nan"), here + total / xp.where(missing, 1.0, weights))
