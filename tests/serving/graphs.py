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


def multiplied() -> Mapping[str, tuple[Tensors, Tensors]]:
    x = v1.placeholder(tf.float32, None, name="x")
    return {"serving_default": ({"x": x}, {"y": tf.matmul(x, tf.ones([7, 1]), name="product")})}
