"""SavedModels of every kind that people export, small, for ``test_oracle``."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf

from tests.serving import graphs
from tests.serving.graphs import Tensors, v1


def loops() -> Mapping[str, tuple[Tensors, Tensors]]:
    """Control flow of TensorFlow 1: a branch and a loop."""
    x, n = v1.placeholder(tf.float32, [None], name="x"), v1.placeholder(tf.int32, [], name="n")
    total = tf.reduce_sum(x)
    branch = v1.cond(total > 0, lambda: x * 2, lambda: x - 1)
    _, power = v1.while_loop(lambda i, _: i < tf.minimum(n, 50), lambda i, y: (i + 1, y * 2), [0, x])
    return {"serving_default": ({"x": x, "n": n}, {"branch": branch, "power": power, "total": total})}


def sparse() -> Mapping[str, tuple[Tensors, Tensors]]:
    """A sparse input, by its three parts."""
    x = v1.sparse_placeholder(tf.float32, name="x")
    parts = {"indices": x.indices, "values": x.values, "shape": x.dense_shape}
    return {"serving_default": (parts, {"sums": tf.sparse.reduce_sum(x, axis=-1), "values": x.values * 2})}


def table() -> Mapping[str, tuple[Tensors, Tensors]]:
    """A lookup table, and strings split and joined."""
    words = v1.placeholder(tf.string, None, name="words")
    keys = tf.constant(["rock", "soil"])
    found = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, tf.constant([1, 2], tf.int64)), -1)
    flat = tf.reshape(words, [-1])
    return {
        "serving_default": ({"words": words}, {"index": found.lookup(words), "length": tf.strings.length(words)}),
        "join": ({"words": words}, {"joined": tf.strings.reduce_join(flat, separator=" "), "first": flat[0]}),
    }


def numbers() -> Mapping[str, tuple[Tensors, Tensors]]:
    """A scalar, a matrix of a fixed size, and a dtype each."""
    a, b = v1.placeholder(tf.float64, [], name="a"), v1.placeholder(tf.int64, [2, 2], name="b")
    c, d = v1.placeholder(tf.bool, [None], name="c"), v1.placeholder(tf.complex64, None, name="d")
    h, u = v1.placeholder(tf.half, [None, None], name="h"), v1.placeholder(tf.uint8, [None], name="u")
    return {
        "serving_default": ({"a": a, "b": b}, {"product": tf.cast(a, tf.int64) * b, "a": a + 1}),
        "flags": ({"c": c, "d": d}, {"any": tf.reduce_any(c), "conjugate": tf.math.conj(d)}),
        "halves": ({"h": h, "u": u}, {"sum": h + tf.cast(u, tf.half), "u": u + 1}),
        "same": ({"a": a}, {"one": a * 2, "two": a * 2, "fed": a}),
    }


class Recurrent(tf.Module):
    """An LSTM cell: its state goes in and out, and a count of steps stays."""

    def __init__(self):
        self.kernel = tf.Variable(tf.reshape(tf.range(40, dtype=tf.float32), [5, 8]) / 40, name="kernel")
        self.steps = tf.Variable(0, dtype=tf.int64, trainable=False)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 3], name="x"),
            tf.TensorSpec([None, 2], name="h"),
            tf.TensorSpec([None, 2], name="c"),
        ]
    )
    def step(self, x, h, c):
        i, f, o, g = tf.split(tf.concat([x, h], 1) @ self.kernel, 4, axis=1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        return {"h": tf.sigmoid(o) * tf.tanh(c), "c": c, "steps": self.steps.assign_add(1)}

    @tf.function(input_signature=[tf.TensorSpec([None], name="values"), tf.TensorSpec([None], tf.int64, name="splits")])
    def ragged(self, values, splits):
        rows = tf.RaggedTensor.from_row_splits(values, splits)
        return {"means": tf.reduce_mean(rows, axis=1), "dense": rows.to_tensor()}

    @tf.function(input_signature=[tf.TensorSpec(None, name="x"), tf.TensorSpec([], tf.int32, name="times")])
    def repeat(self, x, times):
        for _ in tf.range(tf.minimum(times, 20)):
            if tf.reduce_sum(x) < 100:
                x = x * 2
        return {"x": x}


def save_all(folder: Path) -> list[str]:
    """Save one of each; their names."""
    for build in (graphs.half_plus_three, graphs.counter, graphs.quantised, graphs.words, graphs.estimator):
        graphs.save_graph(folder / build.__name__, build)
    for build in (graphs.same_input_twice, graphs.multiplied, loops, sparse, table, numbers):
        graphs.save_graph(folder / build.__name__, build)
    module = Recurrent()
    signatures = {"serving_default": module.step, "ragged": module.ragged, "repeat": module.repeat}
    tf.saved_model.save(module, str(folder / "recurrent" / "1"), signatures=signatures)
    keras_model().export(str(folder / "keras" / "1"), verbose=False)
    if importlib.util.find_spec("tf_keras"):
        keras_2_model().save(folder / "keras_2" / "1", save_format="tf")
    return sorted(path.name for path in folder.iterdir())


def keras_2_model():
    """Layers whose graphs Keras 2 wrote in its own way, a state that an LSTM is given, and an integer input."""
    import tf_keras as keras

    one, two = keras.Input((3,), name="one"), keras.Input((None, 2), name="two")
    word = keras.Input((None,), dtype="int64", name="word")
    seen = keras.layers.LSTM(2, name="seen")(two, initial_state=[keras.layers.Dense(2)(one)] * 2)
    embedded = keras.layers.GlobalMaxPooling1D()(keras.layers.Embedding(7, 2)(word))
    normalised = keras.layers.BatchNormalization(name="normal")(seen + embedded)
    return keras.Model([one, two, word], {"sum": normalised, "two": keras.layers.Softmax()(seen)})


def keras_model():
    import keras

    one, two = keras.Input((3,), name="one"), keras.Input((None, 2), name="two")
    seen = keras.layers.LSTM(2)(two)
    return keras.Model([one, two], {"sum": keras.layers.Dense(2)(one) + seen, "two": keras.layers.Softmax()(seen)})
