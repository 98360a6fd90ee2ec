"""TensorFlow Serving's text configuration files.

The messages of models come with ``tensorflow-serving-api``. Those of batching, monitoring and TLS do not: they are
declared here, field by field as in TensorFlow Serving's session_bundle_config.proto, monitoring_config.proto and
ssl_config.proto, in a pool of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from google.protobuf.message import Message

from serving.protos import ModelServerConfig
from serving.status import UsageError

_LONGEST = 300  # characters of an error
_FIELD = descriptor_pb2.FieldDescriptorProto
_INT64, _BOOL, _STRING_VALUE = (
    ".google.protobuf.Int64Value",
    ".google.protobuf.BoolValue",
    ".google.protobuf.StringValue",
)
_MESSAGES: dict[str, list[tuple]] = {
    "BatchingParameters": [
        ("max_batch_size", 1, _INT64),
        ("batch_timeout_micros", 2, _INT64),
        ("max_enqueued_batches", 3, _INT64),
        ("num_batch_threads", 4, _INT64),
        ("thread_pool_name", 5, _STRING_VALUE),
        ("allowed_batch_sizes", 6, "repeated int64"),
        ("pad_variable_length_inputs", 7, "bool"),
        ("enable_large_batch_splitting", 8, _BOOL),
        ("max_execution_batch_size", 9, _INT64),
    ],
    "PrometheusConfig": [("enable", 1, "bool"), ("path", 2, "string")],
    "MonitoringConfig": [("prometheus_config", 1, ".serving.PrometheusConfig")],
    "SSLConfig": [
        ("server_key", 1, "string"),
        ("server_cert", 2, "string"),
        ("custom_ca", 3, "string"),
        ("client_verify", 4, "bool"),
    ],
}
_TYPES = {"int64": _FIELD.TYPE_INT64, "bool": _FIELD.TYPE_BOOL, "string": _FIELD.TYPE_STRING}


def _declare() -> dict[str, type[Message]]:
    file = descriptor_pb2.FileDescriptorProto(name="serving/configs.proto", package="serving", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            repeated, kind = kind.startswith("repeated "), kind.removeprefix("repeated ")
            label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
            if kind in _TYPES:
                message.field.add(name=field, number=number, label=label, type=_TYPES[kind])
            else:
                message.field.add(name=field, number=number, label=label, type=_FIELD.TYPE_MESSAGE, type_name=kind)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"serving.{name}")) for name in _MESSAGES}


_DECLARED = _declare()
BatchingParameters = _DECLARED["BatchingParameters"]
MonitoringConfig = _DECLARED["MonitoringConfig"]
SSLConfig = _DECLARED["SSLConfig"]


def read_config(path: str | Path, kind: Any) -> Any:
    """Read a text-format file. Raises ``UsageError``: absent, or not of that kind, with the line."""
    path = Path(path)
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), kind())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({_first_line(error)})") from None
    except text_format.ParseError as error:
        # As protobuf prints it: LINE:COLUMN: what.
        where = _first_line(error).replace(" : ", ": ", 1)
        raise UsageError(
            f"{path}: Error parsing text-format tensorflow.serving.{kind.DESCRIPTOR.name}: {where}"
        ) from None


def _first_line(error: Exception) -> str:
    """What an error says, on one line of a bounded length that can be printed: it quotes the file."""
    said = (str(error).splitlines() or [type(error).__name__])[0][:_LONGEST]
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in said)


def read_model_config(path: str | Path) -> ModelServerConfig:
    """Read a ``--model_config_file``."""
    return read_config(path, ModelServerConfig)


def model_config(models: dict[str, str | Path]) -> ModelServerConfig:
    """The configuration that serves the latest version of each model: base path by name."""
    config = ModelServerConfig()
    config.model_config_list.SetInParent()
    for name, path in models.items():
        config.model_config_list.config.add(
            name=name,
            base_path=str(path) if "://" in str(path) else str(Path(path).absolute()),
            model_platform="tensorflow",
        )
    return config
