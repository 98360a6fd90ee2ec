"""What a training that finds too little memory is told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from tf_landslide.core.errors import LandslideError
from tf_landslide.runs.sections import TrainingConfig

_OF_MEMORY = re.compile("OOM|out of memory|allocat", re.IGNORECASE)
"""TensorFlow's exception is of full disks and of too many open files, too."""


@contextmanager
def telling_of_full_memory(settings: TrainingConfig) -> Iterator[None]:
    """Raise ``LandslideError`` where TensorFlow finds no memory for a step, with the settings that ask for less."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        if not _OF_MEMORY.search(str(error)):
            raise
        raise LandslideError(
            f"no memory for a step of training.batch_size {settings.batch_size}; {_remedy(settings)}"
        ) from None


def _remedy(settings: TrainingConfig) -> str:
    if settings.strategy != "none":  # for which alone the other two are
        return "set a smaller one"
    remedy = "set a smaller one, with training.accumulate for as many patches a step"
    return remedy if settings.gradient_checkpointing else f"{remedy}, or training.gradient_checkpointing=true"
