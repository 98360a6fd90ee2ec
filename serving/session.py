"""A graph in a Session, fed and fetched by tensor names: as TensorFlow Serving runs every SavedModel.

Each set of feeds and fetches is pruned and optimised once, as a *callable* of the Session (``CallableOptions``), which
NumPy arrays then go through without Python's own checks: what is wrong is what the graph itself says is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.protobuf.config_pb2 import CallableOptions
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef, SignatureDef
from tensorflow.python.framework import op_def_registry

from serving.status import Code, ServingError, code_of
from serving.tensors import DTYPES, dtype_of

MAX_CALLABLES = 128  # of a version; a caller who filters outputs in ever other ways must not take the memory
CALLERS_THREAD = -1  # CallableOptions: operations of one request run one after another, each on all cores


class GraphSession:
    """One graph of a SavedModel, with its variables.

    Args:
        path: the SavedModel's folder.
        tags: of the graph.
        parallel: run operations that do not need each other at the same time, on TensorFlow's threads, rather than in
            the caller's own.

    Attributes:
        signatures: by name, as the file states them.
        fragile: it holds images' operations (convolutions, pooling, batch norm), which end the whole process where they
            get a tensor of another rank: a failed check of TensorFlow's on oneDNN, no error that could be told.

    Raises:
        ServingError: it cannot be loaded.
    """

    def __init__(self, path: str | Path, tags: Sequence[str], *, parallel: bool = False):
        self._pool = 0 if parallel else CALLERS_THREAD
        self._graph = tf.Graph()
        with self._graph.as_default():
            self._session = tf.compat.v1.Session(graph=self._graph)
            try:
                loaded: MetaGraphDef = tf.compat.v1.saved_model.load(self._session, list(tags), str(path))
            except Exception as error:  # a damaged SavedModel makes TensorFlow raise almost anything
                self.close()
                raise _cannot_load(Path(path), tags, error) from error
        self.fragile = any(map(_has_image_layout, _operations(loaded.graph_def)))
        self.signatures: dict[str, SignatureDef] = {}
        for name, signature in loaded.signature_def.items():  # copied, so that the rest of the file can go
            self.signatures[name] = SignatureDef.FromString(signature.SerializeToString())
        self._callable: Callable = lru_cache(MAX_CALLABLES)(self._make_callable)

    def close(self) -> None:
        """Let the variables go."""
        self._session.close()

    def run(self, feeds: Sequence[tuple[str, np.ndarray]], fetches: Sequence[str]) -> list[np.ndarray]:
        """Run what the fetches need.

        Args:
            feeds: arrays by the name of the tensor that they stand for.
            fetches: names of the tensors wanted.

        Returns:
            an array for each fetch; strings as objects, quantised integers under their own dtype.

        Raises:
            ServingError: the Session's own error.
        """
        feeds, wanted = sorted(feeds, key=lambda feed: feed[0]), sorted(set(fetches))
        try:
            call = self._callable(tuple(name for name, _ in feeds), tuple(wanted))
            self._check_dtypes(feeds)
            results = dict(zip(wanted, call(*(array for _, array in feeds)), strict=True))
        except tf.errors.OpError as error:
            raise ServingError(code_of(error.error_code), error.message) from None
        except UnicodeDecodeError as error:  # the text quotes bytes of the request; its code does not reach Python
            raise ServingError(Code.INVALID_ARGUMENT, error.object.decode("utf-8", "replace")) from None
        except (TypeError, ValueError) as error:
            raise ServingError(Code.INVALID_ARGUMENT, str(error)) from None
        return [_labelled(results[name], self._dtype(name)) for name in fetches]

    def _make_callable(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Callable:
        options = CallableOptions(feed=feeds, fetch=fetches)
        options.run_options.inter_op_thread_pool = self._pool
        return self._session._make_callable_from_options(options)

    def _check_dtypes(self, feeds: Sequence[tuple[str, np.ndarray]]) -> None:
        """A callable would refuse them too, in other words than ``Session.run``, which TensorFlow Serving calls."""
        for position, (name, array) in enumerate(feeds):
            expected, found = DTYPES.get(self._dtype(name)), dtype_of(array)
            if expected is not None and expected is not found:
                raise ServingError(
                    Code.INVALID_ARGUMENT, f"Expects arg[{position}] to be {expected.name} but {found.name} is provided"
                )

    def _dtype(self, name: str) -> int:
        """Number of a tensor's dtype; a name without an output's number means the first."""
        return self._graph.get_tensor_by_name(name if ":" in name else f"{name}:0").dtype.base_dtype.as_datatype_enum


def _operations(graph: GraphDef) -> set[str]:
    """Names of the operations in a graph and in its functions."""
    return {node.op for nodes in (graph.node, *(f.node_def for f in graph.library.function)) for node in nodes}


def _has_image_layout(operation: str) -> bool:
    definition = op_def_registry.get(operation)
    layout = definition is not None and any(attribute.name == "data_format" for attribute in definition.attr)
    return layout and not operation.startswith("BiasAdd")  # which takes any rank, and says what it does not take


def _labelled(value, number: int) -> np.ndarray:
    """What a callable gives, as an array of the tensor's own dtype."""
    if isinstance(value, bytes):
        array = np.empty((), object)
        array[()] = value
        return array
    array = np.asarray(value)
    dtype = DTYPES[number].array_dtype if number in DTYPES else array.dtype
    return array.view(dtype) if dtype.names else array  # quantised integers come as plain ones


def _cannot_load(path: Path, tags: Sequence[str], error: Exception) -> ServingError:
    """What TensorFlow Serving says of it."""
    if not any((path / f"saved_model.{ending}").exists() for ending in ("pb", "pbtxt")):
        return ServingError(
            Code.NOT_FOUND,
            f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {path}. Check that the "
            "directory exists and that you have the right permissions for accessing it.",
        )
    if isinstance(error, RuntimeError) and "tags" in str(error):
        found = str(error).partition("available_tags")[2].lstrip(": ").split("\n")[0]
        return ServingError(
            Code.NOT_FOUND,
            f"Could not find meta graph def matching supplied tags: {{ {' '.join(tags)} }}; {path} has "
            f"{found or 'others'}",
        )
    code = Code.INTERNAL
    while isinstance(error.__context__, tf.errors.OpError):
        error = error.__context__  # Python adds where the model's author wrote what fails; beneath it is what fails
    if isinstance(error, tf.errors.OpError):
        code = code_of(error.error_code)
    message = getattr(error, "message", None) or str(error)
    return ServingError(code, f"cannot load {path}: {' '.join(message.split())[:1024] or type(error).__name__}")
