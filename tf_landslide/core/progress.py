"""How far work is: a bar on a terminal, elsewhere a line every ten seconds; nothing on work that is soon done."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import Protocol, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

EVERY = 10.0
"""Seconds between two lines, and before the first."""


class Meter(Protocol):
    """Shows how much is done."""

    def update(self, n: int = 1) -> object: ...
    def close(self) -> object: ...


def progress(
    items: Iterable[Item], *, total: int | None = None, label: str = "", unit: str = "patch"
) -> Iterator[Item]:
    """Iterate, showing on standard error how far it is."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    shown = meter(total=total, label=label, unit=unit)
    try:
        for item in items:
            yield item
            shown.update()
    finally:
        shown.close()


def meter(*, total: int | None, label: str, unit: str, done: int = 0) -> Meter:
    """A bar, shown after two seconds, where standard error is a terminal, else lines.

    Args:
        total: of what is to be done, where that is known.
        label: of the work.
        unit: of ``total``; "B" is written in kB, MB and so on.
        done: of it beforehand.
    """
    if sys.stderr.isatty():
        return tqdm(total=total, desc=label, unit=unit, unit_scale=unit == "B", delay=2, leave=False, initial=done)
    return Lines(total, label, unit, done)


class Lines:
    """A line every ten seconds: ``reading train: 1200 of 3799 patches, 85.1 a second, 00:30 left``."""

    def __init__(self, total: int | None, label: str, unit: str, done: int = 0):
        self._total, self._label, self._unit, self._done = total, label, unit, done
        self._before, self._started = done, time.monotonic()
        self._next = self._started + EVERY

    def update(self, n: int = 1) -> None:
        self._done += n
        now = time.monotonic()
        if now >= self._next:
            self._next = now + EVERY
            print(self._line(now - self._started), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing is open."""

    def _line(self, seconds: float) -> str:
        rate = (self._done - self._before) / seconds
        line = f"{self._label}: {self._number(self._done)}"
        if self._total is not None:
            line += f" of {self._number(self._total)}"
        line += f"{self._plural}, {self._number(rate)} a second"
        if self._total is not None and rate > 0:
            line += f", {tqdm.format_interval(max(0, self._total - self._done) / rate)} left"
        return line

    @property
    def _plural(self) -> str:
        return "" if self._unit == "B" else f" {self._unit}{'es' if self._unit.endswith('ch') else 's'}"

    def _number(self, value: float) -> str:
        if self._unit == "B":
            return f"{tqdm.format_sizeof(value)}B"
        return str(value) if isinstance(value, int) else f"{value:.3g}"
