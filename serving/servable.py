"""One loaded version of a model: any SavedModel, and its signatures."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from serving.protos import PredictionLog, PredictRequest, SavedModel, SignatureDef
from serving.status import Code, ServingError, code_of
from serving.tensors import DTYPES, STRING, dtype_of, to_array

log = logging.getLogger("serving")
DEFAULT_SIGNATURE = "serving_default"
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
MAX_WARMUP_RECORDS = 1000  # WarmupConsts::kMaxNumRecords


class Servable:
    """A loaded SavedModel.

    Args:
        path: its folder.
        tags: of the graph to load.

    Attributes:
        signatures: the ``SignatureDef`` of each signature, as the file states them.

    Raises:
        ServingError: it cannot be loaded.
    """

    def __init__(self, path: str | Path, tags: Sequence[str] = ("serve",)):
        self.path = Path(path)
        self.signatures: dict[str, SignatureDef] = dict(_meta_graph(self.path, tags).signature_def)
        try:
            # Signatures hold the variables weakly: the object they were loaded with must live as long.
            self._model = tf.saved_model.load(str(path), tags=list(tags))
        except Exception as error:  # a damaged SavedModel makes TensorFlow raise almost anything
            raise ServingError(Code.INTERNAL, f"cannot load {path}: {_message(error)}") from error
        self._functions = {
            name: function for name, function in self._model.signatures.items() if name in self.signatures
        }

    def signature(self, name: str) -> SignatureDef:
        """A signature by name, ``serving_default`` where empty."""
        name = name or DEFAULT_SIGNATURE
        if name not in self._functions:
            raise ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
        return self.signatures[name]

    def inputs(self, request: PredictRequest) -> dict[str, np.ndarray]:
        """The arrays of a request, checked against the signature that it names."""
        signature = self.signature(request.model_spec.signature_name)
        sent, known = set(request.inputs), set(signature.inputs)
        if sent - known or known - sent - set(signature.defaults):
            extra, missing = sorted(sent - known), sorted(known - sent)
            raise _invalid(
                f"input size does not match signature: {len(sent)}!={len(known)} "
                f"len({{{','.join(sorted(sent))}}}) != len({{{','.join(sorted(known))}}}). "
                f"Sent extra: {{{','.join(extra)}}}. Missing but required: {{{','.join(missing)}}}."
            )
        arrays = {}
        for name, info in signature.inputs.items():
            try:
                arrays[name] = to_array(request.inputs[name] if name in sent else signature.defaults[name])
            except ValueError as error:
                raise _invalid(f"tensor parsing error: {name}: {error}") from None
            _check(name, arrays[name], info)
        return arrays

    def outputs(self, request: PredictRequest) -> list[str]:
        """Names of the outputs that a request asks for: all where it names none."""
        known = sorted(self.signature(request.model_spec.signature_name).outputs)
        wanted = list(request.output_filter)
        for name in wanted:
            if name not in known:
                raise _invalid(
                    f"output tensor alias not found in signature: {name} "
                    f"Outputs expected to be in the set {{{','.join(known)}}}."
                )
        for name in {name for name in wanted if wanted.count(name) > 1}:
            raise _invalid(f"duplicate output tensor alias: {name}")
        return wanted or known

    def run(self, signature: str, inputs: dict[str, np.ndarray], outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """Run a signature on arrays that fit it."""
        tensors = {
            name: tf.constant(array.tolist() if array.dtype == object else array, shape=array.shape, dtype=_tf(array))
            for name, array in inputs.items()
        }
        try:
            results = self._functions[signature or DEFAULT_SIGNATURE](**tensors)
            return {name: np.asarray(results[name].numpy()) for name in outputs}
        except tf.errors.OpError as error:
            raise ServingError(code_of(error.error_code), _message(error)) from None
        except (TypeError, ValueError) as error:
            raise _invalid(_message(error)) from None

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
            kind = record.WhichOneof("log_type")
            if kind != "predict_log":
                log.warning("%s: a %s record is left out; only predictions are replayed", path, kind)
                continue
            request = record.predict_log.request
            for _ in range(iterations):
                self.run(request.model_spec.signature_name, self.inputs(request), self.outputs(request))
        return len(records)


def _tf(array: np.ndarray):
    return tf.string if array.dtype == object else tf.as_dtype(array.dtype)


def _meta_graph(path: Path, tags: Sequence[str]):
    file = path / "saved_model.pb"
    try:
        graphs = SavedModel.FromString(file.read_bytes()).meta_graphs
    except Exception as error:
        raise ServingError(
            Code.NOT_FOUND, f"Could not find SavedModel .pb at supplied export directory path: {path}"
        ) from error
    for graph in graphs:
        if set(graph.meta_info_def.tags) == set(tags):
            return graph
    found = "; ".join(",".join(graph.meta_info_def.tags) for graph in graphs)
    raise ServingError(Code.NOT_FOUND, f"{path}: has no graph with tags {{{','.join(tags)}}} (found: {found})")


def _check(name: str, array: np.ndarray, info) -> None:
    """Refuse an array whose dtype, rank or known sizes are not the signature's."""
    if info.dtype not in DTYPES:
        raise ServingError(Code.UNIMPLEMENTED, f"input {name}: dtype {info.dtype} is not supported")
    expected, found = DTYPES[info.dtype], dtype_of(array)
    if expected.number != found.number and not expected.number == found.number == STRING:
        raise _invalid(f"Expected input {name} to be {expected.name} but {found.name} is provided.")
    if info.tensor_shape.unknown_rank:
        return
    wanted = [dim.size for dim in info.tensor_shape.dim]
    if len(wanted) != array.ndim or any(w not in (-1, s) for w, s in zip(wanted, array.shape, strict=False)):
        known = ",".join("?" if size == -1 else str(size) for size in wanted)
        raise _invalid(f"Expected input {name} to have shape [{known}], got [{','.join(map(str, array.shape))}].")


def _invalid(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)


def _message(error: BaseException) -> str:
    return " ".join(str(error).split())[:1024] or type(error).__name__
