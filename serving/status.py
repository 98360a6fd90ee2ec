"""A request refused: with which code, and how HTTP says it; and what cannot be used at all."""

from __future__ import annotations

import grpc

Code = grpc.StatusCode


class ServingError(Exception):
    """A request that cannot be answered: one of gRPC's codes, and one line."""

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code, self.message = code, message


class HttpError(Exception):
    """A request refused by a status of HTTP's that none of gRPC's codes stands for."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status, self.message = status, message


class UsageError(Exception):
    """Flags, files or an address that cannot be used, told in one line."""


# ToHTTPStatusCode in TensorFlow Serving's model_servers/http_server.cc.
HTTP_STATUS = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.UNAUTHENTICATED: 401,
}


def http_status(code: grpc.StatusCode) -> int:
    return HTTP_STATUS.get(code, 500)


_BY_NUMBER = {code.value[0]: code for code in Code}


def code_of(number: int) -> grpc.StatusCode:
    """The code with a number; TensorFlow's errors carry the same numbers."""
    return _BY_NUMBER.get(number, Code.UNKNOWN)
