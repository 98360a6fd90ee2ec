"""Where a layer stands in a model: how far from the head, and whether in the encoder."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from tf_landslide.models._keras_compat import calls_from_outputs

Distances = dict[keras.layers.Layer, int]


def encoder_of(model: keras.Model) -> keras.Model | None:
    """The encoder, which is a model inside the model; None where there is none."""
    return next((layer for layer in model.layers if isinstance(layer, keras.Model)), None)


def distances_to_head(model: keras.Model) -> Distances:
    """How many layers with a kernel stand between each layer and the output, on the longest way through the graph.

    A kernel is a trainable weight of two axes or more: convolutions and dense layers have one, and so have layers made
    of such (an attention), which count once. Normalisations have none, so that one stands where the convolution before
    it does. The convolution that gives the logits is at 0.

    Args:
        model: functional; so are those inside.
    """
    distances: Distances = {}
    _measure(model, [0] * len(model.outputs), distances)
    return distances


def _measure(model: keras.Model, after: Sequence[int | None], distances: Distances) -> list[int | None]:
    """Enter the distance of each layer of a model, its outputs being ``after`` so many; gives that of its inputs.

    None is an output that nothing uses, and so what leads to it alone.
    """
    behind: dict[int, int] = {}  # kernels after a tensor, on the longest way

    def enter(tensors: Sequence[keras.KerasTensor], counts: Sequence[int | None]) -> None:
        for tensor, count in zip(tensors, counts, strict=True):
            if count is not None:
                behind[id(tensor)] = max(count, behind.get(id(tensor), 0))

    enter(model.outputs, after)
    for layer, inputs, outputs in calls_from_outputs(model):
        counts = [behind.get(id(tensor)) for tensor in outputs]
        used = [count for count in counts if count is not None]
        if isinstance(layer, keras.Model):
            enter(inputs, _measure(layer, counts, distances))
        elif used:
            distances[layer] = max(*used, distances.get(layer, 0))
            enter(inputs, [max(used) + _has_kernel(layer)] * len(inputs))
    return [behind.get(id(tensor)) for tensor in model.inputs]


def _has_kernel(layer: keras.Operation) -> bool:
    return any(len(variable.shape) > 1 for variable in getattr(layer, "trainable_variables", ()))
