"""Classify, Regress and MultiInference of a graph as an Estimator exports it, over gRPC and REST."""

import http.client
import json

import grpc
import numpy as np
import pytest
from tensorflow.core.example.example_pb2 import Example

from serving.inference import CLASSIFY, REGRESS
from serving.protos import (
    ClassificationRequest,
    InferenceTask,
    Input,
    ModelSpec,
    MultiInferenceRequest,
    PredictionLog,
    RegressionRequest,
)
from serving.tensors import to_array
from tests.serving import graphs
from tests.serving.conftest import Stubs, code_of, predict_request, running


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    graphs.save_graph(folder / "estimator", graphs.estimator)
    graphs.save_graph(folder / "other", graphs.counter)
    with running(folder) as server:
        yield server


@pytest.fixture(scope="module")
def prediction(served):
    return Stubs(served.port).prediction


@pytest.fixture(scope="module")
def rest(served):
    def call(method, body):
        connection = http.client.HTTPConnection("localhost", served.rest_port, timeout=30)
        connection.request(
            "POST", f"/v1/models/estimator:{method}", body if isinstance(body, bytes) else json.dumps(body)
        )
        response = connection.getresponse()
        return response.status, json.loads(response.read())

    return call


def example(**features) -> Example:
    message = Example()
    for name, value in features.items():
        feature = message.features.feature[name]
        if isinstance(value, float):
            feature.float_list.value.append(value)
        elif isinstance(value, int):
            feature.int64_list.value.append(value)
        else:
            feature.bytes_list.value.append(value)
    return message


def given(*examples: Example, context: Example | None = None) -> Input:
    message = Input()
    into = message.example_list if context is None else message.example_list_with_context
    into.examples.extend(examples)
    if context is not None:
        message.example_list_with_context.context.CopyFrom(context)
    return message


def spec(signature="", name="estimator") -> ModelSpec:
    return ModelSpec(name=name, signature_name=signature)


TWO = given(example(x=0.25, word=b"rock"), example())


def rows(result):
    return [[(c.label, c.score) for c in one.classes] for one in result.classifications]


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("", [[("rock", 0.25), ("ROCK", 0.75)], [("none", 7), ("NONE", -6)]]),
        ("labels", [[("rock", 0), ("ROCK", 0)], [("none", 0), ("NONE", 0)]]),
        ("scores", [[("", 0.25), ("", 0.75)], [("", 7), ("", -6)]]),
    ],
)
def test_classes_and_scores(prediction, signature, expected):
    response = prediction.Classify(ClassificationRequest(model_spec=spec(signature), input=TWO))
    assert rows(response.result) == expected
    answered = ModelSpec(name="estimator", signature_name=signature or "serving_default", version={"value": 1})
    assert response.model_spec == answered


@pytest.mark.parametrize(("signature", "expected"), [("regress", [0.5, 14]), ("flat", [0.25, 7])])
def test_values(prediction, signature, expected):
    response = prediction.Regress(RegressionRequest(model_spec=spec(signature), input=TWO))
    assert [one.value for one in response.result.regressions] == expected
    assert response.model_spec.signature_name == signature


def test_what_the_examples_have_in_common(prediction):
    message = given(example(word=b"a"), example(x=2.0), context=example(x=3.0, word=b"b"))
    response = prediction.Regress(RegressionRequest(model_spec=spec("regress"), input=message))
    assert [one.value for one in response.result.regressions] == [6, 4]


def test_several_of_one_input(prediction):
    tasks = [
        InferenceTask(model_spec=spec("regress"), method_name=REGRESS),
        InferenceTask(model_spec=spec(), method_name=CLASSIFY),
    ]
    first, second = prediction.MultiInference(MultiInferenceRequest(tasks=tasks, input=TWO)).results
    assert [one.value for one in first.regression_result.regressions] == [0.5, 14]
    assert rows(second.classification_result)[0] == [("rock", 0.25), ("ROCK", 0.75)]
    assert (first.model_spec.signature_name, second.model_spec.signature_name) == ("regress", "serving_default")


def test_predict_takes_the_serialised_examples(served):
    serialised = np.array([example(x=0.5).SerializeToString()], object)
    response = Stubs(served.port).predict("estimator", "predict", inputs=serialised)
    assert to_array(response.outputs["x"]).tolist() == [[0.5]]


def test_a_context_is_not_multiplied_without_bound(prediction):
    """A message of some megabytes must not become a terabyte."""
    message = given(*[example()] * 100_000, context=example(word=b"x" * 2**20))
    request = ClassificationRequest(model_spec=spec(), input=message)
    code, said = code_of(lambda: prediction.Classify(request, timeout=60))
    assert code == "INVALID_ARGUMENT" and "for each of 100,000 examples is too much" in said


def test_a_version_whose_warm_up_fails_is_closed(tmp_path, monkeypatch):
    from serving.servable import Servable
    from serving.status import Code, ServingError

    graphs.save_graph(tmp_path / "m", graphs.estimator)
    closed = []

    def fails(*_):
        raise ServingError(Code.INTERNAL, "no warm-up")

    monkeypatch.setattr(Servable, "warm_up", fails)
    monkeypatch.setattr(Servable, "close", lambda servable: closed.append(servable.path.name))
    with pytest.raises(ServingError, match="no warm-up"), running(tmp_path):
        pass
    assert closed == ["1"]


def test_warm_up_replays_every_kind(tmp_path, monkeypatch):
    import tensorflow as tf

    from serving.servable import Servable
    from serving.session import GraphSession

    version = graphs.save_graph(tmp_path / "m", graphs.estimator) / "1"
    task = InferenceTask(model_spec=spec("regress"), method_name=REGRESS)
    logs = [PredictionLog() for _ in range(4)]
    logs[0].classify_log.request.CopyFrom(ClassificationRequest(model_spec=spec(), input=TWO))
    logs[1].regress_log.request.CopyFrom(RegressionRequest(model_spec=spec("regress"), input=TWO))
    logs[2].multi_inference_log.request.CopyFrom(MultiInferenceRequest(tasks=[task], input=TWO))
    inputs = np.array([b""], object)
    logs[3].predict_log.request.CopyFrom(predict_request("m", "predict", inputs=inputs))
    (version / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(version / "assets.extra" / "tf_serving_warmup_requests")) as writer:
        for record in logs:
            writer.write(record.SerializeToString())
    servable, runs = Servable(version), []
    monkeypatch.setattr(GraphSession, "run", lambda _, __, wanted: runs.append(len(wanted)) or wanted)
    assert servable.warm_up() == 4 and runs == [2, 1, 1, 2]


CLASSIFY_REFUSED = {
    "unknown": (spec("nothing"), "No signature was found with the name: nothing"),
    "rank": (spec("score_rank"), "Expected Tensor shape: [batch_size num_classes] but got [5]"),
    "count": (spec("score_count"), "Expected scores output batch size of 2. Got: 5"),
    "dtype": (spec("score_dtype"), "Expected scores Tensor of DT_FLOAT. Got: DT_STRING"),
    "class dtype": (spec("class_dtype"), "Expected classes Tensor of DT_STRING. Got: DT_FLOAT"),
    "widths": (spec("widths"), "Tensors class and score should match in dim_size(1). Got 2 vs. 3"),
    "input": (spec("misnamed"), "No classification inputs found in SignatureDef: "),
    "inputs": (spec("two_inputs"), "Expected one input Tensor."),
    "outputs": (spec("other_outputs"), "Expected classification signature outputs to contain at least one of"),
}
REGRESS_REFUSED = {
    "unknown": (spec("nothing"), "No signature was found with the name: nothing"),
    "rank": (spec("rank"), "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,3]"),
    "count": (spec("count"), "Input batch size did not match output batch size: 2 vs. 5"),
    "dtype": (spec("dtype"), "Expected output Tensor of DT_FLOAT.  Got: DT_INT32"),
    "outputs": (spec("serving_default"), "Expected one output Tensor."),
    "output": (spec("other_outputs"), "No regression outputs found in SignatureDef: "),
}


@pytest.mark.parametrize("kind", CLASSIFY_REFUSED)
def test_what_cannot_be_classified(prediction, kind):
    model, said = CLASSIFY_REFUSED[kind]
    code, message = code_of(lambda: prediction.Classify(ClassificationRequest(model_spec=model, input=TWO)))
    assert code == "INVALID_ARGUMENT" and message.startswith(said)


@pytest.mark.parametrize("kind", REGRESS_REFUSED)
def test_what_cannot_be_regressed(prediction, kind):
    model, said = REGRESS_REFUSED[kind]
    code, message = code_of(lambda: prediction.Regress(RegressionRequest(model_spec=model, input=TWO)))
    assert code == "INVALID_ARGUMENT" and message.startswith(said)


@pytest.mark.parametrize(
    ("request_", "code", "said"),
    [
        (ClassificationRequest(input=TWO), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (ClassificationRequest(model_spec=spec(name="no")), "NOT_FOUND", "Servable not found for request: Latest(no)"),
        (ClassificationRequest(model_spec=spec()), "INVALID_ARGUMENT", "Input is empty."),
        (
            ClassificationRequest(model_spec=spec(), input=given(example(x=1))),
            "INVALID_ARGUMENT",
            "Index: 0.  Data types don't match. Data type: int64 but expected type: float",
        ),
    ],
)
def test_requests_that_are_none(prediction, request_, code, said):
    found, message = code_of(lambda: prediction.Classify(request_))
    assert found == code and said in message


@pytest.mark.parametrize(
    ("tasks", "code", "said"),
    [
        ([], "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ([("regress", REGRESS, "estimator"), ("regress", REGRESS, "other")], "INVALID_ARGUMENT", "All ModelSpecs"),
        ([("regress", REGRESS, "estimator")] * 2, "INVALID_ARGUMENT", "Duplicate evaluation of signature: regress"),
        (
            [("nothing", REGRESS, "estimator")],
            "INVALID_ARGUMENT",
            "Requested signature not found in model graph: nothing",
        ),
        ([("predict", "x", "estimator")], "UNIMPLEMENTED", "Unsupported signature method_name: x"),
        ([("regress", CLASSIFY, "estimator")], "INVALID_ARGUMENT", "Expected classification signature outputs"),
    ],
)
def test_tasks_that_do_not_go_together(prediction, tasks, code, said):
    made = [InferenceTask(model_spec=spec(signature, name), method_name=method) for signature, method, name in tasks]
    found, message = code_of(lambda: prediction.MultiInference(MultiInferenceRequest(tasks=made, input=TWO)))
    assert found == code and message.startswith(said)


def test_rest(rest):
    body = {"examples": [{"x": 0.25, "word": "rock"}, {"word": {"b64": "YQ"}}], "context": {"x": [0.1]}}
    assert rest("classify", body) == (200, {"results": [[["rock", 0.25], ["ROCK", 0.75]], [["a", 0.1], ["A", 0.9]]]})
    assert rest("regress", {"signature_name": "regress", **body}) == (200, {"results": [0.5, 0.2]})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "JSON Value: {} When method is classify, key 'examples' is expected and was not found"),
        ({"examples": 1}, "Expecting 'examples' value to be an list/array"),
        ({"examples": []}, "'examples' value is an empty array"),
        ({"examples": [1]}, "Example must be JSON object but got JSON Number"),
        ({"examples": [{"x": None}]}, "Feature: x has element with unexpected JSON type: Null"),
        ({"examples": [{"x": [[1]]}]}, "Feature: x has element with unexpected JSON type: Array"),
        ({"examples": [{"x": [1, 2.5]}]}, "Unexpected element type in feature: x expecting type: int64"),
        ({"examples": [{"x": 2**63}]}, "Feature: x has uint64_t element. Only int64_t is supported."),
        ({"examples": [{"x": {"b64": "Y"}}]}, "Unable to base64 decode"),
        ({"signature_name": "nothing", "examples": [{}]}, "No signature was found with the name: nothing"),
    ],
)
def test_what_rest_refuses(rest, body, said):
    status, answer = rest("classify", body)
    assert status == 400 and said in answer["error"]


@pytest.mark.parametrize(
    "method",
    ["tensorflow.serving.SessionService/SessionRun", "tensorflow.ProfilerService/Profile"],
)
def test_services_that_are_not_there_are_named(served, method):
    call = grpc.insecure_channel(f"localhost:{served.port}").unary_unary(f"/{method}")
    code, message = code_of(lambda: call(b"", timeout=10))
    assert code == "UNIMPLEMENTED" and method.partition("/")[0] in message
