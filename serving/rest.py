"""The way in over HTTP: TensorFlow Serving's REST API (its api_rest.md), and metrics."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from urllib.parse import unquote

from google.protobuf.json_format import MessageToDict
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.api import SIGNATURE_DEF, Api
from serving.bodies import Bodies, Body
from serving.caller import Caller
from serving.hosts import Hosts
from serving.inference import DEFAULT_SIGNATURE
from serving.json_examples import read_examples
from serving.json_outputs import dump, write_classes, write_outputs, write_values
from serving.json_tensors import parse_json, read_inputs, signature_name
from serving.listener import HttpServer, listen
from serving.metrics import METRICS_PATH
from serving.parsing import Parsing
from serving.protos import (
    ClassificationRequest,
    GetModelMetadataRequest,
    GetModelStatusRequest,
    ModelSpec,
    PredictRequest,
    RegressionRequest,
    SignatureDefMap,
)
from serving.status import Code, HttpError, ServingError, http_status
from serving.tensors import to_proto

log = logging.getLogger("serving")
MOST_DIGITS = 19  # of a number of 63 bits; Python refuses to read thousands
JSON, TEXT = "application/json", "text/plain"
API = "/v1/"
METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH")  # which evhttp_server.cc lets come to the API
_MODEL = r"(?i)/v1/models{name}(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_NAME = r"/(?P<name>[^/:]+)"
_POST = re.compile(_MODEL.format(name=_NAME) + r":(?P<method>classify|regress|predict)")
_GET = re.compile(_MODEL.format(name=f"(?:{_NAME})?") + r"(?:/(?P<metadata>metadata))?")


class RestServer:
    """The REST API on a port.

    Args:
        api: answers.
        host, port: to listen on.
        timeout: seconds a prediction may take, 0 for any.
        max_bytes: of a request's body.
        metrics_path: where metrics are, or None for nowhere.
        cors: let pages of any origin call.
        max_connections: at a time.
        allowed_hosts: names by which it may be called, as the flag of that name takes them.

    Raises:
        OSError: the address cannot be listened on.
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
        max_connections: int = 512,
        allowed_hosts: str = "",
    ):
        listener = listen(host, port)
        address, self.port = listener.getsockname()[:2]
        hosts = Hosts.of(allowed_hosts, host, address, cors)
        self._door = _Door(api, hosts, Bodies(max_bytes), timeout, metrics_path, cors)
        self._http = HttpServer(self._door, listener, max_connections)

    def stop(self, grace: float) -> None:
        """Take no more connections than have come already, and wait for the answers under way."""
        self._door.stopping = True
        self._http.stop(grace)
        self._door.close()


class _Door:
    """The REST API as an ASGI application.

    It is one, and not a table of routes, because TensorFlow Serving looks at a path as it was sent: in any case, and
    with ``%2F`` in a model's name.
    """

    def __init__(
        self, api: Api, hosts: Hosts, bodies: Bodies, answer_within: float, metrics_path: str | None, cors: bool
    ):
        self._api, self._hosts, self._bodies = api, hosts, bodies
        self._metrics_path, self._cors = metrics_path, cors
        self._parsing = Parsing(answer_within, api.limits.queue)
        self.stopping = False

    def close(self) -> None:
        """Begin with nothing more; what runs is not waited for."""
        self._parsing.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        with self._bodies.of(request) as body:
            try:
                status, content, kind = await self._respond(request, body)
                if body.unread:
                    await body.discard()
            except ClientDisconnect:
                return
            except asyncio.CancelledError:  # the grace of a server that stops is over
                status, content, kind = 503, _error("the server has stopped"), JSON
        response = Response(content, status, self._headers(kind, close=self.stopping or body.unread))
        await response(scope, receive, send)

    def _headers(self, kind: str, close: bool) -> dict[str, str]:
        headers = {"Content-Type": kind}
        if close:
            headers["Connection"] = "close"
        if self._cors:
            headers["Access-Control-Allow-Origin"] = "*"
            headers["Access-Control-Allow-Methods"] = "POST, GET"
            headers["Access-Control-Allow-Headers"] = "Content-Type"
        return headers

    async def _respond(self, request: Request, body: Body) -> tuple[int, bytes, str]:
        """Status, body and content type of the answer."""
        method, path = request.method, _path(request)
        log.debug("%s %s", method, path)
        try:
            _check_framing(request)
            self._hosts.check_name(request.headers)
            if method not in METHODS:
                raise ServingError(Code.UNIMPLEMENTED, f"Unsupported method ({method!r})")
            if method == "OPTIONS" and path.lower().startswith(API):
                asked = re.search("https?://", request.headers.get("origin", ""))
                return 200 if asked else 400, b"", TEXT  # a page is let in by the headers, not by the status
            self._hosts.check_page(request.headers)
            if path == self._metrics_path:
                return 200, self._api.metrics.text(), "text/plain; version=0.0.4"
            return 200, await self._answer(request, path, body), JSON
        except ServingError as error:
            return http_status(error.code), _error(error.message), JSON
        except HttpError as error:
            body.unread = True
            return error.status, _error(error.message), JSON
        except ClientDisconnect:
            raise
        except Exception:
            log.exception("a request failed in a way that is the server's fault")
            return 500, _error("internal error; see the server's log"), JSON

    async def _answer(self, request: Request, path: str, body: Body) -> bytes:
        method = request.method
        if not path.lower().startswith(API):
            raise ServingError(Code.NOT_FOUND, f"Not found: {path}")
        if method == "POST":
            await body.read()
        pattern = {"POST": _POST, "GET": _GET}.get(method)
        match = pattern.fullmatch(path) if pattern else None
        if not match:
            raise _invalid(f"Malformed request: {method} {path}")
        if not match["name"]:
            raise _invalid("Missing model name in request.")
        spec = _spec(match)
        if method == "GET":
            return self._get(spec, bool(match["metadata"]))
        called = match["method"].lower()
        return await self._parsing.run(request, lambda caller: self._post(called, spec, body.content, caller))

    def _get(self, spec: ModelSpec, metadata: bool) -> bytes:
        if metadata:
            return metadata_json(self._api, spec).encode()
        response = self._api.status(GetModelStatusRequest(model_spec=spec))
        # The status message keeps its proto's name for one field, as TensorFlow Serving's JSON does.
        return json.dumps(_plain(response), indent=1).encode()

    def _post(self, method: str, spec: ModelSpec, body: bytes | bytearray, caller: Caller) -> bytes:
        document = parse_json(body)
        spec.signature_name = signature_name(document)
        if method == "classify":
            request = ClassificationRequest(model_spec=spec, input=read_examples(document))
            return write_classes(self._api.classify(request, caller, api="REST").result)
        if method == "regress":
            request = RegressionRequest(model_spec=spec, input=read_examples(document))
            return write_values(self._api.regress(request, caller, api="REST").result)
        return self._predict(spec, document, caller)

    def _predict(self, spec: ModelSpec, document: dict, caller: Caller) -> bytes:
        request = PredictRequest(model_spec=spec)
        name = spec.signature_name
        with self._api.manager.serving(spec) as served:
            _, servable = served
            try:
                signature = servable.signature(name)
            except ServingError:
                missing = name or DEFAULT_SIGNATURE
                raise _invalid(f'Serving signature name: "{missing}" not found in signature def') from None
            arrays, by_row = read_inputs(document, signature)
            for key, array in arrays.items():
                request.inputs[key].CopyFrom(to_proto(array))
            # By the version that the request was read for: a newer one may take other inputs.
            results, _ = self._api.predict_arrays(request, caller, api="REST", served=served)
        return write_outputs(results, by_row)


def _path(request: Request) -> str:
    """As it was sent, with its query, but for what other servers take for one slash."""
    path = request.scope["raw_path"].decode("latin-1")
    if query := request.scope["query_string"].decode("latin-1"):
        path = f"{path}?{query}"
    return "/" + path.lstrip("/") if path.startswith("//") else path


def _check_framing(request: Request) -> None:
    """Refuse what h11 lets pass, but a proxy in front may have understood otherwise (RFC 9112, 6.1)."""
    if not request.scope["http_version"].startswith("1."):
        raise HttpError(505, "this server speaks HTTP/1.1")
    if "transfer-encoding" not in request.headers:
        return
    if "content-length" in request.headers:
        raise _invalid("the request has both a Content-Length and a Transfer-Encoding")
    if request.scope["http_version"] < "1.1":
        raise _invalid("HTTP/1.0 has no Transfer-Encoding")


def _error(message: str) -> bytes:
    plain = message.encode("utf-8", "surrogateescape").decode("utf-8", "replace")  # so that any reader can read it
    return dump({"error": plain})


def _spec(match: re.Match) -> ModelSpec:
    spec = ModelSpec(name=unquote(match["name"]))
    if match["version"]:
        digits = match["version"].lstrip("0") or "0"
        if len(digits) > MOST_DIGITS or int(digits) >= 2**63:
            raise _invalid(f"Failed to convert version: {match['version'][:80]} to numeric.")
        spec.version.value = int(digits)
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
