"""A model that is made while the page is up: one at a time, in the background, for all who look."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tf_landslide.core.errors import LandslideError, first_line

Told = Callable[[float, str], None]
Make = Callable[[Told], Path]
"""Makes models: tells the share done and what is being done, and returns their folder."""


@dataclass(frozen=True)
class State:
    """How far it is: the share done, what is being done or what went wrong, and whether it goes on."""

    share: float = 0.0
    said: str = ""
    going: bool = False
    failed: bool = False


class Stopped(Exception):
    """The page ends: raised where progress is told, so that what makes the model can put itself away."""


class Making:
    """Makes a model when asked.

    Args:
        make: makes it.
        done: called with the folder of what was made.
    """

    def __init__(self, make: Make, done: Callable[[Path], None]):
        self._make, self._done = make, done
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.state = State()

    def start(self) -> None:
        """Begin, unless it is going on already."""
        with self._lock:
            if not self.state.going and not self._stopping.is_set():
                self.state = State(said="starting", going=True)
                self._thread = threading.Thread(target=self._run, name="making a model")
                self._thread.start()

    def stop(self) -> None:
        """End it, and wait until it is put away."""
        self._stopping.set()
        if self._thread:
            self._thread.join()

    def _run(self) -> None:
        try:
            self._done(self._make(self._told))
            self.state = State(1.0, "done")
        except Stopped:
            self.state = State()
        except LandslideError as error:
            self.state = State(said=str(error), failed=True)
        except Exception as error:  # on a thread of its own nobody else would tell
            self.state = State(said=f"{type(error).__name__}: {first_line(error)}", failed=True)

    def _told(self, share: float, said: str) -> None:
        if self._stopping.is_set():
            raise Stopped
        self.state = State(share, said, going=True)


def bar(state: State) -> str:
    """A bar and what is being done, as HTML."""
    said = html.escape(state.said)
    if state.failed:
        return f"<p role='alert'>⚠ <strong>{said}</strong></p>"
    if not state.going:
        return ""
    return f"<progress max='1' value='{state.share:.3f}' aria-label='{said}'></progress><p>{said}</p>"
