"""One writer at a time for a folder."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import require_writable, sweep

_MESSAGE_BYTES = 1000
_OURS = re.compile(rb"process \d+ on .*, since .*,\n")


@contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Keep other processes that would write to a folder out of it, whether it exists yet or not.

    The lock is ``flock``'s on the file ``.NAME.lock`` beside the folder, so a process that dies no longer holds it; the
    file says who does. Where nothing can be written beside the folder, or its file system has no locks, there is none.

    Raises:
        LandslideError: another process holds it; it is named. Or the folder is not to be written to, or something else
            has the name of its lock.
    """
    require_writable(folder)
    path = Path(folder).resolve()  # one lock, whatever the folder is called
    made = [parent for parent in path.parents if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.parent / f".{path.name}.lock"
    descriptor = _taken(file, str(folder)) if os.access(path.parent, os.W_OK) else None
    try:
        yield
    finally:
        if descriptor is not None:
            file.unlink(missing_ok=True)
            os.close(descriptor)
        for parent in made:
            if parent.is_dir() and not any(parent.iterdir()):  # nothing came of it
                parent.rmdir()


def is_in_the_way(path: str | Path, *, strictly: bool = True) -> bool:
    """Whether a folder that is to be made is there and holds something, or is a file.

    What killed processes left in it is swept first: partial files, and locks of what was to be made inside.

    Args:
        path: of the folder.
        strictly: also hidden files and empty folders count, as they do where a whole folder is moved into place.
    """
    path = Path(path)
    if not path.is_dir():
        return path.exists()
    sweep(path)
    for file in path.glob(".*.lock"):
        _sweep_lock(file)
    return any(strictly or _is_something(child) for child in path.iterdir())


def require_new(path: str | Path) -> None:
    """Refuse a folder that is to be made as a whole, before any work: one that is in the way, or cannot be made.

    Raises:
        LandslideError: which of them.
    """
    if is_in_the_way(path):
        raise LandslideError(f"{path}: already exists; name another folder")
    require_writable(path)


def _is_something(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    return path.is_symlink() or is_in_the_way(path, strictly=False)


def _sweep_lock(file: Path) -> None:
    """Remove a lock of ours that nobody holds."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # of another user
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_still(file, descriptor) and _OURS.fullmatch(os.read(descriptor, _MESSAGE_BYTES)):
            file.unlink(missing_ok=True)
    except OSError:  # somebody holds it, or there are no locks
        pass
    finally:
        os.close(descriptor)


def _taken(file: Path, name: str) -> int | None:
    """An open descriptor that holds the lock, or None where the file system has no locks."""
    while True:
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
        except PermissionError:
            raise LandslideError(
                f"{name}: is locked by another user ({file}); name another folder, or remove that file if nobody "
                "writes to the folder any more"
            ) from None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                raise _not_ours(file, name) from None
            raise
        if not _may_be_ours(descriptor):
            os.close(descriptor)
            raise _not_ours(file, name)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, _MESSAGE_BYTES).decode(errors="replace").strip() or "another process"
            os.close(descriptor)
            raise LandslideError(
                f"{name}: {owner} writes to it; wait until that is done, or name another folder"
            ) from None
        except OSError:
            os.close(descriptor)
            return None
        if _is_still(file, descriptor):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{_myself()}\n".encode())
            return descriptor
        os.close(descriptor)  # its owner had finished, and removed it, between our opening and locking it


def _may_be_ours(descriptor: int) -> bool:
    """Whether a lock's file is an empty one, as it is before its owner is written down, or says whose lock it is."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return False
    said = os.pread(descriptor, _MESSAGE_BYTES, 0)
    return not said or _OURS.fullmatch(said) is not None


def _not_ours(file: Path, name: str) -> LandslideError:
    return LandslideError(f"{name}: {file} has the name of its lock, and is none; remove it, or name another folder")


def _is_still(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(file.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _myself() -> str:
    return f"process {os.getpid()} on {platform.node()}, since {datetime.now():%Y-%m-%d %H:%M:%S},"
