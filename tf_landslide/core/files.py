"""Writing that leaves either the old file or the whole new one, and reading of files that nobody vouches for."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.processes import is_dead, this_process

TEXT_BYTES = 2**24
"""As much as a text file of ours may hold: cards, scores and histories have some kilobytes."""

_PARTIAL = re.compile(r"\..*\.(?P<owner>[0-9a-f]{8}-\d+)-[0-9a-f]{8}\.partial(\.[^.]*)?")
_FULL = re.compile(r"No space left on device|Disk quota exceeded|\d+ requested and \d+ written")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to, file or folder; move it into place if all went well, else remove it.

    Raises:
        LandslideError: the disk is full.
    """
    path = Path(path)
    with beside(path) as partial:
        try:
            with telling_a_full_disk(path):
                yield partial
                partial.replace(path)
        except OSError as error:
            if error.filename is not None and Path(error.filename) == partial:
                error.filename = str(path)  # the name that the user knows
            raise


@contextmanager
def beside(path: str | Path) -> Iterator[Path]:
    """Give a path beside ``path`` for a file or a folder that lives no longer than the block.

    Its name says which process it belongs to. What a dead process left in that folder is swept first.
    """
    path = Path(path)
    if path.name in ("", ".."):  # as "." is
        path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    _swept_once(path.parent.absolute())
    partial = path.with_name(f".{path.stem[:100]}.{this_process()}-{uuid.uuid4().hex[:8]}.partial{path.suffix}")
    try:
        yield partial
    finally:
        _remove(partial)


def sweep(folder: str | Path) -> None:
    """Remove what ``beside`` gave to processes that have died, killed or out of power, before they could."""
    folder = Path(folder)
    if not folder.is_dir():
        return
    for path in folder.glob(".*.partial*"):
        match = _PARTIAL.fullmatch(path.name)
        if match and is_dead(match["owner"]):
            _remove(path)


@cache
def _swept_once(folder: Path) -> None:
    """Sweep a folder when this process first writes to it; a folder of many results is not listed for each of them."""
    sweep(folder)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def telling_a_full_disk(path: str | Path) -> Iterator[None]:
    """Raise ``LandslideError`` with the path where what is written to it finds the disk full.

    NumPy, HDF5, ZIP, Keras and TensorFlow each have an exception of their own for it, few of them with a path.
    """
    try:
        yield
    except Exception as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if isinstance(error, LandslideError) or not (full or _FULL.search(str(error))):
            raise
        raise LandslideError(f"{path}: no space left on the disk; make room, then run the same command again") from None


def require_space(folder: str | Path, nbytes: int, what: str) -> None:
    """Refuse to begin what the disk has no room for.

    Args:
        folder: that is written to; it need not exist yet.
        nbytes: that are needed.
        what: needs them.

    Raises:
        LandslideError: fewer are free.
    """
    folder = Path(folder).absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < nbytes:
        raise LandslideError(
            f"{folder}: {what} needs {nbytes / 1e9:.2f} GB of disk, {free / 1e9:.2f} GB are free; make room, or name a "
            "folder on another disk"
        )


def require_writable(folder: str | Path) -> None:
    """Refuse a folder that could not be written to or made, before any work.

    Raises:
        LandslideError: it, or the nearest folder above it that exists, is not to be written to, or is a file.
    """
    path = Path(folder).resolve()
    there = next(path for path in (path, *path.parents) if path.exists())
    if not there.is_dir():
        raise LandslideError(f"{folder}: {there} is a file; name a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        which = "it" if there == path else f"{there}, where it would be made,"
        raise LandslideError(
            f"{folder}: cannot be written to: {which} is not writable for user {os.geteuid()}; name another folder, or "
            f"have its owner allow it (chmod)"
        )


def write_text(path: str | Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write a JSON file, whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def open_regular(path: str | Path) -> BinaryIO:
    """Open a file to read its bytes; a pipe would wait for somebody who writes, a device may have no end.

    Raises:
        OSError: it cannot be read.
        LandslideError: no regular file.
    """
    path = Path(path)
    require_regular(path)
    return path.open("rb")


def require_regular(path: Path) -> None:
    """Raise ``LandslideError`` for a pipe, a device or a folder, and ``OSError`` where there is nothing."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise LandslideError(f"{path}: is not a regular file")


def read_text(path: str | Path, at_most: int = TEXT_BYTES) -> str:
    """The text of a file.

    Raises:
        FileNotFoundError: there is none.
        LandslideError: no regular file, more than ``at_most`` bytes, not UTF-8, or not to be read.
    """
    path = Path(path)
    try:
        with open_regular(path) as file:
            content = file.read(at_most + 1)
        if len(content) > at_most:
            raise LandslideError(f"{path}: has more than the {at_most:,} bytes that such a file may have")
        return content.decode()
    except FileNotFoundError:
        raise
    except UnicodeDecodeError:
        raise LandslideError(f"{path}: is not text") from None
    except (OSError, ValueError) as error:  # the latter of a name that no file can have
        raise LandslideError(f"{path}: cannot be read ({getattr(error, 'strerror', error)})") from None


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_file(path: Path) -> bool:
    """Whether a path that somebody wrote into a file is that of one; a name that no file can have is not."""
    try:
        return path.is_file()
    except OSError:
        return False


def read_json(path: str | Path, at_most: int = TEXT_BYTES) -> dict[str, Any]:
    """The object in a JSON file. Raises as ``read_text`` and ``parse_json``."""
    return parse_json(read_text(path, at_most), path)


def parse_json(text: str | bytes, origin: object) -> dict[str, Any]:
    """The object in a JSON text. Raises ``LandslideError``, naming where it comes from, for what is not one."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise LandslideError(f"{origin}: is nested too deeply") from None
    except ValueError:  # an integer of thousands of digits is one too
        raise LandslideError(f"{origin}: is not valid JSON") from None
    if not isinstance(value, dict):
        raise LandslideError(f"{origin}: expected a JSON object, found {type(value).__name__}")
    return value


def allocate(path: str | Path) -> None:
    """Give every byte of a file its place on the disk, before it is mapped into memory.

    Where a mapped file has none yet and the disk is full, writing to it ends the process (SIGBUS) without a word.
    Raises ``OSError`` where the disk is full.
    """
    with Path(path).open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
