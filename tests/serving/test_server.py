"""The embedded server over gRPC, called with plain stubs: answers, and TensorFlow Serving's codes for what is wrong."""

import json
import threading

import grpc
import numpy as np
import pytest
from google.protobuf import text_format
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from serving.manager import Manager
from serving.protos import (
    GetModelMetadataRequest,
    GetModelStatusRequest,
    ModelServerConfig,
    ModelSpec,
    PredictRequest,
    ReloadConfigRequest,
    SavedModel,
    SignatureDefMap,
    TensorProto,
)
from serving.tensors import DTYPES, STRING, to_array, to_proto
from tests.serving.conftest import Stubs, code_of, predict_request, running
from tests.serving.test_tensors import NUMERIC, sample
from tf_landslide.data.folders import find_patches
from tf_landslide.data.hdf5 import read_image
from tf_landslide.predict.load import load_predictor


@pytest.fixture(scope="module")
def local(exported):
    return load_predictor(exported, runtime="tensorflow")


@pytest.fixture(scope="module")
def stored(sample_patch):
    return sample_patch


@pytest.fixture(scope="module")
def sample_patch(sample):
    return np.stack([read_image(patch.image) for patch in find_patches(sample, "test")[:2]])


def test_probabilities_equal_the_local_ones_by_every_signature(stubs, local, stored):
    channels, expected = local.from_bands(stored)
    by_channels = stubs.predict("tiny", channels=channels)
    np.testing.assert_allclose(to_array(by_channels.outputs["probability"]), expected, atol=1e-5)
    by_bands = stubs.predict("tiny", "from_bands", bands=stored)
    np.testing.assert_allclose(to_array(by_bands.outputs["probability"]), expected, atol=1e-5)
    segmented = stubs.predict("tiny", "segment", channels=channels).outputs
    mask = to_array(segmented["mask"])
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, to_array(segmented["probability"]) >= np.float32(local.card.threshold))
    features = to_array(stubs.predict("tiny", "features", bands=stored).outputs["channels"])
    np.testing.assert_allclose(features, channels, rtol=1e-5, atol=1e-6)


def test_a_client_learns_the_model_from_its_describe_signature(stubs, local):
    card = json.loads(to_array(stubs.predict("tiny", "describe").outputs["card"]).item())
    assert card["threshold"] == local.card.threshold and card["channels"] == list(local.card.channel_names)
    assert card["scores"]["test"]["f1"] == local.card.scores["test"]["f1"] and "SYNTHETIC" in card["limits"][0]


def test_the_answer_says_which_version_and_signature_gave_it(stubs):
    response = stubs.predict("every", a=np.ones((1, 2), np.float32), b=np.zeros((1, 2), np.float32))
    assert response.model_spec == ModelSpec(name="every", signature_name="serving_default", version={"value": 1})
    assert set(response.outputs) == {"sum", "difference", "label_bytes"}


def test_only_the_outputs_asked_for_are_given(stubs):
    request = predict_request("every", a=np.ones((1, 2), np.float32), b=np.zeros((1, 2), np.float32))
    request.output_filter.append("sum")
    response = stubs.prediction.Predict(request)
    assert set(response.outputs) == {"sum"}


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 1, 3, 2, 2)])
@pytest.mark.parametrize("dtype", NUMERIC, ids=lambda d: d.name)
def test_every_dtype_of_every_rank_goes_through_any_model(stubs, dtype, shape):
    x = sample(dtype, shape)
    y = stubs.predict("every", dtype.numpy, x=x).outputs["y"]
    assert y.dtype == dtype.number and not y.tensor_content  # typed fields, as TensorFlow Serving answers
    np.testing.assert_array_equal(to_array(y), x)


def test_strings_and_assets(stubs):
    words = np.array(["soil", "lava", "water"], object)
    assert to_array(stubs.predict("every", "string", x=words).outputs["y"]).tolist() == [b"soil", b"lava", b"water"]
    assert to_array(stubs.predict("every", "lookup", words=words).outputs["index"]).tolist() == [1, -1, 2]
    assert to_array(stubs.predict("every", "scalar", x=np.int32(21)).outputs["double"]) == 42


def test_raw_bytes_are_answered_when_asked_for(models):
    with running(models, "--enable_serialization_as_tensor_content") as server:
        y = Stubs(server.port).predict("every", "float32", x=np.ones(3, np.float32)).outputs["y"]
    assert len(y.tensor_content) == 12 and not y.float_val


def test_metadata_and_status(stubs):
    request = GetModelMetadataRequest(model_spec=ModelSpec(name="tiny"), metadata_field=["signature_def"])
    response = stubs.prediction.GetModelMetadata(request)
    signatures = SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    assert {"serving_default", "from_bands", "segment", "describe"} <= set(signatures.signature_def)
    channels = signatures.signature_def["serving_default"].inputs["channels"]
    assert channels.dtype == 1 and [d.size for d in channels.tensor_shape.dim] == [-1, -1, -1, 6]
    assert response.model_spec.version.value == 1
    (row,) = stubs.models.GetModelStatus(GetModelStatusRequest(model_spec=ModelSpec(name="tiny"))).model_version_status
    assert (row.version, row.State.Name(row.state), row.status.error_code) == (1, "AVAILABLE", 0)


X = np.zeros((1, 32, 32, 6), np.float32)


def bad_content():
    request = predict_request("tiny", channels=X)
    request.inputs["channels"].tensor_content = b"1234"
    return request


def filtered(*outputs):
    request = predict_request("tiny", channels=X)
    request.output_filter.extend(outputs)
    return request


# What TensorFlow Serving's source says, with the file that says it; docs/serving.md has the same table.
REFUSED = {
    "no model": (PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
    "no name": (predict_request(""), "INVALID_ARGUMENT", "ModelSpec has no name specified"),
    "unknown model": (predict_request("nobody"), "NOT_FOUND", r"Servable not found for request: Latest\(nobody\)"),
    "unknown version": (predict_request("tiny", version=9), "NOT_FOUND", r"request: Specific\(tiny, 9\)"),
    "unknown label": (predict_request("tiny", label="best"), "INVALID_ARGUMENT", "Unrecognized servable version label"),
    "unknown signature": (predict_request("tiny", "x"), "FAILED_PRECONDITION", 'Serving signature key "x" not found'),
    "missing input": (predict_request("tiny"), "INVALID_ARGUMENT", r"Missing but required: \{channels\}"),
    "extra input": (predict_request("tiny", channels=X, more=X), "INVALID_ARGUMENT", r"Sent extra: \{more\}"),
    "other input": (
        predict_request("tiny", image=X),
        "INVALID_ARGUMENT",
        r"input alias: channels\(feed.* request \{image\}",
    ),
    "rank": (predict_request("tiny", channels=X[0]), "INVALID_ARGUMENT", r"shape \[\?,\?,\?,6\], got \[32,32,6\]"),
    "channels": (predict_request("tiny", channels=X[..., :5]), "INVALID_ARGUMENT", r"\[1,32,32,5\] vs. \[6\]"),
    "dtype": (predict_request("tiny", channels=X.astype(np.int32)), "INVALID_ARGUMENT", "to be float but int32"),
    "bytes": (bad_content(), "INVALID_ARGUMENT", "tensor parsing error: channels"),
    "unknown output": (filtered("mask"), "INVALID_ARGUMENT", "output tensor alias not found in signature: mask"),
    "output twice": (filtered("probability", "probability"), "INVALID_ARGUMENT", "duplicate output tensor alias"),
    "output a million times": (
        filtered(*["probability"] * 1_000_000),
        "INVALID_ARGUMENT",
        "duplicate output tensor alias",  # told at once: counting each would take hours
    ),
    "operation": (predict_request("every", "fails", x=np.ones(3, np.float32)), "INVALID_ARGUMENT", "incompatible"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_wrong_has_tensorflow_servings_code_and_sense(stubs, kind):
    request, code, said = REFUSED[kind]
    found, message = code_of(lambda: stubs.prediction.Predict(request))
    assert found == code
    import re

    assert re.search(said, message, re.IGNORECASE | re.DOTALL), message


@pytest.mark.parametrize(
    ("request_", "code", "said"),
    [
        (GetModelMetadataRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (GetModelMetadataRequest(model_spec={"name": "tiny"}), "INVALID_ARGUMENT", "at least one metadata_field"),
        (
            GetModelMetadataRequest(model_spec={"name": "tiny"}, metadata_field=["x"]),
            "INVALID_ARGUMENT",
            "Metadata field x is not supported",
        ),
        (
            GetModelMetadataRequest(model_spec={"name": "nobody"}, metadata_field=["signature_def"]),
            "NOT_FOUND",
            "Servable not found",
        ),
    ],
)
def test_metadata_that_cannot_be_had(stubs, request_, code, said):
    found, message = code_of(lambda: stubs.prediction.GetModelMetadata(request_))
    assert found == code and said in message


@pytest.mark.parametrize(
    ("spec", "code", "said"),
    [
        (None, "INVALID_ARGUMENT", "Missing ModelSpec"),
        ({"name": "nobody"}, "NOT_FOUND", "Could not find any versions of model nobody"),
        ({"name": "tiny", "version": {"value": 5}}, "NOT_FOUND", "Could not find version 5 of model tiny"),
    ],
)
def test_status_that_cannot_be_had(stubs, spec, code, said):
    found, message = code_of(lambda: stubs.models.GetModelStatus(GetModelStatusRequest(model_spec=spec)))
    assert found == code and said in message


def test_a_deadline_that_has_passed_is_honoured(stubs):
    assert code_of(lambda: stubs.predict("tiny", timeout=1e-6, channels=X))[0] == "DEADLINE_EXCEEDED"


def test_health_and_reflection(stubs):
    health = health_pb2_grpc.HealthStub(stubs.channel)
    for service in ("", "tensorflow.serving.PredictionService", "ModelService"):
        assert health.Check(health_pb2.HealthCheckRequest(service=service)).status == 1
    reflection = reflection_pb2_grpc.ServerReflectionStub(stubs.channel)
    (answer,) = reflection.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    assert "tensorflow.serving.PredictionService" in {s.name for s in answer.list_services_response.service}


def test_streams_that_idle_leave_threads_for_predictions(every_kind):
    with running(every_kind.parent, "--grpc_max_threads=20") as server:
        stubs = Stubs(server.port)
        health = health_pb2_grpc.HealthStub(stubs.channel)
        watched = [health.Watch(health_pb2.HealthCheckRequest()) for _ in range(40)]
        assert [next(stream).status for stream in watched] == [1] * 40
        reflection = reflection_pb2_grpc.ServerReflectionStub(stubs.channel)
        over = threading.Event()

        def idle():
            yield reflection_pb2.ServerReflectionRequest(list_services="")
            over.wait(30)

        opened = [reflection.ServerReflectionInfo(idle()) for _ in range(16)]
        assert all(next(stream).list_services_response.service for stream in opened)
        code, said = code_of(lambda: next(reflection.ServerReflectionInfo(idle())))
        assert code == "RESOURCE_EXHAUSTED" and "16 streams are open" in said
        stubs.predict("every", "float32", x=np.ones(1, np.float32), timeout=20)
        over.set()
        assert [list(stream) for stream in opened] == [[]] * 16
        assert next(reflection.ServerReflectionInfo(idle()))  # there is room again


def test_so_many_connections_and_no_more(every_kind):
    with running(every_kind.parent, "--grpc_max_connections=3") as server:
        own = [("grpc.use_local_subchannel_pool", 1)]
        channels = [grpc.insecure_channel(f"localhost:{server.port}", own) for _ in range(4)]
        found = []
        for channel in channels:
            try:
                found.append(
                    health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5).status
                )
            except grpc.RpcError as error:
                found.append(error.code().name)
        assert found == [1, 1, 1, "UNAVAILABLE"]
        for channel in channels:
            channel.close()


def test_a_configuration_is_reloaded_over_grpc(models):
    def reload(stubs, more="", base=f"{models}/every"):
        model = f'name: "other" base_path: "{base}" model_platform: "tensorflow" {more}'
        text = f"model_config_list {{ config {{ {model} }} }}"
        request = ReloadConfigRequest(config=text_format.Parse(text, ModelServerConfig()))
        return stubs.models.HandleReloadConfigRequest(request)

    x, label = np.ones(2, np.float32), 'version_labels { key: "stable" value: 1 }'
    with running(models) as server:
        stubs = Stubs(server.port)
        assert code_of(lambda: reload(stubs, label))[0] == "FAILED_PRECONDITION"
        stubs.predict("tiny", channels=X)
        assert reload(stubs).status.error_code == 0 and reload(stubs, label).status.error_code == 0
        assert to_array(stubs.predict("other", "float32", label="stable", x=x).outputs["y"]).tolist() == [1, 1]
        assert code_of(lambda: stubs.predict("tiny", channels=X))[0] == "NOT_FOUND"
        assert "absolute path" in code_of(lambda: reload(stubs, base="relative"))[1]
        assert code_of(lambda: stubs.models.HandleReloadConfigRequest(ReloadConfigRequest()))[0] == "INVALID_ARGUMENT"
        stubs.predict("other", "float32", x=x)  # still served


@pytest.mark.long
def test_reloads_that_wait_leave_threads_for_predictions(models, tmp_path):
    """Each waits for a model without a version, as long as its caller does."""
    (tmp_path / "none").mkdir()
    request = ReloadConfigRequest()
    request.config.model_config_list.config.add(name="every", base_path=f"{models}/every", model_platform="tensorflow")
    request.config.model_config_list.config.add(name="none", base_path=f"{tmp_path}/none", model_platform="tensorflow")
    with running(models, "--grpc_max_threads=20") as server:
        stubs = Stubs(server.port)
        server.manager.wait_for = lambda _, caller: Manager.wait_for(server.manager, {"none"}, caller)
        calls = [stubs.models.HandleReloadConfigRequest.future(request, timeout=60) for _ in range(40)]
        stubs.predict("every", "float32", x=np.ones(1, np.float32), timeout=20)
        ended = [call for call in calls if call.done() or _ends(call)]
        assert len(ended) == 24 and {call.code().name for call in ended} == {"UNAVAILABLE"}
        for call in calls:
            call.cancel()


def _ends(call):
    try:
        return call.exception(timeout=0.5)
    except grpc.FutureTimeoutError:
        return None


def test_a_long_message_is_cut_by_its_bytes_and_keeps_its_code(stubs):
    code, said = code_of(lambda: stubs.predict("tiny", "\U0001f600" * 2000, channels=X))
    assert code == "FAILED_PRECONDITION" and said.endswith("...TRUNCATED") and len(said.encode()) <= 1024 + 12


def test_inputs_with_defaults_may_be_left_out(tmp_path):
    import tensorflow as tf

    module = tf.Module()
    call = tf.function(lambda x, t: {"y": x * t}).get_concrete_function(
        tf.TensorSpec([None], tf.float32, name="x"), tf.TensorSpec([], tf.float32, name="t")
    )
    tf.saved_model.save(module, str(tmp_path / "scaled" / "1"), signatures=call)
    file = tmp_path / "scaled" / "1" / "saved_model.pb"
    saved = SavedModel.FromString(file.read_bytes())
    saved.meta_graphs[0].signature_def["serving_default"].defaults["t"].CopyFrom(to_proto(np.float32(3)))
    file.write_bytes(saved.SerializeToString())
    with running(tmp_path) as server:
        stubs, x = Stubs(server.port), np.ones(2, np.float32)
        assert to_array(stubs.predict("scaled", x=x).outputs["y"]).tolist() == [3, 3]
        assert to_array(stubs.predict("scaled", x=x, t=np.float32(5)).outputs["y"]).tolist() == [5, 5]
        assert code_of(lambda: stubs.predict("scaled", t=np.float32(5)))[0] == "INVALID_ARGUMENT"


def test_limits_on_image_size_and_message(models):
    with running(models, "--max_image_pixels=1024", "--max_message_mib=1") as server:
        stubs = Stubs(server.port)
        stubs.predict("tiny", channels=X)
        code, said = code_of(lambda: stubs.predict("tiny", channels=np.zeros((1, 32, 64, 6), np.float32)))
        assert code == "INVALID_ARGUMENT" and "larger than the 1024" in said
        big = np.zeros((64, 32, 32, 6), np.float32)
        assert code_of(lambda: stubs.predict("tiny", channels=big))[0] == "RESOURCE_EXHAUSTED"


def test_ovmsclient_gets_status_metadata_and_a_prediction(server, local, stored):
    ovmsclient = pytest.importorskip("ovmsclient")
    client = ovmsclient.make_grpc_client(f"localhost:{server.port}")
    assert client.get_model_status("tiny", 1)[1]["state"] == "AVAILABLE"
    assert client.get_model_metadata("tiny", 1)["inputs"]["channels"]["shape"] == [-1, -1, -1, 6]
    channels, expected = local.from_bands(stored)
    np.testing.assert_allclose(client.predict({"channels": channels}, "tiny", 1), expected, atol=1e-5)


def test_a_dtype_that_cannot_travel_is_refused(stubs):
    request = predict_request("every", "float32", x=np.ones(1, np.float32))
    request.inputs["x"].CopyFrom(TensorProto(dtype=20))
    assert code_of(lambda: stubs.prediction.Predict(request))[0] == "INVALID_ARGUMENT"
    assert STRING in DTYPES


def test_a_port_that_is_taken_is_named(models, server):
    from serving.status import UsageError

    with pytest.raises(UsageError, match="cannot be listened on"), running(models, f"--port={server.port}"):
        pass
    with pytest.raises(grpc.RpcError):
        Stubs(1).predict("tiny", timeout=1, channels=X)
