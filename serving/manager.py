"""Models, versions and labels: what is loaded, what is wanted, and the way from one to the other.

As in TensorFlow Serving, a version is served only when it has been loaded and warmed up, the version it replaces goes
only when it is, and is unloaded when its last request is done.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from serving.caller import Caller
from serving.protos import ModelConfig, ModelServerConfig, ModelSpec, ModelVersionStatus
from serving.status import Code, ServingError
from serving.wanted import checked_models, wanted_versions

if TYPE_CHECKING:  # TensorFlow starts with it
    from serving.servable import Servable

log = logging.getLogger("serving")
State = ModelVersionStatus.State


@dataclass
class Version:
    """A version of a model, from the moment it is wanted; kept after its end, so that its status can be asked for."""

    number: int
    path: Path
    state: int = State.START
    error: ServingError | None = None
    servable: Servable | None = None
    users: int = 0
    attempts: int = 0
    retry_at: float = 0.0


@dataclass
class Model:
    """A model of the configuration and its versions."""

    config: ModelConfig
    versions: dict[int, Version] = field(default_factory=dict)

    @property
    def available(self) -> list[int]:
        return sorted(n for n, version in self.versions.items() if version.state == State.AVAILABLE)


class Manager:
    """Loads and unloads what a ``ModelServerConfig`` asks for.

    Args:
        load: ``(path) -> Servable``, loaded and warmed up.
        retries: how often loading is tried again, by the polls that follow.
        retry_seconds: between two tries.
        labels_of_unavailable: let a label name a version that is not available, where it is new.
    """

    def __init__(
        self,
        load: Callable[[Path], Servable],
        *,
        retries: int = 0,
        retry_seconds: float = 60.0,
        labels_of_unavailable: bool = False,
    ):
        self._load, self._retries, self._retry_seconds = load, retries, retry_seconds
        self._labels_of_unavailable = labels_of_unavailable
        self._models: dict[str, Model] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._lock = threading.Condition()  # guards the tables, never held while loading
        self._changing = threading.Lock()  # one change of what is loaded at a time

    @property
    def names(self) -> list[str]:
        with self._lock:
            return sorted(self._models)

    @property
    def ready(self) -> bool:
        """Whether every model of the configuration has a version available."""
        with self._lock:
            return all(model.available for model in self._models.values() if model.config.name)

    # ---- requests

    @contextmanager
    def serving(self, spec: ModelSpec) -> Iterator[tuple[int, Servable]]:
        """The version that a request names, kept loaded while the request runs.

        Raises:
            ServingError: an unknown model, version or label.
        """
        with self._lock:
            version = self._find(spec)
            version.users += 1
            servable = version.servable
            assert servable is not None  # as it is available
        try:
            yield version.number, servable
        finally:
            with self._lock:
                version.users -= 1
                self._lock.notify_all()

    def _find(self, spec: ModelSpec) -> Version:
        if not spec.name:
            raise ServingError(Code.INVALID_ARGUMENT, "ModelSpec has no name specified.")
        model, choice = self._models.get(spec.name), spec.WhichOneof("version_choice")
        number, asked = None, f"Latest({spec.name})"
        if choice == "version_label":
            labels = self._labels.get(spec.name, {})
            if spec.version_label not in labels:
                raise ServingError(Code.INVALID_ARGUMENT, f"Unrecognized servable version label: {spec.version_label}")
            number = labels[spec.version_label]
        elif choice == "version":
            number = spec.version.value
        elif model and model.available:
            number = model.available[-1]
        if choice:
            asked = f"Specific({spec.name}, {number})"
        if model is None or number not in model.available:
            raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {asked}")
        return model.versions[number]

    def statuses(self, spec: ModelSpec) -> list[Version]:
        """The version that is asked for, or all of a model, the newest first."""
        with self._lock:
            model = self._models.get(spec.name)
            versions = model.versions if model else {}
            if spec.WhichOneof("version_choice") == "version":
                number = spec.version.value
                if number not in versions:
                    raise ServingError(Code.NOT_FOUND, f"Could not find version {number} of model {spec.name}")
                return [versions[number]]
            if not versions:
                raise ServingError(Code.NOT_FOUND, f"Could not find any versions of model {spec.name}")
            return [versions[number] for number in sorted(versions, reverse=True)]

    # ---- changes

    def reload(self, config: ModelServerConfig) -> set[str]:
        """Move the labels of a configuration, then serve what it asks for, and no other model.

        Returns:
            the models that are new; ``wait_for`` waits for those that have no version yet.

        Raises:
            ServingError: a configuration that cannot be, or a label of a version that is not available, as it never is
                in the first configuration of a model (both change nothing); or a version that cannot be loaded.
        """
        if config.WhichOneof("config") is None:
            log.warning("the configuration is empty; nothing is changed")  # as TensorFlow Serving
            return set()
        wanted = checked_models(config)
        with self._changing:
            self._move_labels(wanted)
            with self._lock:
                new = {name for name in wanted if name not in self._models or not self._models[name].config.name}
                for name, model_config in wanted.items():
                    self._models.setdefault(name, Model(model_config)).config = model_config
                gone = [name for name in self._models if name not in wanted]
            for name in gone:
                self._follow(name, {})
                with self._lock:
                    self._models[name].config = ModelConfig()
            self._poll()
            with self._lock:
                self._raise_where_nothing_serves(wanted)
            return new

    def wait_for(self, models: Collection[str], caller: Caller) -> None:
        """Until each of some models has a version, as polls find them.

        Raises:
            ServingError: one cannot be loaded, is not wanted any more, or the caller waits no longer.
        """
        with self._lock:
            while not all(self._models[name].available for name in models if self._models[name].config.name):
                self._raise_where_nothing_serves(models)
                if not caller.waits():
                    raise ServingError(Code.DEADLINE_EXCEEDED, "the deadline passed before every model was available")
                self._lock.wait(caller.patience(at_most=0.5))

    def poll(self) -> None:
        """Look for new and vanished versions of every model."""
        with self._changing:
            self._poll()

    def close(self, timeout: float = -1) -> None:
        """Unload everything, each version when its last request is done.

        Args:
            timeout: seconds for which a version that is being loaded is waited for; -1 for any.
        """
        if not self._changing.acquire(timeout=timeout):
            log.warning("a version is still being loaded; it is left")
            return
        try:
            for name in self.names:
                self._follow(name, {})
        finally:
            self._changing.release()

    def _poll(self) -> None:
        with self._lock:
            configs = {name: model.config for name, model in self._models.items() if model.config.name}
        for name, config in configs.items():
            try:
                self._follow(name, wanted_versions(config))
            except ServingError as error:
                log.error("%s", error.message)

    def _follow(self, name: str, wanted: dict[int, Path]) -> None:
        """Load what is wanted; once any of that is available, or nothing is wanted, unload the rest."""
        model = self._models[name]
        for number, path in sorted(wanted.items()):
            known = model.versions.get(number)
            if known is None or (known.state == State.END and known.error is None):
                self._start(name, model, Version(number, path))
            elif known.state == State.LOADING and time.monotonic() >= known.retry_at:
                self._start(name, model, known)
        with self._lock:
            for number in [n for n, v in model.versions.items() if v.error is not None and n not in wanted]:
                del model.versions[number]  # written anew, it is tried anew
            ready = any(number in wanted for number in model.available)
            leaving = [v for n, v in model.versions.items() if n not in wanted and v.state == State.AVAILABLE]
            for version in leaving if ready or not wanted else []:
                version.state = State.UNLOADING
        for version in leaving if ready or not wanted else []:
            threading.Thread(target=self._unload, args=(name, version), name="unload", daemon=True).start()

    def _start(self, name: str, model: Model, version: Version) -> None:
        with self._lock:
            model.versions[version.number] = version
            version.state = State.LOADING
        started = time.monotonic()
        try:
            servable = self._load(version.path)
        except Exception as found:  # whatever a folder holds, the other models are loaded
            error = found if isinstance(found, ServingError) else ServingError(Code.INTERNAL, f"cannot load: {found!r}")
            error = error.with_traceback(None)  # whose frames hold what was loaded
            error.__cause__ = error.__context__ = None
            log.error("cannot load version %d of model %s: %s", version.number, name, error.message)
            with self._lock:
                version.error, version.attempts = error, version.attempts + 1
                version.retry_at = time.monotonic() + self._retry_seconds
                version.state = State.LOADING if version.attempts <= self._retries else State.END
            return
        with self._lock:
            version.servable, version.error, version.state = servable, None, State.AVAILABLE
            self._lock.notify_all()
        seconds = time.monotonic() - started
        log.info("version %d of model %s is available after %.1f s", version.number, name, seconds)

    def _unload(self, name: str, version: Version) -> None:
        with self._lock:
            self._lock.wait_for(lambda: version.users == 0)
            servable, version.servable, version.state = version.servable, None, State.END
        if servable is not None:
            servable.close()
        del servable
        gc.collect()  # a graph is full of cycles
        log.info("version %d of model %s is unloaded", version.number, name)

    def _raise_where_nothing_serves(self, models: Collection[str]) -> None:
        failed = [
            f"{name} version {v.number}: {v.error.message}"
            for name in models
            for v in self._models[name].versions.values()
            if v.error is not None and not self._models[name].available
        ]
        if failed:
            raise ServingError(Code.UNKNOWN, f"{len(failed)} servable(s) did not become available: {'; '.join(failed)}")

    def _move_labels(self, wanted: dict[str, ModelConfig]) -> None:
        with self._lock:
            for name, config in wanted.items():
                current = self._labels.get(name, {})
                model = self._models.get(name)
                for label, number in config.version_labels.items():
                    # Where that is allowed, a label may name what is not there if it is new or stays where it is.
                    stays = current.get(label, number) == number
                    available = model is not None and number in model.available
                    if not available and not (self._labels_of_unavailable and stays):
                        raise ServingError(
                            Code.FAILED_PRECONDITION,
                            f"Request to assign label to version {number} of model {name}, which is not currently "
                            "available for inference",
                        )
            self._labels = {name: dict(config.version_labels) for name, config in wanted.items()}
