"""The REST API: TensorFlow Serving's paths, formats and codes."""

import base64
import http.client
import json

import numpy as np
import pytest

from tests.serving.conftest import running
from tf_landslide.predict.load import load_predictor


class Rest:
    def __init__(self, port):
        self.port = port

    def __call__(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("localhost", self.port, timeout=60)
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        text = response.read()
        connection.close()
        kind = response.headers["Content-Type"] or ""
        return response.status, json.loads(text) if "json" in kind else text.decode()

    def predict(self, body, model="every"):
        return self("POST", f"/v1/models/{model}:predict", body)


@pytest.fixture(scope="module")
def rest(server):
    return Rest(server.rest_port)


def test_status_and_metadata(rest):
    status, body = rest("GET", "/v1/models/tiny")
    assert status == 200
    row = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert body == {"model_version_status": [row]}
    assert rest("GET", "/v1/models/tiny/versions/1") == (200, body)
    status, body = rest("GET", "/v1/models/tiny/versions/1/metadata")
    assert status == 200 and body["model_spec"] == {"name": "tiny", "signature_name": "", "version": "1"}
    channels = body["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]["channels"]
    assert channels["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in channels["tensor_shape"]["dim"]] == ["-1", "-1", "-1", "6"]


def test_a_prediction_in_both_formats_equals_the_local_one(rest, exported):
    x = np.random.default_rng(0).random((2, 32, 32, 6)).astype(np.float32)
    expected = load_predictor(exported, runtime="tensorflow")(x)
    status, body = rest.predict({"instances": x.tolist()}, "tiny")
    assert status == 200
    np.testing.assert_allclose(np.array(body["predictions"], np.float32), expected, atol=1e-5)
    status, body = rest.predict({"inputs": {"channels": x.tolist()}, "signature_name": "segment"}, "tiny")
    assert set(body["outputs"]) == {"mask", "probability"}
    np.testing.assert_allclose(np.array(body["outputs"]["probability"], np.float32), expected, atol=1e-5)
    status, body = rest.predict({"inputs": {}, "signature_name": "describe"}, "tiny")
    assert status == 400 and "Failed to get input map for signature: describe" in body["error"]


def test_several_inputs_and_outputs_by_row_and_by_column(rest):
    rows = [{"a": [1, 2], "b": [0.5, 0]}, {"a": [3, 4], "b": [1, 1]}]
    status, body = rest.predict({"instances": rows})
    label = {"b64": base64.b64encode(b"\xff\x00").decode()}
    first, second = body["predictions"]
    assert status == 200 and first == {"difference": [0.5, 2], "label_bytes": label, "sum": [1.5, 2]}
    assert second["sum"] == [4, 5]
    status, body = rest.predict({"inputs": {"a": [[1, 2]], "b": [[3, 4]]}})
    assert body["outputs"]["sum"] == [[4, 6]]


@pytest.mark.parametrize(
    ("signature", "values"),
    [
        ("float32", [0.1, 1e-30, 3]),
        ("float64", [[0.1], [1e300]]),
        ("int64", [[2**62, -1]]),
        ("uint8", [0, 255]),
        ("int8", [-128, 127]),
        ("uint64", [2**64 - 1]),
        ("bool", [True, False]),
        ("string", ["rock", "é"]),
        ("int32", 5),
        ("float32", []),
    ],
)
def test_values_of_every_kind_come_back_as_they_were(rest, signature, values):
    status, body = rest.predict({"signature_name": signature, "inputs": values})
    assert status == 200 and body["outputs"] == values


def test_numbers_that_are_none(rest):
    status, body = rest.predict(b'{"signature_name": "float32", "inputs": [NaN, Infinity, -Infinity]}')
    assert status == 200 and np.isnan(body["outputs"][0]) and body["outputs"][1:] == [np.inf, -np.inf]


def test_bytes_go_in_as_base64(rest):
    word = {"b64": base64.b64encode(b"soil").decode()}
    assert rest.predict({"signature_name": "lookup", "instances": [word, "water"]}) == (200, {"predictions": [1, 2]})


AB = {"a": [[1, 2]], "b": [[3, 4]]}
REFUSED = {
    "half a character": (
        b'{"signature_name": "string", "inputs": ["\\ud800"]}',
        400,
        "The surrogate pair in string is invalid. at offset: 41",
    ),
    "signature in no Unicode": (b'{"signature_name": "\xff", "inputs": [1]}', 400, 'name: "\ufffd" not found'),
    "not json": (b"{", 400, "JSON Parse error"),
    "empty": (b"", 400, "The document is empty"),
    "no object": ([1], 400, "not object"),
    "no inputs": ({}, 400, "Missing 'inputs' or 'instances' key"),
    "both": ({"inputs": AB, "instances": [1]}, 400, "only one of"),
    "signature": ({"signature_name": 3, "inputs": AB}, 400, "must be a string"),
    "unknown signature": ({"signature_name": "x", "inputs": AB}, 400, 'Serving signature name: "x" not found'),
    "instances no list": ({"instances": 3}, 400, "Expecting 'instances'"),
    "instances empty": ({"instances": []}, 400, "No values in 'instances'"),
    "plain list": ({"instances": [[1, 2]]}, 400, "expecting list of objects"),
    "missing in row": ({"instances": [{"a": [1, 2]}]}, 400, "keys must be equal to: a,b"),
    "mixed rows": ({"instances": [{"a": [1, 2], "b": [1, 2]}, 3]}, 400, "item 1"),
    "missing input": ({"inputs": {"a": [[1, 2]]}}, 400, "Missing named input: b"),
    "plain inputs": ({"inputs": [[1, 2]]}, 400, "expecting an object"),
    "ragged": ({"signature_name": "float32", "inputs": [[1, 2], [3]]}, 400, "unexpected size"),
    "deeper": ({"signature_name": "float32", "inputs": [1, [2]]}, 400, "unexpected level"),
    "string for number": ({"signature_name": "float32", "inputs": ["1"]}, 400, "not of expected type: float"),
    "bool for number": ({"signature_name": "float32", "inputs": [True]}, 400, "not of expected type: float"),
    "fraction for integer": ({"signature_name": "int32", "inputs": [1.5]}, 400, "not of expected type: int32"),
    "too large": ({"signature_name": "int8", "inputs": [2**31]}, 400, "Type: Number is not of expected type: int8"),
    "null": ({"signature_name": "float32", "inputs": [None]}, 400, "not of expected type"),
    "base64": ({"signature_name": "string", "inputs": [{"b64": "?"}]}, 400, "base64"),
    "complex": ({"signature_name": "complex64", "inputs": [1]}, 501, "Conversion of JSON Value"),
    "shape": ({"inputs": {"a": [[1, 2, 3]], "b": [[3, 4]]}}, 400, "Incompatible shapes: [1,3] vs. [1,2]"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_wrong_is_said(rest, kind):
    body, status, said = REFUSED[kind]
    found, answer = rest.predict(body)
    assert found == status and said in answer["error"]


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("GET", "/v1/models/nobody", 404, "Could not find any versions of model nobody"),
        ("GET", "/v1/models/tiny/versions/7", 404, "Could not find version 7"),
        ("GET", "/v1/models/nobody/metadata", 404, "Servable not found for request: Latest(nobody)"),
        ("GET", "/v1/models", 400, "Missing model name"),
        ("GET", "/v2/models/tiny", 404, "Not found: /v2/models/tiny"),
        ("GET", "/v1/tiny", 400, "Malformed request: GET /v1/tiny"),
        ("POST", "/v1/models/tiny", 400, "Malformed request"),
        ("POST", "/v1/models/tiny:explain", 400, "Malformed request"),
        ("POST", "/v1/models/tiny:classify", 400, "When method is classify, key 'examples' is expected"),
        ("POST", "/v1/models/nobody:predict", 404, "Servable not found"),
        ("POST", "/v1/models/tiny/labels/best:predict", 400, "Unrecognized servable version label: best"),
    ],
)
def test_paths_that_lead_nowhere(rest, method, path, status, said):
    body = {"instances": [1]} if method == "POST" else None
    found, answer = rest(method, path, body)
    assert found == status and said in answer["error"]


def test_bodies_in_chunks_and_bodies_that_nobody_reads(rest):
    connection = http.client.HTTPConnection("localhost", rest.port, timeout=30)
    body = json.dumps({"inputs": AB}).encode()
    connection.request(
        "POST",
        "/v1/models/every:predict",
        iter([body[:9], body[9:]]),
        encode_chunked=True,
        headers={"Transfer-Encoding": "chunked"},
    )
    assert json.loads(connection.getresponse().read())["outputs"]["sum"] == [[4, 6]]
    connection.request("GET", "/v1/models/every", b"a body")
    assert connection.getresponse().read()
    connection.request("GET", "/v1/models/every")
    assert connection.getresponse().status == 200


def test_no_time_limit(models):
    with running(models, "--rest_api_timeout_in_ms=0") as server:
        assert Rest(server.rest_port).predict({"inputs": AB})[0] == 200


def test_invented_names_become_no_metrics(rest):
    rest("POST", "/v1/models/invented/labels/x:predict", {"instances": [1]})
    assert "invented" not in rest("GET", "/monitoring/prometheus/metrics")[1]


def test_metrics_count_under_tensorflow_servings_names(rest):
    def count(status):
        text = rest("GET", "/monitoring/prometheus/metrics")[1]
        line = f':tensorflow:serving:request_count{{model_name="every",status="{status}"}} '
        return sum(float(row.removeprefix(line)) for row in text.splitlines() if row.startswith(line))

    before = count("OK"), count("INVALID_ARGUMENT")
    rest.predict({"inputs": AB})
    rest.predict({"inputs": {"a": [[1, 2, 3]], "b": [[3, 4]]}})
    assert (count("OK"), count("INVALID_ARGUMENT")) == (before[0] + 1, before[1] + 1)
    assert ":tensorflow:serving:request_latency_bucket" in rest("GET", "/monitoring/prometheus/metrics")[1]


def test_a_connection_is_kept_and_any_origin_may_call_when_asked_for(models, tmp_path):
    monitoring = tmp_path / "monitoring.config"
    monitoring.write_text('prometheus_config { enable: true path: "/metrics" }')
    flags = ("--rest_api_enable_cors_support", f"--monitoring_config_file={monitoring}", "--max_message_mib=1")
    with running(models, *flags) as server:
        connection = http.client.HTTPConnection("localhost", server.rest_port, timeout=30)
        for _ in range(3):
            connection.request("GET", "/v1/models/tiny")
            response = connection.getresponse()
            assert response.headers["Access-Control-Allow-Origin"] == "*" and response.read()
        rest = Rest(server.rest_port)
        assert ":tensorflow:serving" in rest("GET", "/metrics")[1]
        assert rest("GET", "/monitoring/prometheus/metrics")[0] == 404
        status, answer = rest.predict(b" " * (2**20 + 1))
        assert status == 429 and "this server takes 1048576" in answer["error"]
