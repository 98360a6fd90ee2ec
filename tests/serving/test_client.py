"""The client: a server as a predictor, and what it says when there is none."""

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from concurrent import futures

import grpc
import numpy as np
import pytest
import trustme

from serving.caller import Caller
from serving.client import TLS, Client
from serving.protos import (
    GetModelStatusResponse,
    ModelVersionStatus,
    PredictResponse,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)
from serving.status import ServingError, UsageError
from serving.tensors import to_proto
from tests.serving.conftest import running
from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError
from tf_landslide.data.folders import find_patches
from tf_landslide.jobs.export import export_run
from tf_landslide.page.library import Library, find_models
from tf_landslide.predict.backends.server import connect
from tf_landslide.predict.load import load_predictor
from tf_landslide.runs.folder import Run

pytestmark = pytest.mark.slow


def url(server, name="tiny"):
    return f"grpc://localhost:{server.port}/{name}"


@pytest.mark.parametrize("path", ["", "/versions/1"])
def test_a_server_is_a_predictor_like_any_other(server, exported, path):
    remote, local = load_predictor(url(server) + path), load_predictor(exported, runtime="tensorflow")
    assert remote.card.as_dict() == {**local.card.as_dict(), "name": remote.card.name}
    x = np.random.default_rng(0).random((37, 50, 33, 6)).astype(np.float32)  # three requests, of a size to be padded
    np.testing.assert_allclose(remote(x), local(x), atol=1e-5)
    stored = np.random.default_rng(1).random((3, 64, 64, 14)).astype(np.float32)
    for theirs, ours in zip(remote.from_bands(stored), local.from_bands(stored), strict=True):
        np.testing.assert_allclose(theirs, ours, atol=1e-5)


def test_a_predictor_stays_with_the_version_whose_card_it_has(run_folder, tmp_path):
    """A new version has a threshold, and perhaps channels, of its own."""
    run = shutil.copytree(run_folder, tmp_path / "run")
    export_run(Run.open(run), tmp_path / "models")
    x = np.zeros((1, 32, 32, 6), np.float32)
    with running(tmp_path / "models", "--file_system_poll_wait_seconds=0.1") as server:
        where = url(server)
        old, library = load_predictor(where), Library(find_models(servers=[where]))
        (name,) = library.names
        first = library.predictor(name)
        assert library.predictor(name) is first and old(x).shape == (1, 32, 32, 1)

        metrics = json.loads((run / "metrics.json").read_text())
        metrics["valid"]["threshold"] = 0.123
        (run / "metrics.json").write_text(json.dumps(metrics))
        export_run(Run.open(run), tmp_path / "models")
        until = time.monotonic() + 60
        while Client(where).status() != {1: "END", 2: "AVAILABLE"}:
            assert time.monotonic() < until
            time.sleep(0.1)
        with pytest.raises(LandslideError, match="NOT_FOUND"):
            old(x)
        assert library.card(name).threshold == library.predictor(name).card.threshold == 0.123
        assert library.predictor(name)(x).shape == (1, 32, 32, 1)
        assert load_predictor(where).card.threshold == 0.123 != old.card.threshold


def test_a_number_that_no_version_has_is_refused():
    with pytest.raises(LandslideError, match=r"no version has a number of 2\^63 or more"):
        load_predictor("grpc://localhost:1/m/versions/99999999999999999999")


def test_predict_by_a_server_writes_what_predict_by_a_run_writes(server, run_folder, sample, tmp_path):
    inputs = [str(patch.image) for patch in find_patches(sample, "test")]
    for name, model in (("server", url(server)), ("run", str(run_folder))):
        assert main(["predict", model, *inputs, "--out", str(tmp_path / name)]) == 0
    for path in (tmp_path / "run").glob("*.npy"):
        np.testing.assert_allclose(np.load(tmp_path / "server" / path.name), np.load(path), atol=1e-5)
    for path in (tmp_path / "run").glob("*_mask.png"):
        assert (tmp_path / "server" / path.name).read_bytes() == path.read_bytes()


def test_a_client_pays_for_neither_tensorflow_nor_keras(server, sample, tmp_path):
    patch = find_patches(sample, "test")[0].image
    code = (
        "import sys; from tf_landslide.cli.main import main; "
        f"status = main(['predict', {url(server)!r}, {str(patch)!r}, '--out', {str(tmp_path / 'out')!r}]); "
        "print(status, [name for name in ('tensorflow', 'keras') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr


@pytest.mark.slow
def test_tensorflow_can_be_imported_after_the_client():
    code = (
        "import serving.client, serving.protos; import tensorflow as tf; "
        "from serving.tensors import to_array; print(to_array(tf.make_tensor_proto([1.0, 2.0])).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[1.0, 2.0]", done.stderr


def test_status_and_signatures(server):
    with Client(url(server)) as client:
        assert client.status() == {1: "AVAILABLE"}
        assert "segment" in client.signatures().signature_def
        y = client.predict({"channels": np.zeros((1, 32, 32, 6), np.float32)}, "segment", outputs=["mask"])
        assert list(y) == ["mask"] and y["mask"].dtype == np.uint8


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nobody", "NOT_FOUND: Servable not found for request: Latest(nobody)"),
        ("tiny/versions/5", "NOT_FOUND: Servable not found for request: Specific(tiny, 5)"),
        ("tiny/labels/best", "INVALID_ARGUMENT: Unrecognized servable version label: best"),
        ("every", "has no 'describe' signature; export it with tf-landslide export"),
    ],
)
def test_a_model_that_is_not_there_is_one_line(server, name, said, sample, tmp_path, capsys):
    patch = str(find_patches(sample, "test")[0].image)
    assert main(["predict", url(server, name), patch, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert said in error and url(server, name) in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


@pytest.mark.parametrize("address", ["grpc://localhost:1", "grpc://localhost/", "grpc:///m", "http://localhost:1/m"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(UsageError, match="is no server address; expected grpc://HOST:PORT/NAME"):
        Client(address)


def test_nobody_answers():
    started = time.monotonic()
    with pytest.raises(LandslideError, match="grpc://localhost:1/m: UNAVAILABLE"):
        connect("grpc://localhost:1/m", retries=2, wait=0)
    assert time.monotonic() - started < 3


def test_a_server_that_is_not_there_is_waited_for_and_that_is_said(capsys):
    started = time.monotonic()
    with pytest.raises(LandslideError, match="grpc://localhost:1/m: UNAVAILABLE"):
        connect("grpc://localhost:1/m", retries=0, wait=3)
    assert 2.5 < time.monotonic() - started < 6
    assert capsys.readouterr().err == "waiting for grpc://localhost:1/m, 3 s at most\n"


def test_predict_waits_for_a_server_that_is_starting(server, sample, tmp_path):
    """As when README's block is pasted: nobody listens yet, then somebody who still loads the model."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    patch = find_patches(sample, "test")[0].image
    words = ["predict", f"grpc://localhost:{port}/tiny", str(patch), "--out", str(tmp_path / "out")]
    client = subprocess.Popen([sys.executable, "-m", "tf_landslide", *words])
    time.sleep(3)
    assert client.poll() is None

    class Loading(model_service_pb2_grpc.ModelServiceServicer, prediction_service_pb2_grpc.PredictionServiceServicer):
        """Still loads the model when asked for the first time, then passes on to the real one."""

        asked = 0

        def GetModelStatus(self, request, context):
            self.asked += 1
            state = ModelVersionStatus.LOADING if self.asked == 1 else ModelVersionStatus.AVAILABLE
            response = GetModelStatusResponse()
            response.model_version_status.add(version=1, state=state)
            return response

        def Predict(self, request, context):
            return server.api.predict(request, Caller())

        def GetModelMetadata(self, request, context):
            return server.api.metadata(request)

    loading, late = Loading(), grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(loading, late)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(loading, late)
    assert late.add_insecure_port(f"localhost:{port}") == port
    late.start()
    assert client.wait(30) == 0 and loading.asked >= 2
    assert len(list((tmp_path / "out").iterdir())) == 3
    late.stop(None)


def test_a_model_that_the_server_does_not_know_is_not_waited_for(server):
    started = time.monotonic()
    with pytest.raises(LandslideError, match="NOT_FOUND"):
        connect(url(server, "nobody"), wait=30)
    assert time.monotonic() - started < 5


class Moody(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Refuses the first calls, then answers with typed fields, as TensorFlow Serving does."""

    def __init__(self, refusals, code=grpc.StatusCode.UNAVAILABLE, pause=0.0):
        self.refusals, self.code, self.pause, self.calls, self.at_once, self.most = refusals, code, pause, 0, 0, 0
        self.lock = threading.Lock()

    def Predict(self, request, context):
        with self.lock:
            self.calls += 1
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            refuse = self.calls <= self.refusals
        time.sleep(self.pause)
        with self.lock:
            self.at_once -= 1
        if refuse:
            context.abort(self.code, "busy")
        response = PredictResponse()
        response.outputs["probability"].CopyFrom(to_proto(np.arange(100, dtype=np.float32), content=False))
        return response


@pytest.fixture
def moody(request):
    servicer = Moody(*request.param)
    server = grpc.server(futures.ThreadPoolExecutor(8))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    servicer.url = f"grpc://localhost:{port}/m"
    yield servicer
    server.stop(None)


@pytest.mark.parametrize("moody", [(3,)], indirect=True)
def test_a_busy_server_is_asked_again(moody):
    with Client(moody.url) as client:
        np.testing.assert_array_equal(client.predict({})["probability"], np.arange(100))
    assert moody.calls == 4


@pytest.mark.parametrize("moody", [(100,)], indirect=True)
def test_not_for_ever(moody):
    with Client(moody.url, retries=2) as client, pytest.raises(ServingError, match="UNAVAILABLE: busy"):
        client.predict({})
    assert moody.calls == 3


@pytest.mark.parametrize("moody", [(100, grpc.StatusCode.INVALID_ARGUMENT)], indirect=True)
def test_a_request_that_is_wrong_is_not_sent_again(moody):
    with Client(moody.url) as client, pytest.raises(ServingError, match="INVALID_ARGUMENT: busy"):
        client.predict({})
    assert moody.calls == 1


@pytest.mark.parametrize("moody", [(0, None, 2.0)], indirect=True)
def test_a_deadline_ends_the_wait(moody):
    started = time.monotonic()
    with Client(moody.url, deadline=0.3) as client, pytest.raises(ServingError, match="DEADLINE_EXCEEDED"):
        client.predict({})
    assert time.monotonic() - started < 1.5


def test_several_requests_are_on_their_way_at_a_time(server):
    remote = connect(url(server), batch_size=1, in_flight=4)
    at_once, most, lock = [0], [0], threading.Lock()
    original = remote.backend.client.predict

    def counting(*arguments):
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        try:
            return original(*arguments)
        finally:
            with lock:
                at_once[0] -= 1

    remote.backend.client.predict = counting
    assert remote(np.zeros((12, 128, 128, 6), np.float32)).shape == (12, 128, 128, 1)
    assert 2 <= most[0] <= 4


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    """An authority, and files signed by it for a server and a client; and by another for a stranger."""
    folder, authority, other = tmp_path_factory.mktemp("pem"), trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    other.cert_pem.write_to_path(str(folder / "other.pem"))
    for name, issuer in (("server", authority), ("client", authority), ("stranger", other)):
        issued = issuer.issue_cert("localhost")
        issued.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        issued.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))
    return folder


def ssl_config(pem, path, mutual):
    def quoted(name):
        return '"' + (pem / name).read_text().replace("\n", "\\n") + '"'

    path.write_text(
        f"server_key: {quoted('server.key')}\nserver_cert: {quoted('server.pem')}\n"
        + (f"custom_ca: {quoted('ca.pem')}\nclient_verify: true\n" if mutual else "")
    )
    return f"--ssl_config_file={path}"


def test_tls(models, pem, tmp_path, sample):
    x = np.zeros((1, 32, 32, 6), np.float32)
    with running(models, ssl_config(pem, tmp_path / "ssl.config", mutual=False)) as server:
        address = f"grpcs://localhost:{server.port}/tiny"
        assert connect(address, tls=TLS(pem / "ca.pem"))(x).shape == (1, 32, 32, 1)
        for tls in (TLS(pem / "other.pem"), None):
            with pytest.raises(LandslideError, match="UNAVAILABLE"):
                connect(address, tls=tls, retries=0, wait=0)
        patch = str(find_patches(sample, "test")[0].image)
        arguments = ["predict", address, patch, "--tls-ca", str(pem / "ca.pem"), "--out", str(tmp_path / "out")]
        assert main(arguments) == 0


@pytest.mark.slow
def test_mutual_tls(models, pem, tmp_path):
    x = np.zeros((1, 32, 32, 6), np.float32)
    with running(models, ssl_config(pem, tmp_path / "ssl.config", mutual=True)) as server:
        address = f"grpcs://localhost:{server.port}/tiny"
        known = TLS(pem / "ca.pem", pem / "client.pem", pem / "client.key")
        assert connect(address, tls=known)(x).shape == (1, 32, 32, 1)
        for tls in (TLS(pem / "ca.pem"), TLS(pem / "ca.pem", pem / "stranger.pem", pem / "stranger.key")):
            with pytest.raises(LandslideError, match="UNAVAILABLE"):
                connect(address, tls=tls, retries=0, wait=0)


def test_tls_files_that_cannot_be_used_are_named(tmp_path, capsys):
    with pytest.raises(UsageError, match=r"nowhere\.pem: No such file"):
        Client("grpcs://localhost:1/m", tls=TLS("nowhere.pem"))
    with pytest.raises(UsageError, match="both a certificate and its key"):
        Client("grpcs://localhost:1/m", tls=TLS(certificate="a.pem"))
    with pytest.raises(UsageError, match="are for grpcs://"):
        Client("grpc://localhost:1/m", tls=TLS("a.pem"))
    assert main(["predict", str(tmp_path), "x.h5", "--tls-ca", "a.pem", "--out", str(tmp_path / "o")]) == 2
    assert "--tls-key are for a model on a server" in capsys.readouterr().err
