"""Arrays from the JSON of TensorFlow Serving's REST API (its json_tensor.cc): by row or by column."""

from __future__ import annotations

import base64
import binascii
import re

import numpy as np

from serving.json_errors import invalid, wrong_format, wrong_type
from serving.protos import SignatureDef
from serving.rapidjson import parse
from serving.status import Code, ServingError
from serving.tensors import DTYPES, STRING, DType

MAX_ARRAY_RANK = 64  # of NumPy's arrays
WHOLE = {  # dtypes whose values are read as integers, and the range in which they must be: int_val's for small ones
    **dict.fromkeys(("int32", "int16", "int8", "uint8"), (-(2**31), 2**31)),
    "int64": (-(2**63), 2**63),
    "uint32": (0, 2**32),
    "uint64": (0, 2**64),
}
FRACTIONS = ("float", "double")
_BASE64 = re.compile(r"([^=]*)(=*)")


def parse_json(body: bytes | bytearray) -> dict:
    """A request's JSON object."""
    document = parse(body)
    if not isinstance(document, dict):
        raise wrong_format(document, "Is not object")
    return document


def signature_name(document: dict) -> str:
    """The signature that a request names, empty where none."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise wrong_format(document, "not formatted correctly. 'signature_name' key must be a string value.")
    if not name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in name):  # no signature's is no UTF-8
        raise invalid(f'Serving signature name: "{name}" not found in signature def')
    return name


def read_inputs(document: dict, signature: SignatureDef) -> tuple[dict[str, np.ndarray], bool]:
    """The input arrays of a predict request, and whether it was in row format (``instances``)."""
    if not signature.inputs:  # TensorFlow Serving's REST API cannot call what takes nothing; its gRPC API can
        raise invalid(f"Failed to get input map for signature: {document.get('signature_name') or 'DEFAULT'}")
    kinds = {name: DTYPES.get(info.dtype) for name, info in signature.inputs.items()}
    known = {name: kind or DType(0, "invalid", "object", "") for name, kind in kinds.items()}
    if "instances" not in document and "inputs" not in document:
        raise invalid("Missing 'inputs' or 'instances' key")
    if "instances" in document and "inputs" in document:
        raise wrong_format(
            document, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        )
    if "inputs" in document:
        return _columns(document["inputs"], known), False
    instances = document["instances"]
    if not isinstance(instances, list):
        raise wrong_format(document, "Expecting 'instances' to be an list/array")
    if not instances:
        raise wrong_format(document, "No values in 'instances' array")
    return _rows(instances, known), True


def _rows(instances: list, kinds: dict[str, DType]) -> dict[str, np.ndarray]:
    if not isinstance(instances[0], dict) and len(kinds) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    named = _is_map(instances[0])
    for position, instance in enumerate(instances):
        if named and not _is_map(instance):
            raise invalid(f"Expecting object but got list at item {position} of input list")
        if not named and _is_map(instance):
            raise invalid(f"Expecting value/list but got object at item {position} of input list")
        if named and instance.keys() != kinds.keys():
            unknown = next((name for name in instance if name not in kinds), None)
            if unknown is not None:
                raise _element(position, f" key: {unknown}", f"JSON object: does not have named input: {unknown}")
            keys = ",".join(sorted(kinds))
            where = f"Failed to process element: {position} of 'instances' list."
            raise invalid(f"{where} {wrong_object(instance)} keys must be equal to: {keys}")
    if named:
        return {
            name: _stacked([instance[name] for instance in instances], kind, f" key: {name}")
            for name, kind in kinds.items()
        }
    ((name, kind),) = list(kinds.items())[:1]
    return {name: _stacked(instances, kind, "")}


def wrong_object(value: dict) -> str:
    return wrong_format(value, "").message.strip().replace("JSON Value", "JSON object", 1)


def _element(position: int, key: str, said: str) -> ServingError:
    return invalid(f"Failed to process element: {position}{key} of 'instances' list. Error: INVALID_ARGUMENT: {said}")


def _stacked(rows: list, kind: DType, key: str) -> np.ndarray:
    """One array of all rows, which must be alike."""
    if (array := _quickly(rows, kind)) is not None:
        return array
    first: list[int] | None = None
    for position, row in enumerate(rows):
        try:
            shape = _shape(row)
            _check(row, shape, kind)
        except ServingError as error:
            code = error.code.name
            raise invalid(
                f"Failed to process element: {position}{key} of 'instances' list. Error: {code}: {error.message}"
            ) from None
        first = shape if first is None else first
        if np.prod(shape) != np.prod(first):
            raise _element(position, key, f"Expecting tensor size: {np.prod(first)} but got: {np.prod(shape)}")
        if shape != first:
            raise _element(position, key, f"Expecting shape {_listed(first)} but got: {_listed(shape)}")
    raise invalid(f"tensor parsing error: {len(first or []) + 1} dimensions")


def _columns(inputs, kinds: dict[str, DType]) -> dict[str, np.ndarray]:
    if not _is_map(inputs):
        if len(kinds) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        ((name, kind),) = kinds.items()
        return {name: _dense(inputs, kind)}
    for name in sorted(kinds):
        if name not in inputs:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: _dense(inputs[name], kind) for name, kind in kinds.items()}


def _dense(value, kind: DType) -> np.ndarray:
    if (array := _quickly(value, kind)) is not None:
        return array
    _check(value, _shape(value), kind)
    raise invalid(f"tensor parsing error: {len(_shape(value))} dimensions")


def _is_map(value) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def is_base64(value) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def _listed(shape: list[int]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _shape(value) -> list[int]:
    """As the first value at each level has it."""
    shape: list[int] = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return shape


def _quickly(value, kind: DType) -> np.ndarray | None:
    """The array of values that are all as they must be; None where one is not."""
    shape = _shape(value)
    if len(shape) > MAX_ARRAY_RANK:
        return None
    flat = value if shape else [value]
    for depth in range(len(shape)):
        if depth:
            flat = [item for part in flat for item in part]
        kinds = set(map(type, flat))
        if depth + 1 == len(shape):
            if list in kinds:
                return None
        elif not kinds <= {list} or not set(map(len, flat)) <= {shape[depth + 1]}:
            return None
    try:
        return _of_values(flat, kind).reshape(shape)
    except (ValueError, OverflowError, TypeError, ServingError):
        return None


def _of_values(flat: list, kind: DType) -> np.ndarray:
    if not flat and kind.number:
        return np.empty(0, kind.array_dtype)  # of any dtype: there is no value that JSON could not hold
    types = set(map(type, flat))
    if kind.number == STRING:
        array = np.empty(len(flat), object)
        array[:] = [_bytes(item) for item in flat]
        return array
    allowed = {int} if kind.name in WHOLE else {bool} if kind.name == "bool" else {int, float}
    if not types <= allowed or (kind.name not in WHOLE and kind.name not in ("bool", *FRACTIONS)):
        raise ValueError
    if kind.name in WHOLE:
        low, high = WHOLE[kind.name]
        if not (low <= min(flat) and max(flat) < high):
            raise ValueError
        return np.array(flat, np.uint64 if low == 0 else np.int64).astype(kind.array_dtype)  # wraps around, as there
    with np.errstate(over="ignore"):  # what no float32 holds is infinite, as in C++
        return np.array(flat, np.float64 if kind.name in FRACTIONS else bool).astype(kind.array_dtype)


def _check(value, shape: list[int], kind: DType) -> None:
    """Raise what TensorFlow Serving says of the first value that is wrong, in its order."""
    rank, open_ = len(shape), [(iter([value]), 0)]
    while open_:
        values, level = open_[-1]
        item = next(values, _END)
        if item is _END:
            open_.pop()
        elif isinstance(item, list):
            if level >= rank:
                raise invalid(f"Encountered list at unexpected level: {level} expected < {rank}")
            if len(item) != shape[level]:
                raise invalid(
                    f"Encountered list at unexpected size: {len(item)} at level: {level} expected size: {shape[level]}"
                )
            open_.append((iter(item), level + 1))
        elif level != rank:
            raise wrong_format(
                item, f"found at incorrect level: {level + 1} in the JSON DOM. Expected at level: {rank}"
            )
        else:
            _check_value(item, kind)


_END = object()


def _check_value(value, kind: DType) -> None:
    if isinstance(value, dict):
        if kind.number != STRING:
            raise wrong_type(value, kind.name)
        _bytes(value)
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind.name in WHOLE:
        low, high = WHOLE[kind.name]
        fits = number and isinstance(value, int) and low <= value < high
    elif kind.name in FRACTIONS:
        fits = number
    elif kind.name == "bool":
        fits = isinstance(value, bool)
    elif kind.number == STRING:
        fits = isinstance(value, str)
    else:
        said = wrong_format(value, "to type").message
        raise ServingError(Code.UNIMPLEMENTED, f"Conversion of {said}: {kind.name}")
    if not fits:
        raise wrong_type(value, kind.name)


def _bytes(item) -> bytes:
    if isinstance(item, str):
        return to_bytes(item)
    if not isinstance(item, dict):
        raise wrong_type(item, "string")
    if not is_base64(item):
        raise wrong_format(item, "not formatted correctly for base64 data")
    return from_base64(item["b64"])


def to_bytes(text: str) -> bytes:
    """What a JSON string held."""
    return text.encode("utf-8", "surrogateescape")


def from_base64(text: str) -> bytes:
    """As absl's Base64Unescape: padded in full or not at all, spaces between."""
    match = _BASE64.fullmatch("".join(text.split()))
    try:
        if match is None or len(match[1]) % 4 == 1 or (match[2] and len(match[0]) % 4):
            raise ValueError
        bare = match[1]
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise invalid("Unable to base64 decode") from None
