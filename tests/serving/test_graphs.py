"""Graphs as TensorFlow 1 wrote them, served: what TensorFlow Serving answers, since it runs them in a Session too."""

import json
import urllib.request

import numpy as np
import pytest

from serving.tensors import to_array
from tests.serving import graphs
from tests.serving.conftest import Stubs, code_of, predict_request, running


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    for build in (graphs.counter, graphs.quantised, graphs.words, graphs.same_input_twice, graphs.multiplied):
        graphs.save_graph(folder / build.__name__, build)
    graphs.save_graph(folder / "half_plus_three", graphs.half_plus_three)
    graphs.save_graph(folder / "in_text", graphs.half_plus_three, text=True)
    with running(folder) as server:
        yield server


@pytest.fixture(scope="module")
def calls(served):
    return Stubs(served.port)


def outputs(calls, *arguments, **inputs):
    return {name: to_array(proto) for name, proto in calls.predict(*arguments, **inputs).outputs.items()}


@pytest.mark.parametrize("model", ["half_plus_three", "in_text"])
def test_reference_variables_and_an_output_under_two_names(calls, model):
    found = outputs(calls, model, x=np.float32([[2]]))
    assert found["y"].tolist() == found["again"].tolist() == [[4]]


@pytest.mark.parametrize("shape", [(), (3,), (3, 1), (1, 3, 1, 1)])
def test_a_shape_that_the_signature_does_not_name_is_the_graph_s_to_refuse(calls, shape):
    x = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    np.testing.assert_array_equal(outputs(calls, "half_plus_three", x=x)["y"], x / 2 + 3)


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_a_plain_list_for_a_column(served, key):
    body = json.dumps({key: [2.0, 3.0, 4.0], "signature_name": "serving_default"}).encode()
    url = f"http://localhost:{served.rest_port}/v1/models/half_plus_three:predict"
    answer = json.load(urllib.request.urlopen(url, body, timeout=30))
    expected = [4.0, 4.5, 5.0]
    if key == "instances":
        assert answer == {"predictions": [{"y": y, "again": y} for y in expected]}
    else:
        assert answer == {"outputs": {"y": expected, "again": expected}}


def test_variables_keep_what_a_call_leaves_in_them(calls):
    before = outputs(calls, "counter", "read")["count"]
    outputs(calls, "counter", "up", by=np.float32(5))
    assert outputs(calls, "counter", "read")["count"] == before + 5


def test_quantised_values_are_labelled_so(calls):
    x = np.array([1, -128, 127], np.int8).view([("qint8", "i1")])
    y = calls.predict("quantised", x=x).outputs["y"]
    assert y.dtype == 11 and list(y.int_val) == [1, -128, 127]


def test_bytes_end_where_they_end(calls):
    found = outputs(calls, "words", x=np.array([b"a\0", b"b\0\0"], object))
    assert found["joined"].item() == b"a\0b\0\0" and found["upper"].tolist() == [b"A\0", b"B\0\0"]


REFUSED = {
    "a placeholder left unfed": (
        ("half_plus_three", "scaled"),
        {"x": np.float32([1])},
        "You must feed a value for placeholder tensor 'scale' with dtype float\n\t [[{{node scale}}]]",
    ),
    "another dtype": (
        ("half_plus_three",),
        {"x": np.int32([1])},
        "Expects arg[0] to be float but int32 is provided",
    ),
    "a tensor fed twice": (
        ("same_input_twice",),
        {"a": np.float32([1]), "b": np.float32([1])},
        'Endpoint "x:0" fed more than once.',
    ),
    "an operation": (
        ("multiplied",),
        {"x": np.ones((1, 3), np.float32)},
        "Matrix size-incompatible: In[0]: [1,3], In[1]: [7,1]",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_the_session_s_own_words_and_nothing_of_this_server_s(calls, kind):
    spec, inputs, said = REFUSED[kind]
    code, message = code_of(lambda: calls.prediction.Predict(predict_request(*spec, **inputs)))
    assert code == "INVALID_ARGUMENT" and message.startswith(said)
    assert "File" not in message and ".py" not in message and "/" not in message
