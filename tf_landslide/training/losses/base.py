"""What all losses share: pixel weights that act as Keras's do, and a batch that may be shared among replicas."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tf_landslide.core.errors import LandslideError
from tf_landslide.metrics.pixels import aligned, pixel_weights


class PixelLoss(keras.losses.Loss):
    """A loss of masks and landslide probabilities; a subclass says in ``of_pixels`` what its formula is.

    Sums and ratios inside a formula are of the whole batch, so that a patch without landslides does not make them jump.
    A batch that is shared among the replicas of a ``tf.distribute`` strategy is one batch.

    Sample weights act as in Keras's own losses: a pixel's share of every sum of the formula and of the mean over pixels
    is multiplied by its weight, so that a pixel of weight 0 is as if it were not there, and weights twice as large
    double the loss.

    Call with a mask and probabilities, (N, H, W, 1) or (N, H, W), and sample weights (N,), (N, H, W) or
    (N, H, W, 1); gives a scalar, or with ``reduction=None`` a number for each pixel. Computes in float32, or in
    ``dtype``, whatever the probabilities are.

    Raises:
        LandslideError: shapes that do not fit each other.
    """

    settings: tuple[str, ...] = ()
    """The constructor's own arguments, which are attributes of the same names."""

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        truth, probability = aligned(y_true, y_pred, self.dtype)
        if sample_weight is None:
            return super().__call__(truth, probability)
        weight = pixel_weights(sample_weight, truth, self.dtype)
        # Keras weighs the mean over pixels; the sums inside need the weights too
        return super().__call__((truth, weight), probability, weight)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each pixel, of the mask's shape, whose weighted mean is the loss of the batch.

        Args:
            y_true: the mask, or the mask and a weight for each pixel.
            y_pred: probabilities.
        """
        truth, weight = y_true if isinstance(y_true, tuple) else (y_true, ops.ones_like(y_true))
        loss = self.of_pixels(truth, y_pred, weight)
        return ops.broadcast_to(loss, ops.shape(truth)) * _share_of_batch(truth)

    def of_pixels(self, truth: Any, probability: Any, weight: Any) -> Any:
        """The formula, from three tensors of one shape and type.

        Returns:
            the loss of each pixel, of that shape, or of the whole batch, a scalar: each pixel's is then that.
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **{name: getattr(self, name) for name in self.settings}}


def of_all_replicas(value: Any) -> Any:
    """The sum of a value over the replicas that share a batch; its gradient reaches each of them."""
    context = _replica_context()
    return value if context is None else context.all_reduce("SUM", value)


def batch_sums(*values: Any) -> list[Any]:
    """The sums of some tensors over all pixels of the batch, those on other replicas included."""
    return ops.unstack(of_all_replicas(ops.stack([ops.sum(value) for value in values])), len(values))


def rows_of_all_replicas(rows: Any) -> tuple[Any, Any]:
    """The rows (n, k) of all replicas that share a batch, in their order, and at which of them this one's begin.

    No gradient goes through them.
    """
    rows, context = ops.stop_gradient(rows), _replica_context()
    if context is None:
        return rows, 0
    sizes = context.all_gather(ops.reshape(ops.shape(rows)[0], (1,)), axis=0)
    before = ops.arange(context.num_replicas_in_sync) < context.replica_id_in_sync_group
    return context.all_gather(rows, axis=0), ops.sum(ops.where(before, sizes, 0))


def safe_power(base: Any, exponent: float) -> Any:
    """``base ** exponent`` for 0..1 with a gradient that is finite at 0 as well, where an exponent below 1 has none."""
    return base if exponent == 1 else ops.power(ops.maximum(base, keras.config.epsilon()), exponent)


def require(name: str, value: Any, *, above: float | None = None, low: float = 0, high: float | None = None) -> None:
    """Raise ``LandslideError`` for a setting out of range: at or below ``above``, else outside ``low``..``high``."""
    if not isinstance(value, (int, float)):
        wrong, expected = True, "be a number"
    elif above is not None:
        wrong, expected = not value > above, f"be above {above:g}"
    elif high is not None:
        wrong, expected = not low <= value <= high, f"lie in {low:g}..{high:g}"
    else:
        wrong, expected = not value >= low, f"be {low:g} or more"
    if wrong:
        raise LandslideError(f"{name} must {expected}, got {value!r}")


def _replica_context() -> Any:
    """TensorFlow's replica that is computing, where there are several; else None."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf  # only where Keras runs on it

    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None


def _share_of_batch(truth: Any) -> Any:
    """What a replica's mean must be multiplied by where it holds more or fewer pixels than the others."""
    context = _replica_context()
    if context is None:
        return 1.0
    own = ops.cast(ops.size(truth), truth.dtype)
    return ops.divide_no_nan(own * context.num_replicas_in_sync, context.all_reduce("SUM", own))
