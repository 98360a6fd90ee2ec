"""Segments: an image cut into connected groups of like pixels, the objects of object-based image analysis."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from tf_landslide.core.errors import LandslideError, lookup
from tf_landslide.objects.pieces import Borders, absorbed, connected
from tf_landslide.objects.segmenters import SEGMENTERS
from tf_landslide.objects.segmenting import Segmenting as Segmenting  # from here for everyone


def segment(layers: Mapping[str, np.ndarray], settings: Segmenting) -> np.ndarray:
    """Cut an image into segments.

    Args:
        layers: (H, W) planes by name, NaN where missing; all of ``settings.layers``, and maybe more.
        settings: spreads that they do not state are measured on these layers.

    Returns:
        (H, W) int32: 0 where any used layer is missing, else 1, 2, … in the order of the segments' first pixels, each
        of them connected by edges of pixels.

    Raises:
        LandslideError: a layer is not there, or layers differ in shape.
    """
    planes, valid = _planes(layers, settings.with_spreads(layers))
    if not valid.any():
        return np.zeros(valid.shape, np.int32)
    labels = SEGMENTERS[settings.method](planes, settings)
    pieces = connected(np.where(valid, labels, 0))
    names = absorbed(np.bincount(pieces.ravel()), Borders.of(pieces), settings.least)
    return names[pieces]


def _planes(layers: Mapping[str, np.ndarray], settings: Segmenting) -> tuple[np.ndarray, np.ndarray]:
    """The used layers, (H, W, C) float32 in spreads, gaps filled and smoothed; and (H, W) bool where all are there.

    A gap takes the values of the nearest valid pixel, so that no edge shows there.
    """
    chosen = [np.asarray(lookup(layers, name, "layer")) for name in settings.layers]
    shape = chosen[0].shape
    for name, layer in zip(settings.layers, chosen, strict=True):
        if layer.ndim != 2 or layer.shape != shape:
            raise LandslideError(f"layer {name!r} has shape {layer.shape}, {settings.layers[0]!r} has {shape}")
    valid = np.ones(shape, bool)
    for layer in chosen:
        valid &= np.isfinite(layer)
    if not valid.any():
        return np.zeros((*shape, len(chosen)), np.float32), valid
    spreads, root = dict(settings.spreads), len(chosen) ** 0.5
    planes = np.empty((*shape, len(chosen)), np.float32)
    nearest = None
    if not valid.all():
        nearest = tuple(ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True))
    for i, (name, layer) in enumerate(zip(settings.layers, chosen, strict=True)):
        whole = layer if nearest is None else layer[nearest]
        scaled = (whole / (spreads[name] * root)).astype(np.float32)
        planes[..., i] = ndimage.gaussian_filter(scaled, settings.smoothing) if settings.smoothing else scaled
    return planes, valid
