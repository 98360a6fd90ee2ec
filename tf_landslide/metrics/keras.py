"""Dataset-level metrics for ``compile(metrics=…)``: counts are summed over all pixels first, then divided once.

Averaging a ratio over batches, as much published code does, gives another number. Keras sums its counts in float32,
exact up to 16.7 million pixels a count; ``counts`` judges in integers.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class _CountedMetric(keras.metrics.Metric):
    """Sums what every score is made of: pixels that are landslide, that are marked, and that are both.

    Args:
        threshold: a pixel is a landslide where its probability is at least this.
    """

    def __init__(self, threshold: float = 0.5, name: str | None = None, dtype: Any = None):
        super().__init__(name=name or type(self).__name__.lower(), dtype=dtype)
        self.threshold = threshold
        self.true_positives = self.add_weight(name="true_positives", initializer="zeros")
        self.marked = self.add_weight(name="marked", initializer="zeros")
        self.actual = self.add_weight(name="actual", initializer="zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        truth = ops.cast(ops.convert_to_tensor(y_true), self.dtype)
        marked = ops.cast(ops.convert_to_tensor(y_pred) >= self.threshold, self.dtype)
        weight = 1.0
        if sample_weight is not None:
            weight = ops.cast(ops.convert_to_tensor(sample_weight), self.dtype)
            weight = ops.reshape(weight, ops.shape(weight) + (1,) * (len(truth.shape) - len(weight.shape)))
        self.true_positives.assign_add(ops.sum(weight * truth * marked))
        self.marked.assign_add(ops.sum(weight * marked))
        self.actual.assign_add(ops.sum(weight * truth))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "threshold": self.threshold}


@keras.saving.register_keras_serializable(package="tf_landslide")
class F1(_CountedMetric):
    """F1 of the landslide class, ``2 TP / (2 TP + FP + FN)``, from counts summed over all pixels.

    Args:
        threshold: a pixel is a landslide where its probability is at least this.
    """

    def result(self) -> Any:
        return ops.divide_no_nan(2 * self.true_positives, self.marked + self.actual)


@keras.saving.register_keras_serializable(package="tf_landslide")
class Precision(_CountedMetric):
    """Share of the marked pixels that are landslide, ``TP / (TP + FP)``; see ``F1``."""

    def result(self) -> Any:
        return ops.divide_no_nan(self.true_positives, self.marked)


@keras.saving.register_keras_serializable(package="tf_landslide")
class Recall(_CountedMetric):
    """Share of the landslide pixels that are marked, ``TP / (TP + FN)``; see ``F1``."""

    def result(self) -> Any:
        return ops.divide_no_nan(self.true_positives, self.actual)


@keras.saving.register_keras_serializable(package="tf_landslide")
class IoU(_CountedMetric):
    """Intersection over union of the landslide class, ``TP / (TP + FP + FN)``; see ``F1``."""

    def result(self) -> Any:
        return ops.divide_no_nan(self.true_positives, self.marked + self.actual - self.true_positives)


def landslide_metrics(threshold: float = 0.5) -> list[keras.metrics.Metric]:
    """F1, precision, recall and IoU of the landslide class."""
    return [F1(threshold), Precision(threshold), Recall(threshold), IoU(threshold)]
