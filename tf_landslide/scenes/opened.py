"""Files that a thread holds open to read windows of, a few: a dataset of rasterio's may not be shared by threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio

from tf_landslide.core.errors import LandslideError
from tf_landslide.scenes.grid import Window
from tf_landslide.scenes.source import Source

MOST_OPEN = 32  # of a thread; a model of a thousand tiles has more than a process may open
_OF_THREAD = threading.local()

Opened = tuple[tuple[int, ...], rasterio.DatasetReader]
"""The state of a file when it was opened, and the open file."""


@dataclass(frozen=True)
class Part:
    """A file, and the window of its band's stored pixels that it holds.

    Attributes:
        source: the file.
        window: of the band's pixels.
        state: of the file when it was looked at, by ``Source.state``; another in its place is not read.
    """

    source: Source
    window: Window
    state: tuple[int, ...] = ()

    def __reduce__(self) -> tuple[type[Part], tuple[Source, Window, tuple[int, ...]]]:
        """Sent to another process, it names a copy of the file there, whose time may be another."""
        return Part, (self.source, self.window, self.state[:1])


def state_of(source: Source) -> tuple[int, ...]:
    """A file's state, as a ``Part`` keeps it. Raises ``LandslideError`` where it is gone."""
    try:
        return source.state()
    except OSError as error:
        raise LandslideError(f"{source}: cannot be read ({error.strerror})") from None


@contextmanager
def closed_afterwards() -> Iterator[None]:
    """Close what this thread has read of: a file that was deleted keeps its disk as long as somebody holds it open."""
    try:
        yield
    finally:
        for source in list(_files()):
            _close(source)


def stored(source: Source, state: tuple[int, ...], index: int, window: Window) -> np.ndarray:
    """A window of a file's band as it is stored; where a signature has run out meanwhile, by a new one.

    Args:
        source: the file.
        state: what ``Source.state`` gave when it was looked at, or the first part of that.
        index: of the band, from 1.
        window: of the file.

    Raises:
        LandslideError: another file has taken its place.
    """
    try:
        with source.environment():
            return _dataset(source, state).read(index, window=window.for_rasterio())
    except rasterio.RasterioIOError:
        if not source.is_signed:
            raise
        _close(source)
    with source.environment():
        return _dataset(source, state).read(index, window=window.for_rasterio())


def require_same(source: Source, now: tuple[int, ...], state: tuple[int, ...]) -> None:
    """Raise ``LandslideError`` where a file is in another state than it was; arguments as of ``stored``."""
    if now[: len(state)] != state:
        raise LandslideError(
            f"{source}: has changed since it was opened, and would be mixed with what was read of it before; begin "
            "again, and leave it as it is meanwhile"
        )


def _dataset(source: Source, state: tuple[int, ...]) -> rasterio.DatasetReader:
    """The thread's own open file; opened anew where another has taken its place, unless that is not the one meant."""
    files, now = _files(), source.state()
    if source in files and files[source][0] != now:
        _close(source)
    require_same(source, now, state)
    if source not in files:
        for gone in [other for other in files if not other.is_remote and not Path(other.name).exists()]:
            _close(gone)
        while len(files) >= MOST_OPEN:
            _close(next(iter(files)))
        files[source] = now, source.open()
    files[source] = files.pop(source)  # the last used one is the last to be closed
    return files[source][1]


def _files() -> dict[Source, Opened]:
    """The thread's, the one that was used longest ago first."""
    files: dict[Source, Opened] = _OF_THREAD.__dict__.setdefault("files", {})
    return files


def _close(source: Source) -> None:
    _files().pop(source)[1].close()
