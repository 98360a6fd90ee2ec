"""One loaded version of a model: any SavedModel, and its signatures."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from serving import inference
from serving.inference import DEFAULT_SIGNATURE
from serving.protos import Input, PredictionLog, PredictRequest, SignatureDef, TensorInfo
from serving.session import GraphSession
from serving.status import Code, ServingError
from serving.tensors import to_array

log = logging.getLogger("serving")
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
MAX_WARMUP_RECORDS = 1000  # WarmupConsts::kMaxNumRecords


class Servable:
    """A loaded SavedModel.

    Args:
        path: its folder.
        tags: of the graph to load.
        parallel: as ``GraphSession`` takes it.

    Attributes:
        signatures: the ``SignatureDef`` of each signature, as the file states them.

    Raises:
        ServingError: it cannot be loaded.
    """

    def __init__(self, path: str | Path, tags: Sequence[str] = ("serve",), *, parallel: bool = False):
        self.path = Path(path)
        self.session = GraphSession(self.path, tags, parallel=parallel)
        self.signatures = self.session.signatures

    def close(self) -> None:
        """Let its variables go."""
        self.session.close()

    def signature(self, name: str) -> SignatureDef:
        """A signature by name, ``serving_default`` where empty."""
        name = name or DEFAULT_SIGNATURE
        if name not in self.signatures:
            raise ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
        return self.signatures[name]

    def inputs(self, request: PredictRequest) -> dict[str, np.ndarray]:
        """The arrays of a request, under the names of the signature that it names."""
        signature = self.signature(request.model_spec.signature_name)
        _check_names(set(request.inputs), signature)
        arrays = {}
        for name in sorted(signature.inputs):
            try:
                arrays[name] = to_array(request.inputs[name] if name in request.inputs else signature.defaults[name])
            except ValueError as error:
                raise _invalid(f"tensor parsing error: {name}: {error}") from None
            if self.session.fragile:
                _check_rank(name, arrays[name], signature.inputs[name])
        return arrays

    def outputs(self, request: PredictRequest) -> list[str]:
        """Names of the outputs that a request asks for: all where it names none."""
        known = sorted(self.signature(request.model_spec.signature_name).outputs)
        wanted = dict[str, None]()
        for name in request.output_filter:
            if name not in known:
                raise _invalid(
                    f"output tensor alias not found in signature: {name} "
                    f"Outputs expected to be in the set {{{','.join(known)}}}."
                )
            if name in wanted:
                raise _invalid(f"duplicate output tensor alias: {name}")
            wanted[name] = None
        return list(wanted) or known

    def run(self, signature: str, inputs: dict[str, np.ndarray], outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """Run a signature on the arrays of its inputs."""
        known = self.signature(signature)
        feeds = [(known.inputs[name].name, array) for name, array in inputs.items()]
        results = self.session.run(feeds, [known.outputs[name].name for name in outputs])
        return dict(zip(outputs, results, strict=True))

    def infer(self, message: Input, tensors: Sequence[tuple[str, list[str]]]) -> tuple[int, dict[str, np.ndarray]]:
        """Run on examples.

        Args:
            message: the examples.
            tensors: for each task the tensor that takes them, and those wanted.

        Returns:
            the number of examples, and what they give by tensor.
        """
        array = inference.examples(message)
        feeds = [(name, array) for name in {name for name, _ in tensors}]
        fetches = sorted({name for _, names in tensors for name in names})
        return len(array), dict(zip(fetches, self.session.run(feeds, fetches), strict=True))

    def warm_up(self, iterations: int = 1) -> int:
        """Replay the requests that the version carries. Returns how many; raises ``ServingError`` where one fails."""
        path = self.path / WARMUP_FILE
        if not path.is_file():
            return 0
        try:
            records = [PredictionLog.FromString(r.numpy()) for r in tf.data.TFRecordDataset(str(path))]
        except Exception as error:
            raise ServingError(Code.INTERNAL, f"{path}: cannot be read ({_message(error)})") from None
        if len(records) > MAX_WARMUP_RECORDS:
            raise _invalid(f"{path}: holds {len(records)} records, at most {MAX_WARMUP_RECORDS} are allowed")
        for record in records:
            for _ in range(iterations):
                self._replay(record)
        return len(records)

    def _replay(self, record: PredictionLog) -> None:
        kind = record.WhichOneof("log_type")
        match kind:
            case "predict_log":
                request = record.predict_log.request
                self.run(request.model_spec.signature_name, self.inputs(request), self.outputs(request))
            case "classify_log" | "regress_log":
                request = getattr(record, kind).request
                signature = inference.find_signature(request.model_spec, self.signatures)
                tensors = inference.classify_tensors if kind == "classify_log" else inference.regress_tensors
                self.infer(request.input, [tensors(signature)])
            case "multi_inference_log":
                request = record.multi_inference_log.request
                inference.check_tasks(list(request.tasks), self.signatures)
                signatures = [self.signature(task.model_spec.signature_name) for task in request.tasks]
                self.infer(request.input, list(map(inference.task_tensors, request.tasks, signatures)))
            case _:
                log.warning("%s: a %s record is left out", self.path / WARMUP_FILE, kind)


def _check_names(sent: set[str], signature: SignatureDef) -> None:
    """Refuse names that are not the signature's, as predict_util.cc and TensorFlow's own util.cc do."""
    known, defaults = set(signature.inputs), set(signature.defaults)
    if len(sent) > len(known) or (len(sent) < len(known) and not defaults):
        raise _invalid(
            f"input size does not match signature: {len(sent)}!={len(known)} len({_set(sent)}) != len({_set(known)}). "
            f"Sent extra: {_set(sent - known)}. Missing but required: {_set(known - sent)}."
        )
    for name in sorted(known - sent - defaults):
        raise _invalid(
            f"Signature input alias: {name}(feed name: {signature.inputs[name].name}) not found in request and no "
            f"default value provided. Inputs expected to be in the request {_set(sent)}, or default input alias set: "
            f"{_list(defaults)}"
        )
    if sent - known:
        raise _invalid(
            f"Inputs contains invalid name. Used request inputs: {_list(sent & known)}, request input: {_list(sent)}"
        )


def _check_rank(name: str, array: np.ndarray, info: TensorInfo) -> None:
    """Refuse an array of another rank than the signature's."""
    shape = info.tensor_shape
    if info.WhichOneof("encoding") == "name" and not shape.unknown_rank and len(shape.dim) != array.ndim:
        known = ",".join("?" if dim.size == -1 else str(dim.size) for dim in shape.dim)
        raise _invalid(f"Expected input {name} to have shape [{known}], got [{','.join(map(str, array.shape))}].")


def _list(names: Iterable[str]) -> str:
    return ",".join(sorted(names))


def _set(names: Iterable[str]) -> str:
    return f"{{{_list(names)}}}"


def _invalid(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)


def _message(error: BaseException) -> str:
    return " ".join(str(error).split())[:1024] or type(error).__name__
