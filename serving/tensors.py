"""Arrays to and from ``TensorProto``, as TensorFlow reads and writes it, without TensorFlow.

A ``TensorProto`` holds its values either raw (``tensor_content``) or in the typed field of its dtype. Typed floats are
raw bytes on the wire as well, behind a tag and a length, so that both are read and written without visiting values.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import ml_dtypes
import numpy as np

from serving.protos import TensorProto

STRING = 7  # DT_STRING
MAX_RANK = 254  # of TensorFlow's TensorShape
MAX_FILLED_BYTES = 2**26  # a message of a few bytes must not become an array that takes the machine


@dataclass(frozen=True)
class DType:
    """A dtype of TensorFlow that can travel.

    Attributes:
        number: its ``DataType``.
        name: as TensorFlow prints it.
        numpy: name of the NumPy dtype.
        field: the typed field of ``TensorProto`` that holds its values.
        packed_tag: the field's tag where its bytes on the wire are the array's own.
    """

    number: int
    name: str
    numpy: str
    field: str
    packed_tag: bytes | None = None

    @property
    def array_dtype(self) -> np.dtype:
        if self.numpy == "bfloat16":
            return np.dtype(ml_dtypes.bfloat16)
        if self.numpy in _QUANTISED:  # as TensorFlow labels them
            return np.dtype([(self.numpy, _QUANTISED[self.numpy])])
        return np.dtype(self.numpy)


_QUANTISED = {"qint8": "i1", "quint8": "u1", "qint16": "i2", "quint16": "u2", "qint32": "i4"}
DTYPES = {
    d.number: d
    for d in (
        DType(1, "float", "float32", "float_val", b"\x2a"),
        DType(2, "double", "float64", "double_val", b"\x32"),
        DType(3, "int32", "int32", "int_val"),
        DType(4, "uint8", "uint8", "int_val"),
        DType(5, "int16", "int16", "int_val"),
        DType(6, "int8", "int8", "int_val"),
        DType(STRING, "string", "object", "string_val"),
        DType(8, "complex64", "complex64", "scomplex_val", b"\x4a"),
        DType(9, "int64", "int64", "int64_val"),
        DType(10, "bool", "bool", "bool_val", b"\x5a"),  # one byte each, 0 or 1
        DType(11, "qint8", "qint8", "int_val"),
        DType(12, "quint8", "quint8", "int_val"),
        DType(13, "qint32", "qint32", "int_val"),
        DType(15, "qint16", "qint16", "int_val"),
        DType(16, "quint16", "quint16", "int_val"),
        DType(14, "bfloat16", "bfloat16", "half_val"),
        DType(17, "uint16", "uint16", "int_val"),
        DType(18, "complex128", "complex128", "dcomplex_val", b"\x62"),
        DType(19, "half", "float16", "half_val"),
        DType(22, "uint32", "uint32", "uint32_val"),
        DType(23, "uint64", "uint64", "uint64_val"),
    )
}
_BY_NUMPY = {d.numpy: d for d in DTYPES.values()}


def dtype_of(array: np.ndarray) -> DType:
    """The dtype of an array. Raises ``ValueError`` for one that TensorFlow has not."""
    name = "object" if array.dtype.kind in "SUO" else array.dtype.name
    if array.dtype.names:
        name = array.dtype.names[0]
    if name not in _BY_NUMPY:
        raise ValueError(f"values of type {array.dtype} cannot be sent")
    return _BY_NUMPY[name]


def to_proto(array: np.ndarray, *, content: bool = True) -> TensorProto:
    """A message with the values of an array.

    Args:
        array: of any rank; strings as objects (bytes or str).
        content: raw bytes in ``tensor_content``; otherwise the typed field, as TensorFlow Serving answers by default.
    """
    array = np.asarray(array)
    dtype = dtype_of(array)
    proto = TensorProto(dtype=dtype.number)
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    if dtype.number == STRING:
        proto.string_val.extend(value if isinstance(value, bytes) else str(value).encode() for value in array.flat)
    elif content:
        proto.tensor_content = _little_endian(array).tobytes()
    elif array.size:
        array = _plain(array)
        tag = dtype.packed_tag
        if dtype.number == 4 and array.max() < 128:  # then a variable-length integer is the byte itself
            tag = b"\x3a"
        if tag:
            raw = _little_endian(array).tobytes()
            proto.MergeFromString(tag + _varint(len(raw)) + raw)
        elif dtype.field == "half_val":
            proto.half_val.extend(array.view(np.uint16).ravel().tolist())
        else:
            getattr(proto, dtype.field).extend(array.ravel().tolist())
    return proto


def to_array(proto: TensorProto) -> np.ndarray:
    """The array in a message, however its values are held; fewer typed values than elements repeat the last, as
    TensorFlow does. Read only where it shares the message's bytes.

    Raises:
        ValueError: an unknown shape or dtype, or bytes that do not match the shape.
    """
    if proto.dtype not in DTYPES:
        raise ValueError(f"dtype {proto.dtype} is not supported")
    dtype = DTYPES[proto.dtype]
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape) or len(shape) > MAX_RANK:
        raise ValueError(f"shape {list(shape)} is not fully known")
    count = prod(shape)
    if count >= 2**48:
        raise ValueError(f"shape {list(shape)} is too large")
    if dtype.number == STRING:
        return _strings(proto, shape, count)
    if proto.tensor_content:
        expected = count * dtype.array_dtype.itemsize
        if len(proto.tensor_content) != expected:
            raise ValueError(
                f"{len(proto.tensor_content)} bytes do not match shape {list(shape)} of {dtype.name} ({expected} bytes)"
            )
        return np.frombuffer(proto.tensor_content, dtype.array_dtype).reshape(shape)
    return _filled(_typed(proto, dtype), shape, count, dtype.array_dtype)


def _strings(proto: TensorProto, shape: tuple[int, ...], count: int) -> np.ndarray:
    strings = _split(proto.tensor_content, count) if proto.tensor_content else list(proto.string_val)
    values = np.empty(len(strings), object)
    values[:] = strings
    return _filled(values, shape, count, np.dtype(object), empty=b"")


def _split(content: bytes, count: int) -> list[bytes]:
    """Strings as TensorFlow's EncodeStringList packs them: the length of each, then all of them."""
    sizes: list[int] = []
    at = 0
    while len(sizes) < count:
        size = shift = 0
        while True:
            if at == len(content) or shift > 28:
                raise ValueError(f"tensor_content does not hold {count} strings")
            size |= (content[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if content[at - 1] < 128:
                break
        sizes.append(size)
    if sum(sizes) != len(content) - at:
        raise ValueError(f"tensor_content does not hold {count} strings of {sum(sizes)} bytes")
    strings = []
    for size in sizes:
        strings.append(content[at : at + size])
        at += size
    return strings


def _filled(values: np.ndarray, shape: tuple[int, ...], count: int, dtype: np.dtype, empty=0) -> np.ndarray:
    """Values in a shape: the first ``count``, or the last of them repeated, or zeros where there are none."""
    if len(values) >= count:
        return values[:count].reshape(shape)
    each = dtype.itemsize + (len(values[-1]) if len(values) and isinstance(values[-1], bytes) else 0)
    if (count - len(values)) * each > MAX_FILLED_BYTES:
        raise ValueError(f"{len(values)} values for shape {list(shape)}: that much is not filled up")
    if len(values) <= 1:  # a view of the one value: it takes memory only when it is run
        return np.broadcast_to(np.array(values[0] if len(values) else empty, dtype), shape)
    return np.concatenate([values, np.repeat(values[-1:], count - len(values))]).reshape(shape)


def _typed(proto: TensorProto, dtype: DType) -> np.ndarray:
    values = getattr(proto, dtype.field)
    if (
        dtype.number in (1, 2) and dtype.packed_tag and len(values) > 64
    ):  # the only field behind dtype and shape: its bytes end the message
        size = len(values) * dtype.array_dtype.itemsize
        message = proto.SerializeToString()
        head = dtype.packed_tag + _varint(size)
        if message[-size - len(head) : -size] == head:
            return np.frombuffer(message, dtype.array_dtype, len(values), len(message) - size)
    if dtype.field == "half_val":
        return np.fromiter(values, np.int64, len(values)).astype(np.uint16).view(dtype.array_dtype)
    if dtype.number in (8, 18):
        part = np.float32 if dtype.number == 8 else np.float64
        return np.fromiter(values, part, len(values))[: len(values) // 2 * 2].view(dtype.array_dtype)
    plain = np.array(values, dtype=np.uint64 if dtype.number == 23 else None)
    if dtype.numpy in _QUANTISED:
        return plain.astype(_QUANTISED[dtype.numpy]).view(dtype.array_dtype)
    return plain.astype(dtype.array_dtype)


def _plain(array: np.ndarray) -> np.ndarray:
    """Quantised integers as integers."""
    return array[array.dtype.names[0]] if array.dtype.names else array


def _little_endian(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<") if array.dtype.kind in "iufc" else None)


def _varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])
