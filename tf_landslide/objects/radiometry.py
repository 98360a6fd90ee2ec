"""The image before in the light of the image after: one line a band, fitted where the ground has not changed.

Relative radiometric normalisation as by Yuan & Elvidge (1996, doi:10.1016/0924-2716(96)00018-4) and Canty & Nielsen
(2008, doi:10.1016/j.rse.2007.07.013): pixels that have not changed are found and the line fitted in turn. The line is
the robust kind of matching means and deviations: medians and median deviations, which landslides, clouds and snow do
not move as long as they cover less than half. It takes sun, season and haze as far as they are the same everywhere;
what differs from slope to slope stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tf_landslide.core.errors import LandslideError
from tf_landslide.objects.pair import VISIBLE
from tf_landslide.scenes.grid import Window

_SIDE, _PER_AXIS = 48, 12  # of the windows that are looked at
_ROUNDS = 8
_CHANGED = 2.5  # robust standard deviations from the line, beyond which a pixel has changed
_GAINS = 0.2, 5.0  # beyond, no light explains it
_FEWEST = 100  # pixels
_LEAST_NOISE = 1e-4  # reflectance: one digital number
_MAD = 1.4826  # of a normal distribution: standard deviation over median deviation


@dataclass(frozen=True)
class Line:
    """``after = gain x before + offset``."""

    gain: float = 1.0
    offset: float = 0.0

    def __call__(self, before: np.ndarray) -> np.ndarray:
        return before * np.float32(self.gain) + np.float32(self.offset)


@dataclass(frozen=True)
class Normalisation:
    """How the bands before are brought into the light after.

    Attributes:
        lines: by band.
        kept: share of the pixels looked at that were taken as unchanged.
        noise: by how much brightness (the mean of the visible bands) differs from the line, as a robust standard
            deviation over all pixels looked at: what season, sun and slopes do.
    """

    lines: Mapping[str, Line]
    kept: float
    noise: float


def fit_normalisation(
    read: Callable[[Window], Mapping[str, np.ndarray]], bands: tuple[str, ...], shape: tuple[int, int]
) -> Normalisation:
    """Fit the lines on windows spread evenly over a pair.

    Args:
        read: gives ``NAME`` and ``NAME_before`` of each band, as ``Pair.read``.
        bands: their names.
        shape: of the pair's grid.

    Raises:
        LandslideError: no pixel has data in both images.
    """
    patches = [read(window) for window in _windows(shape)]
    before, after = (
        np.stack([np.concatenate([patch[name + end].ravel() for patch in patches]) for name in bands]).astype(
            np.float64
        )
        for end in ("_before", "")
    )
    valid = np.isfinite(before).all(0) & np.isfinite(after).all(0)
    if valid.sum() < _FEWEST:
        raise LandslideError(
            f"{int(valid.sum())} of {valid.size:,} pixels looked at have data in both images; give two that overlap"
        )
    return match(before[:, valid], after[:, valid], bands)


def match(before: np.ndarray, after: np.ndarray, bands: tuple[str, ...]) -> Normalisation:
    """Fit the lines on pixels, (bands, n) float64 each, all valid."""
    same = np.ones(before.shape[1], bool)
    for _ in range(_ROUNDS):
        gain, offset = _lines(before[:, same], after[:, same])
        residual = after - gain[:, None] * before - offset[:, None]
        spread = _MAD * np.median(np.abs(residual[:, same]), axis=1) + 1e-6
        now = (np.abs(residual) <= _CHANGED * spread[:, None]).all(0)
        if now.sum() < _FEWEST or (now == same).all():
            break
        same = now
    lines = {name: Line(float(a), float(b)) for name, a, b in zip(bands, gain, offset, strict=True)}
    brightness = residual[[band in VISIBLE for band in bands]].mean(0)
    noise = _MAD * float(np.median(np.abs(brightness - np.median(brightness))))
    return Normalisation(lines, float(same.mean()), max(noise, _LEAST_NOISE))


def _lines(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gain and offset of each band that match medians and median deviations."""
    centres = [np.median(pixels, axis=1) for pixels in (before, after)]
    spreads = [
        np.median(np.abs(pixels - centre[:, None]), axis=1) + 1e-9
        for pixels, centre in zip((before, after), centres, strict=True)
    ]
    gain = np.clip(spreads[1] / spreads[0], *_GAINS)
    return gain, centres[1] - gain * centres[0]


def _windows(shape: tuple[int, int]) -> list[Window]:
    side = tuple(min(_SIDE, length) for length in shape)
    starts = [
        np.unique(np.linspace(0, length - width, min(_PER_AXIS, -(-length // width))).round().astype(int)).tolist()
        for length, width in zip(shape, side, strict=True)
    ]
    return [Window(row, column, *side) for row in starts[0] for column in starts[1]]
