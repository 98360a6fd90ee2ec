"""TensorFlow Serving's flags (its model_servers/main.cc): honoured, accepted without effect, or refused by name.

A flag that would change answers or security and is not supported is refused. One that only tunes is accepted, and said
to have no effect.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from importlib.metadata import version

HONOURED: dict[str, tuple[type, object, str]] = {
    "port": (int, 8500, "TCP port of the gRPC API; 0 for none, -1 for any that is free"),
    "grpc_socket_path": (str, "", "UNIX socket of the gRPC API"),
    "rest_api_port": (int, 0, "port of the REST API and the metrics; 0 for none, -1 for any"),
    "rest_api_timeout_in_ms": (int, 30000, "for a prediction asked for over REST"),
    "rest_api_enable_cors_support": (bool, False, "let pages of any origin call the REST API"),
    "model_name": (str, "default", "of the one model; not with --model_config_file"),
    "model_base_path": (str, "", "folder of the one model's versions; not with --model_config_file"),
    "model_config_file": (str, "", "a ModelServerConfig in text format"),
    "model_config_file_poll_wait_seconds": (int, 0, "how often the file is read again; 0 for never"),
    "file_system_poll_wait_seconds": (float, 1, "how often new versions are looked for; 0 for once, -1 for never"),
    "max_num_load_retries": (int, 5, "how often loading a version is tried again"),
    "load_retry_interval_micros": (int, 60_000_000, "between two tries"),
    "enable_model_warmup": (bool, True, "replay a version's warm-up requests before it is served"),
    "num_request_iterations_for_warmup": (int, 1, "how often each of them"),
    "allow_version_labels_for_unavailable_models": (bool, False, "let a new label name a version not yet available"),
    "enable_batching": (bool, False, "run requests of one shape together"),
    "batching_parameters_file": (str, "", "BatchingParameters in text format"),
    "monitoring_config_file": (str, "", "MonitoringConfig in text format (default: metrics on, at the usual path)"),
    "ssl_config_file": (str, "", "SSLConfig in text format: TLS, and mutual TLS, for gRPC"),
    "grpc_channel_arguments": (str, "", "comma-separated KEY=VALUE for the gRPC server"),
    "grpc_max_threads": (int, 0, "threads that answer gRPC; 0 for as many as --max_queue needs"),
    "saved_model_tags": (str, "serve", "comma-separated tags of the graph to load"),
    "enable_grpc_healthcheck_service": (bool, True, "grpc.health.v1 (on whatever is said)"),
    "enable_serialization_as_tensor_content": (bool, False, "answer with raw bytes rather than typed fields"),
    "enable_signature_method_name_check": (bool, False, "(true is refused)"),
    "tensorflow_intra_op_parallelism": (int, 0, "threads of one operation; 0 for TensorFlow's choice"),
    "tensorflow_inter_op_parallelism": (int, 0, "operations of a request at a time; 0 for one after another"),
}
OURS: dict[str, tuple[type, object, str]] = {
    "host": (str, "127.0.0.1", "address to listen on; 0.0.0.0 for all, as TensorFlow Serving does"),
    "max_concurrency": (int, os.cpu_count() or 1, "predictions that run at the same time"),
    "max_queue": (int, 256, "predictions that wait for their turn; one more is UNAVAILABLE"),
    "max_message_mib": (int, 1024, "largest request and answer"),
    "rest_max_body_mib": (int, 64, "largest body over REST: JSON takes much memory"),
    "grpc_max_connections": (int, 512, "connections to the gRPC API at a time; one more is closed"),
    "rest_max_connections": (int, 512, "connections to the REST API at a time; one more takes an idle one's place"),
    "allowed_hosts": (str, "", "names that the REST API answers to, with commas; * for any; else by where it listens"),
    "max_image_pixels": (int, 0, "rows x columns of an image; 0 for any"),
    "drain_seconds": (float, 30.0, "for the requests under way when told to stop"),
    "log_format": (str, "text", "text or json"),
}
NO_EFFECT = (
    *("rest_api_num_threads", "num_load_threads", "num_unload_threads", "flush_filesystem_caches"),
    *("tensorflow_session_parallelism", "per_process_gpu_memory_fraction", "enable_profiler", "skip_initialize_tpu"),
    *("remove_unused_fields_from_bundle_metagraph", "num_tflite_pools", "num_tflite_interpreters_per_pool"),
    *("xla_cpu_compilation_enabled", "xla_gpu_compilation_enabled", "thread_pool_factory_config_file"),
)
REFUSED = {
    "use_alts_credentials": "use --ssl_config_file",
    "platform_config_file": "only SavedModels are served",
    "tensorflow_session_config_file": "set the threads by --tensorflow_intra_op_parallelism",
    "prefer_tflite_model": "only SavedModels are served",
    "mixed_precision": "export the model in the precision wanted",
    "enable_per_model_batching_parameters": "batching parameters hold for all models",
}

REFUSED_WHEN_TRUE = ("use_alts_credentials", "prefer_tflite_model", "enable_per_model_batching_parameters")


class _Version(argparse.Action):
    """TensorFlow Serving's two lines; whose server this is, the first one says."""

    def __call__(self, parser, namespace, values, option_string=None):
        if values is None or _boolean(values):
            print(f"TensorFlow ModelServer: {version('tensorflow-serving-api')}-embedded")
            print(f"TensorFlow Library: {version('tensorflow')}")
            parser.exit()


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise argparse.ArgumentTypeError(f"expected true or false, got {text!r}")
    return text.lower() in ("true", "1")


class _Refuse(argparse.Action):
    """By its value: what says the default, or nothing, changes nothing."""

    def __call__(self, parser, namespace, values, option_string=None):
        name = option_string.lstrip("-")
        if values == "" or (name in REFUSED_WHEN_TRUE and values is not None and not _boolean(values)):
            return
        parser.error(f"--{name} is not supported by the embedded server; {REFUSED[name]}")


def add_flags(parser: argparse.ArgumentParser, **defaults: object) -> None:
    """Give a parser every flag: ``--name=value``, ``--name value``, and ``--name`` alone for a true one.

    Args:
        parser: to give them to.
        **defaults: of flags whose default differs from TensorFlow Serving's.
    """
    for title, flags in (("TensorFlow Serving's flags", HONOURED), ("the embedded server's own", OURS)):
        group = parser.add_argument_group(title)
        for name, (kind, usual, help) in flags.items():
            default = defaults.get(name, usual)
            of: Callable[[str], object] = _boolean if kind is bool else kind
            shown = "" if default == "" else f" (default {str(default).lower() if kind is bool else default})"
            metavar = kind.__name__.upper().replace("STR", "TEXT")
            group.add_argument(f"--{name}", default=default, help=help + shown, metavar=metavar, type=of)
    for name in NO_EFFECT:
        parser.add_argument(f"--{name}", nargs="?", const=True, help=argparse.SUPPRESS)
    parser.add_argument("--version", nargs="?", action=_Version, metavar="BOOL", help="say it, and end")
    for name in REFUSED:
        parser.add_argument(f"--{name}", nargs="?", action=_Refuse, help=argparse.SUPPRESS)


def spelt_out(words: Sequence[str]) -> list[str]:
    """The words of a command line with ``--name`` alone spelt ``--name=true`` where the flag is a boolean."""
    booleans = {f"--{name}" for name, (kind, *_) in {**HONOURED, **OURS}.items() if kind is bool}
    booleans |= {f"--{name}" for name in ("version", *REFUSED_WHEN_TRUE)}
    return [f"{word}=true" if word in booleans else word for word in words]


def without_effect(arguments: argparse.Namespace) -> list[str]:
    """The flags given that have no effect here."""
    harmless = (None, "", "0", "false")
    return [name for name in NO_EFFECT if getattr(arguments, name) not in harmless]
