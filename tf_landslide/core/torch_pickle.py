"""The pickle inside a PyTorch checkpoint, read and written opcode by opcode; nothing in it is executed.

Only what ``torch.save`` writes of tensors and plain containers is understood. Python's own unpickler is not used: it
calls what a file names, and lets a file allocate, overwrite attributes and recurse.
"""

from __future__ import annotations

import math
import pickle
import pickletools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.safe_tensors import whole

DTYPES: dict[str, Any] = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
_CONTAINERS = {"OrderedDict", "AttributeDict"}  # Lightning keeps a network's settings in the second
_KNOWN = {
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch", "Size"),
    ("torch", "device"),
    ("collections", "OrderedDict"),
    ("pytorch_lightning.utilities.parsing", "AttributeDict"),
    ("lightning_fabric.utilities.data", "AttributeDict"),
    ("lightning.fabric.utilities.data", "AttributeDict"),
    *(("torch", name) for name in DTYPES),
}
_BESIDE = {
    "_codecs": {"encode"},
    "argparse": {"Namespace"},
    "collections": {"Counter", "defaultdict", "deque"},
    "datetime": {"date", "datetime", "timedelta", "timezone"},
    "numpy": {"dtype", "ndarray"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "pathlib": {"Path", "PosixPath", "PurePosixPath", "PureWindowsPath", "WindowsPath"},
    "pathlib._local": {"PosixPath", "WindowsPath"},
    "torch": {"bfloat16", "bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8"},
} | {module: {"bytearray", "complex", "frozenset", "list", "set", "slice"} for module in ("__builtin__", "builtins")}
"""What trainers keep beside the weights: scores, settings, paths, dates. Understood as nothing, and not called."""
_MOST_STEPS = 1 << 20  # of a pickle; checkpoints of the networks here, with their optimisers, take a tenth
_LITERALS = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING"}
_LITERALS |= {"SHORT_BINUNICODE", "SHORT_BINBYTES", "BINBYTES"}  # of protocols 3 and 4
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}


@dataclass(frozen=True)
class Storage:
    """An array in the archive, not read yet."""

    dtype: Any
    key: str
    count: int


@dataclass(frozen=True)
class _Name:
    """A function or class that a pickle names."""

    module: str
    name: str


class _Nothing:
    """What an object of ``_BESIDE`` is understood as."""


def viewed(storages: Mapping[str, bytes], where: Path) -> Callable[[Storage, Any, Any, Any], np.ndarray]:
    """What makes read-only views of storages, given their bytes by key, and refuses those that reach outside."""

    def tensor(storage: Storage, offset: Any, size: Any, stride: Any) -> np.ndarray:
        if not (whole([offset]) and whole(size) and whole(stride)) or len(size) != len(stride):
            raise LandslideError(f"{where}: holds a tensor that is described wrongly")
        raw, itemsize = storages[storage.key], np.dtype(storage.dtype).itemsize
        held, count = len(raw) // itemsize, math.prod(size)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if count else offset - 1
        if last >= held or count > held or storage.count != held:
            wanted = max(count, storage.count)
            raise LandslideError(f"{where}: declares a tensor of {wanted:,} values, its storage holds {held:,}")
        values = np.frombuffer(raw, storage.dtype, held)[offset : last + 1]
        return np.lib.stride_tricks.as_strided(values, size, [n * itemsize for n in stride], writeable=False)

    return tensor


def unpickled(pickled: bytes, tensor: Callable[[Storage, Any, Any, Any], np.ndarray], where: str) -> Any:
    """What a pickle holds: dicts, lists, tuples, numbers, strings and arrays.

    Args:
        pickled: of protocol 2, which ``torch.save`` writes unless told otherwise, to 5.
        tensor: that a storage, an offset, a size and a stride describe.
        where: it comes from, for errors.

    Raises:
        LandslideError: a name in it that is none of a tensor's, or anything that ``torch.save`` does not write.
    """
    try:
        return _Machine(tensor, where).run(pickled)
    except LandslideError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError) as error:  # what a forged pickle comes to
        raise LandslideError(f"{where}: is no checkpoint that can be read ({type(error).__name__})") from None


@dataclass
class _Machine:
    """The stack that a pickle's opcodes work on."""

    tensor: Callable[[Storage, Any, Any, Any], np.ndarray]
    where: str
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self, pickled: bytes) -> Any:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(pickled)):
            if opcode.name == "STOP":
                return self.stack.pop()
            if step > _MOST_STEPS:  # each may take memory
                raise LandslideError(f"{self.where}: holds more than any checkpoint of a network here")
            self.step(opcode.name, argument)
        raise ValueError

    def step(self, opcode: str, argument: Any) -> None:
        """Do what an opcode says; see ``python -m pickletools``."""
        stack = self.stack
        match opcode:
            case "PROTO" | "FRAME":
                pass
            case "GLOBAL":
                stack.append(self.named(*argument.split(" ")))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(self.named(module, name))
            case "REDUCE" | "NEWOBJ":
                arguments, what = stack.pop(), stack.pop()
                stack.append(self.called(what, arguments))
            case "BUILD":  # attributes of a dict, as the versions of a state dict's modules
                stack.pop()
            case "BINPERSID":
                stack.append(self.storage(stack.pop()))
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "MARK":
                self.marks.append(len(stack))
            case "TUPLE" | "FROZENSET":
                stack.append(tuple(self.popped()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.marks.append(len(stack) - int(opcode[-1]))
                stack.append(tuple(self.popped()))
            case "APPEND" | "SETITEM":
                self.marks.append(len(stack) - (1 if opcode == "APPEND" else 2))
                self.filled()
            case "APPENDS" | "SETITEMS" | "ADDITEMS":
                self.filled()
            case "EMPTY_LIST" | "EMPTY_DICT" | "EMPTY_SET":
                stack.append({} if opcode == "EMPTY_DICT" else [])
            case _ if opcode in _CONSTANTS:
                stack.append(_CONSTANTS[opcode])
            case _ if opcode in _LITERALS:
                stack.append(argument)
            case _:
                raise LandslideError(f"{self.where}: holds something that torch.save does not write ({opcode})")

    def popped(self) -> list[Any]:
        """What lies above the last mark."""
        mark = self.marks.pop()
        if not 0 <= mark <= len(self.stack):
            raise ValueError
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def filled(self) -> None:
        """Put what lies above the last mark into the list or dict below it."""
        items = self.popped()
        match self.stack[-1]:
            case list() as container:
                container.extend(items)
            case dict() as container if all(key is None or isinstance(key, (str, int, float)) for key in items[::2]):
                container.update(zip(items[::2], items[1::2], strict=True))
            case _Nothing():
                pass
            case _:
                raise TypeError

    def named(self, module: str, name: str) -> _Name:
        if (module, name) in _KNOWN or name in _BESIDE.get(module, ()):
            return _Name(module, name)
        said = f"{self.where}: names {module[:80]}.{name[:80]}"
        if module.split(".")[0] == "torch" and (name.endswith("Storage") or name.startswith("_rebuild_")):
            raise LandslideError(
                f"{said}, a kind of tensor that is not read; save floating-point tensors: model.float()"
            )
        raise LandslideError(
            f"{said}, which is no tensor and could execute anything; save the state dict alone: "
            "torch.save(model.state_dict(), FILE)"
        )

    def called(self, what: Any, arguments: Any) -> Any:
        """What PyTorch would make of a name and its arguments."""
        match what, arguments:
            case _Name(name="_rebuild_tensor_v2"), (Storage() as storage, offset, size, stride, *_):
                return self.tensor(storage, offset, size, stride)
            case _Name(name="_rebuild_parameter"), (np.ndarray() as data, *_):
                return data
            case _Name(name=name), () if name in _CONTAINERS:
                return {}
            case _Name(name="Size"), (tuple() as size,):
                return size
            case _Name(name="device"), _:
                return None
            case (_Name(module=module, name=name), _) if name in _BESIDE.get(module, ()):
                return _Nothing()
        raise TypeError

    def storage(self, reference: Any) -> Storage:
        match reference:
            case ("storage", _Name(name=kind), str(key), _, count) | (
                "storage",
                _Name(name=kind),
                str(key),
                _,
                count,
                None,
            ) if kind in DTYPES and whole([count]):
                return Storage(DTYPES[kind], key, count)
        raise LandslideError(f"{self.where}: refers to something that is no tensor's storage")


def pickled_tensors(tensors: Mapping[str, np.ndarray]) -> bytes:
    """The pickle of an ordered dict of contiguous tensors, whose storages are called 0, 1, 2, …"""
    storages = {np.dtype(dtype): name for name, dtype in DTYPES.items()}

    def text(value: str) -> bytes:
        raw = value.encode()
        return pickle.BINUNICODE + len(raw).to_bytes(4, "little") + raw

    def named(module: str, name: str) -> bytes:
        return pickle.GLOBAL + f"{module}\n{name}\n".encode()

    def number(value: int) -> bytes:
        raw = value.to_bytes(8, "little", signed=True)
        return pickle.LONG1 + bytes([len(raw)]) + raw

    def several(items: Iterable[bytes]) -> bytes:
        return pickle.MARK + b"".join(items) + pickle.TUPLE

    empty_dict = named("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
    out = [pickle.PROTO + b"\x02", empty_dict, pickle.MARK]
    for key, (name, array) in enumerate(tensors.items()):
        kind = named("torch", storages[array.dtype])
        storage = several([text("storage"), kind, text(str(key)), text("cpu"), number(array.size)]) + pickle.BINPERSID
        strides = [stride // array.itemsize for stride in np.ascontiguousarray(array).strides]
        size, stride = several(map(number, array.shape)), several(map(number, strides[: array.ndim]))
        tensor = several([storage, number(0), size, stride, pickle.NEWFALSE, empty_dict])
        out += [text(name), named("torch._utils", "_rebuild_tensor_v2"), tensor, pickle.REDUCE]
    return b"".join([*out, pickle.SETITEMS, pickle.STOP])
