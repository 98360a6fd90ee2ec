"""Tensors of PyTorch's checkpoint files (``.pth``, ``.pt``, ``.ckpt``) and of ``.safetensors``, without PyTorch.

Nothing in a file is executed, and no more memory is taken than the file is long: a checkpoint is a zip archive of a
pickle and of raw arrays, every declared size is compared with the bytes that are there, and tensors are views of them.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import open_regular, replacing
from tf_landslide.core.safe_tensors import read_safetensors, write_safetensors
from tf_landslide.core.torch_legacy import read_legacy
from tf_landslide.core.torch_pickle import pickled_tensors, unpickled, viewed

MAX_BYTES = 4 << 30  # of a file; the largest of the networks here is a sixteenth of it
_MAX_PICKLE = 4 << 20
_MAX_MEMBERS = 50_000


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint by name.

    A checkpoint that holds more than a state dict (Lightning's, or one with an optimiser) is looked through for one:
    under ``state_dict``, ``model_state_dict`` or ``model``, or whatever the only one is called.

    Args:
        path: of the file.

    Raises:
        LandslideError: a file of another kind, one that is cut off, one that declares more than it holds or than is
            read, or one with a name in it that could execute something.
    """
    try:
        with open_regular(path) as file:
            start, size = file.read(9), os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise LandslideError(f"{path}: has {size:,} bytes, at most {MAX_BYTES:,} are read")
            if start[:2] == b"PK":
                return _state_dict(_read_zip(path, file, size), path)
            if start[:1] == b"\x80":
                return _state_dict(read_legacy(path, file, size), path)
            if start[8:9] == b"{":
                return read_safetensors(path, file)
    except OSError as error:
        raise LandslideError(f"{path}: cannot be read ({error.strerror or error})") from None
    raise LandslideError(f"{path}: is neither a PyTorch checkpoint nor a safetensors file{_instead(start)}")


def _instead(start: bytes) -> str:
    """What stands where a checkpoint was expected, by its first bytes, and what to do."""
    if not start:
        return ", but empty; fetch it again"
    if start.startswith(b"version "):
        return ", but Git LFS's pointer to one; fetch the file itself: git lfs pull"
    if start.lstrip().startswith(b"<"):
        return ", but a web page; fetch the file itself (from Hugging Face: /resolve/ in its address, not /blob/)"
    return ""


def _read_zip(path: Path, file: BinaryIO, size: int) -> Any:
    """What the pickle of a checkpoint holds."""
    if _members(file, size) > _MAX_MEMBERS:
        raise LandslideError(f"{path}: holds more arrays than any network here has")
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.namelist()
            if len(set(members)) < len(members):
                raise LandslideError(f"{path}: holds a member twice, which torch.save does not write")
            names = [name for name in members if name.endswith("/data.pkl") or name == "data.pkl"]
            if len(names) != 1:
                raise LandslideError(f"{path}: is a zip archive, but no PyTorch checkpoint")
            if names[0].removesuffix("data.pkl") + "constants.pkl" in members:
                raise LandslideError(
                    f"{path}: is a TorchScript program; save its state dict: "
                    "torch.save(torch.jit.load(FILE).state_dict(), OTHER)"
                )
            arrays = _Arrays(archive, names[0].removesuffix("data.pkl"), path, size)
            if arrays.folder + "byteorder" in members and arrays.member("byteorder", 8).strip() != b"little":
                raise LandslideError(f"{path}: was written on a big-endian machine; write it anew on another")
            return unpickled(arrays.member("data.pkl", _MAX_PICKLE), viewed(arrays, path), str(path))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, UnicodeError, RuntimeError):
        raise LandslideError(f"{path}: is cut off or damaged; fetch it again") from None


def _members(file: BinaryIO, size: int) -> int:
    """How many members a zip archive says that it has: its index is read into memory, and takes more there."""
    file.seek(max(0, size - (1 << 16) - 22))
    tail = file.read()
    wide, end = tail.rfind(b"PK\x06\x06"), tail.rfind(b"PK\x05\x06")
    counts = [int.from_bytes(tail[end + 10 : end + 12], "little")] if end >= 0 else []
    index = [int.from_bytes(tail[end + 12 : end + 16], "little")] if end >= 0 else []
    if wide >= 0:
        counts.append(int.from_bytes(tail[wide + 32 : wide + 40], "little"))
        index.append(int.from_bytes(tail[wide + 40 : wide + 48], "little"))
    least = 46  # bytes of a member in the index
    return max([*(n for n in counts if n != 0xFFFF), *(n // least for n in index if n != 0xFFFFFFFF)], default=0)


class _Arrays(Mapping[str, bytes]):
    """The members of an archive; its arrays are read once each, and together are no longer than the file."""

    def __init__(self, archive: zipfile.ZipFile, folder: str, path: Path, size: int):
        self.archive, self.folder, self.path, self.left = archive, folder, path, size
        self.read = dict[str, bytes]()

    def member(self, name: str, most: int) -> bytes:
        """One, whole; a compressed one could be any length."""
        try:
            info = self.archive.getinfo(self.folder + name)
        except KeyError:
            raise LandslideError(f"{self.path}: lacks the values of a tensor ({name[:80]})") from None
        if info.compress_type != zipfile.ZIP_STORED:
            raise LandslideError(f"{self.path}: has compressed members, which torch.save does not write")
        if info.file_size > min(most, self.left):
            raise LandslideError(f"{self.path}: declares {info.file_size:,} bytes in {name}, more than it can hold")
        self.left -= info.file_size
        return self.archive.read(info)

    def __getitem__(self, key: str) -> bytes:
        """The bytes of a storage."""
        if key not in self.read:
            self.read[key] = self.member(f"data/{key}", MAX_BYTES)
        return self.read[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.read)

    def __len__(self) -> int:
        return len(self.read)


def _state_dict(content: Any, path: Path) -> dict[str, np.ndarray]:
    """The tensors by name, from whatever a checkpoint holds around them."""
    own, inner = _tensors(content), dict[str, dict[str, np.ndarray]]()
    if isinstance(content, Mapping):
        inner = {key: found for key, value in content.items() if isinstance(key, str) and (found := _tensors(value))}
    for key in ("state_dict", "model_state_dict", "model"):
        if key in inner:
            return inner[key]
    networks = {key: found for key, found in inner.items() if _is_network(found)}
    if own and (_is_network(own) or not networks):
        return own
    if len(networks) > 1:
        first, *_ = names = [repr(key[:40]) for key in networks]
        raise LandslideError(
            f"{path}: holds {len(names)} state dicts: {', '.join(names[:8])}; save the one that is meant: "
            f"torch.save(torch.load(FILE)[{first}], OTHER)"
        )
    if not networks:
        raise LandslideError(f"{path}: holds no state dict; save one: torch.save(model.state_dict(), FILE)")
    return next(iter(networks.values()))


def _tensors(content: Any) -> dict[str, np.ndarray]:
    """Those of a mapping's values that are, by name."""
    items = content.items() if isinstance(content, Mapping) else ()
    return {name: value for name, value in items if isinstance(name, str) and isinstance(value, np.ndarray)}


def _is_network(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether they are called as tensors of modules are; the state of random numbers is not."""
    return any("." in name for name in tensors)


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write a state dict: as safetensors where the file is called so, else as ``torch.save`` does.

    Args:
        path: of the file; it appears whole or not at all.
        tensors: float32 or int64, by name.
    """
    with replacing(path) as partial:
        if path.suffix == ".safetensors":
            write_safetensors(partial, tensors)
        else:
            _write_zip(partial, tensors)


def _write_zip(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """The archive that ``torch.load(FILE, weights_only=True)`` reads."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", pickled_tensors(tensors))
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3\n")
        for key, array in enumerate(tensors.values()):
            archive.writestr(f"archive/data/{key}", np.ascontiguousarray(array).tobytes())
