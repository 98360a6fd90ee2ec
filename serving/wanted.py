"""What a configuration asks to be served: its models, and of each the versions that its policy chooses."""

from __future__ import annotations

import logging
from pathlib import Path

from serving.protos import ModelConfig, ModelServerConfig
from serving.status import Code, ServingError
from serving.versions import version_folders

log = logging.getLogger("serving")


def checked_models(config: ModelServerConfig) -> dict[str, ModelConfig]:
    """The models of a configuration, by name.

    Raises:
        ServingError: a configuration that cannot be served, with TensorFlow Serving's text.
    """
    if config.WhichOneof("config") == "custom_model_config":
        raise ServingError(Code.INVALID_ARGUMENT, "custom_model_config is not supported; list models")
    wanted: dict[str, ModelConfig] = {}
    for model in config.model_config_list.config:
        if model.name in wanted:
            raise ServingError(
                Code.INVALID_ARGUMENT, f"Illegal to list model {model.name} multiple times in config list"
            )
        scheme, found, _ = model.base_path.partition("://")
        if found and scheme != "file":
            raise ServingError(
                Code.UNIMPLEMENTED,
                f"File system scheme '{scheme}' not implemented (file: '{model.base_path}'): model {model.name} must "
                "be in a folder of this machine; mount it, or copy it there",
            )
        if not base_path(model).is_absolute():
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}",
            )
        if not model.model_platform and not model.model_type:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
                f"ModelServerConfig::model_platform, model name is {model.name}",
            )
        if model.model_platform not in ("", "tensorflow"):
            raise ServingError(
                Code.INVALID_ARGUMENT, f"Model {model.name} requests unsupported platform {model.model_platform}"
            )
        wanted[model.name] = model
    return wanted


def base_path(model: ModelConfig) -> Path:
    """The folder of a model's versions."""
    return Path(model.base_path.removeprefix("file://"))


def wanted_versions(config: ModelConfig) -> dict[int, Path]:
    """The version folders that a model's policy asks for, of those that there are.

    Raises:
        ServingError: its base path is not there, or cannot be read.
    """
    base = base_path(config)
    try:
        found = version_folders(base)
    except (OSError, ValueError):  # it is not there, may not be read, or is no path at all
        raise ServingError(
            Code.INVALID_ARGUMENT, f"Could not find base path {base} for servable {config.name}; it is looked for again"
        ) from None
    policy = config.model_version_policy
    match policy.WhichOneof("policy_choice"):
        case "all":
            chosen = set(found)
        case "specific":
            chosen = set(policy.specific.versions)
            for number in chosen - set(found):
                log.warning(
                    "version %d of model %s, which its policy asks for, is not in %s", number, config.name, base
                )
        case _:
            chosen = set(sorted(found)[-max(1, policy.latest.num_versions) :])
    if not found:
        log.warning("no versions of model %s in %s; its folders must be named by a number, e.g. 1", config.name, base)
    return {number: path for number, path in found.items() if number in chosen}
