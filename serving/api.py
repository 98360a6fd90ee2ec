"""The calls of the API, whichever door they come through: gRPC (``servicers``) and HTTP (``rest``) both end here."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import numpy as np

from serving import inference
from serving.batching import Batcher, can_batch
from serving.caller import Caller
from serving.gate import Gate, Limits
from serving.manager import Manager
from serving.metrics import Metrics
from serving.protos import (
    ClassificationRequest,
    ClassificationResponse,
    GetModelMetadataRequest,
    GetModelMetadataResponse,
    GetModelStatusRequest,
    GetModelStatusResponse,
    Input,
    ModelSpec,
    MultiInferenceRequest,
    MultiInferenceResponse,
    PredictRequest,
    PredictResponse,
    RegressionRequest,
    RegressionResponse,
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
        batched = self.limits.concurrency + self.limits.queue  # run, or wait for their batch; one more is refused
        self._batched = Gate(Limits(batched, 0))

    def predict(self, request: PredictRequest, caller: Caller, *, api: str = "GRPC") -> PredictResponse:
        """Run a signature.

        Raises:
            ServingError: with the code that TensorFlow Serving gives.
        """
        arrays, number = self.predict_arrays(request, caller, api=api)
        response = PredictResponse(model_spec=_answered(request.model_spec, number))
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
        with self._counted(request.model_spec.name, "Predict", api):
            _check_spec(request)
            with nullcontext(served) if served else self.manager.serving(request.model_spec) as (number, servable):
                inputs, outputs = servable.inputs(request), servable.outputs(request)
                self._check_size(inputs)
                return self._run(servable, request.model_spec.signature_name, inputs, outputs, caller), number

    def classify(self, request: ClassificationRequest, caller: Caller, *, api: str = "GRPC") -> ClassificationResponse:
        """Classes of examples. Raises ``ServingError`` with the code that TensorFlow Serving gives."""
        response = ClassificationResponse()
        with self._counted(request.model_spec.name, "Classify", api):
            _check_spec(request)
            with self.manager.serving(request.model_spec) as (number, servable):
                signature = inference.find_signature(request.model_spec, servable.signatures)
                tensors = inference.classify_tensors(signature)
                count, results = self._infer(servable, request.input, [tensors], caller)
                response.result.CopyFrom(inference.classes(signature, count, results))
        response.model_spec.CopyFrom(_answered(request.model_spec, number))
        return response

    def regress(self, request: RegressionRequest, caller: Caller, *, api: str = "GRPC") -> RegressionResponse:
        """Values of examples. Raises ``ServingError`` with the code that TensorFlow Serving gives."""
        response = RegressionResponse()
        with self._counted(request.model_spec.name, "Regress", api):
            _check_spec(request)
            with self.manager.serving(request.model_spec) as (number, servable):
                signature = inference.find_signature(request.model_spec, servable.signatures)
                tensors = inference.regress_tensors(signature)
                count, results = self._infer(servable, request.input, [tensors], caller)
                response.result.CopyFrom(inference.values(signature, count, results))
        response.model_spec.CopyFrom(_answered(request.model_spec, number))
        return response

    def multi_inference(self, request: MultiInferenceRequest, caller: Caller) -> MultiInferenceResponse:
        """Several classifications and regressions of the same examples, in one run of the graph."""
        response, tasks = MultiInferenceResponse(), list(request.tasks)
        spec = tasks[0].model_spec if tasks else ModelSpec()
        with self._counted(spec.name, "MultiInference", "GRPC"), self.manager.serving(spec) as (number, servable):
            inference.check_tasks(tasks, servable.signatures)
            signatures = [servable.signature(task.model_spec.signature_name) for task in tasks]
            tensors = [inference.task_tensors(*pair) for pair in zip(tasks, signatures, strict=True)]
            count, results = self._infer(servable, request.input, tensors, caller)
            for task, signature in zip(tasks, signatures, strict=True):
                one = response.results.add(model_spec=_answered(task.model_spec, number))
                if task.method_name == inference.CLASSIFY:
                    one.classification_result.CopyFrom(inference.classes(signature, count, results))
                else:
                    one.regression_result.CopyFrom(inference.values(signature, count, results))
        return response

    def _infer(
        self, servable: Servable, message: Input, tensors: list[tuple[str, list[str]]], caller: Caller
    ) -> tuple[int, dict[str, np.ndarray]]:
        """The number of examples, and what they give by tensor."""
        with self._gate.turn(caller):
            return servable.infer(message, tensors)

    @contextmanager
    def _counted(self, model: str, method: str, api: str) -> Iterator[None]:
        """Count a request among those that run, and what became of it."""
        started, code = time.perf_counter(), Code.UNKNOWN
        self._begin(api)
        try:
            yield
            code = Code.OK
        except ServingError as error:
            code = error.code
            raise
        finally:
            # A name that anyone can invent must not become a series of its own.
            known = model if model in self.manager.names else ""
            self.metrics.count(known, code, method, api, time.perf_counter() - started)
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
        _check_spec(request)
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
        _check_spec(request)
        response = GetModelStatusResponse()
        for version in self.manager.statuses(request.model_spec):
            row = response.model_version_status.add(version=version.number, state=version.state)
            row.status.SetInParent()
            if version.error is not None:
                row.status.error_code = version.error.code.value[0]
                row.status.error_message = version.error.message
        return response


def _check_spec(request) -> None:
    if not request.HasField("model_spec"):
        raise ServingError(Code.INVALID_ARGUMENT, "Missing ModelSpec")


def _answered(spec: ModelSpec, number: int) -> ModelSpec:
    """Which model, signature and version gave an answer."""
    name = spec.signature_name or inference.DEFAULT_SIGNATURE
    return ModelSpec(name=spec.name, signature_name=name, version={"value": number})
