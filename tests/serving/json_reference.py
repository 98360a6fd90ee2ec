"""TensorFlow Serving's json_tensor.cc, written down anew, value by value: what ``test_oracle_rest`` compares with."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.protos import PredictRequest, SignatureDef, TensorProto

INVALID, UNIMPLEMENTED = 3, 12
INT32, INT64 = (-(2**31), 2**31), (-(2**63), 2**63)
FIELDS: dict[int, tuple[str, tuple[int, int] | None]] = {  # of a DataType: where its values go, and which there may be
    1: ("float_val", None),
    2: ("double_val", None),
    **dict.fromkeys((3, 4, 5, 6), ("int_val", INT32)),
    7: ("string_val", None),
    9: ("int64_val", INT64),
    10: ("bool_val", None),
    22: ("uint32_val", (0, 2**32)),
    23: ("uint64_val", (0, 2**64)),
}


class Refused(Exception):
    """A code of gRPC's."""


def fill_request(document: dict, signature: SignatureDef, request: PredictRequest) -> bool:
    """Put a document's tensors into a request; whether it was in row format. Raises ``Refused``."""
    if not signature.inputs or ("instances" in document) == ("inputs" in document):
        raise Refused(INVALID)
    dtypes = {name: info.dtype for name, info in signature.inputs.items()}
    if "inputs" in document:
        value = document["inputs"]
        if not isinstance(value, dict) or _is_base64(value):
            if len(dtypes) > 1:
                raise Refused(INVALID)
            value = {next(iter(dtypes)): value}
        if not dtypes.keys() <= value.keys():
            raise Refused(INVALID)
        for name, dtype in dtypes.items():
            request.inputs[name].CopyFrom(_tensor(value[name], dtype))
        return False
    rows = document["instances"]
    if not isinstance(rows, list) or not rows or (not isinstance(rows[0], dict) and len(dtypes) > 1):
        raise Refused(INVALID)
    named = isinstance(rows[0], dict) and not _is_base64(rows[0])
    for row in rows:
        if (isinstance(row, dict) and not _is_base64(row)) != named or (named and row.keys() != dtypes.keys()):
            raise Refused(INVALID)
    for name, dtype in list(dtypes.items())[: None if named else 1]:
        try:
            tensors = [_tensor(row[name] if named else row, dtype) for row in rows]
        except Refused:
            raise Refused(INVALID) from None  # whatever was wrong: a row that cannot be processed
        shapes = [[dim.size for dim in tensor.tensor_shape.dim] for tensor in tensors]
        if any(shape != shapes[0] for shape in shapes):
            raise Refused(INVALID)
        whole = request.inputs[name]
        whole.dtype = dtype
        for size in (len(rows), *shapes[0]):
            whole.tensor_shape.dim.add().size = size
        for tensor in tensors:
            field = FIELDS.get(dtype, ("", None))[0]
            if field:
                getattr(whole, field).extend(getattr(tensor, field))
    return True


def _tensor(value: Any, dtype: int) -> TensorProto:
    tensor = TensorProto(dtype=dtype)
    tensor.tensor_shape.SetInParent()
    first = value
    while isinstance(first, list):
        tensor.tensor_shape.dim.add().size = len(first)
        if not first:
            break
        first = first[0]
    _fill(value, 0, tensor)
    return tensor


def _fill(value: Any, level: int, tensor: TensorProto) -> None:
    rank = len(tensor.tensor_shape.dim)
    if isinstance(value, list):
        if level >= rank or len(value) != tensor.tensor_shape.dim[level].size:
            raise Refused(INVALID)
        for item in value:
            _fill(item, level + 1, tensor)
    elif level != rank:
        raise Refused(INVALID)
    else:
        _add(value, tensor)


def _add(value: Any, tensor: TensorProto) -> None:
    if isinstance(value, dict):
        if tensor.dtype != 7 or not _is_base64(value):
            raise Refused(INVALID)
        value = base64.b64decode(value["b64"])  # as the requests drawn hold it: padded
    elif tensor.dtype not in FIELDS:
        raise Refused(UNIMPLEMENTED)
    elif tensor.dtype == 7:
        if not isinstance(value, str):
            raise Refused(INVALID)
        value = value.encode()
    field, bounds = FIELDS[tensor.dtype]
    kinds = {"string_val": (bytes,), "bool_val": (bool,)}.get(field, (int,) if bounds else (int, float))
    if not isinstance(value, kinds) or (isinstance(value, bool) and field != "bool_val"):
        raise Refused(INVALID)
    if bounds and not bounds[0] <= value < bounds[1]:
        raise Refused(INVALID)
    if field == "float_val":
        with np.errstate(over="ignore"):
            value = float(np.float32(value))
    getattr(tensor, field).append(value)


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and list(value) == ["b64"] and isinstance(value["b64"], str)


def response(outputs: Mapping[str, tuple[int, np.ndarray]], by_row: bool) -> Any:
    """The document that answers; outputs as DataType and array. Raises ``Refused``."""
    if by_row:
        if any(not array.ndim for _, array in outputs.values()) or len({len(a) for _, a in outputs.values()}) > 1:
            raise Refused(INVALID)
        values = {name: [_written(name, dtype, row) for row in a] for name, (dtype, a) in outputs.items()}
        (size,) = {len(rows) for rows in values.values()}
        rows = [{name: values[name][i] for name in values} for i in range(size)]
        return {"predictions": rows if len(values) > 1 else next(iter(values.values()))}
    found = {name: _written(name, dtype, array) for name, (dtype, array) in outputs.items()}
    return {"outputs": found if len(found) > 1 else next(iter(found.values()))}


def _written(name: str, dtype: int, value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.ndim:
        return [_written(name, dtype, item) for item in value]
    if dtype not in FIELDS:
        raise Refused(INVALID)
    if dtype == 7:
        raw = value.item() if isinstance(value, np.ndarray) else value
        return (
            {"b64": base64.b64encode(raw).decode()}
            if name.endswith("_bytes")
            else raw.decode(errors="backslashreplace")
        )
    return np.float32(value) if dtype == 1 else np.asarray(value).item()


def read(body: bytes) -> Any:
    """An answer, whose strings may hold bytes that are no UTF-8."""
    return json.loads(body.decode(errors="backslashreplace").replace("\\x", "\\\\x"))
