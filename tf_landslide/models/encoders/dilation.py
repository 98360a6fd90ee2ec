"""Trading stride for dilation, as DeepLab does (Chen et al. 2018): the same weights at a finer last map."""

from __future__ import annotations

from typing import Any

import keras

_PROBE = 512  # pixels; any multiple of 32 much larger than a kernel


def with_output_stride(model: keras.Model, output_stride: int) -> keras.Model:
    """Rebuild an encoder so that no map is coarser than ``output_stride``.

    Where a layer would go beyond, it no longer strides, and the windows of all that follow are dilated by as much, so
    that each sees what it saw. Weights keep their shapes and are copied.

    Args:
        model: a functional model of standard layers.
        output_stride: 8 or 16.

    Returns:
        A model with as many outputs.
    """
    before, after = _strides(model)
    padded = {id(layer.output): layer.name for layer in model.layers if isinstance(layer, keras.layers.ZeroPadding2D)}
    consumers = {padded[id(layer.input)]: layer for layer in model.layers[1:] if id(layer.input) in padded}

    def pads_itself(config, layer):
        return layer.name not in {consumer.name for consumer in consumers.values()} and (
            "pool_size" in config or _window(config) % 2 == 0
        )

    def rate(layer):
        return max(1, before.get(layer.name, 1) // output_stride)

    def too_coarse(layer):
        return after.get(layer.name, 1) > output_stride

    def clone(layer):
        if isinstance(layer, keras.Sequential):
            return keras.Sequential([changed(part, layer) for part in layer.layers], name=layer.name)
        return changed(layer, layer)

    def changed(part, layer):
        """A copy of a layer, or of a part of it where it is a sequence of layers."""
        config = part.get_config()
        consumer = consumers.get(layer.name)
        if consumer is not None and too_coarse(consumer):
            config["padding"] = _widened(config["padding"], _window(consumer.get_config()), rate(consumer))
        if too_coarse(layer) and after[layer.name] > before[layer.name] and "strides" in config:
            config["strides"] = _like(config["strides"], 1)
            if pads_itself(config, layer):  # windows side by side become ones that overlap
                config["padding"] = "same"
        if rate(layer) > 1 and "dilation_rate" in config and _window(config) > 1:
            config["dilation_rate"] = _like(config["dilation_rate"], rate(layer))
        return part.__class__.from_config(config)

    clone_model = keras.models.clone_model(model, clone_function=clone)
    clone_model.set_weights(model.get_weights())
    return clone_model


def _widened(padding, window: int, rate: int):
    """Padding that starts each dilated window where it started, and lets an unstrided one keep the map's size."""
    return tuple((before * rate, (window - 1 - before) * rate) for before, _ in padding)


def _like(value, n: int):
    return n if isinstance(value, int) else [n] * len(value)


def _window(config) -> int:
    size = config.get("kernel_size") or config.get("pool_size", 1)
    return size if isinstance(size, int) else max(size)


def _strides(model: keras.Model) -> tuple[dict[str, int], dict[str, int]]:
    """Stride of the first input and of the output of each layer that maps one image to one image, by layer name."""
    layers = {layer.name: layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)}
    probe = keras.KerasTensor((1, _PROBE, _PROBE, model.inputs[0].shape[-1]))

    def strides_of(tensors: dict[str, Any]) -> dict[str, int]:
        first = {name: tensor[0] if isinstance(tensor, list) else tensor for name, tensor in tensors.items()}
        shapes = keras.Model(model.inputs[0], first).compute_output_spec(probe)
        return {name: _power_of_two(_PROBE / spec.shape[1]) for name, spec in shapes.items()}

    return (
        strides_of({name: layer.input for name, layer in layers.items()}),
        strides_of({name: layer.output for name, layer in layers.items()}),
    )


def _power_of_two(x: float) -> int:
    """The nearest power of two: padding layers add a few pixels."""
    stride = 1
    while stride * 1.5 < x:
        stride *= 2
    return stride
