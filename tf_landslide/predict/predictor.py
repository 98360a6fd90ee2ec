"""The predictor: channels in, probabilities out, whatever computes them.

Everything that needs predictions (judging, ``predict``, the page, scene mapping) takes a ``Predictor`` and does not
know whether a run, a SavedModel or a server answers.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tf_landslide.core.errors import LandslideError
from tf_landslide.models import STRIDE
from tf_landslide.runs.card import ModelCard

BATCH_SIZE = 16
MAX_BYTES = 2**28
UNCERTAINTY = ("probability", "deviation", "mutual_information")
"""What a backend's ``uncertainty`` gives, in order; so are the outputs of the exported signature called."""
ROUNDING = 1e-5  # the sigmoid of some runtime may end that much beyond 0 or 1


class Backend(Protocol):
    """What computes a model's probabilities.

    Attributes:
        name: of what computes: ``tensorflow``, ``openvino`` or ``server``.
        batch_size: images handed over at a time, at most.
        max_bytes: of them together; one image may have more.
        in_flight: batches that are handed over before the first is answered.
    """

    @property
    def name(self) -> str: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def max_bytes(self) -> int: ...
    @property
    def in_flight(self) -> int: ...

    def fingerprint(self) -> str:
        """What differs where the model's weights do."""
        ...

    def probability(self, channels: np.ndarray) -> np.ndarray:
        """(n, H, W, C) float32 to (n, H, W, 1) float32, for H and W multiples of ``STRIDE``."""
        ...

    def uncertainty(self, channels: np.ndarray) -> np.ndarray:
        """The same to (n, H, W, 3): probability, deviation, mutual information. Raises ``LandslideError`` where the
        model, or what computes it, cannot say how sure it is.
        """
        ...


@dataclass(frozen=True)
class Uncertain:
    """Probabilities, and how sure the model is of each; (N, H, W, 1) float32 each.

    Attributes:
        probability: as the predictor gives it.
        deviation: standard deviation of the answers that are averaged, or of passes with dropout.
        mutual_information: of them, in nats, 0..0.693: what more agreement could still tell.
    """

    probability: np.ndarray
    deviation: np.ndarray
    mutual_information: np.ndarray


class Predictor:
    """Maps channels of any size to probabilities, a batch at a time.

    Args:
        card: of the model.
        backend: computes.
    """

    def __init__(self, card: ModelCard, backend: Backend):
        self.card, self.backend = card, backend

    @property
    def runtime(self) -> str:
        """What computes: ``tensorflow``, ``openvino`` or ``server``."""
        return self.backend.name

    @property
    def batch_size(self) -> int:
        """Images that are computed at a time, at most."""
        return self.backend.batch_size

    def batch_of(self, nbytes: int) -> int:
        """How many images of so many bytes are taken at a time: neither too many, nor too many bytes together, those
        that the model turns its own included.
        """
        size = max(1, self.backend.batch_size // self.card.copies)
        return min(size, max(1, self.backend.max_bytes // max(1, nbytes * self.card.copies)))

    def __call__(self, channels: np.ndarray) -> np.ndarray:
        """Probabilities of channels.

        Args:
            channels: (N, H, W, C) in physical units, NaN where missing; any H and W.

        Returns:
            (N, H, W, 1) float32.

        Raises:
            LandslideError: not four axes, or another number of channels than the model has; or a model whose answer is
                no probability of every pixel.
        """
        return self._over(channels, self._probability, 1)

    def uncertainty(self, channels: np.ndarray) -> Uncertain:
        """Probabilities of channels (N, H, W, C), and how sure the model is of each.

        Raises:
            LandslideError: as for probabilities; or a model, or what computes it, that cannot say how sure it is.
        """
        found = self._over(channels, self._uncertainty, 3)
        return Uncertain(*(found[..., i : i + 1] for i in range(3)))

    def _over(self, channels: np.ndarray, compute: Callable[[np.ndarray], np.ndarray], maps: int) -> np.ndarray:
        """(N, H, W, maps) of channels of any size, computed a batch at a time."""
        names = self.card.channel_names
        channels = np.asarray(channels, np.float32)
        if channels.ndim != 4 or channels.shape[-1] != len(names):
            raise LandslideError(
                f"model {self.card.name!r} takes (N, H, W, {len(names)}) channels ({', '.join(names)}), "
                f"got {channels.shape}"
            )
        height, width = channels.shape[1:3]
        channels = padded(channels)
        parts = self._computed(self._batches(channels), compute)
        return np.concatenate(parts)[:, :height, :width] if parts else np.empty((0, height, width, maps), np.float32)

    def _batches(self, images: np.ndarray) -> list[np.ndarray]:
        """Consecutive images, so many that a batch has neither too many nor too many bytes."""
        size = self.batch_of(images[:1].nbytes)
        return [images[i : i + size] for i in range(0, len(images), size)]

    def _computed(self, batches: list[np.ndarray], compute: Callable[[np.ndarray], np.ndarray]) -> list[np.ndarray]:
        if self.backend.in_flight == 1 or len(batches) == 1:
            return [compute(batch) for batch in batches]
        with ThreadPoolExecutor(self.backend.in_flight) as pool:
            return list(pool.map(compute, batches))

    def _uncertainty(self, batch: np.ndarray) -> np.ndarray:
        """What the backend computes, its probabilities checked as ever."""
        found, expected = self.backend.uncertainty(batch), (*batch.shape[:3], 3)
        if found.shape != expected:
            raise LandslideError(f"model {self.card.name!r} gives {found.shape} for uncertainty, expected {expected}")
        self._checked(batch, found[..., :1])
        return found

    def _probability(self, batch: np.ndarray) -> np.ndarray:
        """What the backend computes. Raises ``LandslideError`` where that is no probability of every pixel."""
        return self._checked(batch, self.backend.probability(batch))

    def _checked(self, batch: np.ndarray, found: np.ndarray) -> np.ndarray:
        """Probabilities, if they are some. Raises ``LandslideError`` where they are none of every pixel."""
        expected = (*batch.shape[:3], 1)
        if found.shape != expected:
            raise LandslideError(
                f"model {self.card.name!r} gives {found.shape} for channels {batch.shape}, expected {expected}: one "
                "probability for each pixel"
            )
        low, high = found.min(initial=0), found.max(initial=1)
        if low >= -ROUNDING and high <= 1 + ROUNDING:  # of NaN, neither
            return found
        whole = np.isfinite(batch).all(axis=(1, 2, 3))
        if np.isnan(found[whole]).any():
            raise LandslideError(f"model {self.card.name!r} gives NaN for an image without missing values")
        low, high = np.nanmin(found, initial=0), np.nanmax(found, initial=1)
        if low < -ROUNDING or high > 1 + ROUNDING:
            raise LandslideError(f"model {self.card.name!r} gives {low:.4g} to {high:.4g}, expected values in 0..1")
        return found

    def channels(self, stored: np.ndarray) -> np.ndarray:
        """The model's channels of stored bands (N, H, W, B)."""
        return self.card.channel_recipe(stored)

    def from_bands(self, stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Channels and probabilities of stored bands (N, H, W, B)."""
        channels = self.channels(stored)
        return channels, self(channels)


def padded(channels: np.ndarray) -> np.ndarray:
    """(N, H, W, C) mirrored at the bottom and right to heights and widths that are multiples of ``STRIDE``."""
    height, width = channels.shape[1:3]
    padding = [(0, 0), (0, -height % STRIDE), (0, -width % STRIDE), (0, 0)]
    return np.pad(channels, padding, mode="symmetric") if any(after for _, after in padding) else channels
