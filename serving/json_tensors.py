"""JSON bodies of TensorFlow Serving's REST API (its json_tensor.cc): arrays in, by row or by column, and out."""

from __future__ import annotations

import base64
import binascii
import json

import numpy as np

from serving.protos import SignatureDef
from serving.status import Code, ServingError
from serving.tensors import DTYPES, STRING, DType


def parse_json(body: bytes | bytearray) -> dict:
    """A request's JSON object; ``NaN`` and ``Infinity`` are numbers, as in TensorFlow Serving."""
    if not body:
        raise _invalid("JSON Parse error: The document is empty")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _invalid(f"JSON Parse error: {error}") from None
    if not isinstance(document, dict):
        raise _invalid("JSON Value: is not object")
    return document


def read_inputs(document: dict, signature: SignatureDef) -> tuple[dict[str, np.ndarray], bool]:
    """The input arrays of a predict request, and whether it was in row format (``instances``)."""
    kinds = {}
    if not signature.inputs:  # TensorFlow Serving's REST API cannot call what takes nothing; its gRPC API can
        raise _invalid(f"Failed to get input map for signature: {document.get('signature_name') or 'DEFAULT'}")
    for name, info in signature.inputs.items():
        if info.dtype not in DTYPES:
            raise ServingError(Code.UNIMPLEMENTED, f"input {name}: dtype {info.dtype} is not supported")
        kinds[name] = DTYPES[info.dtype]
    if ("instances" in document) == ("inputs" in document):
        if "inputs" in document:
            raise _invalid("expecting only one of 'inputs' or 'instances' keys to exist")
        raise _invalid("Missing 'inputs' or 'instances' key")
    if "instances" in document:
        return _rows(document["instances"], kinds), True
    return _columns(document["inputs"], kinds), False


def _rows(instances, kinds: dict[str, DType]) -> dict[str, np.ndarray]:
    if not isinstance(instances, list):
        raise _invalid("Expecting 'instances' to be an list/array")
    if not instances:
        raise _invalid("No values in 'instances' array")
    named = _is_map(instances[0])
    if not named and len(kinds) > 1:
        raise _invalid("instances is a plain list, but expecting list of objects as multiple input tensors required")
    for position, instance in enumerate(instances):
        if _is_map(instance) != named:
            raise _invalid(f"Expecting {'object' if named else 'value/list'} at item {position} of input list")
        if named and set(instance) != set(kinds):
            raise _invalid(
                f"Failed to process element: {position} of 'instances' list. keys must be equal to: "
                f"{','.join(sorted(kinds))}"
            )
    if named:
        return {name: _array([instance[name] for instance in instances], kind) for name, kind in kinds.items()}
    ((name, kind),) = kinds.items()
    return {name: _array(instances, kind)}


def _columns(inputs, kinds: dict[str, DType]) -> dict[str, np.ndarray]:
    if not _is_map(inputs):
        if len(kinds) != 1:
            raise _invalid("inputs is a plain value/list, but expecting an object as multiple input tensors required")
        ((name, kind),) = kinds.items()
        return {name: _array(inputs, kind)}
    for name in kinds:
        if name not in inputs:
            raise _invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: _array(inputs[name], kind) for name, kind in kinds.items()}


def _is_map(value) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value) -> bool:
    return isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)


_NUMBERS = {"f": (int, float), "i": (int,), "u": (int,), "b": (bool,)}


def _array(value, kind: DType) -> np.ndarray:
    """A dense array of JSON values, each checked."""
    shape: list[int] = []
    first = value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
        if first is None:
            break
    flat = value if shape else [value]
    for depth in range(len(shape)):
        if depth:
            flat = [item for part in flat for item in part]
        expected = shape[depth + 1] if depth + 1 < len(shape) else None
        if _fits(flat, expected):
            continue
        for item in flat:  # which one does not
            if isinstance(item, list) != (expected is not None):
                raise _invalid(f"Encountered a value at an unexpected level: {depth + 1}; expected rank {len(shape)}")
            if expected is not None and len(item) != expected:
                raise _invalid(
                    f"Encountered list at unexpected size: {len(item)} at level: {depth + 1} expected size: {expected}"
                )
    if kind.number == STRING:
        array = np.empty(len(flat), object)
        array[:] = [_bytes(item) for item in flat]
        return array.reshape(shape)
    dtype = kind.array_dtype
    allowed = _NUMBERS.get("f" if kind.name == "bfloat16" else dtype.kind)
    if allowed is None:
        raise ServingError(Code.UNIMPLEMENTED, f"Conversion of JSON Value to type: {kind.name}")
    for item in () if set(map(type, flat)) <= set(allowed) else flat:
        if type(item) not in allowed:
            raise _invalid(f"JSON Value: {str(item)[:80]} is not of expected type: {kind.name}")
    try:
        return np.array(flat, dtype).reshape(shape)
    except (OverflowError, ValueError) as error:
        raise _invalid(f"JSON values are not of expected type: {kind.name}: {error}") from None


def _fits(items: list, size: int | None) -> bool:
    """Whether all are lists of a size, or none is a list where there is none; much faster than to ask each."""
    kinds = set(map(type, items))
    return list not in kinds if size is None else kinds <= {list} and set(map(len, items)) <= {size}


def _bytes(item) -> bytes:
    if isinstance(item, str):
        return item.encode()
    if not _is_base64(item):
        raise _invalid(f"JSON Value: {str(item)[:80]} is not of expected type: string")
    try:
        return base64.b64decode(item["b64"], validate=True)
    except (binascii.Error, ValueError):
        raise _invalid("Unable to base64 decode") from None


def write_outputs(results: dict[str, np.ndarray], by_row: bool) -> str:
    """The JSON of outputs: ``predictions``, one element a row, or ``outputs``, one array a name."""
    values = {name: _json_values(name, array) for name, array in sorted(results.items())}
    if not by_row:
        return json.dumps({"outputs": values if len(values) > 1 else next(iter(values.values()))})
    sizes = set()
    for name, array in results.items():
        if not array.ndim:
            raise _invalid(f"Tensor name: {name} has no shape information ")
        sizes.add(array.shape[0])
    if len(sizes) > 1:
        raise _invalid(f"outputs have inconsistent batch sizes: {sorted(sizes)}")
    if len(values) == 1:
        return json.dumps({"predictions": next(iter(values.values()))})
    rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return json.dumps({"predictions": rows})


def _json_values(name: str, array: np.ndarray):
    if array.dtype == object:
        encode = _base64 if name.endswith("_bytes") else _text
        return np.vectorize(encode, otypes=[object])(array).tolist() if array.size else array.tolist()
    if array.dtype == np.float32:  # the shortest decimals that read back as the same float32
        values = np.empty(array.size, object)
        values[:] = [float(str(value)) for value in array.ravel()]
        return values.reshape(array.shape).tolist()
    if array.dtype.kind not in "fiub" or (array.dtype.itemsize == 2 and array.dtype.kind in "fu"):
        raise _invalid(f"Failed to write JSON value for tensor type: {array.dtype.name}")
    return array.tolist()


def _base64(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode()}


def _text(value) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _invalid(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)
