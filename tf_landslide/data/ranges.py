"""Whether values are those of their layout: each band's 1st and 99th percentile beside its physical range.

Digital numbers, reflectance and the released scale of Landslide4Sense are told apart by nothing else: as many bands,
the same names, and a model that answers something to all three.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tf_landslide.bands.layouts import LAYOUTS, REFLECTANCE_SCALE, Band, BandLayout
from tf_landslide.bands.recipes import holds_value
from tf_landslide.core.errors import LandslideError, warn

_GRID = 16  # pixels a side that are looked at in each image
_PERCENTILES = (1, 99)
_DARK = 0.01  # the brightest band of any scene reflects more: air alone does
_BRIGHTNESS = ("reflectance", "relative")


@dataclass(frozen=True)
class Misfit:
    """A band whose values lie outside its range: both percentiles, in the band's unit."""

    band: Band
    low: float
    high: float

    def __str__(self) -> str:
        unit = {"relative": ""}.get(self.band.unit, f" {self.band.unit}")
        least, most = self.band.range or (np.nan, np.nan)
        return f"{self.band.name} {self.low:.3g} to {self.high:.3g}, expected {least:g} to {most:g}{unit}"


class RangeCheck:
    """Looks at a few pixels of each image it is shown, and says in the end whether they fit the layout.

    Args:
        layout: that the images are said to have.
    """

    def __init__(self, layout: BandLayout) -> None:
        self.layout = layout
        self._seen: list[np.ndarray] = []
        self._known = any(band.range for band in layout.bands)

    def add(self, image: np.ndarray) -> None:
        """Look at an image, (H, W, B) as stored; from any thread."""
        if not self._known:
            return
        rows, columns = (max(1, side // _GRID) for side in image.shape[:2])
        self._seen.append(image[::rows, ::columns].reshape(-1, image.shape[-1]).copy())

    def warning(self) -> str | None:
        """One line on what does not fit and what it looks like; None where all fits, or nothing is known."""
        if not self._seen:
            return None
        stored = self._percentiles()
        found = misfits(stored, self.layout)
        dark = not found and _is_dark(stored, self.layout)
        if not found and not dark:
            return None
        what = f"no band reaches {_DARK:g}" if dark else str(found[0])
        others = len(found) - 1
        more = f" and {others} more band{'s' if others > 1 else ''}" if others > 0 else ""
        return f"values do not fit layout {self.layout.name!r} ({what}{more}); {_looks_like(stored, self.layout)}"

    def report(self, where: object, *, strict: bool = False) -> None:
        """Warn of what does not fit, or, where ``strict``, raise it as ``LandslideError``."""
        said = self.warning()
        if said and strict:
            raise LandslideError(f"{where}: {said}")
        if said:
            warn(f"{where}: {said}")

    def _percentiles(self) -> np.ndarray:
        """(B, 2) stored values, NaN for a band without any."""
        bands = self.layout.bands
        values = np.concatenate(self._seen)
        result = np.full((len(bands), 2), np.nan)
        for i, band in enumerate(bands):
            column = values[:, i]
            valid = column[holds_value(column, band)]
            if valid.size:
                result[i] = np.percentile(valid, _PERCENTILES)
        return result


def misfits(stored: np.ndarray, layout: BandLayout) -> list[Misfit]:
    """The bands whose percentiles, (B, 2) as stored, lie outside their range once they are physical."""
    found = []
    for band, (low, high) in zip(layout.bands, _physical(stored, layout), strict=True):
        if band.range is None:
            continue
        least, most = band.range
        rounding = 1e-6 * (most - least)
        if low < least - rounding or high > most + rounding:  # False for NaN
            found.append(Misfit(band, float(low), float(high)))
    return found


def _physical(stored: np.ndarray, layout: BandLayout) -> np.ndarray:
    scale, offset = (np.array([[getattr(band, key)] for band in layout.bands]) for key in ("scale", "offset"))
    return np.sort(stored * scale + offset, axis=1)


def _is_dark(stored: np.ndarray, layout: BandLayout) -> bool:
    """Whether all that shines is darker than anything is: values divided once too often."""
    bright = [high for band, (_, high) in _shining(stored, layout) if np.isfinite(high)]
    return bool(bright) and max(bright) < _DARK


def _shining(stored: np.ndarray, layout: BandLayout) -> Iterable[tuple[Band, np.ndarray]]:
    pairs = zip(layout.bands, _physical(stored, layout), strict=True)
    return ((band, values) for band, values in pairs if band.unit in _BRIGHTNESS and band.range is not None)


def _looks_like(stored: np.ndarray, layout: BandLayout) -> str:
    """What to do about values that do not fit: the shipped layout of the same bands that they fit, if there is one."""
    for other in LAYOUTS.values():
        same = other != layout and other.names == layout.names
        if same and not misfits(stored, other) and not _is_dark(stored, other):
            return f"they look like {other.title}: layout {other.name!r}?"
    tops = [high for band, (_, high) in _shining(stored, layout) if band.unit == "reflectance"]
    if tops and np.nanmax(tops) > 10:
        return f"they look like digital numbers: a layout with scale {REFLECTANCE_SCALE:g}?"
    return "name the layout that they have, or write one (see the docs on data)"
