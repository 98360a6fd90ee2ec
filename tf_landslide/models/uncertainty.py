"""How sure a model is of each pixel: by the answers it averages, or by dropout (Gal & Ghahramani 2016)."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from tf_landslide.core.errors import LandslideError
from tf_landslide.models import PASSES
from tf_landslide.models._keras_compat import reseed, takes_training, walk
from tf_landslide.models.combine import votes_of
from tf_landslide.models.layers.combining import Spread
from tf_landslide.models.layers.norm import all_layers


def uncertainty(model: keras.Model) -> Callable[[Any], Any]:
    """A graph from (N, H, W, C) channels to (N, H, W, 3): its own probability, deviation and mutual information.

    A combined model is as unsure as its members' answers are apart. Of any other, ``PASSES`` passes with dropout are
    compared, the same random numbers for each call.

    Raises:
        LandslideError: a model that neither averages answers nor has dropout.
    """
    signature = [tf.TensorSpec((None, None, None, model.input_shape[-1]), tf.float32, name="channels")]
    if answers := of_votes(model):
        return tf.function(lambda channels: answers(channels, training=False), input_signature=signature)
    dropouts = [layer for layer in all_layers(model) if isinstance(layer, keras.layers.Dropout) and layer.rate > 0]
    if not dropouts:
        raise LandslideError(
            f"model {model.name!r} averages no answers and has no dropout, so that it cannot say how sure it is; "
            "combine runs, or a run over symmetries: tf-landslide combine"
        )
    graph = tf.function(lambda channels: _by_dropout(model, channels), input_signature=signature)
    alone = Lock()  # who draws from the same generators meanwhile would change the numbers

    def compute(channels: Any) -> Any:
        with alone:
            for i, layer in enumerate(dropouts):
                reseed(layer, i)
            return graph(channels)

    return compute


def of_votes(model: keras.Model) -> keras.Model | None:
    """The model from channels to the same three; None for one that averages no answers."""
    votes = votes_of(model)
    if votes is None:
        return None
    parts = [model.output, Spread(name="spread", dtype="float32")(votes.output)]
    joined = keras.layers.Concatenate(name="uncertainty")(parts)
    return keras.Model(model.inputs[0], joined, name=f"{model.name}_spread")


def _by_dropout(model: keras.Model, channels: Any) -> Any:
    answers = tf.map_fn(  # one after the other, traced once
        lambda _: _with_dropout(model, channels)[..., 0],
        tf.range(PASSES),
        fn_output_signature=tf.TensorSpec((None, None, None), tf.float32),
        parallel_iterations=1,
    )
    return ops.concatenate([model(channels, training=False), Spread()(ops.moveaxis(answers, 0, -1))], axis=-1)


def _with_dropout(model: keras.Model, channels: Any) -> Any:
    """The answer with dropout, and with all else, batch norm above all, as in prediction."""

    def visit(layer: Any) -> Callable[..., Any]:
        if isinstance(layer, keras.Model):
            return lambda given, *_, **__: walk(layer, [given], visit)
        always = {"training": isinstance(layer, keras.layers.Dropout)} if takes_training(layer) else {}
        return lambda *given, **named: layer(*given, **{**named, **always})

    return walk(model, [channels], visit)
