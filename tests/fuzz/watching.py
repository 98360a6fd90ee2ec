"""What a reader may do with a stranger's file, and what catches it doing something else.

It may give a value, or refuse in one printable line. It may not raise anything else, take longer or more memory than a
bound, or open, make or call anything outside of the folder that the file is in.
"""

from __future__ import annotations

import ctypes
import os
import resource
import site
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from serving.status import ServingError, UsageError
from tests.conftest import ROOT
from tf_landslide.core.errors import LandslideError

REFUSALS = (LandslideError, ServingError, UsageError)
SECONDS = 5.0
MEMORY = 300 * 2**20
LONGEST = 3000  # characters of a refusal
_CALLS = ("socket.connect", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "pickle.find_class")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_PYTHONS = tuple({*site.getsitepackages(), sys.prefix, sys.base_prefix, str(ROOT), "/usr/", "/proc/", "/sys/"})
_IN_ANY, _IN_FOLDER = 0x2 | 0x20 | 0x100 | 0x200, 0x40000000  # inotify: modified, opened, made, removed; a folder


@dataclass(frozen=True)
class Fault:
    """What a reader did that it may not.

    Attributes:
        kind: by which two faults are the same: the exception and where it came from.
        told: all that is known.
    """

    kind: str
    told: str


class Watch:
    """Checks one input after another.

    Args:
        folder: of the inputs; ``folder/inside`` is the readers', ``folder/outside`` holds what they must not touch.
    """

    def __init__(self, folder: Path):
        self.inside, self.outside = folder / "inside", folder / "outside"
        for place in (self.inside, self.outside):
            place.mkdir(parents=True, exist_ok=True)
        (self.outside / "secret").write_text("not for you")
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._notes = self._libc.inotify_init1(os.O_NONBLOCK)
        self._libc.inotify_add_watch(self._notes, bytes(self.outside), _IN_ANY)
        self._watching, self._touched = False, list[str]()
        sys.addaudithook(self._hear)

    def check(self, read: Callable[[Path], object], data: bytes, name: str) -> Fault | None:
        """What a reader does wrong with some bytes, in a file of a name; None where nothing."""
        path = self.inside / name
        path.write_bytes(data)
        before, began = _resident(), time.process_time()
        if _peak() > before + MEMORY // 2:
            Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
        self._touched.clear()
        self._watching = True
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read(path)
            fault = None
        except REFUSALS as error:
            fault = _wordy(error)
        except Exception as error:
            fault = _fault(error)
        finally:
            self._watching = False
        return fault or self._excess(time.process_time() - began, _peak() - before)

    def _excess(self, seconds: float, memory: int) -> Fault | None:
        touched = [*self._touched, *self._noted()]
        if touched:
            return Fault(f"touched {touched[0].partition(' ')[0]}", f"touched what is not its own: {touched[0]}")
        if seconds > SECONDS:
            return Fault("too slow", f"took {seconds:.1f} s of processor time")
        if memory > MEMORY:
            return Fault("too much memory", f"took {memory / 2**20:,.0f} MB")
        return None

    def _hear(self, event: str, arguments: tuple) -> None:
        """Python's audit hook: each file that Python itself opens, each call to another program or host."""
        if not self._watching:
            return
        if event in _CALLS:
            self._touched.append(f"{event} {arguments[:2]!r}"[:200])
        elif event == "open" and isinstance(arguments[0], (str, bytes)):
            path, flags = os.fsdecode(arguments[0]), arguments[2] or 0
            if not self._is_own(path) and (flags & _WRITING or not path.startswith(_PYTHONS)):
                self._touched.append(f"open {path}")

    def _is_own(self, path: str) -> bool:
        return os.path.realpath(path).startswith(f"{os.path.realpath(self.inside)}{os.sep}") or path == os.devnull

    def _noted(self) -> list[str]:
        """What libraries in C opened outside, by inotify."""
        found, at = [], 0
        try:
            notes = os.read(self._notes, 65536)
        except BlockingIOError:
            return []
        while at < len(notes):
            _, what, _, length = struct.unpack_from("iIII", notes, at)
            name = notes[at + 16 : at + 16 + length].rstrip(b"\0").decode(errors="replace")
            if not what & _IN_FOLDER:  # which whoever lists a folder opens
                found.append(f"outside/{name} (inotify {what:#x})")
            at += 16 + length
        return found


def _fault(error: Exception) -> Fault:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/tf_landslide/" in frame.filename or "/serving/" in frame.filename]
    where = ours[-1] if ours else frames[-1]
    kind = f"{type(error).__name__} at {Path(where.filename).name}:{where.name}"
    return Fault(kind, "".join(traceback.format_exception(error)))


def _wordy(error: Exception) -> Fault | None:
    """A refusal that is not one line that can be printed; the server's are TensorFlow Serving's texts, sent as JSON."""
    said = str(error)
    if isinstance(error, ServingError):
        return None
    if not said or not said.isprintable() or len(said) > LONGEST:
        fault = _fault(error)
        return Fault(f"unprintable {fault.kind}" if len(said) <= LONGEST else f"long {fault.kind}", fault.told[-4000:])
    return None


def _resident() -> int:
    """Bytes of memory that the process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _peak() -> int:
    """Bytes that it has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
