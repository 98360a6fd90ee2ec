"""Batch norm's statistics, computed anew from data: of averaged weights, or of a region a model was not trained on.

Adaptive batch normalisation (Li et al. 2016, arXiv:1603.04779) replaces each layer's mean and variance by those of the
new region's images; no label is needed. Averaged weights need the same (Izmailov et al. 2018, arXiv:1803.05407).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tf_landslide.core.errors import LandslideError
from tf_landslide.models._keras_compat import sublayers, takes_training, walk
from tf_landslide.models.layers.norm import all_layers

Moments = tuple[Any, Any, Any]


def batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """The batch norms of a model and of the models in it, each once.

    Raises:
        LandslideError: one lies inside another layer, where its input cannot be seen.
    """
    found = [layer for layer in all_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
    every = [layer for layer in sublayers(model) if isinstance(layer, keras.layers.BatchNormalization)]
    hidden = [layer.name for layer in every if all(layer is not other for other in found)]
    if hidden:
        raise LandslideError(f"batch norm {hidden[0]!r} is part of another layer: its statistics cannot be recomputed")
    return list({id(layer): layer for layer in found}.values())


def recompute(model: keras.Model, batches: Iterable[np.ndarray]) -> int:
    """Set every batch norm's mean and variance from data.

    Each batch passes as in training: a layer normalises by the batch's own statistics, so that what lies behind sees
    normalised values; all else (dropout, the input's normalisation) is as in prediction. What is kept is the mean and
    variance of all pixels of all batches, in float64.

    Args:
        model: from channels to probabilities.
        batches: (N, H, W, C) channels each, of about one size.

    Returns:
        the number of layers; 0 for a model without batch norm, which is left as it is.

    Raises:
        LandslideError: see ``batch_norms``; or no batch was given.
    """
    layers = batch_norms(model)
    if not layers:
        return 0
    signature = [tf.TensorSpec((None, None, None, model.input_shape[-1]), tf.float32)]
    observe = tf.function(lambda x: _moments(model, x, layers), input_signature=signature)
    pools = [_Pool() for _ in layers]
    for batch in batches:
        for pool, calls in zip(pools, observe(batch), strict=True):
            for mean, variance, count in calls:
                pool.add(mean.numpy(), variance.numpy(), int(count))
    for layer, pool in zip(layers, pools, strict=True):
        if not pool.count:
            raise LandslideError("there are no images to compute batch norm's statistics from")
        layer.moving_mean.assign(pool.mean.astype(np.float32))
        layer.moving_variance.assign(pool.variance.astype(np.float32))
    return len(layers)


def _moments(model: keras.Model, x: Any, layers: list[Any]) -> list[list[Moments]]:
    """Mean, variance and number of pixels of what each batch norm is given, each time that it is called."""
    seen: defaultdict[int, list[Moments]] = defaultdict(list)

    def visit(layer: Any) -> Callable[..., Any]:
        if isinstance(layer, keras.layers.BatchNormalization):
            return lambda given, **_: _normalised(layer, given, seen)
        if isinstance(layer, keras.Model):
            return lambda given, *_, **__: walk(layer, [given], visit)
        always = {"training": False} if takes_training(layer) else {}
        return lambda *given, **named: layer(*given, **{**named, **always})

    walk(model, [x], visit)
    return [seen[id(layer)] for layer in layers]


def _normalised(layer: Any, given: Any, seen: defaultdict[int, list[Moments]]) -> Any:
    """What a batch norm gives in training; it keeps nothing itself."""
    x = ops.cast(given, "float32")
    axis = layer.axis % len(x.shape)
    others = [i for i in range(len(x.shape)) if i != axis]
    mean, variance = ops.moments(x, axes=others)
    seen[id(layer)].append((mean, variance, ops.prod([ops.shape(x)[i] for i in others])))
    y = ops.batch_normalization(
        x,
        mean,
        variance,
        axis,
        layer.beta if layer.center else None,
        layer.gamma if layer.scale else None,
        layer.epsilon,
    )
    return ops.cast(y, layer.compute_dtype)


class _Pool:
    """Mean and variance over batches, by the law of total variance."""

    def __init__(self) -> None:
        self.count, self.mean, self._squares = 0, np.zeros(()), np.zeros(())

    def add(self, mean: np.ndarray, variance: np.ndarray, count: int) -> None:
        step, total = mean.astype(np.float64) - self.mean, self.count + count
        self._squares = self._squares + variance.astype(np.float64) * count + step**2 * (self.count * count / total)
        self.mean, self.count = self.mean + step * (count / total), total

    @property
    def variance(self) -> np.ndarray:
        return self._squares / self.count


def even_batches(n: int, size: int) -> Iterator[np.ndarray]:
    """Positions 0 … n - 1 in batches of about one size, none larger than ``size``: a last one of one image would do
    badly what each is taken for.
    """
    yield from np.array_split(np.arange(n), max(1, -(-n // size)))
