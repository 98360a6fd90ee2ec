"""Scenes that are mapped while the page is up: one after the other, by a key that only their browser knows.

A run belongs to its key, not to a tab: it goes on and is found again after a reload. Who does not ask for it any longer
has gone, and so does the run.
"""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tf_landslide.core.errors import LandslideError, first_line

KEPT = 3600.0  # seconds that a map stays after it was last looked at
GONE = 300.0  # seconds without a question after which a run that is not done is given up; hidden tabs ask once a minute
WAITING = 8  # runs that may wait

Tell = Callable[[str, int, int], None]
"""Told the stage, and how many blocks of it are done, of how many."""
Work = Callable[[Path, Tell], dict[str, Any]]
"""Maps into a folder; returns what its ``summary.json`` holds."""
State = Literal["waiting", "going", "done", "failed", "cancelled"]


class Cancelled(Exception):
    """Raised where the work tells how far it is, so that it puts itself away."""


@dataclass
class SceneRun:
    """One map, wanted or made.

    Attributes:
        out: its folder.
        state: how it stands; ``said`` is what went wrong.
        stage, done, total: how far it is.
        left: seconds that its blocks take still, as far as can be told.
        summary: of the finished map.
    """

    work: Work
    out: Path
    looked_at: float
    state: State = "waiting"
    said: str = ""
    stage: str = "blocks"
    done: int = 0
    total: int = 0
    left: float | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def over(self) -> bool:
        return self.state not in ("waiting", "going")


class SceneRuns:
    """Maps scenes one after the other.

    Args:
        folder: for the maps, a folder each; a run that is not finished leaves nothing in it.
        clock: tells the time in seconds.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic):
        self._folder, self._clock = folder, clock
        self._runs: OrderedDict[str, SceneRun] = OrderedDict()
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._ended = False
        self._thread: threading.Thread | None = None

    def start(self, work: Work, instead_of: str | None = None) -> str:
        """Have a scene mapped; the run that it replaces is cancelled and forgotten. Returns the new one's key.

        Raises:
            LandslideError: too many wait already; the run that would be replaced stays.
        """
        key = secrets.token_urlsafe(18)
        with self._lock:
            self._sweep()
            waiting = sum(run.state == "waiting" for other, run in self._runs.items() if other != instead_of)
            if self._ended or waiting >= WAITING:
                raise LandslideError(f"{WAITING} maps are waiting already; come again in some minutes")
            self._runs[key] = SceneRun(work, self._folder / f"scene-{secrets.token_hex(6)}", self._clock())
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._go, name="mapping scenes", daemon=True)
                self._thread.start()
        self.forget(instead_of)
        self._wanted.set()
        return key

    def get(self, key: str | None) -> SceneRun | None:
        """A run, or None where it is not kept (any longer)."""
        with self._lock:
            self._sweep()
            run = self._runs.get(key or "")
            if run:
                run.looked_at = self._clock()
            return run

    def ahead(self, key: str | None) -> int:
        """How many runs come before a waiting one, the one that is going on included."""
        with self._lock:
            count = 0
            for other, run in self._runs.items():
                if other == key:
                    return count
                count += not run.over
        return 0

    def cancel(self, key: str | None) -> None:
        """Stop a run: a waiting one at once, one that is going on at its next block."""
        with self._lock:
            run = self._runs.get(key or "")
            if run and not run.over:
                run.stop.set()
                if run.state == "waiting":
                    run.state = "cancelled"

    def forget(self, key: str | None) -> None:
        """Stop a run and remove its map."""
        self.cancel(key)
        with self._lock:
            run = self._runs.pop(key or "", None)
        if run and run.state != "going":
            shutil.rmtree(run.out, ignore_errors=True)

    def stop(self) -> None:
        """Cancel all, and wait until the last one is put away."""
        self._ended = True
        for key in list(self._runs):
            self.cancel(key)
        self._wanted.set()
        if self._thread:
            self._thread.join(timeout=30)

    def _next(self) -> SceneRun | None:
        with self._lock:
            self._wanted.clear()
            self._sweep()
            run = next((run for run in self._runs.values() if run.state == "waiting"), None)
            if run:
                run.state = "going"
            return run

    def _go(self) -> None:
        while not self._ended:
            run = self._next()
            if run is None:
                self._wanted.wait(GONE)
                continue
            self._map(run)

    def _map(self, run: SceneRun) -> None:
        started = self._clock()

        def tell(stage: str, done: int, total: int) -> None:
            with self._lock:
                self._sweep()
            if run.stop.is_set():
                raise Cancelled
            run.stage, run.done, run.total = stage, done, total
            run.left = (self._clock() - started) / done * (total - done) if done and stage == "blocks" else None

        state: State = "failed"
        try:
            run.summary = run.work(run.out, tell)
            state = "cancelled" if run.stop.is_set() else "done"
        except Cancelled:
            state = "cancelled"
        except (LandslideError, OSError) as error:
            run.said = str(error)
        except Exception as error:  # on a thread of its own nobody else would tell
            run.said = f"{type(error).__name__}: {first_line(error)}"
        if state != "done":
            shutil.rmtree(run.out, ignore_errors=True)
        run.state = state

    def _sweep(self) -> None:
        """Forget maps that nobody looks at, give up runs whose browser has gone; the lock is held."""
        now = self._clock()
        for key, run in list(self._runs.items()):
            unseen = now - run.looked_at
            if run.over and unseen > KEPT:
                del self._runs[key]
                shutil.rmtree(run.out, ignore_errors=True)
            elif not run.over and unseen > GONE:
                run.stop.set()
                if run.state == "waiting":
                    run.state = "cancelled"
