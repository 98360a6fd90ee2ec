"""Who may talk to the page: checks of ``Host`` and ``Origin``.

A page that listens on this machine alone can still be reached by every web site that its user visits: the browser sends
requests there for other sites (cross-origin calls), and a site may name this machine's address as its own (DNS
rebinding). The first show in ``Origin`` and ``Sec-Fetch-Site``, the second in ``Host``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

ANY = "*"


def guards(host: str, allowed: Iterable[str]) -> list[Middleware]:
    """The middleware that keeps strangers out.

    Args:
        host: that the page listens on.
        allowed: names, with or without a port, that the page may be reached by and called from; ``*`` for all.
    """
    allowed = {name.lower() for name in allowed}
    origins = ".*" if ANY in allowed else "|".join(rf"https?://{re.escape(name)}(:\d+)?" for name in sorted(allowed))
    # Gradio answers other origins by a rule of its own, unless the application around it has one.
    return [
        Middleware(SameSite, host=host, allowed=allowed),
        Middleware(CORSMiddleware, allow_origin_regex=origins or r"(?!)", allow_methods=["GET", "POST"]),
    ]


class SameSite:
    """Refuses requests by a name that is not the page's, and calls from other origins.

    Addresses in digits are always the page's: no name server can point them elsewhere.

    Args:
        app: behind it.
        host: that the page listens on.
        allowed: further names, with or without a port, in lower case; ``*`` for all.
    """

    def __init__(self, app: ASGIApp, host: str, allowed: set[str]):
        self._app, self._allowed = app, allowed
        self._own = {"localhost", host.lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(Headers(scope=scope), scope) if scope["type"] in ("http", "websocket") else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await PlainTextResponse(f"{refusal}\n", status_code=403)(scope, receive, send)

    def _refusal(self, headers: Headers, scope: Scope) -> str | None:
        if ANY in self._allowed:
            return None
        host, origin = headers.get("host", ""), headers.get("origin")
        name = _name(f"//{host}")
        if not name or not (name in self._own or _is_address(name) or self._is_allowed(f"//{host}")):
            return "The page does not go by this name; start it with --allowed-hosts NAME to let it."
        if origin is not None and _place(origin) != host.lower() and not self._is_allowed(origin):
            return "The page takes no calls from other sites; start it with --allowed-hosts NAME to let one."
        foreign = headers.get("sec-fetch-site") == "cross-site" and origin is None
        followed = headers.get("sec-fetch-mode") == "navigate" and scope.get("method") in ("GET", "HEAD")
        if foreign and not followed:
            return "The page is not part of other sites; follow a link to it, or open its address."
        return None

    def _is_allowed(self, url: str) -> bool:
        return bool({_name(url), _place(url)} & self._allowed)


def _place(url: str) -> str:
    """``HOST:PORT`` of an address, as it stands there, in lower case; nothing where there is none (``null``)."""
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


def _name(url: str) -> str:
    """The host alone, in lower case; nothing where it cannot be told."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
