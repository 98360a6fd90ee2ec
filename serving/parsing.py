"""Answers over HTTP, two at a time: others wait, so many as may, and each as long as its caller does."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from starlette.requests import ClientDisconnect, Request

from serving.caller import Caller
from serving.status import Code, ServingError

PARSING = 2  # bodies parsed, run and answered at a time: JSON holds the interpreter, and gRPC must get its turn
LATE = "the deadline passed before the answer came"


class Parsing:
    """Threads that answer.

    Args:
        answer_within: seconds from when a body has come, 0 for any.
        queue: bodies that wait; one more is refused.
    """

    def __init__(self, answer_within: float, queue: int):
        self._within, self._most = answer_within if answer_within > 0 else None, queue + PARSING
        self._pool = ThreadPoolExecutor(PARSING, "rest")
        self._here = 0

    def close(self) -> None:
        """Begin with nothing more; what runs is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def run(self, request: Request, answer: Callable[[Caller], bytes]) -> bytes:
        """What a function answers to a caller whose body was read, as long as that one waits.

        Raises:
            ServingError: as many wait as may, or the deadline has passed; or what the function raises.
            ClientDisconnect: the caller has gone.
        """
        if self._here >= self._most:
            raise ServingError(Code.UNAVAILABLE, f"the queue is full: {self._here} requests wait; try again")
        gone = threading.Event()
        caller = Caller(None if self._within is None else time.monotonic() + self._within, lambda: not gone.is_set())
        work = asyncio.get_running_loop().run_in_executor(self._pool, _waited_for, caller, answer)
        self._here += 1  # until it has run, or was seen to be waited for no longer
        work.add_done_callback(self._done)
        leaving = asyncio.create_task(_departure(request))
        try:
            await asyncio.wait((work, leaving), timeout=self._within, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            if leaving.done():
                raise ClientDisconnect
            raise ServingError(Code.DEADLINE_EXCEEDED, LATE)
        finally:
            gone.set()
            leaving.cancel()

    def _done(self, work: asyncio.Future) -> None:
        self._here -= 1
        if not work.cancelled():
            work.exception()  # which nobody else may ask for


def _waited_for(caller: Caller, answer: Callable[[Caller], bytes]) -> bytes:
    """The answer, where somebody still waits for it."""
    if not caller.waits():
        raise ServingError(Code.DEADLINE_EXCEEDED, LATE)
    return answer(caller)


async def _departure(request: Request) -> None:
    """Wait until the caller has gone; one who only closed its own side may still read (``listener``)."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
