"""The calls of the API, whichever door they come through: gRPC (``servicers``) and HTTP (``rest``) both end here."""

from __future__ import annotations

import threading
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np

from serving.batching import Batcher, can_batch
from serving.caller import Caller
from serving.gate import Gate, Limits
from serving.manager import Manager
from serving.metrics import Metrics
from serving.protos import (
    GetModelMetadataRequest,
    GetModelMetadataResponse,
    GetModelStatusRequest,
    GetModelStatusResponse,
    PredictRequest,
    PredictResponse,
    SignatureDefMap,
)
from serving.status import Code, ServingError
from serving.tensors import to_proto

if TYPE_CHECKING:  # TensorFlow starts with it
    from serving.servable import Servable

SIGNATURE_DEF = "signature_def"


class Api:
    """Answers requests.

    Args:
        manager: the models.
        limits: what is taken.
        batcher: runs requests together, or None.
        tensor_content: answer with raw bytes rather than typed fields.
        metrics: counts.
    """

    def __init__(
        self,
        manager: Manager,
        limits: Limits | None = None,
        batcher: Batcher | None = None,
        tensor_content: bool = False,
        metrics: Metrics | None = None,
    ):
        self.manager, self.limits, self.batcher = manager, limits or Limits(), batcher
        self.tensor_content, self.metrics = tensor_content, metrics or Metrics()
        self._gate = Gate(self.limits)
        self._active = threading.Condition()
        self._running, self._draining = 0, False
        self._batched = Gate(Limits(self.limits.queue, 0))  # so many wait for their batch; one more is refused

    def predict(self, request: PredictRequest, caller: Caller, *, api: str = "GRPC") -> PredictResponse:
        """Run a signature.

        Raises:
            ServingError: with the code that TensorFlow Serving gives.
        """
        arrays, number = self.predict_arrays(request, caller, api=api)
        response = PredictResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.signature_name = request.model_spec.signature_name or "serving_default"
        response.model_spec.version.value = number
        for name, array in arrays.items():
            response.outputs[name].CopyFrom(to_proto(array, content=self.tensor_content))
        return response

    def predict_arrays(
        self, request: PredictRequest, caller: Caller, *, api: str, served: tuple[int, Servable] | None = None
    ) -> tuple[dict[str, np.ndarray], int]:
        """The outputs by name, and the version that gave them.

        Args:
            request: what to run.
            caller: who waits for it.
            api: by which it came, GRPC or REST.
            served: what ``Manager.serving`` gave, where the caller holds it already; None takes what the request names.
        """
        started, code, name = time.perf_counter(), Code.UNKNOWN, request.model_spec.name
        self._begin(api)
        try:
            if not request.HasField("model_spec"):
                raise ServingError(Code.INVALID_ARGUMENT, "Missing ModelSpec")
            with nullcontext(served) if served else self.manager.serving(request.model_spec) as (number, servable):
                inputs, outputs = servable.inputs(request), servable.outputs(request)
                self._check_size(inputs)
                arrays = self._run(servable, request.model_spec.signature_name, inputs, outputs, caller)
            code = Code.OK
            return arrays, number
        except ServingError as error:
            code = error.code
            raise
        finally:
            if name not in self.manager.names:
                name = ""  # a name that anyone can invent must not become a series of its own
            self.metrics.count(name, code, api, time.perf_counter() - started)
            with self._active:
                self._running -= 1
                self._active.notify_all()

    def _begin(self, api: str) -> None:
        with self._active:
            if self._draining and api == "GRPC":  # over HTTP, no more connections are taken
                raise ServingError(Code.UNAVAILABLE, "the server is stopping; ask another")
            self._running += 1

    def drain(self) -> None:
        """Refuse new predictions over gRPC."""
        with self._active:
            self._draining = True

    def wait_until_idle(self, timeout: float) -> bool:
        """Until no prediction runs or waits, ``timeout`` seconds at most."""
        with self._active:
            return self._active.wait_for(lambda: self._running == 0, max(0.0, timeout))

    def _run(self, servable, signature, inputs, outputs, caller: Caller) -> dict[str, np.ndarray]:
        if self.batcher and can_batch(inputs, servable.signature(signature)):
            with self._batched.turn(caller):
                return self.batcher.run(servable, signature, inputs, outputs, caller)
        with self._gate.turn(caller):
            return servable.run(signature, inputs, outputs)

    def _check_size(self, inputs: dict[str, np.ndarray]) -> None:
        limit = self.limits.image_pixels
        for name, array in inputs.items():
            if limit and array.ndim == 4 and array.shape[1] * array.shape[2] > limit:
                raise ServingError(
                    Code.INVALID_ARGUMENT,
                    f"input {name}: images of {array.shape[1]} x {array.shape[2]} pixels are larger than the {limit} "
                    "that this server takes; cut them into tiles",
                )

    def metadata(self, request: GetModelMetadataRequest) -> GetModelMetadataResponse:
        if not request.HasField("model_spec"):
            raise ServingError(Code.INVALID_ARGUMENT, "Missing ModelSpec")
        if not request.metadata_field:
            raise ServingError(
                Code.INVALID_ARGUMENT, "GetModelMetadataRequest must specify at least one metadata_field"
            )
        for name in request.metadata_field:
            if name != SIGNATURE_DEF:
                raise ServingError(Code.INVALID_ARGUMENT, f"Metadata field {name} is not supported")
        response, signatures = GetModelMetadataResponse(), SignatureDefMap()
        with self.manager.serving(request.model_spec) as (number, servable):
            for name, signature in servable.signatures.items():
                signatures.signature_def[name].CopyFrom(signature)
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = number
        response.metadata[SIGNATURE_DEF].Pack(signatures)
        return response

    def status(self, request: GetModelStatusRequest) -> GetModelStatusResponse:
        if not request.HasField("model_spec"):
            raise ServingError(Code.INVALID_ARGUMENT, "Missing ModelSpec")
        response = GetModelStatusResponse()
        for version in self.manager.statuses(request.model_spec):
            row = response.model_version_status.add(version=version.number, state=version.state)
            row.status.SetInParent()
            if version.error is not None:
                row.status.error_code = version.error.code.value[0]
                row.status.error_message = version.error.message
        return response
