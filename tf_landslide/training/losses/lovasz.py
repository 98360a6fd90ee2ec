"""The Lovász extension of the Jaccard loss."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tf_landslide.training.losses.base import PixelLoss, of_all_replicas, rows_of_all_replicas


@keras.saving.register_keras_serializable(package="tf_landslide")
class Lovasz(PixelLoss):
    """Lovász loss: the convex extension of ``1 - IoU`` to errors ``e = |y - p|`` that are not 0 or 1.

    ``Σ e_i g_i`` over the pixels from the largest error to the smallest, where ``g_i`` is what the Jaccard loss rises
    by when pixel i joins those that are wrong. Berman et al. 2018, The Lovász-Softmax loss, equations 8 and 9, for the
    class of landslides. In a batch without landslides it is the largest error, by that definition.

    See ``PixelLoss`` for how it is called.
    """

    def __init__(self, name: str = "lovasz", **kwargs: Any):
        super().__init__(name=name, **kwargs)

    def of_pixels(self, truth: Any, probability: Any, weight: Any) -> Any:
        error = ops.abs(truth - probability)
        # The order of all errors is needed, not the errors' gradients: g is constant between two orders.
        own = ops.stack([ops.reshape(part, (-1,)) for part in (error, truth, weight)], axis=-1)
        everyone, begin = rows_of_all_replicas(own)
        slopes = ops.slice(jaccard_slopes(*ops.unstack(everyone, 3, axis=-1)), (begin,), (ops.shape(own)[0],))
        return of_all_replicas(ops.sum(error * ops.reshape(slopes, ops.shape(error))))


def jaccard_slopes(error: Any, truth: Any, weight: Any) -> Any:
    """What the Jaccard loss rises by as each pixel joins those that are wrong, in the order of falling errors.

    With P the weight of all landslides, and F and B those of the landslides and of the others that are wrong, the loss
    is (F + B) / (P + B). Its differences are written out: those of its values would cancel where it is near 1.

    Args:
        error: (n,) of each pixel.
        truth: (n,) the mask.
        weight: (n,) the measure of each pixel, 0 or more.

    Returns:
        (n,) in the pixels' own order.
    """
    order = ops.argsort(-ops.where(weight > 0, error, -1.0))
    truth, weight = ops.take(truth, order), ops.take(weight, order)
    landslides = ops.sum(truth * weight)
    missed, invented = ops.cumsum(truth * weight), ops.cumsum((1 - truth) * weight)
    union = landslides + invented
    union_before = union - (1 - truth) * weight
    of_missed = ops.divide_no_nan(weight, union)
    of_invented = ops.divide_no_nan(weight * (landslides - missed), union * union_before)
    rises = ops.where(truth > 0, of_missed, of_invented)
    first = ops.cast((ops.arange(ops.shape(order)[0]) == 0) & (weight > 0), rises.dtype)  # one invented pixel is all
    rises = ops.where(landslides > 0, rises, first)
    return ops.scatter(order[:, None], rises, ops.shape(order))
