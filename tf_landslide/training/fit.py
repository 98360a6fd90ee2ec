"""``keras fit`` as a run asks for it: optimiser, loss, callbacks."""

from __future__ import annotations

import sys

import keras
import tensorflow as tf

from tf_landslide.metrics.keras import landslide_metrics
from tf_landslide.runs import formats
from tf_landslide.runs.config import TrainingConfig
from tf_landslide.runs.folder import Run
from tf_landslide.runs.history import epochs_backed_up
from tf_landslide.training.callbacks import (
    MONITOR,
    BestModel,
    EarlyStopping,
    EpochLines,
    HistoryLogger,
    RefuseNaN,
)
from tf_landslide.training.losses import get_loss
from tf_landslide.training.optimizers import FusedAdam


def fit(model: keras.Model, run: Run, train_set: tf.data.Dataset, valid_set: tf.data.Dataset) -> None:
    """Train a model into its run folder, from the epoch on that the folder's last backup has behind it.

    Args:
        model: as built, its normalisation adapted; not compiled.
        run: whose folder exists.
        train_set: shuffles itself, and goes on with the epoch that comes next.
        valid_set: chooses the best epoch.
    """
    settings = run.config.training
    last = run.path / formats.LAST
    history = run.history[: epochs_backed_up(last)]
    earlier = [row[MONITOR] for row in history]
    stopping = EarlyStopping(settings.early_stopping, earlier) if settings.early_stopping else None
    if len(history) >= settings.epochs or (stopping and stopping.exhausted):
        return
    model.compile(
        optimizer=get_optimizer(settings, len(train_set)),
        loss=get_loss(**run.config.loss.model_dump()),
        metrics=landslide_metrics(),
        jit_compile=settings.jit_compile,
    )
    on_terminal = sys.stderr.isatty()
    averaging = keras.callbacks.SwapEMAWeights() if settings.ema else None
    callbacks = [
        RefuseNaN(),
        averaging,
        BestModel(run.model_path, earlier, averaging),
        HistoryLogger(run.path / formats.HISTORY, history),
        keras.callbacks.TensorBoard(run.path / formats.LOGS, write_graph=False),
        stopping,
        None if on_terminal else EpochLines(),
        # Last, so that an epoch counts as done only when all the others have written what they write.
        keras.callbacks.BackupAndRestore(last, double_checkpoint=True, delete_checkpoint=False),
    ]
    model.fit(
        train_set,
        validation_data=valid_set,
        epochs=settings.epochs,
        callbacks=[callback for callback in callbacks if callback is not None],
        verbose=1 if on_terminal else 0,
        shuffle=False,  # the dataset shuffles itself
    )


def get_optimizer(settings: TrainingConfig, steps: int) -> FusedAdam:
    """The optimiser that a config asks for, ``steps`` being those of an epoch."""
    rate = settings.learning_rate
    warmup = round(settings.warmup_epochs * steps)
    if settings.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate,
            max(1, settings.epochs * steps - warmup),
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    ema = {"use_ema": True, "ema_momentum": settings.ema} if settings.ema else {}
    return FusedAdam(rate, weight_decay=settings.weight_decay or None, **ema)
