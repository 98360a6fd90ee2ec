"""Masks, probabilities and weights brought to one shape, for losses and metrics alike."""

from __future__ import annotations

from typing import Any

from keras import ops

from tf_landslide.core.errors import LandslideError


def aligned(y_true: Any, y_pred: Any, dtype: Any) -> tuple[Any, Any]:
    """A mask and probabilities as tensors of one shape.

    A last axis of length 1 may be missing in either: (N, H, W) masks go with (N, H, W, 1) probabilities.

    Args:
        y_true: the mask.
        y_pred: probabilities.
        dtype: of the mask that is given back; probabilities keep theirs.

    Raises:
        LandslideError: any other difference of shapes, which would be broadcast to pairs of pixels that are none.
    """
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    given = tuple(y_true.shape), tuple(y_pred.shape)
    if len(y_true.shape) == len(y_pred.shape) - 1 and y_pred.shape[-1] == 1:
        y_true = y_true[..., None]
    elif len(y_pred.shape) == len(y_true.shape) - 1 and y_true.shape[-1] == 1:
        y_pred = y_pred[..., None]
    sizes = zip(y_true.shape, y_pred.shape, strict=False)
    if len(y_true.shape) != len(y_pred.shape) or any(a != b for a, b in sizes if a is not None and b is not None):
        raise LandslideError(f"masks have shape {given[0]}, probabilities {given[1]}; they must be equal")
    return ops.cast(y_true, dtype), y_pred


def pixel_weights(sample_weight: Any, like: Any, dtype: Any) -> Any:
    """The weight of every pixel.

    Args:
        sample_weight: of each sample (N,), of each pixel (N, H, W) or (N, H, W, 1), or None for 1.
        like: a mask (N, H, W, 1), or of any other shape.
        dtype: of what is given back.

    Returns:
        a tensor of the mask's shape.

    Raises:
        LandslideError: weights that belong to no axis of the mask.
    """
    if sample_weight is None:
        return ops.ones_like(like, dtype=dtype)
    weight = ops.cast(ops.convert_to_tensor(sample_weight), dtype)
    rank, given = len(like.shape), tuple(weight.shape)
    sizes = zip(given, like.shape, strict=False)
    if len(given) > rank or any(w not in (1, n) for w, n in sizes if w is not None and n is not None):
        raise LandslideError(f"sample weights of shape {given} do not fit masks of shape {tuple(like.shape)}")
    return ops.broadcast_to(ops.reshape(weight, (*ops.shape(weight), *(1,) * (rank - len(given)))), ops.shape(like))
