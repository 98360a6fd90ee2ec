"""How far two images of the same ground lie apart: correlation in many windows, and what most of them agree on.

In each window the shift is where the edges of both correlate best, in the Fourier domain, to a fraction of a pixel by
upsampling around the peak (Guizar-Sicairos et al. 2008, doi:10.1364/OL.33.000156; scikit-image). A window with clouds,
snow or nothing but forest may say anything, so the median counts, of those windows that agree with it.

Only the finest edges are used: broad light and shade move with the sun, and with them what is estimated, by a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_laplace
from skimage.registration import phase_cross_correlation

from tf_landslide.scenes.grid import Window
from tf_landslide.scenes.layers import Layer

TOLERATED = 0.5  # pixels; beyond, edges of fields and roads look like change
_SIDE, _PER_AXIS = 96, 10  # of a window, and how many along each axis, at most
_VALID = 0.8  # share of a window's pixels that must be valid
_AGREE = 0.75  # pixels within which a window agrees with the median
_MOST = 12.0  # pixels; what is farther is no shift but a mistake
_UPSAMPLED = 50
_EVEN = 1e-6  # of the largest value: a range that is rounding
_DETAIL = 0.7  # pixels, of the Laplacian of Gaussian


@dataclass(frozen=True)
class Shift:
    """By how much what the image before shows lies further on than in the image after.

    Attributes:
        rows, columns: in pixels of the image after, southwards and eastwards; NaN where it could not be told.
        spread: the median distance, in pixels, of the windows that agree.
        agreeing, windows: how many windows agree with it, of how many that have data in both images.
    """

    rows: float
    columns: float
    spread: float
    agreeing: int
    windows: int

    @property
    def known(self) -> bool:
        """Whether enough windows agree: three, and a third of all."""
        return self.agreeing >= 3 and 3 * self.agreeing >= self.windows

    @property
    def pixels(self) -> float:
        """Its length."""
        return float(np.hypot(self.rows, self.columns))


def estimate_shift(before: Layer, after: Layer, shape: tuple[int, int]) -> Shift:
    """Estimate the shift between two images on one grid.

    Args:
        before, after: read a window as (H, W) float, NaN where missing.
        shape: of the grid.
    """
    found = [
        shift
        for window in _windows(shape)
        if (shift := shift_of(before(window), after(window))) is not None and np.hypot(*shift) <= _MOST
    ]
    if not found:
        return Shift(np.nan, np.nan, np.nan, 0, 0)
    shifts = np.array(found)
    centre = np.median(shifts, axis=0)
    for _ in range(3):
        near = np.hypot(*(shifts - centre).T) <= _AGREE
        if not near.any():
            break
        centre = np.median(shifts[near], axis=0)
    distances = np.hypot(*(shifts - centre).T)
    near = distances <= _AGREE
    spread = float(np.median(distances[near])) if near.any() else np.nan
    return Shift(float(centre[0]), float(centre[1]), spread, int(near.sum()), len(shifts))


def shift_of(before: np.ndarray, after: np.ndarray) -> tuple[float, float] | None:
    """The shift between two patches, (H, W) each, NaN where missing; None where too little is valid, or all is even.

    A pattern at (row, column) after lies at (row + shift, column + shift) before.
    """
    valid = np.isfinite(before) & np.isfinite(after)
    if valid.mean() < _VALID:
        return None
    taper = np.hanning(before.shape[0])[:, None] * np.hanning(before.shape[1])[None, :]
    if any(np.ptp(plane[valid]) <= _EVEN * np.abs(plane[valid]).max() for plane in (before, after)):
        return None
    planes = [_detail(plane, valid) * taper for plane in (before, after)]
    shift, *_ = phase_cross_correlation(*planes, upsample_factor=_UPSAMPLED, normalization=None)
    return float(shift[0]), float(shift[1])


def _detail(plane: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Edges and spots, with what stands out far beyond them cut: one cloud must not outweigh the ground."""
    filled = np.where(valid, plane, np.median(plane[valid])).astype(np.float64)
    detail = gaussian_laplace(filled, _DETAIL)
    spread = np.median(np.abs(detail[valid]))
    return np.clip(detail, -4 * spread, 4 * spread) * valid


def _windows(shape: tuple[int, int]) -> list[Window]:
    """Windows spread evenly over a grid; of a small one they overlap by half."""
    side = tuple(min(_SIDE, length) for length in shape)
    starts = [
        np.linspace(0, length - width, min(_PER_AXIS, max(1, 2 * length // width - 1))).round().astype(int).tolist()
        for length, width in zip(shape, side, strict=True)
    ]
    return [Window(row, column, *side) for row in starts[0] for column in starts[1]]
