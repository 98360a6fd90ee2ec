"""The port that a page listens on."""

from __future__ import annotations

import signal
import socket

from tf_landslide.core.errors import LandslideError

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 for a free one. Raises ``LandslideError`` where the address cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OverflowError:
        raise LandslideError(f"--port {port}: expected a port, 1 to 65535, or 0 for a free one") from None
    except OSError as error:
        raise LandslideError(f"{host}:{port}: {error.strerror or error}; choose others with --host, --port") from None


def address_of(listening: socket.socket, host: str) -> str:
    """Where the page is."""
    return f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}/"
