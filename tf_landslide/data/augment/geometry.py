"""Scaling and elastic deformation: where each pixel's ground lies in the patch as it was, and what lies there.

Both come to one list of coordinates, so that a patch is interpolated once. Values are points of the same ground seen
under another pixel size: elevation in metres and slope in degrees are properties of the ground, which a sensor of finer
or coarser pixels would give as they are, so both are taken as they are and no slope is computed anew. (A landscape that
is itself stretched would have another slope; that is not what is meant.)
"""

from __future__ import annotations

import math

import numpy as np

from tf_landslide.data.augment.draws import Draw
from tf_landslide.data.augment.fields import smooth_fields
from tf_landslide.data.augment.settings import Elastic, Scale

Coordinates = tuple[np.ndarray, np.ndarray]
"""Rows and columns in pixels, (H, W) float32 each; the first pixel's centre is 0."""


def coordinates(scale: Scale, elastic: Elastic, shape: tuple[int, int], draw: Draw) -> Coordinates | None:
    """Where the ground of each pixel lies in the patch; None where nothing moves."""
    zoomed = elastic_by = None
    if scale.probability:
        rng = draw.stream("scale")
        zoomed = zoom(scale.strength, shape, rng) if rng.random() < scale.probability else None
    if elastic.probability:
        rng = draw.stream("elastic")
        elastic_by = displacement(elastic, shape, rng) if rng.random() < elastic.probability else None
    if zoomed is None and elastic_by is None:
        return None
    rows, columns = zoomed or (np.arange(shape[0], dtype=np.float32), np.arange(shape[1], dtype=np.float32))
    down, right = (0.0, 0.0) if elastic_by is None else elastic_by
    moved = rows[:, None] + down, columns[None, :] + right
    return np.broadcast_to(moved[0], shape), np.broadcast_to(moved[1], shape)


def zoom(strength: float, shape: tuple[int, int], rng: np.random.Generator) -> Coordinates:
    """Rows (H,) and columns (W,) of a random resized crop.

    The zoom's logarithm is uniform in ±log(1 + strength). Zoomed in, the window lies anywhere in the patch; zoomed out,
    the patch lies anywhere in the window, and ``resampled`` mirrors what lies beyond it.
    """
    factor = math.exp(rng.uniform(-1, 1) * math.log1p(strength))
    rows, columns = (rng.random() * (side - side / factor) + (np.arange(side) + 0.5) / factor - 0.5 for side in shape)
    return rows.astype(np.float32), columns.astype(np.float32)


def displacement(settings: Elastic, shape: tuple[int, int], rng: np.random.Generator) -> Coordinates:
    """How far each pixel moves, down and right, (H, W) float32 each.

    (Simard et al. 2003, Best practices for convolutional neural networks applied to visual document analysis.)
    """
    down, right = smooth_fields(rng, *shape, settings.sigma)
    strength = np.float32(settings.strength)
    return strength * down, strength * right


def resampled(bands: np.ndarray, mask: np.ndarray, where: Coordinates) -> tuple[np.ndarray, np.ndarray]:
    """Bands between pixels by bilinear interpolation, the mask by the nearest pixel; mirrored beyond the edges.

    A pixel is missing in a band where the nearest one is; else missing neighbours are left out of its mean.

    Args:
        bands: (K, H, W) float32, NaN where missing.
        mask: (H, W) of any type.
        where: rows and columns of each pixel to be.

    Returns:
        (K, H, W) float32 and (H, W) of the mask's type.
    """
    height, width = mask.shape
    rows, columns = _mirrored(where[0], height), _mirrored(where[1], width)
    top, left = rows.astype(np.intp), columns.astype(np.intp)
    corner = top * width + left
    down, right = rows - top, columns - left
    nearest = corner + width * (down >= 0.5) + (right >= 0.5)
    made = np.empty_like(bands)
    for plane, out in zip(bands, made, strict=True):
        missing = np.isnan(plane.sum())
        if not missing:
            _bilinear(plane, corner, down, right, out)
            continue
        known = ~np.isnan(plane)
        share = _bilinear(known.astype(np.float32), corner, down, right, np.empty_like(out))
        with np.errstate(divide="ignore", invalid="ignore"):
            np.divide(_bilinear(np.where(known, plane, np.float32(0)), corner, down, right, out), share, out=out)
        out[~known.reshape(-1)[nearest]] = np.nan
    return made, mask.reshape(-1)[nearest]


def _mirrored(x: np.ndarray, size: int) -> np.ndarray:
    """Coordinates on an axis of ``size`` pixels that is mirrored beyond both ends (d c b a | a b c d | d c b a)."""
    x = np.mod(x + np.float32(0.5), np.float32(2 * size))
    np.minimum(x, 2 * size - x, out=x)
    x -= np.float32(0.5)
    return np.clip(x, 0, size - 1, out=x)


def _bilinear(
    plane: np.ndarray, corner: np.ndarray, down: np.ndarray, right: np.ndarray, out: np.ndarray
) -> np.ndarray:
    """The mean of four pixels: the corner, and its neighbours by their shares. One without a share may lie anywhere."""
    flat, width = plane.reshape(-1), plane.shape[1]
    above, below = (
        _between(flat[row:].take(corner, mode="clip"), flat[row + 1 :].take(corner, mode="clip"), right)
        for row in (0, width)
    )
    out[...] = _between(above, below, down)
    return out


def _between(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    """``a + share * (b - a)``, in the memory of the two."""
    b -= a
    b *= share
    a += b
    return a
