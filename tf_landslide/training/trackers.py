"""Where a run is followed while it lasts: TensorBoard, and Weights & Biases and MLflow where they are installed."""

from __future__ import annotations

import importlib
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from tf_landslide.core.errors import LandslideError, first_line, warn
from tf_landslide.core.files import read_json, write_json
from tf_landslide.runs import formats
from tf_landslide.runs.folder import Run

PROJECT = "tf-landslide"
"""Project of W&B and experiment of MLflow, where ``WANDB_PROJECT`` and ``MLFLOW_EXPERIMENT_NAME`` name no other."""

_EXTRA = ("wandb", "mlflow")  # packages of the extra ``trackers``
Pictures = Mapping[str, np.ndarray]


class Tracker(Protocol):
    """One of them, following one run."""

    name: str

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        """What an epoch gave."""

    def pictures(self, number: int, shown: Pictures) -> None:
        """(H, W, 3) uint8 pictures after an epoch, by name."""

    def scores(self, values: Mapping[str, float]) -> None:
        """What the finished run scores."""

    def end(self, finished: bool) -> None:
        """Nothing follows."""


def imported(names: Sequence[str]) -> dict[str, Any]:
    """The modules of trackers, TensorBoard's being none. Raises ``LandslideError`` where one is not installed."""
    modules: dict[str, Any] = {}
    for name in names:
        try:
            modules[name] = importlib.import_module(name) if name in _EXTRA else None
        except ImportError as error:
            remedy = "pip install 'tf-landslide[trackers]', or leave it out"
            raise LandslideError(
                f"training.trackers: {name} cannot be imported ({first_line(error)}); {remedy}"
            ) from None
    return modules


class Trackers:
    """All that follow a run. One that fails is told of and left out: training does not end for it."""

    def __init__(self, trackers: Sequence[Tracker]):
        self._trackers = list(trackers)

    def tell(self, what: str, *values: Any) -> None:
        """Call a method of each."""
        for tracker in tuple(self._trackers):
            try:
                getattr(tracker, what)(*values)
            except Exception as error:  # of another's library, over a network
                self._trackers.remove(tracker)
                warn(f"{tracker.name} does not answer ({first_line(error)}); the run goes on without it")


@contextmanager
def tracking(run: Run, modules: Mapping[str, Any]) -> Iterator[Trackers]:
    """Have trackers follow a run; a run that is gone on with is the same run there.

    Args:
        run: whose folder exists.
        modules: of the trackers, see ``imported``.

    Raises:
        LandslideError: one that cannot begin.
    """
    path = run.path / formats.TRACKERS
    known = read_json(path) if path.is_file() else {}
    begun: list[Tracker] = []
    for name, module in modules.items():
        try:
            begun.append(_KINDS[name](run, module, known))
        except Exception as error:  # of another's library
            Trackers(begun).tell("end", False)
            raise LandslideError(f"training.trackers: {name} cannot begin: {first_line(error)}") from None
    if known:
        write_json(path, known)
    trackers = Trackers(begun)
    try:
        yield trackers
    except BaseException:
        trackers.tell("end", False)
        raise
    trackers.tell("end", True)


class _TensorBoard:
    """Pictures; scalars come from Keras's own callback."""

    name = "tensorboard"

    def __init__(self, run: Run, _: Any, __: dict[str, Any]):
        self._folder = run.path / formats.LOGS / "pictures"
        self._writer: Any = None

    def epoch(self, number: int, values: Mapping[str, float]) -> None: ...

    def pictures(self, number: int, shown: Pictures) -> None:
        self._writer = self._writer or tf.summary.create_file_writer(str(self._folder))
        with self._writer.as_default():
            for name, picture in shown.items():
                tf.summary.image(name, picture[np.newaxis], step=number)
        self._writer.flush()

    def scores(self, values: Mapping[str, float]) -> None: ...

    def end(self, finished: bool) -> None:
        if self._writer is not None:
            self._writer.close()


class _WandB:
    name = "wandb"

    def __init__(self, run: Run, wandb: Any, known: dict[str, Any]):
        folder = Path(os.environ.get("WANDB_DIR", run.path / formats.LOGS))
        folder.mkdir(parents=True, exist_ok=True)
        known.setdefault(self.name, uuid.uuid4().hex[:8])
        self._module = wandb
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=str(run.path),
            id=known[self.name],
            resume="allow",
            dir=str(folder),
            config=run.config.model_dump(mode="json"),
            settings=wandb.Settings(silent=True, console="off"),
        )

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=number)

    def pictures(self, number: int, shown: Pictures) -> None:
        self._run.log({name: self._module.Image(picture) for name, picture in shown.items()}, step=number)

    def scores(self, values: Mapping[str, float]) -> None:
        self._run.summary.update(dict(values))

    def end(self, finished: bool) -> None:
        self._run.finish(exit_code=0 if finished else 1)


class _MLflow:
    name = "mlflow"

    def __init__(self, run: Run, mlflow: Any, known: dict[str, Any]):
        self._module = mlflow
        mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT))
        again = known.get(self.name)
        begun = mlflow.start_run(run_id=again) if again else mlflow.start_run(run_name=str(run.path))
        known[self.name] = begun.info.run_id
        if not again:  # a parameter cannot be told anew
            mlflow.log_params(dict(_flat(run.config.model_dump(mode="json"))))

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        self._module.log_metrics(dict(values), step=number)

    def pictures(self, number: int, shown: Pictures) -> None:
        for name, picture in shown.items():
            self._module.log_image(picture, artifact_file=f"{name}/epoch_{number:04d}.png")

    def scores(self, values: Mapping[str, float]) -> None:
        self._module.log_metrics(dict(values))

    def end(self, finished: bool) -> None:
        self._module.end_run(status="FINISHED" if finished else "KILLED")


_KINDS: dict[str, type] = {"tensorboard": _TensorBoard, "wandb": _WandB, "mlflow": _MLflow}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """``section.key`` and value of each, cut where MLflow would refuse their length."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"[:250], str(value)[:500]
