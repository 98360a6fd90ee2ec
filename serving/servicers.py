"""The way in over gRPC: TensorFlow Serving's services, health and reflection."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from serving.api import Api
from serving.caller import Caller
from serving.gate import Gate, Limits
from serving.protos import (
    ReloadConfigResponse,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)
from serving.status import ServingError

log = logging.getLogger("serving")
PREDICTION, MODEL = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"
RELOADS = 16  # at a time: each waits, with a thread, for whatever is being loaded
MAX_MESSAGE = 1024  # bytes of an error, as TensorFlow Serving's ToGRPCStatus


def _caller(context: grpc.ServicerContext) -> Caller:
    remaining = context.time_remaining()
    return Caller(None if remaining is None else time.monotonic() + remaining, context.is_active)


def _answer(context: grpc.ServicerContext, answer: Callable):
    """The answer, or the call's end with the code and message of what was wrong."""
    try:
        return answer()
    except ServingError as error:
        context.abort(error.code, _short(error.message))
    except Exception:
        log.exception("a request failed in a way that is the server's fault")
        context.abort(grpc.StatusCode.INTERNAL, "internal error; see the server's log")


def _short(message: str) -> str:
    whole = message.encode()
    return message if len(whole) <= MAX_MESSAGE else f"{whole[:MAX_MESSAGE].decode(errors='ignore')}...TRUNCATED"


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers of models, and their signatures."""

    def __init__(self, api: Api):
        self._api = api

    def Predict(self, request, context):
        return _answer(context, lambda: self._api.predict(request, _caller(context)))

    def Classify(self, request, context):
        return _answer(context, lambda: self._api.classify(request, _caller(context)))

    def Regress(self, request, context):
        return _answer(context, lambda: self._api.regress(request, _caller(context)))

    def MultiInference(self, request, context):
        return _answer(context, lambda: self._api.multi_inference(request, _caller(context)))

    def GetModelMetadata(self, request, context):
        return _answer(context, lambda: self._api.metadata(request))


class Refused(grpc.GenericRpcHandler):
    """Services that TensorFlow Serving has or knows of and this server has not, refused by name."""

    NAMES = ("tensorflow.serving.SessionService", "tensorflow.ProfilerService", "tensorflow.ProfileAnalysis")

    def service(self, handler_call_details):
        name = handler_call_details.method.strip("/").partition("/")[0]
        if name not in self.NAMES:
            return None

        def refuse(_: bytes, context: grpc.ServicerContext):
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{name} is not supported by the embedded server")

        return grpc.unary_unary_rpc_method_handler(refuse)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """``GetModelStatus`` and ``HandleReloadConfigRequest``."""

    def __init__(self, api: Api):
        self._api = api
        self._reloads = Gate(Limits(RELOADS, 0))

    def GetModelStatus(self, request, context):
        return _answer(context, lambda: self._api.status(request))

    def HandleReloadConfigRequest(self, request, context):
        def reload():
            if request.config.WhichOneof("config") != "model_config_list":
                raise ServingError(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                    "Only ModelConfigList is currently supported",
                )
            caller = _caller(context)
            with self._reloads.turn(caller):
                self._api.manager.wait_for(self._api.manager.reload(request.config), caller)
            response = ReloadConfigResponse()
            response.status.SetInParent()
            return response

        return _answer(context, reload)


class Health:
    """What ``grpc.health.v1`` tells, for the server as a whole and for each service."""

    # TensorFlow Serving's own health service goes by the short names.
    SERVICES = ("", PREDICTION, MODEL, "PredictionService", "ModelService")

    def __init__(self):
        self._servicer = health.HealthServicer()
        self.set(False)

    def set(self, serving: bool) -> None:
        status = health_pb2.HealthCheckResponse
        for name in self.SERVICES:
            self._servicer.set(name, status.SERVING if serving else status.NOT_SERVING)

    def add_to(self, server: grpc.Server) -> None:
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)


def add_services(server: grpc.Server, api: Api) -> Health:
    """Register every service on a gRPC server."""
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(api), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(api), server)
    server.add_generic_rpc_handlers((Refused(),))
    state = Health()
    state.add_to(server)
    reflection.enable_server_reflection((PREDICTION, MODEL, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return state
