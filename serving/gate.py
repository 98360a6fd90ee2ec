"""How many requests run and wait: the rest are refused before they cost anything."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from serving.caller import Caller
from serving.status import Code, ServingError


@dataclass(frozen=True)
class Limits:
    """What a server takes.

    Attributes:
        concurrency: requests that run at the same time; others wait their turn.
        queue: requests that wait; one more is refused.
        image_pixels: rows x columns of an image, 0 for any: axes 1 and 2 of an input of rank four.
    """

    concurrency: int = 2
    queue: int = 256
    image_pixels: int = 0


class Gate:
    """Lets ``concurrency`` requests in at a time, in order of arrival, and none whose caller has gone."""

    def __init__(self, limits: Limits):
        self._limits = limits
        self._running = 0
        self._lock = threading.Lock()
        self._queue: deque[threading.Condition] = deque()  # each waits for its own turn

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @contextmanager
    def turn(self, caller: Caller) -> Iterator[None]:
        with self._lock:
            if self._running >= self._limits.concurrency and len(self._queue) >= self._limits.queue:
                raise ServingError(Code.UNAVAILABLE, f"the queue is full: {len(self._queue)} requests wait; try again")
            self._wait(caller)
            self._running += 1
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1
                self._call_next()

    def _wait(self, caller: Caller) -> None:
        own = threading.Condition(self._lock)
        self._queue.append(own)
        try:
            while not (self._queue[0] is own and self._running < self._limits.concurrency) and caller.waits():
                own.wait(caller.patience(at_most=1.0))
            if not caller.waits():
                raise ServingError(Code.DEADLINE_EXCEEDED, "the deadline passed before the request's turn came")
        finally:
            self._queue.remove(own)
            self._call_next()

    def _call_next(self) -> None:
        if self._queue:
            self._queue[0].notify()
