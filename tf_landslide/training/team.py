"""The devices that train one model together: those of this machine, or of several.

A batch is shared out among them; loss, gradients, batch norms and scores are those of one device that has it whole.
Every worker reads the whole dataset, so that the epochs are the same everywhere; TensorFlow hands each its share of a
batch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import tensorflow as tf

from tf_landslide.core.errors import LandslideError, first_line
from tf_landslide.runs.sections.training import StrategyName

_EXAMPLE = '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Team:
    """Who trains, and which of them this process is.

    Attributes:
        strategy: TensorFlow's, whose scope variables are made in.
        worker: number of this process, from 0.
        workers: how many processes there are.
    """

    strategy: tf.distribute.Strategy
    worker: int = 0
    workers: int = 1

    @property
    def chief(self) -> bool:
        """Whether this is the process that writes."""
        return self.worker == 0

    @property
    def devices(self) -> int:
        """How many share a batch."""
        return self.strategy.num_replicas_in_sync

    def shared(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """A dataset of whole batches, of which each worker is to see its part; ``source`` and ``epochs`` stay."""
        if self.workers == 1:
            return dataset
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        sharing = dataset.with_options(options)
        sharing.source, sharing.epochs = dataset.source, dataset.epochs
        return sharing

    def check_batch(self, size: int) -> None:
        """Raise ``LandslideError`` for a batch that has fewer patches than there are devices."""
        if size < self.devices:
            raise LandslideError(
                f"training.batch_size {size} is that of all devices together, and there are {self.devices}: at least "
                "one patch each"
            )


def join(strategy: StrategyName) -> Team:
    """The team that a config asks for; before TensorFlow has computed anything.

    Args:
        strategy: ``none``; ``mirrored``, all GPUs of this machine; or ``multi_worker``, all of those that the variable
            ``TF_CONFIG`` names, as TensorFlow has it.

    Raises:
        LandslideError: ``TF_CONFIG`` is missing or says nothing that can be understood.
    """
    if strategy == "mirrored":
        return Team(tf.distribute.MirroredStrategy())
    if strategy == "multi_worker":
        worker, workers = _place()
        return Team(tf.distribute.MultiWorkerMirroredStrategy(), worker, workers)
    return Team(tf.distribute.get_strategy())


@contextmanager
def telling_of_a_lost_worker(team: Team) -> Iterator[None]:
    """Raise ``LandslideError`` where another worker of the team has ended or cannot be reached any more."""
    try:
        yield
    except (
        tf.errors.UnavailableError,
        tf.errors.InternalError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
    ) as lost:
        if team.workers == 1:
            raise
        raise LandslideError(
            f"worker {team.worker} of {team.workers}: another worker has ended or cannot be reached "
            f"({first_line(lost)}); start all of them again with --resume"
        ) from None


def _place() -> tuple[int, int]:
    """The number of this worker and how many there are, by ``TF_CONFIG``."""
    try:
        said = json.loads(os.environ["TF_CONFIG"])
        workers, task = said["cluster"]["worker"], said["task"]
        index = int(task["index"])
        if task["type"] != "worker" or set(said["cluster"]) != {"worker"} or not 0 <= index < len(workers):
            raise ValueError
    except KeyError as missing:
        raise LandslideError(
            f"training.strategy multi_worker: TF_CONFIG lacks {missing}; expected {_EXAMPLE}"
        ) from None
    except (TypeError, ValueError):
        raise LandslideError(
            f"training.strategy multi_worker: TF_CONFIG is {os.environ['TF_CONFIG'][:200]!r}; expected {_EXAMPLE}"
        ) from None
    return index, len(workers)
