"""What computes a SavedModel: OpenVINO where it proves itself equal, else TensorFlow."""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError
from tf_landslide.predict.load import load_predictor
from tf_landslide.runs.formats import REFERENCE

openvino = pytest.importorskip("openvino", reason="OpenVINO is optional: pip install openvino")


@pytest.fixture
def version(exported, tmp_path):
    """A copy of the exported version, to spoil."""
    return shutil.copytree(exported, tmp_path / "models" / "1")


def channels(*shape, seed=0):
    x = np.random.default_rng(seed).normal((0.1, 0.1, 0.1, 0.5, 20, 900), (0.1, 0.1, 0.1, 0.3, 9, 300), (*shape, 6))
    x[:, :5, :7, 2] = np.nan
    return x.astype(np.float32)


def without_reference(version):
    (version / REFERENCE).unlink()


def with_another_answer(version):
    kept = np.load(version / REFERENCE)
    np.savez(version / REFERENCE, channels=kept["channels"], probability=kept["probability"] + 2e-4)


def with_an_unreadable_reference(version):
    (version / REFERENCE).write_bytes(b"no numbers")


@pytest.mark.parametrize("shape", [(1, 128, 128), (3, 64, 96), (20, 32, 32), (2, 50, 33)])
def test_openvino_gives_what_tensorflow_gives(exported, shape):
    fast, plain = load_predictor(exported), load_predictor(exported, runtime="tensorflow")
    assert (fast.runtime, plain.runtime) == ("openvino", "tensorflow")
    x = channels(*shape)
    np.testing.assert_allclose(fast(x), plain(x), atol=1e-4)  # what is promised


def with_half_a_reference(version):
    whole = (version / REFERENCE).read_bytes()
    (version / REFERENCE).write_bytes(whole[: len(whole) // 2])


def with_an_empty_reference(version):
    (version / REFERENCE).write_bytes(b"")


@pytest.mark.parametrize(
    "spoil",
    [
        without_reference,
        with_another_answer,
        with_an_unreadable_reference,
        with_half_a_reference,
        with_an_empty_reference,
    ],
)
def test_what_does_not_prove_itself_is_not_used(version, spoil):
    spoil(version)
    with pytest.raises(LandslideError, match="OpenVINO cannot run it"):
        load_predictor(version, runtime="openvino")
    with pytest.warns(UserWarning, match="TensorFlow runs it, since OpenVINO cannot"):
        assert load_predictor(version).runtime == "tensorflow"


def test_without_openvino_tensorflow_runs_it(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr("tf_landslide.predict.load.find_spec", lambda _: None)
    assert load_predictor(exported).runtime == "tensorflow"
    with pytest.raises(LandslideError, match="pip install openvino"):
        load_predictor(exported, runtime="openvino")


def test_a_gpu_is_tensorflow_s(exported, monkeypatch):
    monkeypatch.setattr("tf_landslide.predict.load._has_gpu", lambda: True)
    assert load_predictor(exported).runtime == "tensorflow"


def test_many_threads_get_their_own_answers(exported):
    predictor = load_predictor(exported, runtime="openvino")
    inputs = [channels(1, 64, 64, seed=i) for i in range(16)]
    alone = [predictor(x) for x in inputs]
    with ThreadPoolExecutor(8) as pool:
        for found, expected in zip(pool.map(predictor, inputs), alone, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_tensorflow_is_not_needed(exported):
    code = (
        "import sys, numpy as np; from tf_landslide.predict.load import load_predictor; "
        "y = load_predictor(sys.argv[1])(np.zeros((1, 32, 32, 6))); "
        "assert y.shape == (1, 32, 32, 1) and not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(exported)], check=True, timeout=60)


def test_the_command_line_starts_no_tensorflow_for_openvino(exported, sample, tmp_path):
    patch = next((sample / "TestData" / "img").glob("*.h5"))
    code = (
        "import sys; from tf_landslide.cli.main import main; status = main(['predict', *sys.argv[1:]]); "
        "print(status, sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    words = [str(exported), str(patch), "--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "0 []" and done.stderr == ""


def test_the_options_of_a_server_are_refused_for_what_is_none(exported, run_folder):
    for model in (exported, run_folder):
        with pytest.raises(LandslideError, match=r"is no server .*, which tls is for"):
            load_predictor(model, tls=object())


def test_the_command_line_chooses(exported, run_folder, sample, tmp_path, capsys):
    patch = str(next((sample / "TestData" / "img").glob("*.h5")))
    for runtime in ("tensorflow", "openvino"):
        assert main(["predict", str(exported), patch, "--out", str(tmp_path / runtime), "--runtime", runtime]) == 0
    one, other = (np.load(next((tmp_path / r).glob("*.npy"))) for r in ("tensorflow", "openvino"))
    np.testing.assert_allclose(one, other, atol=1e-4)
    server = "grpc://localhost:1/model"
    refused = [
        (exported, "torch", "unknown runtime"),
        (run_folder, "openvino", "is a run"),
        (server, "openvino", "server"),
    ]
    for model, runtime, said in refused:
        assert main(["predict", str(model), patch, "--out", str(tmp_path / "x"), "--runtime", runtime]) == 2
        assert said in capsys.readouterr().err


def test_openvino_tells_its_maker_nothing(exported):
    code = (
        "import sys; from tf_landslide.predict.load import load_predictor; "
        "load_predictor(sys.argv[1], runtime='openvino'); "
        "from openvino.tools.ovc.telemetry_utils import tm; print(tm.__name__)"
    )
    said = subprocess.run([sys.executable, "-c", code, str(exported)], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "openvino.tools.ovc.telemetry_stub"
