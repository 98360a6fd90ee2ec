"""``keras fit`` as a run asks for it: optimiser, loss, callbacks."""

from __future__ import annotations

import sys

import keras
import tensorflow as tf

from tf_landslide.data.pipeline import as_dataset
from tf_landslide.metrics.keras import BestF1, landslide_metrics
from tf_landslide.models._keras_compat import trains_on_workers
from tf_landslide.runs import formats
from tf_landslide.runs.folder import Run
from tf_landslide.runs.history import is_over
from tf_landslide.runs.sections import TrainingConfig
from tf_landslide.runs.sections.loss import loss_settings
from tf_landslide.runs.state import TrainingState, restore
from tf_landslide.training.callbacks import (
    BestModel,
    DrawEpoch,
    EarlyStopping,
    EpochLines,
    HistoryLogger,
    RefuseNaN,
    SaveState,
)
from tf_landslide.training.losses import get_loss
from tf_landslide.training.mining import PatchErrors
from tf_landslide.training.optimizers import FusedAdam
from tf_landslide.training.team import Team, join


def fit(
    model: keras.Model,
    run: Run,
    train_set: tf.data.Dataset,
    valid_set: tf.data.Dataset,
    state: TrainingState | None = None,
    team: Team | None = None,
    *,
    balanced: float | None = None,
) -> None:
    """Train a model into its run folder.

    Args:
        model: as built, its normalisation adapted; not compiled.
        run: whose folder exists.
        train_set: of ``as_dataset``.
        valid_set: chooses the best epoch.
        state: to go on from.
        team: the devices to train on, in whose scope the model was built; only its chief writes.
        balanced: what ``positive_weight: balanced`` came to.

    Raises:
        LandslideError: a loss that is no longer a number, or a state of another model.
    """
    settings, team = run.config.training, team or join("none")
    rows = list(state.history) if state else []
    if is_over(rows, settings.epochs, settings.early_stopping):
        return
    with team.strategy.scope():
        model.compile(
            optimizer=get_optimizer(settings, len(train_set)),
            loss=get_loss(**loss_settings(run.config.loss, balanced)),
            weighted_metrics=[*landslide_metrics(), BestF1()],
            jit_compile=settings.jit_compile,
        )
        if state:
            model.optimizer.build(model.trainable_variables)
            restore(model.variables, state.model, run.state_path)
            restore(model.optimizer.variables, state.optimizer, run.state_path)
    if team.workers > 1:
        trains_on_workers(model, team.strategy)
    mining = run.config.data.mining
    errors = PatchErrors(model, _in_order(train_set, run)) if mining.share else None
    on_terminal = sys.stderr.isatty() and team.chief
    averaging = keras.callbacks.SwapEMAWeights() if settings.ema else None
    stopping = EarlyStopping(settings.early_stopping, rows) if settings.early_stopping else None
    writing = [
        BestModel(run.model_path, rows, averaging),
        keras.callbacks.TensorBoard(run.path / formats.LOGS, write_graph=False),
        None if on_terminal else EpochLines(),
    ]
    callbacks = [
        RefuseNaN(),
        DrawEpoch(train_set.epochs, errors, mining.after_epochs),
        averaging,
        HistoryLogger(run.path / formats.HISTORY if team.chief else None, rows),
        *(writing if team.chief else []),
        stopping,
        # last: an epoch counts as done when all the others have written
        SaveState(run.state_path, rows) if team.chief else None,
    ]
    model.fit(
        team.shared(train_set),
        validation_data=team.shared(valid_set),
        initial_epoch=len(rows),
        epochs=settings.epochs,
        callbacks=[callback for callback in callbacks if callback is not None],
        verbose=1 if on_terminal else 0,
        shuffle=False,  # the dataset shuffles itself
    )


def _in_order(train_set: tf.data.Dataset, run: Run) -> tf.data.Dataset:
    """The training patches as they are stored, each once."""
    return as_dataset(train_set.source, run.config.training.batch_size, pad=run.config.data.pad)


def get_optimizer(settings: TrainingConfig, steps: int) -> keras.optimizers.Optimizer:
    """The optimiser that a config asks for, ``steps`` being those of an epoch.

    Half-precision floats underflow below 6e-8, so that with ``mixed_float16`` the loss is scaled, by as much as fits.
    """
    rate = settings.learning_rate
    warmup = round(settings.warmup_epochs * steps)
    if settings.schedule == "step":
        falls = range(settings.step_epochs, settings.epochs, settings.step_epochs)
        rates = [rate * settings.step_factor**k for k in range(len(falls) + 1)]
        rate = (
            keras.optimizers.schedules.PiecewiseConstantDecay([e * steps - 1 for e in falls], rates) if falls else rate
        )
    elif settings.schedule == "cosine" or warmup:
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate,
            max(1, settings.epochs * steps - warmup),
            alpha=0.0 if settings.schedule == "cosine" else 1.0,  # of the highest rate, at the end
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    ema = {"use_ema": True, "ema_momentum": settings.ema} if settings.ema else {}
    optimizer = FusedAdam(rate, weight_decay=settings.weight_decay or None, **ema)
    return keras.optimizers.LossScaleOptimizer(optimizer) if settings.precision == "mixed_float16" else optimizer
