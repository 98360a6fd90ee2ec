"""PyTorch's checkpoints from before 1.6: pickles one after another, then the bytes of each storage.

A magic number, a version, the machine that wrote it, the content, the storages' keys: five pickles. Then for each key
in turn the number of its values (8 bytes) and the values. Read as ``safe_torch`` reads archives: nothing is executed,
and every declared number is compared with the bytes that are there.
"""

from __future__ import annotations

import io
import pickletools
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.torch_pickle import Storage, unpickled, viewed

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_MAX_PICKLES = 4 << 20  # bytes, of the five together


def read_legacy(path: Path, file: BinaryIO, size: int) -> Any:
    """What such a checkpoint holds.

    Args:
        path: of the file, for errors.
        file: open at any place.
        size: of the file in bytes.

    Raises:
        LandslideError: another kind of pickle, one that is cut off, one that declares more than it holds, or one with a
            name in it that could execute something.
    """
    file.seek(0)
    head = io.BytesIO(file.read(_MAX_PICKLES))
    if not _begins_as_one(head):
        raise LandslideError(
            f"{path}: is a pickle, but no PyTorch checkpoint; save one: torch.save(model.state_dict(), FILE)"
        )
    try:
        _, version, machine, content, keys = (_next_pickle(head) for _ in range(5))
        if _VERSION not in _numbers(version) or b"little_endian" not in machine:
            raise LandslideError(f"{path}: is of another version of PyTorch, or of a big-endian machine")
        named = unpickled(keys, viewed({}, path), str(path))
        if not isinstance(named, list) or not all(isinstance(key, str) for key in named):
            raise ValueError
    except LandslideError:
        raise
    except Exception:  # pickletools raises almost anything for a damaged one
        raise LandslideError(f"{path}: is cut off or damaged; fetch it again") from None
    storages = _storages(content, path)
    return unpickled(content, viewed(_values(path, file, head.tell(), size, named, storages), path), str(path))


def _begins_as_one(head: io.BytesIO) -> bool:
    """Whether the magic number is the first thing of the first pickle."""
    try:
        return _MAGIC in (argument for _, argument, _ in islice(pickletools.genops(head), 3))
    except Exception:  # pickletools raises almost anything for a damaged one
        return False
    finally:
        head.seek(0)


def _next_pickle(head: io.BytesIO) -> bytes:
    """The next pickle, undecoded."""
    start = head.tell()
    for _ in pickletools.genops(head):
        pass
    return head.getbuffer()[start : head.tell()].tobytes()


def _numbers(pickled: bytes) -> list[Any]:
    return [argument for _, argument, _ in pickletools.genops(pickled)]


def _storages(content: bytes, path: Path) -> dict[str, Storage]:
    """The storages that the content refers to, by key."""
    found: dict[str, Storage] = {}

    def note(storage: Storage, *_: Any) -> np.ndarray:
        if found.setdefault(storage.key, storage) != storage:
            raise LandslideError(f"{path}: describes the storage {storage.key[:40]!r} in two ways")
        return np.empty(0)

    unpickled(content, note, str(path))
    return found


def _values(
    path: Path, file: BinaryIO, start: int, size: int, keys: list[str], storages: dict[str, Storage]
) -> dict[str, bytes]:
    """The bytes of each storage."""
    if set(keys) != set(storages) or len(keys) != len(storages):
        raise LandslideError(f"{path}: lists other storages than its tensors refer to")
    file.seek(start)
    values: dict[str, bytes] = {}
    for key in keys:
        storage, declared = storages[key], int.from_bytes(file.read(8), "little")
        nbytes = storage.count * np.dtype(storage.dtype).itemsize
        if declared != storage.count or nbytes > size - file.tell():
            raise LandslideError(
                f"{path}: declares {storage.count:,} values in {key[:40]!r}, more than it can hold; fetch it again"
            )
        values[key] = file.read(nbytes)
    return values
