"""Any SavedModel and any request in JSON: what comes over HTTP is what TensorFlow Serving would make of the Session's
answer. JSON to tensors and back as its json_tensor.cc has it (``json_reference``), the Session's part as in
``test_oracle``."""

from __future__ import annotations

import base64
import http.client
import json
import math
import random
from typing import Any

import numpy as np
import pytest

from serving.api import Api
from serving.protos import PredictRequest
from serving.rest import RestServer
from serving.status import code_of, http_status
from serving.tensors import DTYPES, STRING
from tests.serving import json_reference
from tests.serving.json_reference import INVALID, Refused
from tests.serving.test_oracle import Reference, both  # noqa: F401  a fixture

LIKE = {"float", "double"}


class Documents:
    """Draws documents: most of them right in most respects."""

    def __init__(self, rng: random.Random, signatures: dict, free: bool):
        self.rng, self.signatures, self.free = rng, signatures, free

    def draw(self) -> dict:
        rng, document = self.rng, {}
        name = rng.choice(sorted(key for key in self.signatures if not key.startswith("__")))
        inputs, batch = self.signatures[name].inputs, rng.choice([0, 1, 2, 3])
        if name != "serving_default" or rng.random() < 0.5:
            document["signature_name"] = "nothing" if rng.random() < 0.03 else name
        by_row = rng.random() < 0.5
        values = {key: self._value(info, batch, by_row) for key, info in sorted(inputs.items()) if rng.random() > 0.02}
        if rng.random() < 0.02:
            values["nothing"] = 1
        if rng.random() < 0.02:
            return document | {"inputs": values, "instances": [values]}
        plain = next(iter(values.values())) if len(values) == 1 and rng.random() < 0.6 else values
        if not by_row:
            return document | {"inputs": plain}
        rows = [plain] * batch
        if rows and rng.random() < 0.04:
            rows[-1] = rng.choice([1, [1, 2], {"b64": "YQ=="}, {"x": 1}, None])
        return document | {"instances": rows}

    def _value(self, info, batch: int, by_row: bool) -> Any:
        rng, dtype = self.rng, DTYPES[info.dtype]
        shape = [dim.size if dim.size >= 0 else batch for dim in info.tensor_shape.dim]
        shape = shape[1:] if by_row else shape
        if info.tensor_shape.unknown_rank or (self.free and rng.random() < 0.1):
            shape = [rng.randint(0, 3) for _ in range(rng.randint(0, 3))]
        value = self._nested(shape, dtype)
        return self._damaged(value) if self.free and rng.random() < 0.08 else value

    def _nested(self, shape: list[int], dtype) -> Any:
        if shape:
            return [self._nested(shape[1:], dtype) for _ in range(shape[0])]
        rng = self.rng
        if rng.random() < 0.01:
            return rng.choice([None, True, "x", 1.5, {"b64": "/wA="}, 2**31, 2**63, -1, 1e39, math.nan, {}])
        if dtype.number == STRING:
            text = rng.choice(["rock", "soil", "", "é", "😀", 'a"\\\n', "\0"])
            return {"b64": base64.b64encode(text.encode() + b"\xff").decode()} if rng.random() < 0.3 else text
        if dtype.name == "bool":
            return rng.random() < 0.5
        if dtype.name in LIKE and rng.random() < 0.5:
            return rng.choice([0.5, -1.25, 3.0, 1e-30, math.inf])
        return rng.randint(0 if dtype.name.startswith("uint") else -3, 5)

    def _damaged(self, value: Any) -> Any:
        """A list deeper, shorter, or with one of another kind in it."""
        rng = self.rng
        if not isinstance(value, list) or not value or rng.random() < 0.2:
            return [value]
        kept = list(value)
        kept[rng.randrange(len(kept))] = rng.choice(
            [kept[0], [kept[0]], kept[0][:-1] if isinstance(kept[0], list) else 1]
        )
        return kept


def expected(reference: Reference, document: dict) -> tuple[int, Any]:
    """The status, and the document of an answer."""
    request, name = PredictRequest(), document.get("signature_name", "")
    request.model_spec.signature_name = name
    signature = reference.signatures.get(name or "serving_default")
    try:
        if signature is None:
            raise Refused(INVALID)
        by_row = json_reference.fill_request(document, signature, request)
        found = reference.predict(request)
        if isinstance(found, tuple):
            raise Refused(found[0])
        outputs = {}
        for key, value in found.items():
            tensor = reference.graph.get_tensor_by_name(signature.outputs[key].name)
            array = np.array(value, object) if isinstance(value, bytes) else np.asarray(value)
            outputs[key] = tensor.dtype.base_dtype.as_datatype_enum, array
        return 200, json_reference.response(outputs, by_row)
    except Refused as error:
        return http_status(code_of(error.args[0])), None


def same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return (
            isinstance(found, dict) and found.keys() == wanted.keys() and all(same(found[k], wanted[k]) for k in wanted)
        )
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(same, found, wanted))
    if isinstance(wanted, (float, np.float32)):  # of a float32, decimals that read back as the same one
        return isinstance(found, float) and bool(type(wanted)(found) == wanted or (found != found and wanted != wanted))
    return type(found) is type(wanted) and found == wanted


@pytest.fixture(scope="module")
def ask(both):  # noqa: F811
    """Post a document to a model: status and body."""
    api: Api = both[0]
    server = RestServer(api, "127.0.0.1", 0)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)

    def post(model: str, document: dict) -> tuple[int, bytes]:
        body = json.dumps(document, ensure_ascii=len(model) % 2 == 0).encode()
        connection.request("POST", f"/v1/models/{model}:predict", body)
        response = connection.getresponse()
        return response.status, response.read()

    yield post
    connection.close()
    server.stop(1)


def compare(both, ask, seeds) -> tuple[int, int, list]:  # noqa: F811
    """How many were answered, how many there were, and those that differ."""
    answered, total, wrong = 0, 0, []
    for seed in seeds:
        for number, (model, reference) in enumerate(both[1].items()):
            document = Documents(random.Random(1000 * seed + number), reference.signatures, model != "sparse").draw()
            status, wanted = expected(reference, document)
            found, body = ask(model, document)
            if found != status or (status == 200 and not same(json_reference.read(body), wanted)):
                wrong.append((model, document, status, wanted, found, body))
            answered, total = answered + (status == 200), total + 1
    return answered, total, wrong


def test_some_documents(both, ask):  # noqa: F811
    answered, total, wrong = compare(both, ask, range(12))
    assert not wrong and total >= 150 and 0.2 < answered / total < 0.9


@pytest.mark.full  # by make conformance
def test_five_thousand_documents(both, ask):  # noqa: F811
    answered, total, wrong = compare(both, ask, range(1000, 1400))
    assert not wrong and total >= 5_000 and 0.2 < answered / total < 0.9
