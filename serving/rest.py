"""The way in over HTTP: TensorFlow Serving's REST API (its api_rest.md), and metrics."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from google.protobuf.json_format import MessageToDict

from serving.api import SIGNATURE_DEF, Api
from serving.caller import Caller
from serving.json_tensors import parse_json, read_inputs, write_outputs
from serving.metrics import METRICS_PATH
from serving.protos import (
    GetModelMetadataRequest,
    GetModelStatusRequest,
    ModelSpec,
    PredictRequest,
    SignatureDefMap,
)
from serving.status import Code, ServingError, http_status
from serving.tensors import to_proto

log = logging.getLogger("serving")
PARSING = 2  # bodies read, run and answered at a time
DISCARDED = 2**27  # bytes of a refused body that are read before the connection is closed
SETTLE = 0.2  # seconds between accepting a connection and its request
_MODEL = r"(?i)/v1/models{name}(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_NAME = r"/(?P<name>[^/:]+)"
_POST = re.compile(_MODEL.format(name=_NAME) + r":(?P<method>classify|regress|predict)")
_GET = re.compile(_MODEL.format(name=f"(?:{_NAME})?") + r"(?:/(?P<metadata>metadata))?")


class RestServer:
    """HTTP/1.1 on a port, a thread for each connection.

    Args:
        api: answers.
        host, port: to listen on.
        timeout: seconds a prediction may take, 0 for any.
        max_bytes: of a request's body.
        metrics_path: where metrics are, or None for nowhere.
        cors: let pages of any origin call.
    """

    def __init__(
        self,
        api: Api,
        host: str,
        port: int,
        *,
        timeout: float = 30.0,
        max_bytes: int = 2**30,
        metrics_path: str | None = METRICS_PATH,
        cors: bool = False,
    ):
        handler = type("Handler", (_Handler,), {"api": api, "answer_within": timeout, "max_bytes": max_bytes})
        handler.metrics_path, handler.cors = metrics_path, cors
        self._server = _Server((host, port), handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="rest", daemon=True)
        self._thread.start()

    def stop(self, grace: float) -> None:
        """Take no more connections than have come already, and wait for the answers under way."""
        self._server.shutdown()
        self._server.take_waiting()
        self._server.server_close()
        self._server.drained(grace)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, *arguments):
        self._answering = 0
        self._changed = threading.Condition()
        self.stopping = False
        self.parsing = threading.BoundedSemaphore(PARSING)  # JSON holds the interpreter: gRPC must get its turn
        super().__init__(*arguments)

    def take_waiting(self) -> None:
        """Accept the connections that wait in the listener's queue, and give them time to send their request."""
        self.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                request, address = self.socket.accept()
                request.setblocking(True)
                self.process_request(request, address)
        time.sleep(SETTLE)

    def handle_error(self, request, client_address) -> None:
        log.debug("%s went away", client_address, exc_info=True)

    def answering(self, change: int) -> None:
        with self._changed:
            self._answering += change
            self._changed.notify_all()

    def drained(self, timeout: float) -> bool:
        self.stopping = True
        with self._changed:
            return self._changed.wait_for(lambda: self._answering == 0, timeout)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "embedded"
    sys_version = ""
    disable_nagle_algorithm = True
    timeout = 60  # seconds a connection may stay silent

    api: Api
    answer_within: float
    max_bytes: int
    metrics_path: str | None
    cors: bool

    def do_GET(self) -> None:
        self._respond("GET")

    def do_POST(self) -> None:
        self._respond("POST")

    def do_OPTIONS(self) -> None:
        self._send(200 if self.cors else 405, b"", "text/plain")

    def _respond(self, method: str) -> None:
        self.server.answering(+1)
        try:
            path = self.path.partition("?")[0]
            if method == "GET" and path == self.metrics_path:
                self._send(200, self.api.metrics.text(), "text/plain; version=0.0.4")
                return
            try:
                status, text = 200, self._answer(method, path)
            except ServingError as error:
                status, text = http_status(error.code), json.dumps({"error": error.message})
            except UnicodeEncodeError:
                status, text = 400, json.dumps({"error": "JSON strings must be valid Unicode"})
            except Exception:
                log.exception("a request failed in a way that is the server's fault")
                status, text = 500, json.dumps({"error": "internal error; see the server's log"})
            self._send(status, text.encode(), "application/json")
        finally:
            self.server.answering(-1)

    def _answer(self, method: str, path: str) -> str:
        if not path.lower().startswith("/v1/"):
            raise ServingError(Code.NOT_FOUND, f"Not found: {path}")
        body = self._body() if method == "POST" else b""
        match = (_POST if method == "POST" else _GET).fullmatch(path)
        if not match:
            raise _invalid(f"Malformed request: {method} {path}")
        if not match["name"]:
            raise _invalid("Missing model name in request.")
        if method == "GET" and (self.headers.get("Content-Length") or self.headers.get("Transfer-Encoding")):
            self.close_connection = True  # a body that nobody reads
        spec = _spec(match)
        if method == "POST":
            with self.server.parsing:
                return self._post(match["method"].lower(), spec, body)
        if match["metadata"]:
            return metadata_json(self.api, spec)
        response = self.api.status(GetModelStatusRequest(model_spec=spec))
        # The status message keeps its proto's name for one field, as TensorFlow Serving's JSON does.
        return json.dumps(_plain(response), indent=1)

    def _post(self, method: str, spec: ModelSpec, body: bytes) -> str:
        if method != "predict":
            raise ServingError(Code.UNIMPLEMENTED, f"{method} is not supported; use predict")
        request = PredictRequest(model_spec=spec)
        document = parse_json(body)
        name = document.get("signature_name", "")
        if not isinstance(name, str):
            raise _invalid("'signature_name' key must be a string value.")
        request.model_spec.signature_name = name
        with self.api.manager.serving(request.model_spec) as (_, servable):
            try:
                signature = servable.signature(name)
            except ServingError:
                raise _invalid(f'Serving signature name: "{name}" not found in signature def') from None
            arrays, by_row = read_inputs(document, signature)
            for key, array in arrays.items():
                request.inputs[key].CopyFrom(to_proto(array))
        caller = Caller(time.monotonic() + self.answer_within if self.answer_within > 0 else None)
        results, _ = self.api.predict_arrays(request, caller, api="REST")
        return write_outputs(results, by_row)

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._chunks()
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            self.close_connection = True
            raise _invalid("the request needs a Content-Length") from None
        try:
            self._check_length(length)
        except ServingError:
            self._discard(length)
            raise
        return self.rfile.read(length)

    def _discard(self, length: int) -> None:
        """Read some of a body that is refused: a caller still sending would not see the answer."""
        left = min(length, DISCARDED)
        while left > 0 and (read := len(self.rfile.read(min(left, 2**16)))):
            left -= read

    def _chunks(self) -> bytes:
        body = bytearray()
        try:
            while size := int(self.rfile.readline(100).partition(b";")[0], 16):
                self._check_length(len(body) + size)
                body += self.rfile.read(size)
                self.rfile.readline(100)
            while self.rfile.readline(1000).strip():
                pass  # trailers
        except ValueError:
            self.close_connection = True
            raise _invalid("the request's chunks cannot be read") from None
        return bytes(body)

    def _check_length(self, length: int) -> None:
        if not 0 <= length <= self.max_bytes:
            self.close_connection = True
            raise ServingError(
                Code.RESOURCE_EXHAUSTED, f"the request has {length} bytes; this server takes {self.max_bytes}"
            )

    def _send(self, status: int, body: bytes, kind: str) -> None:
        if self.server.stopping:
            self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        if self.cors:
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Access-Control-Allow-Methods", "POST, GET")
            self.send_header("Access-Control-Allow-Headers", "Content-Type")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments) -> None:
        log.debug("%s %s", self.address_string(), format % arguments)


def _spec(match: re.Match) -> ModelSpec:
    spec = ModelSpec(name=unquote(match["name"]))
    if match["version"]:
        if int(match["version"]) >= 2**63:
            raise _invalid(f"Failed to convert version: {match['version']} to numeric.")
        spec.version.value = int(match["version"])
    elif match["label"]:
        spec.version_label = unquote(match["label"])
    return spec


def _plain(message) -> dict:
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def metadata_json(api: Api, spec: ModelSpec) -> str:
    """A model's signatures."""
    response = api.metadata(GetModelMetadataRequest(model_spec=spec, metadata_field=[SIGNATURE_DEF]))
    signatures = SignatureDefMap()
    response.metadata[SIGNATURE_DEF].Unpack(signatures)
    found = {"model_spec": _plain(response.model_spec), "metadata": {SIGNATURE_DEF: _plain(signatures)}}
    return json.dumps(found, indent=1)


def _invalid(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)
