"""HTTP/1.1 on a port: uvicorn in a thread of its own, with bounds on what callers may hold.

uvicorn reads requests by h11, which refuses every framing that two readers could understand differently. What it leaves
open is closed here: how many connections there are, how long one may keep the server waiting, and what becomes of those
that wait in the listener's queue when the server stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import sys
import threading
from collections.abc import Callable

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

PATIENCE = 60.0  # seconds a connection may take to send a request's head, or to read an answer
SETTLE = 0.2  # seconds between accepting a connection and its request
BACKLOG = 128  # connections that wait to be accepted
HEAD = 2**16  # bytes of a request's head
_log = logging.getLogger("serving.http")
_log.setLevel(logging.ERROR)  # uvicorn warns of every request that is malformed


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        OSError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host.strip("[]"), port), family=family, backlog=BACKLOG)
    # asyncio sets this only where the protocol is spelt out; without it an answer's second half waits 40 ms for an ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


class HttpServer:
    """Answers what comes to a listener.

    Args:
        app: answers.
        listener: from ``listen``; closed by ``stop``.
        connections: at a time. One more takes the place of one whose caller keeps the server waiting, and is refused
            where there is none.
    """

    def __init__(self, app: ASGIApp, listener: socket.socket, connections: int):
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=type("Connection", (_Connection,), {"most": connections, "patience": PATIENCE}),
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            headers=[("Server", "embedded")],
            backlog=BACKLOG,
            h11_max_incomplete_event_size=HEAD,
        )
        self._server = _Server(config)
        # In a thread that is not the main one uvicorn leaves signals alone.
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name="http", daemon=True)
        self._thread.start()
        while not self._server.up.wait(0.1):
            if not self._thread.is_alive():
                raise OSError("the HTTP server did not start")

    def stop(self, grace: float) -> None:
        """Take no more connections than have come already, and finish the answers under way, for ``grace`` seconds."""
        self._server.grace = grace
        self._server.should_exit = True
        self._thread.join()


class _Server(uvicorn.Server):
    """Stops without turning away whoever has connected."""

    def __init__(self, config: uvicorn.Config):
        super().__init__(config)
        self.up = threading.Event()
        self.grace = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listener in sockets or ():
            await self._take_waiting(listener)
        await asyncio.sleep(SETTLE)
        for connection in list(self.server_state.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.grace):
                while self.server_state.connections:
                    await asyncio.sleep(0.01)
        for task in self.server_state.tasks:
            task.cancel()
        await asyncio.sleep(0.01)  # in which they say so
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await super().shutdown(sockets)

    async def _take_waiting(self, listener: socket.socket) -> None:
        """Close the listener, but not before the connections that wait in its queue are taken."""
        queue, taken = listener.dup(), []
        for server in self.servers:
            server.close()
        queue.setblocking(False)
        with queue, contextlib.suppress(OSError):
            while True:
                taken.append(queue.accept()[0])
        for connection in taken:
            connection.setblocking(False)
            await asyncio.get_running_loop().connect_accepted_socket(self._connection, connection)

    def _connection(self) -> asyncio.Protocol:
        protocol: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return protocol(config=self.config, server_state=self.server_state, app_state={})


class _Connection(H11Protocol):
    """A caller's connection, which may keep the server waiting for so long only.

    How long a request's body may take is up to what reads it (``bodies``).
    """

    most: int
    patience: float

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.logger = _log
        self.timeout_keep_alive = self.patience
        self._timer: asyncio.TimerHandle | None = None
        self._since = 0.0  # when the server began to wait for the caller
        self._half_closed = False  # the caller sends no more

    @property
    def answering(self) -> bool:
        """Whether there is a request, whose body may still be on its way."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def waiting(self) -> bool:
        """Whether the caller keeps the server waiting, be it for a request, its body, or to read the answer."""
        return not self.answering or self.cycle.more_body or self.flow.write_paused

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()
        if len(self.connections) > self.most:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.answering and not self.flow.write_paused:
            self._stop_waiting()

    def pause_writing(self) -> None:
        """What was answered is not read: while that lasts, the next answer of a row of requests waits as well."""
        super().pause_writing()
        self._wait()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.answering:
            self._stop_waiting()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Leave it open for the answer where the caller has sent all of a request and only closed its own side."""
        self._half_closed = True
        if self.answering and self.cycle.more_body:
            self.conn.receive_data(b"")
            self.handle_events()  # half a body: refused
        return self.answering and not self.cycle.more_body

    def on_response_complete(self) -> None:
        super().on_response_complete()  # which may have begun with the next request
        if not self.answering:
            self._wait()
            if self._half_closed:
                self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Refuse what h11 cannot read, or will not."""
        error = sys.exc_info()[1]  # uvicorn calls this where it has caught it, and says less itself
        too_long = isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == 431
        self._refuse(431 if too_long else 400, f"{msg} {error}" if error else msg)

    def _wait(self) -> None:
        self._stop_waiting()
        self._since = self.loop.time()
        self._timer = self.loop.call_later(self.patience, self._give_up)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if self.transport.is_closing() or self.transport.get_write_buffer_size():
            self.transport.abort()  # the answer is not read
        elif self.conn.trailing_data[0]:
            self._refuse(408, "the request did not arrive in time")
        else:
            self.transport.close()

    def _make_room(self) -> None:
        """Be one of the most that there may be: in place of who has kept the server waiting longest, or not at all."""
        others = [
            other
            for other in self.connections
            if isinstance(other, _Connection) and other is not self and not other.transport.is_closing()
        ]
        if len(others) < self.most:
            return
        waiting = [other for other in others if other.waiting]
        if waiting:
            min(waiting, key=lambda other: other._since).transport.abort()
        else:
            self._refuse(503, f"{self.most} connections are being answered; try again")

    def _refuse(self, status: int, message: str) -> None:
        """Say why, where nothing has been said yet, and close the connection."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps({"error": message}).encode()
            headers = [
                *self.server_state.default_headers,
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ]
            response = h11.Response(status_code=status, headers=headers, reason=STATUS_PHRASES[status])
            for event in (response, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event))
        self.transport.close()
