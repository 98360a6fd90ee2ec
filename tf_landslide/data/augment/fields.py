"""Smooth random fields, drawn where their few waves are rather than pixel by pixel."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy.fft import ifft2, next_fast_len

_LEAST = 1e-3  # of the longest wave's amplitude; shorter waves are left out


@lru_cache(maxsize=16)
def _waves(length: int, sigma: float) -> tuple[int, np.ndarray, np.ndarray]:
    """The period of the waves along an axis of ``length`` pixels, their frequencies in it and their amplitudes.

    The period is longer than the axis, so that opposite edges differ; the squares of the amplitudes sum to 1.
    """
    period = next_fast_len(length + math.ceil(4 * sigma))
    highest = min((period - 1) // 2, math.ceil(period * math.sqrt(-math.log(_LEAST) / 2) / (math.pi * sigma)))
    frequencies = np.arange(-highest, highest + 1)
    amplitude = np.exp(-2 * (np.pi * sigma * frequencies / period) ** 2)  # the Gaussian's own Fourier transform
    return period, frequencies, (amplitude / np.sqrt((amplitude**2).sum())).astype(np.float32)


def smooth_fields(rng: np.random.Generator, height: int, width: int, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Two independent fields of white noise under a Gaussian filter, mean 0 and variance 1.

    Two pixels ``d`` apart correlate by ``exp(-(d / (2 sigma))**2)``, and the slope along an axis has a root mean square
    of ``1 / (sqrt(2) sigma)`` a pixel.

    Args:
        rng: of the numbers.
        height, width: in pixels.
        sigma: of the filter, pixels.

    Returns:
        (height, width) float32 each.
    """
    (high, rows, down), (wide, columns, across) = _waves(height, sigma), _waves(width, sigma)
    noise = rng.standard_normal((len(rows), 2 * len(columns)), np.float32).view(np.complex64)
    waves = np.zeros((high, wide), np.complex64)
    waves[np.ix_(rows, columns)] = noise * down[:, None] * across
    field = ifft2(waves, norm="forward", overwrite_x=True)[:height, :width]
    return np.ascontiguousarray(field.real), np.ascontiguousarray(field.imag)
