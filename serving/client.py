"""A client of one model of a server, the embedded one or TensorFlow Serving: arrays in, arrays out.

Needs neither TensorFlow nor Keras: importing it takes a second, not ten.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np

from serving.protos import (
    GetModelMetadataRequest,
    GetModelMetadataResponse,
    GetModelStatusRequest,
    ModelSpec,
    PredictRequest,
    SignatureDefMap,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)
from serving.status import ServingError, UsageError
from serving.tensors import to_array, to_proto

_URL = re.compile(
    r"(?P<scheme>grpcs?)://(?P<address>[^/]+)/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/]+))?/?"
)
_MAX_MESSAGE = 2**31 - 1
_CHANNEL = [
    ("grpc.max_receive_message_length", _MAX_MESSAGE),
    ("grpc.max_send_message_length", _MAX_MESSAGE),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),  # a server that starts or restarts is found within a second
]
_STARTING = {"START", "LOADING"}
_ASKED_ANEW = 0.3  # seconds between two questions to a server that is starting


@dataclass(frozen=True)
class TLS:
    """Files of PEM text: the authority that signed the server's certificate, and for mutual TLS one's own."""

    authority: str | Path | None = None
    certificate: str | Path | None = None
    key: str | Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        if bool(self.certificate) != bool(self.key):
            raise UsageError("mutual TLS needs both a certificate and its key")
        try:
            parts = [Path(file).read_bytes() if file else None for file in (self.authority, self.key, self.certificate)]
        except OSError as error:
            raise UsageError(f"{error.filename}: {error.strerror}") from None
        return grpc.ssl_channel_credentials(*parts)


class Client:
    """Calls one model of a server.

    Args:
        url: ``grpc://HOST:PORT/NAME``, optionally ``/versions/V`` or ``/labels/L`` behind it; ``grpcs://`` for TLS.
        deadline: seconds for each request.
        retries: how often a request is sent again when the server is UNAVAILABLE, waiting longer each time: three
            seconds in all for the usual five.
        tls: for ``grpcs://``; the system's authorities where None.

    Raises:
        UsageError: another kind of address.
    """

    def __init__(self, url: str, *, deadline: float = 60.0, retries: int = 5, tls: TLS | None = None):
        match = _URL.fullmatch(url)
        if not match:
            raise UsageError(
                f"{url}: is no server address; expected grpc://HOST:PORT/NAME, and optionally /versions/V or /labels/L"
            )
        if tls and match["scheme"] == "grpc":
            raise UsageError(f"{url}: TLS files are for grpcs:// addresses")
        self.url, self.deadline, self.retries = url, deadline, retries
        self._spec = ModelSpec(name=match["name"])
        if match["version"]:
            if int(match["version"]) >= 2**63:
                raise UsageError(f"{url}: no version has a number of 2^63 or more")
            self._spec.version.value = int(match["version"])
        elif match["label"]:
            self._spec.version_label = match["label"]
        self._named = ModelSpec()
        self._named.CopyFrom(self._spec)
        if match["scheme"] == "grpcs":
            self._channel = grpc.secure_channel(match["address"], (tls or TLS()).credentials(), _CHANNEL)
        else:
            self._channel = grpc.insecure_channel(match["address"], _CHANNEL)
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    def wait_until_ready(self, seconds: float) -> bool:
        """Wait for a server that is starting, or still loading the model.

        Args:
            seconds: at most.

        Returns:
            whether there is a server that has loaded, or does not know, the model; what to make of the latter, the next
            call says.
        """
        until = time.monotonic() + seconds
        while True:
            request = GetModelStatusRequest(model_spec=self._spec)
            try:
                response = self._models.GetModelStatus(request, timeout=max(0.001, min(5.0, until - time.monotonic())))
                states = {row.State.Name(row.state) for row in response.model_version_status}
                if "AVAILABLE" in states or not states & _STARTING:
                    return True
            except grpc.RpcError as error:
                waits = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
                if not waits or "SSL" in (error.details() or "").upper():  # a certificate gets no better
                    return True
            if time.monotonic() + _ASKED_ANEW >= until:
                return False
            time.sleep(_ASKED_ANEW)

    def predict(
        self, inputs: dict[str, np.ndarray], signature: str = "", outputs: Iterable[str] = ()
    ) -> dict[str, np.ndarray]:
        """Run a signature.

        Args:
            inputs: arrays by name.
            signature: its name, ``serving_default`` where empty.
            outputs: the names wanted; all where empty.

        Raises:
            ServingError: whatever the server answers but a result, with its code.
        """
        request = PredictRequest(model_spec=self._spec, output_filter=outputs)
        request.model_spec.signature_name = signature
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(to_proto(array))
        response = self._call(self._prediction.Predict, request)
        return {name: to_array(proto) for name, proto in response.outputs.items()}

    def status(self) -> dict[int, str]:
        """State by version, e.g. ``{2: "AVAILABLE", 1: "END"}``."""
        rows = self._call(self._models.GetModelStatus, GetModelStatusRequest(model_spec=self._spec))
        return {row.version: row.State.Name(row.state) for row in rows.model_version_status}

    def signatures(self) -> SignatureDefMap:
        """The signatures of the model, with dtypes and shapes."""
        signatures = SignatureDefMap()
        self._metadata(self._spec).metadata["signature_def"].Unpack(signatures)
        return signatures

    def version(self) -> int:
        """The version that the address stands for now: that which it names, or its label's, or the latest."""
        return self._metadata(self._named).model_spec.version.value

    def stay_with(self, version: int) -> None:
        """Ask this version from now on, whatever else comes to be served."""
        self._spec.ClearField("version_label")
        self._spec.version.value = version

    def _metadata(self, spec: ModelSpec) -> GetModelMetadataResponse:
        request = GetModelMetadataRequest(model_spec=spec, metadata_field=["signature_def"])
        return self._call(self._prediction.GetModelMetadata, request)

    def _call(self, method, request):
        until = time.monotonic() + self.deadline
        for attempt in range(self.retries + 1):
            try:
                return method(request, timeout=max(0.001, until - time.monotonic()))
            except grpc.RpcError as error:
                pause = random.uniform(0.5, 1) * 0.1 * 2**attempt
                last = attempt == self.retries or time.monotonic() + pause >= until
                if error.code() != grpc.StatusCode.UNAVAILABLE or last:
                    detail = " ".join((error.details() or "").split())
                    raise ServingError(error.code(), f"{self.url}: {error.code().name}: {detail}") from None
                time.sleep(pause)
        raise AssertionError("unreachable")
