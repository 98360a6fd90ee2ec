"""By which names, and from which pages, a server may be called.

A browser sends two headers that no page can forge: ``Host``, the name that was called, and ``Origin``, the page that
calls. By the first one tells a foreign page whose own name was made to lead to this machine (DNS rebinding), by the
second any other page: neither may use a server that listens on its reader's machine only.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping

from serving.status import Code, ServingError

_AUTHORITY = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^\s:/@\[\]]+)(?::(?P<port>[0-9]*))?")
_PORTS = {"http": "80", "https": "443"}


class Hosts:
    """Who may call.

    Args:
        names: by which the server may be called; None for any.
        cors: pages of any origin may call.
    """

    def __init__(self, names: frozenset[str] | None, cors: bool):
        self._names, self._cors = names, cors

    @classmethod
    def of(cls, allowed: str, host: str, address: str, cors: bool) -> Hosts:
        """As the flags say it.

        Args:
            allowed: names with commas between them; ``*`` for any; empty for this machine's own where it listens to
                nobody else, and for any where it does: a deployed server is called by many names.
            host: the name or address that it was told to listen on.
            address: the address that it listens on.
            cors: pages of any origin may call.
        """
        names = [name.strip() for name in allowed.split(",") if name.strip()]
        if not names:
            local = ipaddress.ip_address(address).is_loopback
            names = ["localhost", "127.0.0.1", "[::1]", host, socket.gethostname()] if local else ["*"]
        return cls(None if "*" in names else frozenset(map(_plain, names)), cors)

    def check_name(self, headers: Mapping[str, str]) -> None:
        """Refuse a request that calls by a name that is not the server's, with a ``ServingError``."""
        host = headers.get("host")
        called = _called(headers)
        if self._names is not None and host is not None and not (called and _plain(called["name"]) in self._names):
            raise _refused(f"this server is not called {host[:80]!r}; --allowed_hosts lets it be")

    def check_page(self, headers: Mapping[str, str]) -> None:
        """Refuse a request of a page that is not the server's, with a ``ServingError``."""
        called, origin = _called(headers), headers.get("origin")
        if origin is not None and not self._cors and not (called and _same(origin.lower(), called)):
            raise _refused(f"pages of {origin[:80]!r} may not call; --rest_api_enable_cors_support lets them")


def _called(headers: Mapping[str, str]) -> re.Match | None:
    host = headers.get("host")
    return _AUTHORITY.fullmatch(host.lower()) if host else None


def _plain(name: str) -> str:
    """A name as names are compared: IPv6 addresses in brackets, no dot at the end."""
    name = name.lower().rstrip(".")
    return f"[{name}]" if ":" in name and not name.startswith("[") else name


def _same(origin: str, called: re.Match) -> bool:
    """Whether a page's origin is the server itself."""
    scheme, _, authority = origin.partition("://")
    page, port = _AUTHORITY.fullmatch(authority), _PORTS.get(scheme)
    return page is not None and (page["name"], page["port"] or port) == (called["name"], called["port"] or port)


def _refused(message: str) -> ServingError:
    return ServingError(Code.PERMISSION_DENIED, message)
