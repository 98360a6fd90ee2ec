"""``keras fit`` as a run asks for it: optimiser, loss, callbacks."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tf_landslide.data.pipeline import as_dataset, telling_what_is_unread
from tf_landslide.metrics.keras import BestF1, landslide_metrics
from tf_landslide.models._keras_compat import trains_on_workers
from tf_landslide.models.depth import encoder_of
from tf_landslide.runs import formats
from tf_landslide.runs.folder import Run
from tf_landslide.runs.history import Row, is_over
from tf_landslide.runs.sections import TrainingConfig
from tf_landslide.runs.sections.loss import loss_settings
from tf_landslide.runs.state import TrainingState, restore
from tf_landslide.training.callbacks import (
    BestModel,
    DrawEpoch,
    EarlyStopping,
    EpochLines,
    FreezeEncoder,
    HistoryLogger,
    Pictures,
    RefuseNaN,
    SaveState,
    Shown,
    Track,
)
from tf_landslide.training.checkpointing import checkpoint_gradients
from tf_landslide.training.losses import get_loss
from tf_landslide.training.memory import telling_of_full_memory
from tf_landslide.training.mining import PatchErrors
from tf_landslide.training.optimizers import ByUpdates, FusedAdam
from tf_landslide.training.pace import pace_of
from tf_landslide.training.team import Team, join
from tf_landslide.training.trackers import Trackers


@dataclass(frozen=True)
class Followed:
    """Who follows a run.

    Attributes:
        trackers: told what each epoch gives.
        shown: patches that they are shown; None for none.
    """

    trackers: Trackers
    shown: Shown | None = None

    def callbacks(
        self, rows: list[Row], every: int, averaging: keras.callbacks.SwapEMAWeights | None
    ) -> list[keras.callbacks.Callback]:
        """What tells them, of the rows of the epochs, and shows them, every so many epochs."""
        shows = [Pictures(self.trackers, self.shown, every, averaging)] if self.shown else []
        return [Track(self.trackers, rows), *shows]


def fit(
    model: keras.Model,
    run: Run,
    train_set: tf.data.Dataset,
    valid_set: tf.data.Dataset,
    state: TrainingState | None = None,
    team: Team | None = None,
    *,
    balanced: float | None = None,
    followed: Followed | None = None,
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
        followed: who follows the run; None for nobody.

    Raises:
        LandslideError: a loss that is no longer a number, a state of another model, a file that cannot be read any
            more, or too little memory.
    """
    settings, team = run.config.training, team or join("none")
    rows = list(state.history) if state else []
    if is_over(rows, settings.epochs, settings.early_stopping):
        return
    with team.strategy.scope():
        optimizer = compiled(model, run, len(train_set), balanced, [*landslide_metrics(), BestF1()])
        if state:
            restore(model.variables, state.model, run.state_path)
            restore(optimizer.variables, state.optimizer, run.state_path)
    if team.workers > 1:
        trains_on_workers(model, team.strategy)
    mining = run.config.data.mining
    errors = PatchErrors(model, _in_order(train_set, run)) if mining.share else None
    on_terminal = sys.stderr.isatty() and team.chief
    averaging = keras.callbacks.SwapEMAWeights() if settings.ema else None
    stopping = EarlyStopping(settings.early_stopping, rows) if settings.early_stopping else None
    writing = [
        BestModel(run.model_path, rows, averaging),
        keras.callbacks.TensorBoard(run.path / formats.LOGS, write_graph=False)
        if "tensorboard" in settings.trackers
        else None,
        *(followed.callbacks(rows, settings.images_every, averaging) if followed else []),
        None if on_terminal else EpochLines(),
    ]
    callbacks = [
        RefuseNaN(),
        DrawEpoch(train_set.epochs, errors, mining.after_epochs),
        FreezeEncoder(encoder_of(model), settings.freeze_encoder) if settings.freeze_encoder else None,
        averaging,
        HistoryLogger(run.path / formats.HISTORY if team.chief else None, rows),
        *(writing if team.chief else []),
        stopping,
        # last: an epoch counts as done when all the others have written
        SaveState(run.state_path, rows) if team.chief else None,
    ]
    with telling_of_full_memory(settings), telling_what_is_unread(train_set, valid_set):
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


def compiled(
    model: keras.Model,
    run: Run,
    steps: int,
    balanced: float | None = None,
    metrics: list[keras.Metric] | None = None,
) -> keras.optimizers.Optimizer:
    """Compile a model as a run trains it.

    Args:
        model: as built.
        run: whose config is looked at.
        steps: batches of an epoch.
        balanced: what ``positive_weight: balanced`` came to.
        metrics: beside the loss.

    Returns:
        its optimiser, built on all variables.
    """
    settings = run.config.training
    optimizer = get_optimizer(settings, steps, model)
    model.compile(
        optimizer=optimizer,
        loss=get_loss(**loss_settings(run.config.loss, balanced)),
        weighted_metrics=metrics,
        jit_compile=settings.jit_compile,
    )
    optimizer.build(model.trainable_variables)  # while the encoder is among them
    if settings.gradient_checkpointing:
        checkpoint_gradients(model)
    return optimizer


def get_optimizer(settings: TrainingConfig, steps: int, model: keras.Model | None = None) -> keras.optimizers.Optimizer:
    """The optimiser that a config asks for.

    Half-precision floats underflow below 6e-8, so that with ``mixed_float16`` the loss is scaled, by as much as fits.

    Args:
        settings: of the config.
        steps: batches of an epoch.
        model: that is trained, for layers with a rate of their own.
    """
    more: dict[str, Any] = pace_of(model, settings, steps) if model else {}
    if settings.ema:
        more |= {"use_ema": True, "ema_momentum": settings.ema}
    optimizer = FusedAdam(
        _learning_rate(settings, steps),
        weight_decay=settings.weight_decay or None,
        global_clipnorm=settings.clip_norm,
        gradient_accumulation_steps=settings.accumulate if settings.accumulate > 1 else None,
        **more,
    )
    return keras.optimizers.LossScaleOptimizer(optimizer) if settings.precision == "mixed_float16" else optimizer


def _learning_rate(settings: TrainingConfig, steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """The rate of each update, ``steps`` being the batches of an epoch; some of these may make one update."""
    rate, k = settings.learning_rate, settings.accumulate
    warmup = round(settings.warmup_epochs * steps / k)
    if settings.schedule == "step":
        falls = range(settings.step_epochs, settings.epochs, settings.step_epochs)
        if not falls:
            return rate
        rates = [rate * settings.step_factor**i for i in range(len(falls) + 1)]
        schedule = keras.optimizers.schedules.PiecewiseConstantDecay([e * steps // k - 1 for e in falls], rates)
    elif settings.schedule == "cosine" or warmup:
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate,
            max(1, settings.epochs * steps // k - warmup),
            alpha=0.0 if settings.schedule == "cosine" else 1.0,  # of the highest rate, at the end
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    else:
        return rate
    return ByUpdates(schedule, k) if k > 1 else schedule
