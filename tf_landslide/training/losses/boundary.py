"""A loss of outlines."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tf_landslide.core.errors import LandslideError
from tf_landslide.training.losses.base import PixelLoss, batch_sums


@keras.saving.register_keras_serializable(package="tf_landslide")
class Boundary(PixelLoss):
    """Boundary loss, one minus a soft F1 of outlines: ``1 - 2 P R / (P + R)``.

    The outline of an area y is ``b = maxpool(1 - y) - (1 - y)`` over windows of ``size`` pixels: its pixels that have
    others beside them. P is the share of the predicted outline that lies near the true one, R the share of the true one
    near the predicted, where near is within a window of ``tolerance`` pixels:
    ``P = Σ b_p maxpool(b_y) / Σ b_p``, ``R = Σ b_y maxpool(b_p) / Σ b_y``. Bokhovkin & Burnaev 2019, Boundary Loss for
    Remote Sensing Imagery Semantic Segmentation, with sums over the batch. It says nothing of what lies inside an
    outline, and teaches nothing where no outline is predicted: add it to a loss of areas or of pixels.

    Pixels of weight 0 are as the land beyond a patch's edge: no outline, and no reason for one.

    Args:
        size: side of the window that makes the outline, odd, 3 or more (θ₀ of the paper).
        tolerance: side of the window that counts as near, odd, 1 or more (θ of the paper).

    See ``PixelLoss`` for how it is called.

    Raises:
        LandslideError: a window of another size.
    """

    settings = ("size", "tolerance")

    def __init__(self, size: int = 3, tolerance: int = 5, name: str = "boundary", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        for setting, value, least in (("size", size, 3), ("tolerance", tolerance, 1)):
            if value < least or value % 2 == 0:
                raise LandslideError(f"{setting} must be an odd number of pixels, {least} or more, got {value}")
        self.size, self.tolerance = size, tolerance

    def of_pixels(self, truth: Any, probability: Any, weight: Any) -> Any:
        if len(truth.shape) == 3:
            truth, probability, weight = (part[..., None] for part in (truth, probability, weight))
        known = ops.cast(weight > 0, truth.dtype)
        true, found = (_outline(area, known, self.size) for area in (truth, probability))
        near_true, near_found = (_pooled(outline, self.tolerance) for outline in (true, found))
        right, predicted, met, there = batch_sums(
            weight * found * near_true, weight * found, weight * true * near_found, weight * true
        )
        little = keras.config.epsilon()
        precision, recall = right / (predicted + little), met / (there + little)
        return 1 - 2 * precision * recall / (precision + recall + little)


def _outline(area: Any, known: Any, size: int) -> Any:
    """How much each known pixel of an area (N, H, W, 1) is its outline, 0..1."""
    others = 1 - area
    return known * (_pooled(known * others, size) - others)


def _pooled(x: Any, size: int) -> Any:
    """The highest of each square window: of its rows, then of those; several times as fast as of the square at once."""
    for window in ((size, 1), (1, size)):
        x = ops.max_pool(x, window, strides=1, padding="same", data_format="channels_last")
    return x
