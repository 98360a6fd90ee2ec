"""TensorFlow Serving's flags: honoured, accepted with a word, or refused by name."""

import json
import logging
import re
import socket
import time

import numpy as np
import pytest

from serving import configs, flags, server
from serving.status import UsageError
from tests.serving.conftest import Stubs, options, running
from tests.serving.test_deploy import TF_SERVING_FLAGS
from tf_landslide.cli.main import main


def refused(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        server.main(words)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_every_flag_of_tensorflow_serving_is_known():
    known = {*flags.HONOURED, *flags.NO_EFFECT, *flags.REFUSED, "version"}
    assert set(TF_SERVING_FLAGS.split()) - known == set()


@pytest.mark.parametrize("name", flags.REFUSED)
def test_a_flag_that_would_change_answers_or_security_is_refused_by_name(name, capsys):
    assert f"--{name} is not supported by the embedded server" in refused(capsys, f"--{name}=1")


@pytest.mark.parametrize(
    "word", [*(f"--{name}=false" for name in flags.REFUSED_WHEN_TRUE), "--platform_config_file=", "--mixed_precision="]
)
def test_a_flag_that_asks_for_nothing_is_none(word):
    assert options(word)


def test_a_flag_without_effect_that_asks_for_none():
    assert flags.without_effect(options("--enable_profiler=false", "--num_load_threads=0")) == []


@pytest.mark.parametrize("word", ["--version", "--version=true"])
def test_the_version(word, capsys):
    import tensorflow as tf

    with pytest.raises(SystemExit) as ended:
        server.main([word])
    first, second = capsys.readouterr().out.splitlines()
    assert ended.value.code == 0 and second == f"TensorFlow Library: {tf.__version__}"
    assert first.startswith("TensorFlow ModelServer: ") and first.endswith("-embedded")
    assert options("--version=false")


def test_a_flag_that_only_tunes_is_accepted():
    given = options("--num_load_threads=4", "--rest_api_num_threads", "8")
    assert flags.without_effect(given) == ["rest_api_num_threads", "num_load_threads"]


@pytest.mark.parametrize(
    ("word", "value"), [("", True), ("=true", True), ("=false", False), ("=1", True), ("=0", False)]
)
def test_booleans_are_written_as_tensorflow_serving_takes_them(word, value):
    assert options(f"--enable_batching{word}").enable_batching is value


def test_unknown_flags_are_refused(capsys):
    assert "unrecognized arguments: --prot=8500" in refused(capsys, "--prot=8500")
    assert "expected true or false" in refused(capsys, "--enable_batching=maybe")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name what to serve"),
        (("--model_config_file=nowhere.config",), "nowhere.config: cannot be read"),
        (("--model_base_path=/m", "--port=0"), "gRPC needs one of them"),
        (("--model_base_path=/m", "--port=77", "--rest_api_port=77"), "a port each"),
        (("--model_base_path=/m", "--batching_parameters_file=b"), "without --enable_batching"),
        (("--model_base_path=/m", "--ssl_config_file=nowhere"), "nowhere: cannot be read"),
        (("--model_base_path=/m", "--log_format=xml"), "expected text or json"),
        (("--model_base_path=/m", "--enable_signature_method_name_check"), "is not supported"),
        (("--model_base_path=/m", "--grpc_channel_arguments=a"), "expected KEY=VALUE"),
        (("--model_base_path=/m", "--grpc_channel_arguments=a=2147483648"), "a number of 32 bits"),
        (("--model_base_path=/m", "--max_concurrency=0"), "--max_concurrency: expected 1 to 65536, got 0"),
        (("--model_base_path=/m", "--rest_api_port=65536"), "--rest_api_port: expected -1 to 65535"),
        (("--model_base_path=/m", "--grpc_max_threads=-1"), "--grpc_max_threads: expected 0 to"),
        (("--model_base_path=/m", "--drain_seconds=nan"), "--drain_seconds: expected 0 to"),
        (("--model_base_path=/m", "--grpc_max_connections=99999999999"), "--grpc_max_connections: expected 0 to"),
        (("--model_base_path=/m", "--file_system_poll_wait_seconds=inf"), "_wait_seconds: expected -1 to 2147483647"),
        (("--model_base_path=/m", "--model_config_file_poll_wait_seconds=9999999999"), "_wait_seconds: expected -1 to"),
    ],
)
def test_what_keeps_the_server_from_starting_is_one_line(words, said, capsys):
    assert server.main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and said in error and error.count("\n") == 1


@pytest.mark.parametrize("text", ["[" * 5000, "a\x1b[2J", "\u2028"])
def test_what_a_text_file_holds_does_not_become_the_message(tmp_path, text):
    (tmp_path / "models.config").write_text(f"model_config_list {{ {text}")
    with pytest.raises(UsageError) as error:
        configs.read_model_config(tmp_path / "models.config")
    assert str(error.value).isprintable() and len(str(error.value)) < 1000


def test_a_text_file_that_is_wrong_is_named_with_its_line(tmp_path):
    file = tmp_path / "models.config"
    file.write_text("model_config_list {\n  config { nmae: 'x' }\n}")
    with pytest.raises(
        UsageError, match=rf"{re.escape(str(file))}: Error parsing text-format tensorflow.serving.ModelServerConfig: 2:"
    ):
        configs.read_model_config(file)
    file.write_text("max_batch_size { value: 8 }\npad_variable_length_inputs: true")
    with pytest.raises(UsageError, match="pad_variable_length_inputs is not supported"):
        server.Server(options("--enable_batching", f"--batching_parameters_file={file}", "--model_base_path=/m"))
    file.write_text("num_batch_threads { value: 0 }")
    with pytest.raises(UsageError, match="num_batch_threads must be positive; was 0"):
        server.Server(options("--enable_batching", f"--batching_parameters_file={file}", "--model_base_path=/m"))
    file.write_text("server_key: 'x'")
    with pytest.raises(UsageError, match="needs server_key, server_cert"):
        server.Server(options(f"--ssl_config_file={file}", "--model_base_path=/m"))


def test_serve_names_a_folder_that_holds_no_model(tmp_path, capsys):
    for folder, said in ((tmp_path / "no", "no such folder"), (tmp_path, "holds no model; expected NAME/VERSION")):
        assert main(["serve", str(folder)]) == 2
        assert said in capsys.readouterr().err
    assert main(["serve", "--enable_batching", str(tmp_path)]) == 2  # a flag does not take MODELS for its value
    assert "holds no model" in capsys.readouterr().err
    assert main(["serve", str(tmp_path), "--model_base_path=/m"]) == 2
    assert "use python -m serving.server" in capsys.readouterr().err


def test_one_models_folder_and_a_folder_of_models_can_be_served(models):
    assert [c.name for c in server.models_under(models).model_config_list.config] == ["every", "tiny"]
    (one,) = server.models_under(models / "tiny").model_config_list.config
    assert (one.name, one.base_path) == ("tiny", str(models / "tiny"))


@pytest.mark.slow
def test_the_socket_and_the_configuration_file_are_used(models, tmp_path):
    file, path = tmp_path / "models.config", tmp_path / "s"
    text = f'model_config_list {{ config {{ name: "e" base_path: "{models}/every" model_platform: "tensorflow" }} }}'
    file.write_text(text)
    given = ("--port=0", f"--grpc_socket_path={path}", "--rest_api_port=0", f"--model_config_file={file}")
    started = server.Server(options(*given, "--model_config_file_poll_wait_seconds=1"))
    try:
        stubs = Stubs(f"unix:{path}")
        stubs.predict("e", "float32", x=np.ones(1, np.float32))
        file.write_text(text.replace('name: "e"', 'name: "f"'))
        end = time.monotonic() + 20
        while not ("f" in started.manager.names and started.manager.ready) and time.monotonic() < end:
            time.sleep(0.05)
        stubs.predict("f", "float32", x=np.ones(1, np.float32))
    finally:
        started.stop(1)


def test_json_logs(capsys):
    server.set_up_logging("json")
    logging.getLogger("serving").info("hello %d", 1)
    assert json.loads(capsys.readouterr().err)["message"] == "hello 1"
    server.set_up_logging("text")


def test_the_rest_port_that_is_taken_is_named(models):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = (models, f"--rest_api_port={port}")
        with pytest.raises(UsageError, match=f"port {port} cannot be listened on"), running(*words):
            pass
