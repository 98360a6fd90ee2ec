"""Callbacks that let a stopped run go on as if it had never stopped."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import keras

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import replacing
from tf_landslide.core.progress import meter
from tf_landslide.runs.history import Row, write_history

MONITOR = "val_f1"


class RefuseNaN(keras.callbacks.Callback):
    """Ends a run whose loss is no longer a number, before anything of that epoch is kept."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if not math.isfinite(logs["loss"]):
            raise LandslideError(
                f"the loss is no longer a number in epoch {self.epoch + 1}; train again with a lower learning_rate"
            )


class BestModel(keras.callbacks.Callback):
    """Keeps the model of the best validation F1; the file is replaced whole, and a resumed run knows its earlier best.

    Args:
        path: of the ``.keras`` file.
        earlier: validation F1 of the epochs before a resume.
        averaging: the callback that validates the averaged weights, where there is one: those are then the ones saved.
    """

    def __init__(self, path: Path, earlier: list[float], averaging: keras.callbacks.SwapEMAWeights | None = None):
        super().__init__()
        self.path, self.best, self.averaging = path, max(earlier, default=-math.inf), averaging

    def on_epoch_end(self, epoch, logs=None):
        value = logs[MONITOR]
        if value <= self.best:
            return
        self.best = value
        if self.averaging:
            self.averaging.on_test_begin()
        with replacing(self.path) as partial:
            self.model.save(partial)
        if self.averaging:
            self.averaging.on_test_end()


class EarlyStopping(keras.callbacks.EarlyStopping):
    """Keras's early stopping on validation F1, told what happened before it was resumed."""

    def __init__(self, patience: int, earlier: list[float]):
        super().__init__(monitor=MONITOR, mode="max", patience=patience)
        self.earlier = earlier

    @property
    def exhausted(self) -> bool:
        """Whether the epochs before a resume already ran out of patience."""
        return bool(self.earlier) and len(self.earlier) - 1 - self._best_earlier >= self.patience

    @property
    def _best_earlier(self) -> int:
        return self.earlier.index(max(self.earlier))

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        if self.earlier:
            self.best, self.best_epoch = max(self.earlier), self._best_earlier
            self.wait = len(self.earlier) - 1 - self._best_earlier


class HistoryLogger(keras.callbacks.Callback):
    """``history.csv``: one row an epoch; replaced whole each time, so that a killed run leaves no half row."""

    def __init__(self, path: Path, earlier: list[Row]):
        super().__init__()
        self.path, self.rows = path, list(earlier)

    def on_epoch_end(self, epoch, logs=None):
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.rows.append({"epoch": epoch, **{k: float(v) for k, v in (logs or {}).items()}, "learning_rate": rate})
        write_history(self.path, self.rows)


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
