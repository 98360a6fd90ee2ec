"""Classify, Regress and MultiInference: ``tf.Example`` messages in, classes or values out.

As TensorFlow Serving's classifier.cc, regressor.cc and multi_inference.cc have it, with their texts.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from serving.protos import ClassificationResult, InferenceTask, Input, ModelSpec, RegressionResult, SignatureDef
from serving.status import Code, ServingError
from serving.tensors import MAX_FILLED_BYTES, STRING, dtype_of

DEFAULT_SIGNATURE = "serving_default"
CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
INPUTS, CLASSES, SCORES, OUTPUTS = "inputs", "classes", "scores", "outputs"
FLOAT = 1  # DT_FLOAT
Results = Mapping[str, np.ndarray]  # by tensor


def find_signature(spec: ModelSpec, signatures: Mapping[str, SignatureDef]) -> SignatureDef:
    """The signature of a request to classify or regress."""
    name = spec.signature_name or DEFAULT_SIGNATURE
    if name not in signatures:
        raise _invalid(f"No signature was found with the name: {name}")
    return signatures[name]


def examples(message: Input) -> np.ndarray:
    """Serialised examples, each with the context in front, as TensorFlow parses them.

    Raises:
        ServingError: there are none, or together they would be far larger than the message.
    """
    context = b""
    found = message.example_list.examples
    if message.WhichOneof("kind") == "example_list_with_context":
        context = message.example_list_with_context.context.SerializeToString()
        found = message.example_list_with_context.examples
    if not found:
        raise _invalid("Input is empty.")
    if len(context) * len(found) > MAX_FILLED_BYTES:
        raise _invalid(f"A context of {len(context):,} bytes for each of {len(found):,} examples is too much")
    array = np.empty(len(found), object)
    array[:] = [context + example.SerializeToString() for example in found]
    return array


def classify_tensors(signature: SignatureDef) -> tuple[str, list[str]]:
    """The tensor that takes examples, and those that give classes and scores."""
    _check_one_input(signature)
    if len(signature.outputs) not in (1, 2):
        raise _invalid(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if INPUTS not in signature.inputs:
        raise _invalid(f"No classification inputs found in SignatureDef: {signature}")
    outputs = [signature.outputs[key].name for key in (CLASSES, SCORES) if key in signature.outputs]
    if not outputs:
        raise _invalid(
            f'Expected classification signature outputs to contain at least one of "{CLASSES}" or "{SCORES}". '
            f"Signature was: {signature}"
        )
    return signature.inputs[INPUTS].name, outputs


def regress_tensors(signature: SignatureDef) -> tuple[str, list[str]]:
    """The tensor that takes examples, and the one that gives values."""
    _check_one_input(signature)
    if len(signature.outputs) != 1:
        raise _invalid("Expected one output Tensor.")
    if INPUTS not in signature.inputs:
        raise _invalid(f"No regression inputs found in SignatureDef: {signature}")
    if OUTPUTS not in signature.outputs:
        raise _invalid(f"No regression outputs found in SignatureDef: {signature}")
    return signature.inputs[INPUTS].name, [signature.outputs[OUTPUTS].name]


def _check_one_input(signature: SignatureDef) -> None:
    if len(signature.inputs) != 1:
        raise _invalid("Expected one input Tensor.")


def task_tensors(task: InferenceTask, signature: SignatureDef) -> tuple[str, list[str]]:
    """What a task of a MultiInference request feeds and fetches."""
    if task.method_name == CLASSIFY:
        return classify_tensors(signature)
    if task.method_name == REGRESS:
        return regress_tensors(signature)
    raise ServingError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}")


def check_tasks(tasks: list[InferenceTask], signatures: Mapping[str, SignatureDef]) -> None:
    """Refuse tasks that do not go together."""
    seen: set[str] = set()
    for task in tasks:
        if not task.model_spec.name:
            raise _invalid("Found ModelSpec with an empty model name.")
        if task.model_spec.name != tasks[0].model_spec.name:
            raise _invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if name in seen:
            raise _invalid(f"Duplicate evaluation of signature: {name}")
        seen.add(name)
        if name not in signatures:
            raise _invalid(f"Requested signature not found in model graph: {name}")
        task_tensors(task, signatures[name])


def classes(signature: SignatureDef, count: int, results: Results) -> ClassificationResult:
    """What a classification answers, of ``count`` examples."""
    label_tensor, score_tensor = (
        signature.outputs[key].name if key in signature.outputs else None for key in (CLASSES, SCORES)
    )
    labels = _table(results, label_tensor, "classes", STRING, count)
    scores = _table(results, score_tensor, "scores", FLOAT, count) if score_tensor != label_tensor else None
    if labels is not None and scores is not None and labels.shape[1] != scores.shape[1]:
        raise _invalid(
            f"Tensors class and score should match in dim_size(1). Got {labels.shape[1]} vs. {scores.shape[1]}"
        )
    result = ClassificationResult()
    for row in range(count):
        one = result.classifications.add()
        for column in range((labels if labels is not None else scores).shape[1]):  # type: ignore[union-attr]
            found = one.classes.add()
            if labels is not None:
                found.label = _utf8(labels[row, column])
            if scores is not None:
                found.score = scores[row, column]
    return result


def _table(results: Results, tensor: str | None, what: str, dtype: int, count: int) -> np.ndarray | None:
    if tensor is None:
        return None
    array = results[tensor]
    if array.ndim != 2:
        raise _invalid(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}")
    if dtype_of(array).number != dtype:
        expected = "DT_STRING" if dtype == STRING else "DT_FLOAT"
        raise _invalid(f"Expected {what} Tensor of {expected}. Got: {_name(array)}")
    if array.shape[0] != count:
        raise _invalid(f"Expected {what} output batch size of {count}. Got: {array.shape[0]}")
    return array


def values(signature: SignatureDef, count: int, results: Results) -> RegressionResult:
    """What a regression answers, of ``count`` examples."""
    array = results[signature.outputs[OUTPUTS].name]
    if array.ndim != 1 and not (array.ndim == 2 and array.shape[1] == 1):
        raise _invalid(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {_shape(array)}"
        )
    if array.shape[0] != count:
        raise _invalid(f"Input batch size did not match output batch size: {count} vs. {array.shape[0]}")
    if dtype_of(array).number != FLOAT:
        raise _invalid(f"Expected output Tensor of DT_FLOAT.  Got: {_name(array)}")
    result = RegressionResult()
    for value in array.ravel():
        result.regressions.add(value=value)
    return result


def _shape(array: np.ndarray) -> str:
    return f"[{','.join(map(str, array.shape))}]"


def _name(array: np.ndarray) -> str:
    return f"DT_{dtype_of(array).name.upper()}"


def _utf8(label: bytes) -> str:
    """A label, which the message holds as text; what is no UTF-8 in it is replaced."""
    return label.decode("utf-8", "replace")


def _invalid(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)
