"""The way in over HTTP: TensorFlow Serving's REST API (its api_rest.md), and metrics."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import logging
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import numpy as np
from google.protobuf.json_format import MessageToDict

from serving.caller import Caller
from serving.core import SIGNATURE_DEF, Core
from serving.metrics import METRICS_PATH
from serving.protos import (
    GetModelMetadataRequest,
    GetModelStatusRequest,
    ModelSpec,
    PredictRequest,
    SignatureDef,
    SignatureDefMap,
)
from serving.status import Code, ServingError, http_status
from serving.tensors import DTYPES, STRING, DType, to_proto

log = logging.getLogger("serving")
PARSING = 2  # bodies read, run and answered at a time
SETTLE = 0.2  # seconds between accepting a connection and its request
_MODEL = r"(?i)/v1/models{name}(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_NAME = r"/(?P<name>[^/:]+)"
_POST = re.compile(_MODEL.format(name=_NAME) + r":(?P<method>classify|regress|predict)")
_GET = re.compile(_MODEL.format(name=f"(?:{_NAME})?") + r"(?:/(?P<metadata>metadata))?")


class RestServer:
    """HTTP/1.1 on a port, a thread for each connection.

    Args:
        core: answers.
        host, port: to listen on.
        timeout: seconds a prediction may take, 0 for any.
        max_bytes: of a request's body.
        metrics_path: where metrics are, or None for nowhere.
        cors: let pages of any origin call.
    """

    def __init__(
        self,
        core: Core,
        host: str,
        port: int,
        *,
        timeout: float = 30.0,
        max_bytes: int = 2**30,
        metrics_path: str | None = METRICS_PATH,
        cors: bool = False,
    ):
        handler = type("Handler", (_Handler,), {"core": core, "answer_within": timeout, "max_bytes": max_bytes})
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
    server_version = "tf_landslide-embedded"
    sys_version = ""
    disable_nagle_algorithm = True
    timeout = 60  # seconds a connection may stay silent

    core: Core
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
                self._send(200, self.core.metrics.text(), "text/plain; version=0.0.4")
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
            return metadata_json(self.core, spec)
        response = self.core.status(GetModelStatusRequest(model_spec=spec))
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
        with self.core.manager.serving(request.model_spec) as (_, servable):
            try:
                signature = servable.signature(name)
            except ServingError:
                raise _invalid(f'Serving signature name: "{name}" not found in signature def') from None
            arrays, by_row = read_inputs(document, signature)
            for key, array in arrays.items():
                request.inputs[key].CopyFrom(to_proto(array))
        caller = Caller(time.monotonic() + self.answer_within if self.answer_within > 0 else None)
        results, _ = self.core.predict_arrays(request, caller, api="REST")
        return write_outputs(results, by_row)

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._chunks()
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            self.close_connection = True
            raise _invalid("the request needs a Content-Length") from None
        self._check_length(length)
        return self.rfile.read(length)

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


def metadata_json(core: Core, spec: ModelSpec) -> str:
    """A model's signatures."""
    response = core.metadata(GetModelMetadataRequest(model_spec=spec, metadata_field=[SIGNATURE_DEF]))
    signatures = SignatureDefMap()
    response.metadata[SIGNATURE_DEF].Unpack(signatures)
    found = {"model_spec": _plain(response.model_spec), "metadata": {SIGNATURE_DEF: _plain(signatures)}}
    return json.dumps(found, indent=1)


def parse_json(body: bytes) -> dict:
    """A request's JSON object; ``NaN`` and ``Infinity`` are numbers, as in TensorFlow Serving."""
    if not body:
        raise _invalid("JSON Parse error: The document is empty")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _invalid(f"JSON Parse error: {error}") from None
    if not isinstance(document, dict):
        raise _invalid("JSON Value: is not object")
    return document


def read_inputs(document: dict, signature: SignatureDef) -> tuple[dict[str, np.ndarray], bool]:
    """The input arrays of a predict request, and whether it was in row format (``instances``)."""
    kinds = {}
    if not signature.inputs:  # TensorFlow Serving's REST API cannot call what takes nothing; its gRPC API can
        raise _invalid(f"Failed to get input map for signature: {document.get('signature_name') or 'DEFAULT'}")
    for name, info in signature.inputs.items():
        if info.dtype not in DTYPES:
            raise ServingError(Code.UNIMPLEMENTED, f"input {name}: dtype {info.dtype} is not supported")
        kinds[name] = DTYPES[info.dtype]
    if ("instances" in document) == ("inputs" in document):
        if "inputs" in document:
            raise _invalid("expecting only one of 'inputs' or 'instances' keys to exist")
        raise _invalid("Missing 'inputs' or 'instances' key")
    if "instances" in document:
        return _rows(document["instances"], kinds), True
    return _columns(document["inputs"], kinds), False


def _rows(instances, kinds: dict[str, DType]) -> dict[str, np.ndarray]:
    if not isinstance(instances, list):
        raise _invalid("Expecting 'instances' to be an list/array")
    if not instances:
        raise _invalid("No values in 'instances' array")
    named = _is_map(instances[0])
    if not named and len(kinds) > 1:
        raise _invalid("instances is a plain list, but expecting list of objects as multiple input tensors required")
    for position, instance in enumerate(instances):
        if _is_map(instance) != named:
            raise _invalid(f"Expecting {'object' if named else 'value/list'} at item {position} of input list")
        if named and set(instance) != set(kinds):
            raise _invalid(
                f"Failed to process element: {position} of 'instances' list. keys must be equal to: "
                f"{','.join(sorted(kinds))}"
            )
    if named:
        return {name: _array([instance[name] for instance in instances], kind) for name, kind in kinds.items()}
    ((name, kind),) = kinds.items()
    return {name: _array(instances, kind)}


def _columns(inputs, kinds: dict[str, DType]) -> dict[str, np.ndarray]:
    if not _is_map(inputs):
        if len(kinds) != 1:
            raise _invalid("inputs is a plain value/list, but expecting an object as multiple input tensors required")
        ((name, kind),) = kinds.items()
        return {name: _array(inputs, kind)}
    for name in kinds:
        if name not in inputs:
            raise _invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: _array(inputs[name], kind) for name, kind in kinds.items()}


def _is_map(value) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value) -> bool:
    return isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)


_NUMBERS = {"f": (int, float), "i": (int,), "u": (int,), "b": (bool,)}


def _array(value, kind: DType) -> np.ndarray:
    """A dense array of JSON values, each checked."""
    shape: list[int] = []
    first = value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
        if first is None:
            break
    flat = value if shape else [value]
    for depth in range(len(shape)):
        if depth:
            flat = [item for part in flat for item in part]
        expected = shape[depth + 1] if depth + 1 < len(shape) else None
        for item in flat:
            if isinstance(item, list) != (expected is not None):
                raise _invalid(f"Encountered a value at an unexpected level: {depth + 1}; expected rank {len(shape)}")
            if expected is not None and len(item) != expected:
                raise _invalid(
                    f"Encountered list at unexpected size: {len(item)} at level: {depth + 1} expected size: {expected}"
                )
    if kind.number == STRING:
        array = np.empty(len(flat), object)
        array[:] = [_bytes(item) for item in flat]
        return array.reshape(shape)
    dtype = kind.array_dtype
    allowed = _NUMBERS.get("f" if kind.name == "bfloat16" else dtype.kind)
    if allowed is None:
        raise ServingError(Code.UNIMPLEMENTED, f"Conversion of JSON Value to type: {kind.name}")
    for item in flat:
        if type(item) not in allowed:
            raise _invalid(f"JSON Value: {str(item)[:80]} is not of expected type: {kind.name}")
    try:
        return np.array(flat, dtype).reshape(shape)
    except (OverflowError, ValueError) as error:
        raise _invalid(f"JSON values are not of expected type: {kind.name}: {error}") from None


def _bytes(item) -> bytes:
    if isinstance(item, str):
        return item.encode()
    if not _is_base64(item):
        raise _invalid(f"JSON Value: {str(item)[:80]} is not of expected type: string")
    try:
        return base64.b64decode(item["b64"], validate=True)
    except (binascii.Error, ValueError):
        raise _invalid("Unable to base64 decode") from None


def write_outputs(results: dict[str, np.ndarray], by_row: bool) -> str:
    """The JSON of outputs: ``predictions``, one element a row, or ``outputs``, one array a name."""
    values = {name: _json_values(name, array) for name, array in sorted(results.items())}
    if not by_row:
        return json.dumps({"outputs": values if len(values) > 1 else next(iter(values.values()))})
    sizes = set()
    for name, array in results.items():
        if not array.ndim:
            raise _invalid(f"Tensor name: {name} has no shape information ")
        sizes.add(array.shape[0])
    if len(sizes) > 1:
        raise _invalid(f"outputs have inconsistent batch sizes: {sorted(sizes)}")
    if len(values) == 1:
        return json.dumps({"predictions": next(iter(values.values()))})
    rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return json.dumps({"predictions": rows})


def _json_values(name: str, array: np.ndarray):
    if array.dtype == object:
        encode = _base64 if name.endswith("_bytes") else _text
        return np.vectorize(encode, otypes=[object])(array).tolist() if array.size else array.tolist()
    if array.dtype == np.float32:  # the shortest decimals that read back as the same float32
        values = np.empty(array.size, object)
        values[:] = [float(str(value)) for value in array.ravel()]
        return values.reshape(array.shape).tolist()
    if array.dtype.kind not in "fiub" or (array.dtype.itemsize == 2 and array.dtype.kind in "fu"):
        raise _invalid(f"Failed to write JSON value for tensor type: {array.dtype.name}")
    return array.tolist()


def _base64(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode()}


def _text(value) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _invalid(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)
