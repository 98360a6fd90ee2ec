"""The form of segments, from their moments: length and width, the way they lie, and how like a rectangle they are.

Length and width are the sides of the rectangle that has a segment's second moments: its own sides if it is one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tf_landslide.objects.strips import Image, Strip
from tf_landslide.objects.sums import Moments, ratio

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Form:
    """(N,) each, in metres where the size of a pixel is known, else in pixels; NaN for segments without pixels.

    Attributes:
        height, width_of_pixel: ground size of a pixel in the row of a segment's centre.
        row, column: of the centre.
        length, width: see above.
        orientation: of the length, degrees clockwise from the grid's north, 0..180; NaN for what is as long as wide.
    """

    height: np.ndarray
    width_of_pixel: np.ndarray
    row: np.ndarray
    column: np.ndarray
    length: np.ndarray
    width: np.ndarray
    orientation: np.ndarray

    @classmethod
    def of(cls, moments: Moments, heights: np.ndarray, widths: np.ndarray) -> Form:
        """By the size of pixels in the row of each segment's centre; ``heights``, ``widths``: (H,)."""
        row, column = moments.centre.T
        nearest = np.where(np.isfinite(row), np.round(row), 0).astype(np.int64)
        height, width = heights[nearest], widths[nearest]
        rows, columns, between = moments.covariance.T
        north, east, cross = rows * height**2, columns * width**2, -between * height * width
        middle, apart = (north + east) / 2, np.hypot((north - east) / 2, cross)
        angle = np.degrees(np.arctan2(2 * cross, north - east) / 2) % 180
        return cls(
            height=height,
            width_of_pixel=width,
            row=row,
            column=column,
            length=np.sqrt(12 * (middle + apart)),
            width=np.sqrt(12 * (middle - apart)),
            orientation=np.where(apart > _ROUNDING * middle, angle, np.nan),
        )


def rectangular_fit(image: Image, form: Form, pixels: np.ndarray, rows: int) -> np.ndarray:
    """(N,) share of each segment that lies in a rectangle of its area, centre, orientation and length to width.

    1 for a rectangle along rows and columns. The definition is eCognition's *Rectangular Fit*; a pixel lies where its
    centre does. Reads the labels once more, ``rows`` rows at a time.
    """
    inside = np.zeros(image.count)
    angle = np.radians(np.nan_to_num(form.orientation))
    with np.errstate(invalid="ignore"):
        scale = np.sqrt(pixels * form.height * form.width_of_pixel / (form.length * form.width)) / 2 * (1 + _ROUNDING)
    along = np.stack([form.height * np.cos(angle), form.width_of_pixel * np.sin(angle)]) / (form.length * scale)
    across = np.stack([-form.height * np.sin(angle), form.width_of_pixel * np.cos(angle)]) / (form.width * scale)
    for strip in image.strips(rows):
        within = [_inside(strip, form, *axis) for axis in (along, across)]
        inside[strip.ids] += strip.sum(within[0] & within[1])
    return ratio(inside, pixels)


def _inside(strip: Strip, form: Form, north: np.ndarray, east: np.ndarray) -> np.ndarray:
    """(h, W) bool: which pixels lie less than 1 from their segment's centre, along an axis.

    Args:
        strip: of pixels.
        form: of the segments.
        north, east: (N,) how far a pixel further north or east lies along the axis, in halves of the rectangle's side.
    """
    north, east, row, column = (
        np.concatenate([[0.0], values[strip.ids]])[strip.own] for values in (north, east, form.row, form.column)
    )
    rows, columns = np.arange(strip.top, strip.bottom)[:, None], np.arange(strip.own.shape[1])
    return np.abs((row - rows) * north + (columns - column) * east) <= 1
