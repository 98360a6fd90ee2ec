"""Callbacks that write a run down, so that a stopped one goes on as the one that was not.

Those that know what came before share one list of rows, one an epoch, that ``HistoryLogger`` adds to.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import replacing
from tf_landslide.core.progress import meter
from tf_landslide.data.pipeline import Epochs
from tf_landslide.runs import formats
from tf_landslide.runs.history import Row, best_epoch, epochs_since_best, write_history
from tf_landslide.runs.state import TrainingState


class RefuseNaN(keras.callbacks.Callback):
    """Ends a run whose loss is no longer a number, before anything of that epoch is kept."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if not math.isfinite(logs["loss"]):
            raise LandslideError(
                f"the loss is no longer a number in epoch {self.epoch + 1}; train again with a lower learning_rate"
            )


class DrawEpoch(keras.callbacks.Callback):
    """Has the data of each epoch be those of its number, however often Keras has looked at them before.

    Args:
        epochs: of the dataset.
        errors: gives the patches' errors at an epoch's begin, by which hard ones are drawn; None draws none so.
        after: the first epoch that asks for them.
    """

    def __init__(self, epochs: Epochs, errors: Callable[[], np.ndarray] | None = None, after: int = 0):
        super().__init__()
        self.epochs, self.errors, self.after = epochs, errors, after

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs.draw(epoch, self.errors() if self.errors and epoch >= self.after else None)


class HistoryLogger(keras.callbacks.Callback):
    """``history.csv``: one row an epoch; replaced whole each time, so that a killed run leaves no half row.

    Args:
        path: of the file; None keeps the rows only.
        rows: of the epochs before.
    """

    def __init__(self, path: Path | None, rows: list[Row]):
        super().__init__()
        self.path, self.rows = path, rows

    def on_epoch_end(self, epoch, logs=None):
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.rows.append({"epoch": epoch, **{k: float(v) for k, v in (logs or {}).items()}, "learning_rate": rate})
        if self.path:
            write_history(self.path, self.rows)


class BestModel(keras.callbacks.Callback):
    """Keeps the model of the best epoch (see ``best_epoch``); the file is replaced whole.

    Scores are those of the model beside them: where a finished run is gone on with, the old ones go with the old model.

    Args:
        path: of the ``.keras`` file.
        rows: of the epochs, this one's last.
        averaging: the callback that validates the averaged weights, where there is one: those are then the ones saved.
    """

    def __init__(self, path: Path, rows: list[Row], averaging: keras.callbacks.SwapEMAWeights | None = None):
        super().__init__()
        self.path, self.rows, self.averaging = path, rows, averaging

    def on_epoch_end(self, epoch, logs=None):
        if best_epoch(self.rows) != len(self.rows) - 1:
            return
        if self.averaging:
            self.averaging.on_test_begin()
        self.path.with_name(formats.METRICS).unlink(missing_ok=True)
        with replacing(self.path) as partial:
            self.model.save(partial)
        if self.averaging:
            self.averaging.on_test_end()


class EarlyStopping(keras.callbacks.Callback):
    """Stops when ``patience`` epochs have brought no better one (see ``best_epoch``)."""

    def __init__(self, patience: int, rows: list[Row]):
        super().__init__()
        self.patience, self.rows = patience, rows

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return epochs_since_best(self.rows) >= self.patience

    def on_epoch_end(self, epoch, logs=None):
        if self.exhausted:
            self.model.stop_training = True


class SaveState(keras.callbacks.Callback):
    """``last/state.npz``: what to go on from, written when all that an epoch leaves is written."""

    def __init__(self, path: Path, rows: list[Row]):
        super().__init__()
        self.path, self.rows = path, rows

    def on_epoch_end(self, epoch, logs=None):
        model, optimizer = (
            [keras.ops.convert_to_numpy(v) for v in owner.variables] for owner in (self.model, self.model.optimizer)
        )
        TrainingState(self.rows, model, optimizer).save(self.path)


class EpochLines(keras.callbacks.Callback):
    """One line an epoch, for logs that are not a terminal; and lines within an epoch that lasts."""

    def on_epoch_begin(self, epoch, logs=None):
        label = f"epoch {epoch + 1}/{self.params['epochs']}"
        self.steps = meter(total=self.params["steps"], label=label, unit="step")

    def on_train_batch_end(self, batch, logs=None):
        self.steps.update()

    def on_epoch_end(self, epoch, logs=None):
        shown = " ".join(f"{key} {value:.4f}" for key, value in (logs or {}).items())
        print(f"epoch {epoch + 1}/{self.params['epochs']}: {shown}", file=sys.stderr, flush=True)
