"""Callbacks that write a run down, so that a stopped one goes on as the one that was not.

Those that know what came before share one list of rows, one an epoch, that ``HistoryLogger`` adds to.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import keras
import numpy as np

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import replacing
from tf_landslide.core.progress import meter
from tf_landslide.data.pipeline import Epochs
from tf_landslide.models import STRIDE
from tf_landslide.runs import formats
from tf_landslide.runs.history import Row, best_epoch, epochs_since_best, write_history
from tf_landslide.runs.state import TrainingState
from tf_landslide.training.trackers import Trackers


class Shown(Protocol):
    """Patches that are shown again and again."""

    @property
    def channels(self) -> np.ndarray:
        """(n, H, W, C)."""
        ...

    def drawn(self, probability: np.ndarray) -> dict[str, np.ndarray]:
        """A picture of each, by name, of (n, H, W) probabilities."""
        ...


@contextmanager
def averaged(averaging: keras.callbacks.SwapEMAWeights | None) -> Iterator[None]:
    """Have the model hold the averaged weights, where there are any."""
    if averaging is None:
        yield
        return
    averaging.on_test_begin()
    yield
    averaging.on_test_end()


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


class FreezeEncoder(keras.callbacks.Callback):
    """Keeps the encoder as it is for the first epochs: no gradient reaches it, its batch norms keep their statistics.

    It is frozen while batches are trained on only, so that what other callbacks save at the end of an epoch is not.
    """

    def __init__(self, encoder: keras.Model, epochs: int):
        super().__init__()
        self.encoder, self.epochs = encoder, epochs
        self._traced: bool | None = None  # whether frozen, in the graph that is trained by

    def on_epoch_begin(self, epoch, logs=None):
        frozen = epoch < self.epochs
        self.encoder.trainable = not frozen
        if frozen != self._traced:
            self.model.make_train_function(force=True)
            self._traced = frozen

    def on_epoch_end(self, epoch, logs=None):
        self.encoder.trainable = True


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


class Track(keras.callbacks.Callback):
    """Tells trackers what each epoch gave."""

    def __init__(self, trackers: Trackers, rows: list[Row]):
        super().__init__()
        self.trackers, self.rows = trackers, rows

    def on_epoch_end(self, epoch, logs=None):
        self.trackers.tell("epoch", epoch, {key: value for key, value in self.rows[-1].items() if key != "epoch"})


class Pictures(keras.callbacks.Callback):
    """Shows trackers what the model makes of a few patches, after the first epoch and every so many.

    Args:
        trackers: that are shown it.
        shown: the patches.
        every: so many epochs.
        averaging: as of ``BestModel``.
    """

    def __init__(
        self, trackers: Trackers, shown: Shown, every: int, averaging: keras.callbacks.SwapEMAWeights | None = None
    ):
        super().__init__()
        self.trackers, self.shown, self.every, self.averaging = trackers, shown, every, averaging

    def on_epoch_end(self, epoch, logs=None):
        if epoch % self.every:
            return
        height, width = self.shown.channels.shape[1:3]
        edges = ((0, 0), (0, -height % STRIDE), (0, -width % STRIDE), (0, 0))
        with averaged(self.averaging):
            # by this process alone: ``predict`` would wait for the others of a team
            probability = self.model(np.pad(self.shown.channels, edges, mode="symmetric"), training=False)
        shown = self.shown.drawn(keras.ops.convert_to_numpy(probability)[:, :height, :width, 0])
        self.trackers.tell("pictures", epoch, shown)


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
        self.path.with_name(formats.METRICS).unlink(missing_ok=True)
        with averaged(self.averaging), replacing(self.path) as partial:
            self.model.save(partial)


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
