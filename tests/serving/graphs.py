"""SavedModels as others write them: TensorFlow 1's graphs, with whatever a graph may hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import tensorflow as tf

v1 = tf.compat.v1
Tensors = Mapping[str, tf.Tensor]
PREDICT, CLASSIFY, REGRESS = (f"tensorflow/serving/{method}" for method in ("predict", "classify", "regress"))


def save_graph(folder: Path, build: Callable[[], Mapping[str, tuple[Tensors, Tensors]]], *, text: bool = False) -> Path:
    """Save a graph with its variables and tables.

    Args:
        folder: of the model; the version is 1.
        build: makes the graph; inputs and outputs of each signature.
        text: as ``saved_model.pbtxt``.
    """
    with tf.Graph().as_default(), v1.Session() as session:
        signatures = {
            name: v1.saved_model.build_signature_def(
                {key: v1.saved_model.build_tensor_info(tensor) for key, tensor in inputs.items()},
                {key: v1.saved_model.build_tensor_info(tensor) for key, tensor in outputs.items()},
                PREDICT,
            )
            for name, (inputs, outputs) in build().items()
        }
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        builder = v1.saved_model.Builder(str(folder / "1"))
        builder.add_meta_graph_and_variables(
            session, ["serve"], signatures, main_op=v1.tables_initializer(), strip_default_attrs=True
        )
        builder.save(as_text=text)
    return folder


def half_plus_three() -> Mapping[str, tuple[Tensors, Tensors]]:
    """As TensorFlow Serving's own test model, with reference variables; a second signature leaves an input unfed."""
    a = v1.get_variable("a", initializer=0.5, use_resource=False)
    b = v1.get_variable("b", initializer=3.0, use_resource=False)
    x, scale = v1.placeholder(tf.float32, [None, 1], name="x"), v1.placeholder(tf.float32, [], name="scale")
    y = tf.add(a * x, b, name="y")
    return {"serving_default": ({"x": x}, {"y": y, "again": y}), "scaled": ({"x": x}, {"y": y * scale})}


def counter() -> Mapping[str, tuple[Tensors, Tensors]]:
    """Each call of ``up`` adds to what the next finds."""
    count = v1.get_variable("count", initializer=0.0, use_resource=False)
    by = v1.placeholder_with_default(1.0, [], name="by")
    return {"up": ({"by": by}, {"count": v1.assign_add(count, by)}), "read": ({}, {"count": count.read_value()})}


def quantised() -> Mapping[str, tuple[Tensors, Tensors]]:
    x = v1.placeholder(tf.qint8, [None], name="x")
    return {"serving_default": ({"x": x}, {"y": tf.identity(x)})}


def words() -> Mapping[str, tuple[Tensors, Tensors]]:
    x = v1.placeholder(tf.string, None, name="x")
    return {
        "serving_default": (
            {"x": x},
            {"joined": tf.strings.reduce_join(tf.reshape(x, [-1])), "upper": tf.strings.upper(x)},
        )
    }


def same_input_twice() -> Mapping[str, tuple[Tensors, Tensors]]:
    x = v1.placeholder(tf.float32, [None], name="x")
    return {"serving_default": ({"a": x, "b": x}, {"y": 2 * x})}


def estimator() -> Mapping[str, tuple[Tensors, Tensors]]:
    """As an Estimator exports: examples are parsed, ``x`` (by default 7) and words from them."""
    serialised = v1.placeholder(tf.string, [None], name="examples")
    parsed = v1.parse_example(
        serialised, {"x": v1.FixedLenFeature([1], tf.float32, 7.0), "word": v1.FixedLenFeature([1], tf.string, "none")}
    )
    x, word = parsed["x"], parsed["word"]
    labels, scores = tf.concat([word, tf.strings.upper(word)], 1), tf.concat([x, 1 - x], 1)
    wide = tf.zeros([tf.shape(x)[0], 3])
    return {
        "serving_default": ({"inputs": serialised}, {"classes": labels, "scores": scores}),
        "labels": ({"inputs": serialised}, {"classes": labels}),
        "scores": ({"inputs": serialised}, {"scores": scores}),
        "regress": ({"inputs": serialised}, {"outputs": 2 * x}),
        "flat": ({"inputs": serialised}, {"outputs": tf.reshape(x, [-1])}),
        "rank": ({"inputs": serialised}, {"outputs": wide}),
        "count": ({"inputs": serialised}, {"outputs": tf.zeros([5])}),
        "dtype": ({"inputs": serialised}, {"outputs": tf.cast(x, tf.int32)}),
        "score_count": ({"inputs": serialised}, {"scores": tf.zeros([5, 2])}),
        "score_rank": ({"inputs": serialised}, {"scores": tf.zeros([5])}),
        "score_dtype": ({"inputs": serialised}, {"scores": labels}),
        "class_dtype": ({"inputs": serialised}, {"classes": scores}),
        "widths": ({"inputs": serialised}, {"classes": labels, "scores": wide}),
        "misnamed": ({"examples": serialised}, {"outputs": x, "scores": x}),
        "two_inputs": ({"inputs": serialised, "more": serialised}, {"outputs": x}),
        "other_outputs": ({"inputs": serialised}, {"y": x}),
        "predict": ({"inputs": serialised}, {"x": x, "word": word}),
    }


def multiplied() -> Mapping[str, tuple[Tensors, Tensors]]:
    x = v1.placeholder(tf.float32, None, name="x")
    return {"serving_default": ({"x": x}, {"y": tf.matmul(x, tf.ones([7, 1]), name="product")})}
