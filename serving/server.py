"""The embedded server: TensorFlow Serving's API where no such binary is at hand.

python -m serving.server --model_name=landslide --model_base_path=/models/landslide --port=8500
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from serving import configs, flags
from serving.batching import Batcher
from serving.options import batching_options, check_options, configured, credentials_of, grpc_server, monitoring_path
from serving.protos import ModelServerConfig
from serving.startup import start_tensorflow
from serving.status import ServingError, UsageError
from serving.versions import has_versions

if TYPE_CHECKING:  # TensorFlow starts with them
    from serving.api import Api
    from serving.manager import Manager
    from serving.servicers import Health

log = logging.getLogger("serving")
LINGER = 0.3  # seconds in which a stopping server still says so; gRPC itself would cancel what comes at that moment


class Server:
    """A running server.

    Args:
        options: the flags, as ``flags.add_flags`` parses them.
        config: what to serve; None takes what the flags name.
        find_models: looked at with every poll for models that come and go, in place of a configuration file.

    Raises:
        UsageError: files that cannot be read, options that contradict each other, or a port that is taken.
        ServingError: a model that cannot be loaded.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        config: ModelServerConfig | None = None,
        find_models: Callable[[], ModelServerConfig] | None = None,
    ):
        self.options, self._find_models = options, find_models
        config = config or (find_models() if find_models else configured(options))
        monitoring = monitoring_path(options)
        credentials = credentials_of(options)
        batching = batching_options(options)
        check_options(options)
        # TensorFlow starts only once the options are known to be sound.
        start_tensorflow(options.tensorflow_intra_op_parallelism, options.tensorflow_inter_op_parallelism)
        self.manager = self._manager()
        self._batcher = Batcher(batching) if batching else None
        self.api = self._api()
        self._grpc, self.port = grpc_server(options, credentials)
        self._health = self._services()
        self._stopping = threading.Event()
        self._config = config
        self.manager.reload(config)
        self._threads = [
            threading.Thread(target=self._every, args=arguments, daemon=True)
            for arguments in (
                (options.file_system_poll_wait_seconds, self._poll),
                (options.model_config_file_poll_wait_seconds if options.model_config_file else 0, self._reread),
            )
            if arguments[0] > 0
        ]
        for thread in self._threads:
            thread.start()
        self._wait_for_models()
        self._grpc.start()
        self._rest = self._start_rest(monitoring)
        self.rest_port = self._rest.port if self._rest else None
        self._health.set(True)

    def _manager(self) -> Manager:
        from serving.manager import Manager  # TensorFlow, here and below
        from serving.servable import Servable

        options = self.options
        tags = tuple(options.saved_model_tags.split(","))

        def load(path: Path) -> Servable:
            servable = Servable(path, tags, parallel=options.tensorflow_inter_op_parallelism > 0)
            try:
                if options.enable_model_warmup:
                    servable.warm_up(max(1, options.num_request_iterations_for_warmup))
            except BaseException:
                servable.close()
                raise
            return servable

        return Manager(
            load,
            retries=options.max_num_load_retries,
            retry_seconds=options.load_retry_interval_micros / 1e6,
            labels_of_unavailable=options.allow_version_labels_for_unavailable_models,
        )

    def _api(self) -> Api:
        from serving.api import Api  # TensorFlow
        from serving.gate import Limits

        options = self.options
        limits = Limits(options.max_concurrency, options.max_queue, options.max_image_pixels)
        content = options.enable_serialization_as_tensor_content
        return Api(self.manager, limits, self._batcher, tensor_content=content)

    def _services(self) -> Health:
        from serving.servicers import add_services  # TensorFlow

        return add_services(self._grpc, self.api)

    def _start_rest(self, metrics_path: str | None):
        from serving.rest import RestServer  # as the servicers above

        options = self.options
        if not options.rest_api_port:
            return None
        try:
            return RestServer(
                self.api,
                options.host,
                max(0, options.rest_api_port),
                timeout=options.rest_api_timeout_in_ms / 1000,
                max_bytes=min(options.max_message_mib, options.rest_max_body_mib) * 2**20,
                metrics_path=metrics_path,
                cors=options.rest_api_enable_cors_support,
                max_connections=max(1, options.rest_max_connections),
                allowed_hosts=options.allowed_hosts,
            )
        except OSError as error:
            self._grpc.stop(0)
            raise UsageError(f"port {options.rest_api_port} cannot be listened on ({error.strerror})") from None

    def _wait_for_models(self) -> None:
        """As TensorFlow Serving: nothing is answered until every model has a version."""
        told = False
        while not self.manager.ready and self.options.file_system_poll_wait_seconds > 0 and not self._stopping.is_set():
            if not told:
                log.warning("waiting for a version of every model")
                told = True
            time.sleep(0.05)

    def _every(self, seconds: float, do: Callable[[], None]) -> None:
        while not self._stopping.wait(seconds):
            try:
                do()
            except Exception as error:  # what is served must outlive a poll that fails
                log.error("%s", error)

    def _poll(self) -> None:
        if self._find_models and (config := self._find_models()) != self._config:
            self.manager.reload(config)
            self._config = config
        else:
            self.manager.poll()

    def _reread(self) -> None:
        config = configs.read_model_config(self.options.model_config_file)
        if config != self._config:
            self.manager.reload(config)
            self._config = config
            log.info("%s has changed, and so has what is served", self.options.model_config_file)

    def stop(self, grace: float | None = None) -> None:
        """Answer what was accepted, take nothing more, and unload. Waits ``grace`` seconds at most."""
        grace = self.options.drain_seconds if grace is None else grace
        end = time.monotonic() + grace
        self._stopping.set()
        self._health.set(False)
        self.api.drain()
        if self._rest:
            self._rest.stop(grace)
        self.api.wait_until_idle(end - time.monotonic())
        time.sleep(LINGER)
        self._grpc.stop(1.0).wait()
        if self._batcher:
            self._batcher.close()
        self.manager.close(max(0.0, end - time.monotonic()))

    def wait(self) -> None:
        """Until SIGTERM or SIGINT, then drain."""
        told = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: told.set())
        while not told.wait(1.0):
            pass
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
        log.info("draining")
        self.stop()
        log.info("stopped")


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {"time": self.formatTime(record), "level": record.levelname, "message": record.getMessage()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def set_up_logging(form: str) -> None:
    """Log to standard error, as text or one JSON object a line."""
    if form not in ("text", "json"):
        raise UsageError(f"--log_format: expected text or json, got {form!r}")
    handler = logging.StreamHandler()
    text = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    handler.setFormatter(_JsonFormatter() if form == "json" else text)
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False


def models_under(folder: str | Path) -> ModelServerConfig:
    """The configuration that serves every model in a folder (or the one model whose versions it holds)."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder of models")

    found = [folder] if has_versions(folder) else [path for path in sorted(folder.iterdir()) if has_versions(path)]
    if not found:
        raise UsageError(f"{folder}: holds no model; expected NAME/VERSION folders, as tf-landslide export writes")
    return configs.model_config({path.absolute().name: path for path in found})


def serve(options: argparse.Namespace, models: str | Path | None = None) -> None:
    """Serve until told to stop.

    Args:
        options: the flags.
        models: a folder of models, or None where the flags say what to serve.

    Raises:
        UsageError: whatever keeps it from starting.
    """
    set_up_logging(options.log_format)
    for name in flags.without_effect(options):
        log.warning("--%s has no effect on the embedded server", name)
    find = (lambda: models_under(models)) if models else None
    try:
        server = Server(options, find_models=find)
    except ServingError as error:
        raise UsageError(f"the server does not start: {error.message}") from None
    scheme = "grpcs" if options.ssl_config_file else "grpc"
    where = [f"{scheme}://{options.host}:{server.port}"] if server.port else []
    where += [f"unix:{options.grpc_socket_path}"] if options.grpc_socket_path else []
    where += [f"http://{options.host}:{server.rest_port}/v1/models"] if server.rest_port else []
    log.info("embedded server ready: %s; models: %s", ", ".join(where), ", ".join(server.manager.names))
    server.wait()
    sys.stderr.flush()
    os._exit(0)  # without waiting for predictions that outlasted the drain


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m serving.server",
        description="The embedded server: TensorFlow Serving's API on the same files.",
        allow_abbrev=False,
    )
    flags.add_flags(parser)
    options = parser.parse_args(flags.spelt_out(sys.argv[1:] if argv is None else argv))
    try:
        serve(options)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
