"""A model on a server: the embedded one or TensorFlow Serving, they cannot be told apart from here.

Needs neither TensorFlow nor Keras: a client starts in a second, not in ten.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from serving.client import Client
from serving.status import ServingError, UsageError
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import TEXT_BYTES, parse_json
from tf_landslide.predict.predictor import BATCH_SIZE, UNCERTAINTY, Predictor
from tf_landslide.runs.card import ModelCard

_SILENT = 2.0  # seconds of waiting before it is said


class ServerBackend:
    """Has a server compute, several requests on their way at a time.

    Args:
        client: of one model, and of one version of it: another one has another card.
        version: that one; 0 where the server does not tell.
        batch_size: images in a request.
        in_flight: requests on their way at a time.
    """

    name = "server"
    max_bytes = 2**25  # of a request, unless one image has more

    def __init__(self, client: Client, version: int = 0, batch_size: int = BATCH_SIZE, in_flight: int = 4):
        self.client, self.version, self.batch_size, self.in_flight = client, version, batch_size, in_flight

    def is_current(self) -> bool:
        """Whether the address still stands for the version whose card was read."""
        with _told():
            return self.version == self.client.version()

    def fingerprint(self) -> str:
        with _told():
            return f"{self.client.url} {sorted(self.client.status())}"

    def probability(self, channels: np.ndarray) -> np.ndarray:
        with _told():
            outputs = self.client.predict({"channels": channels})
        return self._expected(outputs, ["probability"])

    def uncertainty(self, channels: np.ndarray) -> np.ndarray:
        with _told():
            outputs = self.client.predict({"channels": channels}, "uncertainty")
        return self._expected(outputs, UNCERTAINTY)

    def _expected(self, outputs: dict[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
        """Outputs side by side. Raises ``LandslideError`` where one is missing."""
        if missing := [repr(name) for name in names if name not in outputs]:
            given = ", ".join(outputs)
            raise LandslideError(f"{self.client.url}: the model gives {given}, expected {', '.join(missing)}")
        return np.concatenate([outputs[name] for name in names], axis=-1)


def connect(
    url: str, *, batch_size: int = BATCH_SIZE, in_flight: int = 4, wait: float = 5.0, **options: Any
) -> Predictor:
    """A predictor that a server answers, by the version that it serves now; when that is gone, predicting is an error.

    Args:
        url: ``grpc://HOST:PORT/NAME[/versions/V|/labels/L]`` or ``grpcs://…``.
        batch_size: images in a request.
        in_flight: requests on their way at a time.
        wait: seconds, at most, for a server that is starting.
        **options: of ``serving.client.Client``: deadline, retries, tls.

    Raises:
        LandslideError: no server there, no such model on it, or one without a card.
    """
    with _told():
        client = Client(url, **options)
        _wait(client, wait)
        version = client.version()
        if version:  # some other servers do not tell
            client.stay_with(version)
        return Predictor(_card(client), ServerBackend(client, version, batch_size, in_flight))


def _wait(client: Client, seconds: float) -> None:
    if seconds <= 0 or client.wait_until_ready(min(seconds, _SILENT)):
        return
    print(f"waiting for {client.url}, {seconds:g} s at most", file=sys.stderr, flush=True)
    client.wait_until_ready(seconds - _SILENT)  # where it still is not, the next call says why


def _card(client: Client) -> ModelCard:
    """The model's card. Raises ``LandslideError`` where it has none: it is no model of ours."""
    if "describe" not in client.signatures().signature_def:
        raise LandslideError(f"{client.url}: the model has no 'describe' signature; export it with tf-landslide export")
    origin = f"{client.url}: the card"
    text = client.predict({}, "describe", outputs=["card"])["card"]
    if text.size != 1 or not isinstance(text.item(), bytes) or len(text.item()) > TEXT_BYTES:
        raise LandslideError(f"{origin} is no text of at most {TEXT_BYTES:,} bytes")
    return ModelCard.from_dict(parse_json(text.item(), origin), origin)


@contextmanager
def _told() -> Iterator[None]:
    """What a server or its client refuses, as this library's own error."""
    try:
        yield
    except (ServingError, UsageError) as error:
        raise LandslideError(str(error)) from None
