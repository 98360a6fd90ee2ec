"""The bodies of HTTP requests: how large, how slow, and how much of them at a time."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from starlette.requests import Request

from serving.status import Code, HttpError, ServingError

PATIENCE = 60.0  # seconds that a body may take,
RATE = 2**15  # and one more for so many bytes of it
HELD = 2**30  # bytes of all bodies that are held at a time
STEP = 2**20  # bytes that are unzipped at a time
DISCARDED = 2**27  # bytes of a refused body that are read before the connection is closed


class Bodies:
    """What a server takes.

    Args:
        max_bytes: of one body.
    """

    def __init__(self, max_bytes: int):
        self.max_bytes, self.most = max_bytes, max(HELD, max_bytes)
        self.held = 0

    @contextmanager
    def of(self, request: Request) -> Iterator[Body]:
        """The body of a request, held until the end."""
        body = Body(request, self)
        try:
            yield body
        finally:
            self.held -= len(body.content)
            body.content = bytearray()  # who would have read it later may still refer to the body


class Body:
    """A request's body.

    Attributes:
        unread: some of it may still come.
    """

    def __init__(self, request: Request, bodies: Bodies):
        self._bodies, self._parts = bodies, request.stream()
        length = request.headers.get("content-length")  # h11 lets nothing but digits pass, and not many
        self._length = None if length is None else int(length)
        self._chunked = "transfer-encoding" in request.headers
        self._asked_for = "100-continue" not in request.headers.get("expect", "").lower()
        self._zipped = "gzip" in request.headers.get("content-encoding", "")
        self.content = bytearray()
        self.unread = self._chunked or bool(self._length)

    async def read(self) -> bytearray:
        """All of it.

        Raises:
            ServingError: no length is given, it is too large (unzipped, too), or too many of them are held.
            HttpError: it did not arrive in time.
        """
        if not self._chunked:
            if self._length is None:
                self.unread = True
                raise ServingError(Code.INVALID_ARGUMENT, "the request needs a Content-Length")
            self._check(self._length)
        self._asked_for = True
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(began + PATIENCE) as limit:
                async for part in self._parts:
                    self._check(len(self.content) + len(part))
                    self._hold(part)
                    limit.reschedule(began + PATIENCE + len(self.content) / RATE)
        except TimeoutError:
            raise HttpError(408, "the request's body did not arrive in time") from None
        self.unread = False
        if self._zipped:
            await self._unzip()
        return self.content

    async def _unzip(self) -> None:
        """Hold what was zipped instead, and nothing where it is no whole gzip, as TensorFlow Serving does."""
        zipped, self.content = self.content, bytearray()
        decoder = zlib.decompressobj(wbits=31)
        try:
            for start in range(0, len(zipped), STEP):
                rest = bytes(zipped[start : start + STEP])
                while rest:
                    part = decoder.decompress(rest, STEP)
                    self._check(len(self.content) + len(part))
                    self._hold(part)
                    rest = decoder.unconsumed_tail
                    await asyncio.sleep(0)  # others get their turn
            whole = decoder.eof and not decoder.unused_data
        except zlib.error:
            whole = False
        finally:
            self._bodies.held -= len(zipped)
        if not whole:
            self._bodies.held -= len(self.content)
            self.content = bytearray()

    async def discard(self) -> None:
        """Read some of a body that is refused: a caller still sending would not see the answer."""
        if not self._asked_for:
            return  # who asks first whether to send it does not send it
        left = DISCARDED
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                async for part in self._parts:
                    left -= len(part)
                    if left < 0:
                        break

    def _check(self, length: int) -> None:
        if length > self._bodies.max_bytes:
            raise ServingError(
                Code.RESOURCE_EXHAUSTED,
                f"the request has {length} bytes; this server takes {self._bodies.max_bytes}",
            )

    def _hold(self, part: bytes) -> None:
        if self._bodies.held + len(part) > self._bodies.most:
            raise ServingError(Code.UNAVAILABLE, "too many large requests arrive at this moment; try again")
        self.content += part
        self._bodies.held += len(part)
