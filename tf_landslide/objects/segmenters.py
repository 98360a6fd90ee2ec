"""The methods that cut an image into segments, each a published one in scikit-image, with one meaning of ``size``.

Each takes planes, (H, W, C) float32 without gaps, a unit of which is one spread of a layer over the root of their
number, and gives (H, W) labels of any numbers. None depends on the image's own extremes, and all begin at the image's
upper left corner with the same grid; so what they give at a place depends on its surroundings alone, or nearly so.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from skimage import segmentation

from tf_landslide.objects import orfeo
from tf_landslide.objects.segmenting import Segmenting

# scikit-image's Felzenszwalb takes any number of layers, and wonders at more than three; silenced here, once, since
# filters are one for all threads.
warnings.filterwarnings("ignore", "Got image with third dimension", RuntimeWarning)

FELZENSZWALB_SCALE = 0.02
"""Felzenszwalb's k for a size of one pixel: so that on a real image at 10 m segments of size 50 have 50 on average."""


def slic(planes: np.ndarray, settings: Segmenting) -> np.ndarray:
    """SLIC superpixels (Achanta et al. 2012): k-means of place and values around a regular grid."""
    height, width, _ = planes.shape
    low, high = float(planes.min()), float(planes.max())
    if low == high:
        planes = np.zeros_like(planes)
    return segmentation.slic(
        planes,
        n_segments=max(1, height * width // settings.step**2),  # fewer rather than more keeps the grid where it is
        # scikit-image divides by the image's range first; this undoes it
        compactness=settings.compactness / ((high - low) or 1.0),
        convert2lab=False,
        min_size_factor=0.25,
        max_size_factor=10,
        channel_axis=-1,
    )


def felzenszwalb(planes: np.ndarray, settings: Segmenting) -> np.ndarray:
    """Felzenszwalb & Huttenlocher (2004): a minimum spanning tree cut where a difference exceeds those inside.

    Segments follow the image: their sizes differ widely, and only their mean is about ``size``.
    """
    if planes.shape[0] * planes.shape[1] == 1:
        return np.ones(planes.shape[:2], np.int32)
    scale = 255 * FELZENSZWALB_SCALE * settings.size
    return 1 + segmentation.felzenszwalb(
        planes.astype(np.float64), scale=scale, sigma=0, min_size=settings.least, channel_axis=-1
    )


def watershed(planes: np.ndarray, settings: Segmenting) -> np.ndarray:
    """Waterpixels (Machairas et al. 2015): the gradient flooded from its lowest point in each cell of a grid."""
    squares = np.zeros(planes.shape[:2], np.float32)
    for axis in (0, 1):
        if planes.shape[axis] > 1:
            squares += np.square(np.gradient(planes, axis=axis)).sum(-1)
    gradient = np.sqrt(squares)
    return segmentation.watershed(gradient, _lowest_in_cells(gradient, settings.step))


def _lowest_in_cells(gradient: np.ndarray, step: int) -> np.ndarray:
    """(H, W) int32: 1, 2, … at the lowest pixel of each ``step`` x ``step`` cell, the first of equals.

    A margin of a sixth of each cell is left out, so that two lowest points do not lie side by side.
    """
    height, width = gradient.shape
    rows, columns = -(-height // step), -(-width // step)
    padded = np.full((rows * step, columns * step), np.inf, np.float32)
    padded[:height, :width] = gradient
    cells = padded.reshape(rows, step, columns, step).swapaxes(1, 2).reshape(-1, step, step)
    margin = step // 6
    inside = slice(margin, step - margin)
    framed = np.full_like(cells, np.inf)
    framed[:, inside, inside] = cells[:, inside, inside]
    flat = framed.reshape(len(cells), -1)
    found = np.flatnonzero(np.isfinite(flat.min(1)))  # a cell cut off by the frame may have no inner pixel
    if not len(found):
        found, flat = np.array([0]), cells.reshape(len(cells), -1)
    row, column = np.divmod(flat[found].argmin(1), step)
    cell_row, cell_column = np.divmod(found, columns)
    markers = np.zeros((height, width), np.int32)
    markers[cell_row * step + row, cell_column * step + column] = np.arange(1, len(found) + 1)
    return markers


SEGMENTERS: dict[str, Callable[[np.ndarray, Segmenting], np.ndarray]] = {
    "slic": slic,
    "felzenszwalb": felzenszwalb,
    "watershed": watershed,
    "lsms": orfeo.large_scale_mean_shift,
}
"""By name, one for each of ``segmenting.METHODS``."""
