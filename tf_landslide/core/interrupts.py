"""Ctrl-C that does not get lost.

Python raises ``KeyboardInterrupt`` wherever the program happens to be. Raised in a destructor, in what the garbage
collector calls, or in a lookup by a library in C, it is thrown away there, and the program goes on as if nobody had
asked.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

AGAIN = 1.0  # second until an interrupt that got lost is raised once more


@contextmanager
def interrupts_insist(number: int = signal.SIGINT, *, once: bool = False) -> Iterator[None]:
    """Have a signal raise ``KeyboardInterrupt``, and again every second until that is on its way out of the context.

    What clears away behind it takes the time it needs. It uses ``SIGALRM`` from the first interrupt on. In another
    thread than the main one, and where ``SIGINT`` is ignored or somebody else's, nothing changes.

    Args:
        number: of the signal.
        once: further signals are ignored; otherwise each interrupts anew, also what clears away.
    """
    before = signal.getsignal(number)
    mine = number != signal.SIGINT or before is signal.default_int_handler
    if not mine or threading.current_thread() is not threading.main_thread():
        yield
        return
    alarm, tell, asked = signal.getsignal(signal.SIGALRM), sys.unraisablehook, False

    def interrupted(*_: Any) -> None:
        nonlocal asked
        asked = True
        if once:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, again)
        signal.setitimer(signal.ITIMER_REAL, AGAIN, AGAIN)
        raise KeyboardInterrupt

    def again(*_: Any) -> None:
        if not _on_its_way():
            raise KeyboardInterrupt

    def unraisable(lost: Any) -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            tell(lost)

    signal.signal(number, interrupted)
    sys.unraisablehook = unraisable
    try:
        yield
    finally:
        if asked:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, alarm)
        signal.signal(number, before)
        sys.unraisablehook = tell


def _on_its_way() -> bool:
    """Whether something clears away behind an interrupt: it is being handled, or what is came of it."""
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None
