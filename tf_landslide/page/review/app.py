"""The page of a review, and the server that shows it.

The page's files have fixed addresses, polygons and tiles are named by numbers: nothing that a request says becomes a
path. What is decided comes as JSON, which no other site's form can send, past the same doors as the other page's.
"""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import parse_json
from tf_landslide.core.templates import render
from tf_landslide.objects.review.session import Session, Stale
from tf_landslide.page.doors import guards
from tf_landslide.page.listening import ENDINGS, address_of, listen
from tf_landslide.scenes.canvas import SCRIPT, STYLE, stage

MOST_BYTES = 2**18
"""Of a decision: an outline of two thousand corners, and a comment."""

_FOLDER = Path(__file__).parent
_TYPES = {".js": "text/javascript", ".css": "text/css"}
_FILES = {
    path.name: path
    for path in (SCRIPT, STYLE, *(_FOLDER / name for name in ("pictures.js", "drawing.js", "review.js", "review.css")))
}
_HEADERS = {
    "content-security-policy": "default-src 'none'; img-src 'self'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
_CONNECTIONS = 64  # at a time


def application(review: Session, host: str, allowed_hosts: Iterable[str] = ()) -> Starlette:
    """What answers requests.

    Args:
        review: that is under way.
        host: that the page listens on.
        allowed_hosts: further names it may be reached by and called from, see ``page.doors``.
    """

    def page(_: Request) -> Response:
        label = f"Map of {len(review.polygons)} polygons to be reviewed. Question mark: the keys."
        text = render(
            _FOLDER / "review.html.jinja",
            reviewer=review.reviewer,
            name=review.folder.resolve().name,
            stage=stage(label),
        )
        return Response(text, media_type="text/html")

    def asset(request: Request) -> Response:
        path = _FILES.get(request.path_params["name"])
        if path is None:
            return PlainTextResponse("no such file\n", 404)
        return Response(path.read_bytes(), media_type=_TYPES[path.suffix])

    def state(_: Request) -> Response:
        return JSONResponse(review.state())

    def details(request: Request) -> Response:
        return JSONResponse(review.details(_number(request, "polygon")))

    def tile(request: Request) -> Response:
        picture = review.pictures.get(request.path_params["when"])
        place = (_number(request, name) for name in ("level", "row", "column"))
        found = picture.tile(*place) if picture else None
        if found is None:
            return PlainTextResponse("no such tile\n", 404)
        headers = {"cache-control": "private, max-age=86400"}  # its address holds the picture's version
        return Response(found[0], media_type=found[1], headers=headers)

    def agreements(_: Request) -> Response:
        return JSONResponse([found.as_dict() for found in review.agreements()])

    def export(_: dict[str, Any]) -> dict[str, Any]:
        return {"files": [str(path) for path in review.export()]}

    return Starlette(
        routes=[
            Route("/", page),
            Route("/files/{name}", asset),
            Route("/favicon.ico", lambda _: Response(status_code=204)),
            Route("/state", state),
            Route("/polygons/{polygon}", details),
            Route("/pictures/{when}/{level}/{row}/{column}", tile),
            Route("/agreement", agreements),
            *(
                Route(f"/{name}", _taking(function), methods=["POST"])
                for name, function in (("decide", review.decide), ("undo", review.undo), ("export", export))
            ),
        ],
        middleware=[*guards(host, allowed_hosts), Middleware(_WithHeaders)],
        exception_handlers={LandslideError: _refused, Stale: _stale},
    )


def _number(request: Request, name: str) -> int:
    """A number of an address. Raises ``LandslideError`` for what is none, or has more than nine digits."""
    text = request.path_params[name]
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise LandslideError(f"the {name} is not a number")
    return int(text)


def _taking(function: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Request], Awaitable[Response]]:
    """What reads a JSON object from a request, and answers with what a function makes of it."""

    async def answer(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return JSONResponse({"error": "expected application/json"}, 415)
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_BYTES:
                return JSONResponse({"error": f"more than {MOST_BYTES:,} bytes"}, 413)
        wanted = parse_json(body, "the request")
        return JSONResponse(await run_in_threadpool(function, wanted))

    return answer


def _refused(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


def _stale(_: Request, __: Exception) -> Response:
    return JSONResponse({"error": "decided in another window meanwhile"}, 409)


class _WithHeaders:
    """Sends with every answer what the page may load, and that nobody keeps it."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                more = ((name.encode(), value.encode()) for name, value in _HEADERS.items())
                message["headers"] = [*message["headers"], *((n, v) for n, v in more if n not in given)]
            await send(message)

        await self._app(scope, receive, told)


@dataclass
class Page:
    """A page that is up.

    Attributes:
        address: where.
    """

    address: str
    server: uvicorn.Server
    thread: threading.Thread

    def close(self) -> None:
        """Stop it."""
        self.server.should_exit = True
        self.thread.join(timeout=10)


def start(review: Session, host: str, port: int, allowed_hosts: Iterable[str] = ()) -> Page:
    """Show the page, in a thread of its own.

    Args:
        review: that is under way.
        host, port: where it listens; port 0 for a free one.
        allowed_hosts: as of ``application``.

    Raises:
        LandslideError: an address that cannot be listened on.
    """
    listening = listen(host, port)
    config = uvicorn.Config(
        application(review, host, allowed_hosts),
        log_level="warning",
        lifespan="off",
        ws="none",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="review", daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        thread.join(0.02)
    if not server.started:
        listening.close()
        raise LandslideError(f"{host}:{port}: the page did not start")
    return Page(address_of(listening, host), server, thread)


def serve(review: Session, host: str, port: int, allowed_hosts: Iterable[str] = ()) -> None:
    """Show the page until it is ended (Ctrl-C, SIGTERM). Arguments and errors as of ``start``."""
    ended = threading.Event()
    for ending in ENDINGS:
        signal.signal(ending, lambda *_: ended.set())
    page = start(review, host, port, allowed_hosts)
    print(f"the review is at {page.address} (Ctrl-C ends it)", flush=True)
    try:
        while not ended.wait(1) and page.thread.is_alive():
            pass
    finally:
        page.close()
