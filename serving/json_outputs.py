"""The JSON that TensorFlow Serving's REST API answers with (its json_tensor.cc)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import numpy as np

from serving.json_errors import invalid
from serving.json_tensors import FRACTIONS, WHOLE
from serving.protos import ClassificationResult, RegressionResult
from serving.tensors import dtype_of


def write_outputs(results: dict[str, np.ndarray], by_row: bool) -> bytes:
    """The JSON of outputs: ``predictions``, one element a row, or ``outputs``, one array a name."""
    if not by_row:
        values = {name: _json_values(name, array) for name, array in sorted(results.items())}
        return dump({"outputs": values if len(values) > 1 else next(iter(values.values()))})
    size = None
    for name, array in sorted(results.items()):
        if not array.ndim:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if size is not None and array.shape[0] != size:
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {array.shape[0]} expecting: {size}")
        size = array.shape[0]
    values = {name: _json_values(name, array) for name, array in sorted(results.items())}
    if len(values) == 1:
        return dump({"predictions": next(iter(values.values()))})
    return dump({"predictions": list(_objects(values))})


def _objects(values: dict[str, list]) -> Iterator[dict]:
    for row in zip(*values.values(), strict=True):
        yield dict(zip(values, row, strict=True))


def dump(document: dict) -> bytes:
    """JSON as it goes out; bytes that are no UTF-8 as they are."""
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogateescape")


def _json_values(name: str, array: np.ndarray):
    if array.dtype == object:
        encode = _base64 if name.endswith("_bytes") else _text
        return np.vectorize(encode, otypes=[object])(array).tolist() if array.size else array.tolist()
    if array.dtype == np.float32:  # the shortest decimals that read back as the same float32
        values = np.empty(array.size, object)
        values[:] = [float(str(value)) for value in array.ravel()]
        return values.reshape(array.shape).tolist()
    kind = dtype_of(array).name
    if array.size and kind not in WHOLE and kind not in ("bool", *FRACTIONS):
        raise invalid(f"Failed to write JSON value for tensor type: {kind}")
    return array.tolist()


def _base64(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode()}


def _text(value) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def write_classes(result: ClassificationResult) -> bytes:
    """For each example its classes, each a label and a score."""
    rows = [[[c.label, shortest(c.score)] for c in one.classes] for one in result.classifications]
    return dump({"results": rows})


def write_values(result: RegressionResult) -> bytes:
    """A value for each example."""
    return dump({"results": [shortest(one.value) for one in result.regressions]})


def shortest(value: float) -> float:
    """The shortest decimals that read back as the same float32."""
    return float(str(np.float32(value)))
