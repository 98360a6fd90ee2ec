"""What the flags come to: files that are read, ports that are bound; a flag that cannot be is a ``UsageError``."""

from __future__ import annotations

import argparse
import re
from concurrent.futures import ThreadPoolExecutor

import grpc

from serving import configs
from serving.batching import BatchingOptions
from serving.metrics import METRICS_PATH
from serving.protos import ModelServerConfig
from serving.status import ServingError, UsageError
from serving.streams import Streams

IDLE_MS = 300_000  # in which a connection without calls is closed; callers open another when they need one
STREAMS = 1024  # calls at a time over one connection
INT = 2**31 - 1
RANGES = {  # of flags that would be misread, or let nothing run, beyond them
    "port": (-1, 65535),
    "rest_api_port": (-1, 65535),
    "max_concurrency": (1, 2**16),
    "max_queue": (0, 2**16),
    "grpc_max_threads": (0, 2**16),
    "grpc_max_connections": (0, INT),
    "file_system_poll_wait_seconds": (-1, INT),
    "model_config_file_poll_wait_seconds": (-1, INT),
    "max_message_mib": (1, 2**20),
    "rest_max_body_mib": (1, 2**20),
    "drain_seconds": (0, 2**20),
    "tensorflow_intra_op_parallelism": (0, 2**16),
    "tensorflow_inter_op_parallelism": (0, 2**16),
}


def check_options(options: argparse.Namespace) -> None:
    """Raise ``UsageError`` for flags that contradict each other, or that are not supported."""
    if not (options.port or options.grpc_socket_path):
        raise UsageError("neither --port nor --grpc_socket_path is set; gRPC needs one of them")
    for name, (least, most) in RANGES.items():
        if not least <= (value := getattr(options, name)) <= most:
            raise UsageError(f"--{name}: expected {least} to {most}, got {value}")
    if options.enable_signature_method_name_check:
        raise UsageError("--enable_signature_method_name_check is not supported by the embedded server")
    if options.port > 0 and options.port == options.rest_api_port:
        raise UsageError(f"--port and --rest_api_port are both {options.port}; give them a port each")


def grpc_server(options: argparse.Namespace, credentials) -> tuple[grpc.Server, int]:
    """A gRPC server that listens where the flags say, and its port. Raises ``UsageError`` where one is taken."""
    size = min(options.max_message_mib * 2**20, INT)
    arguments = [("grpc.max_receive_message_length", size), ("grpc.max_send_message_length", size)]
    arguments += [("grpc.so_reuseport", 0)]  # a port that is taken is an error
    arguments += [("grpc.max_allowed_incoming_connections", max(1, options.grpc_max_connections))]
    arguments += [("grpc.max_connection_idle_ms", IDLE_MS), ("grpc.max_concurrent_streams", STREAMS)]
    for pair in filter(None, options.grpc_channel_arguments.split(",")):
        arguments.append(_channel_argument(pair))
    # More threads than requests may wait, so that the one too many is told so.
    threads = options.grpc_max_threads or options.max_concurrency + options.max_queue + 16
    server = grpc.server(ThreadPoolExecutor(threads, "grpc"), options=arguments, interceptors=[Streams()])
    addresses = [f"{options.host}:{max(0, options.port)}"] if options.port else []
    addresses += [f"unix:{options.grpc_socket_path}"] if options.grpc_socket_path else []
    port = 0
    for address in addresses:
        try:
            bound = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
        except RuntimeError:
            raise UsageError(f"{address} cannot be listened on; is another server there?") from None
        port = port or bound
    return server, port


def _channel_argument(pair: str) -> tuple[str, int | str]:
    key, found, value = pair.partition("=")
    if not found:
        raise UsageError(f"--grpc_channel_arguments: expected KEY=VALUE, got {pair!r}")
    if not re.fullmatch("-?[0-9]+", value):
        return key, value
    if len(value) > 11 or not -INT <= int(value) <= INT:
        raise UsageError(f"--grpc_channel_arguments: expected a number of 32 bits, got {pair!r}")
    return key, int(value)


def configured(options: argparse.Namespace) -> ModelServerConfig:
    """What the flags say is to be served. Raises ``UsageError`` where they say nothing."""
    if options.model_config_file:
        return configs.read_model_config(options.model_config_file)
    if not options.model_base_path:
        raise UsageError("name what to serve: --model_base_path or --model_config_file")
    return configs.model_config({options.model_name: options.model_base_path})


def monitoring_path(options: argparse.Namespace) -> str | None:
    """Where metrics are, or None for nowhere."""
    if not options.monitoring_config_file:
        return METRICS_PATH
    prometheus = configs.read_config(options.monitoring_config_file, configs.MonitoringConfig).prometheus_config
    return (prometheus.path or METRICS_PATH) if prometheus.enable else None


def batching_options(options: argparse.Namespace) -> BatchingOptions | None:
    """How requests are batched, or None where they are not."""
    if not options.enable_batching:
        if options.batching_parameters_file:
            raise UsageError("--batching_parameters_file is set without --enable_batching")
        return None
    if not options.batching_parameters_file:
        return BatchingOptions()
    parameters = configs.read_config(options.batching_parameters_file, configs.BatchingParameters)
    try:
        return BatchingOptions.of(parameters)
    except ServingError as error:
        raise UsageError(f"{options.batching_parameters_file}: {error}") from None


def credentials_of(options: argparse.Namespace):
    """Of TLS, or None without it."""
    if not options.ssl_config_file:
        return None
    ssl = configs.read_config(options.ssl_config_file, configs.SSLConfig)
    if not ssl.server_key or not ssl.server_cert or (ssl.client_verify and not ssl.custom_ca):
        needed = "server_key, server_cert" + (" and custom_ca" if ssl.client_verify else "")
        raise UsageError(f"{options.ssl_config_file}: needs {needed}, each the text of a PEM file")
    pair = (ssl.server_key.encode(), ssl.server_cert.encode())
    return grpc.ssl_server_credentials([pair], ssl.custom_ca.encode() or None, ssl.client_verify)
