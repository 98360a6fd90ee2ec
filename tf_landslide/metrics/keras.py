"""Dataset-level metrics for ``compile(metrics=…)``: counts are summed over all pixels first, then divided once.

Averaging a ratio over batches, as much published code does, gives another number. Keras sums its counts in float32,
exact up to 16.7 million pixels a count; ``counts`` judges in integers.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tf_landslide.metrics.pixels import aligned, pixel_weights


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
        """Count a batch: masks and probabilities (N, H, W, 1) or (N, H, W), weights of samples or of pixels."""
        truth, probability = aligned(y_true, y_pred, self.dtype)
        marked = ops.cast(probability >= self.threshold, self.dtype)
        weight = pixel_weights(sample_weight, truth, self.dtype)
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


@keras.saving.register_keras_serializable(package="tf_landslide")
class BestF1(keras.metrics.Metric):
    """The highest F1 of the landslide class that any threshold gives, from counts summed over all pixels.

    A model that has learned to rank pixels, but not yet where 0.5 lies, scores 0 by ``F1`` and well by this.

    Args:
        bins: thresholds 0, 1 / bins, ... 1 are tried.
    """

    def __init__(self, bins: int = 200, name: str = "best_f1", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        self.bins = bins
        shape = (bins + 1,)  # bin k holds the probabilities in [k / bins, (k + 1) / bins)
        self.landslide = self.add_weight(shape=shape, name="landslide", initializer="zeros")
        self.other = self.add_weight(shape=shape, name="other", initializer="zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch; see ``F1``."""
        truth, probability = aligned(y_true, y_pred, self.dtype)
        weight = ops.reshape(pixel_weights(sample_weight, truth, self.dtype), (-1,))
        truth = ops.reshape(truth, (-1,))
        scaled = ops.cast(ops.reshape(probability, (-1,)), "float32") * self.bins
        bins = ops.cast(ops.clip(ops.floor(scaled), 0, self.bins), "int32")
        for counts, kind in ((self.landslide, truth), (self.other, 1 - truth)):
            counts.assign_add(ops.segment_sum(weight * kind, bins, num_segments=self.bins + 1))

    def result(self) -> Any:
        true_positives, marked = (
            ops.flip(ops.cumsum(ops.flip(counts))) for counts in (self.landslide, self.landslide + self.other)
        )
        return ops.max(ops.divide_no_nan(2 * true_positives, marked + ops.sum(self.landslide)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "bins": self.bins}


def landslide_metrics(threshold: float = 0.5) -> list[keras.metrics.Metric]:
    """F1, precision, recall and IoU of the landslide class."""
    return [F1(threshold), Precision(threshold), Recall(threshold), IoU(threshold)]
