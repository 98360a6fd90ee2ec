"""Who waits for an answer, and for how long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    """Who waits for an answer.

    Attributes:
        deadline: on the monotonic clock, or None.
        connected: whether the caller is still there.
    """

    deadline: float | None = None
    connected: Callable[[], bool] = lambda: True

    def waits(self) -> bool:
        return self.connected() and self.patience() > 0

    def patience(self, at_most: float = threading.TIMEOUT_MAX) -> float:
        """Seconds that the caller still waits."""
        return at_most if self.deadline is None else max(0.0, min(at_most, self.deadline - time.monotonic()))
