"""How many streams are open over gRPC: each that a caller may leave idle holds a thread."""

from __future__ import annotations

import threading

import grpc

MOST = 16  # as many as there are threads beyond those that predictions may need


class Streams(grpc.ServerInterceptor):
    """Refuses a stream of requests (reflection is one) where so many are open."""

    def __init__(self, most: int = MOST):
        self._most, self._free = most, threading.Semaphore(most)

    def intercept_service(self, continuation, handler_call_details):
        handler = continuation(handler_call_details)
        if handler is None or not handler.request_streaming:
            return handler

        def bounded(requests, context: grpc.ServicerContext):
            if not self._free.acquire(blocking=False):
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{self._most} streams are open; try again")
            if not context.add_callback(self._free.release):
                self._free.release()  # it has ended already
            return handler.stream_stream(requests, context)

        return grpc.stream_stream_rpc_method_handler(bounded, handler.request_deserializer, handler.response_serializer)
