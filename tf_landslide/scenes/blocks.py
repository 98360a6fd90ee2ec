"""How a scene is cut for a model: windows that overlap, how they are blended, and blocks of windows as units of work.

A model sees windows of one size. Where two overlap, each is dropped near its own edge, where it lacks surroundings, and
one fades into the other in between; the weights of all windows sum to one at every pixel, at the scene's frame and
corners too. Cropping instead of fading leaves steps of 1.6 to 1.8 times the natural gradient, at the same cost.

Along an axis the windows start at multiples of the stride, but for the last, which ends where the scene does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from tf_landslide.core.errors import LandslideError
from tf_landslide.models import STRIDE
from tf_landslide.scenes.grid import Window

BLOCK_SIDE = 2048  # pixels of a block's windows side by side, of which each takes all channels and answers of memory
LARGEST = 8192  # pixels along a window: more is a mistake, and its channels would not fit into memory


@dataclass(frozen=True)
class Axis:
    """The windows along one axis of a scene.

    Attributes:
        length: of the scene, in pixels.
        window: side of a window.
        overlap: of two neighbouring windows; the last two may overlap by more.
        drop: pixels at a window's inner edges whose weight is zero.
    """

    length: int
    window: int
    overlap: int
    drop: int

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Of the windows, in order; a scene smaller than a window has one that reaches beyond it."""
        last = max(0, self.length - self.window)
        stride = self.window - self.overlap
        return (*range(0, last, stride), last)

    @cached_property
    def weights(self) -> tuple[np.ndarray, ...]:
        """Of each window's pixels, (window,) float32 each: at every pixel of the scene they sum to one."""
        ramps = [self._ramp(left, right) for left, right in zip(self.starts, self.starts[1:], strict=False)]
        weights = []
        for i, start in enumerate(self.starts):
            weight = np.ones(self.window)
            if i:
                weight[: self.starts[i - 1] + self.window - start] = ramps[i - 1]
            if i < len(ramps):
                shared = start + self.window - self.starts[i + 1]
                weight[-shared:] *= 1 - ramps[i]
            weights.append(weight)
        total = np.zeros(self.starts[-1] + self.window)  # one, but where the last window reaches over its neighbour
        for start, weight in zip(self.starts, weights, strict=True):
            total[start : start + self.window] += weight
        return tuple(
            (weight / total[start : start + self.window]).astype(np.float32)
            for start, weight in zip(self.starts, weights, strict=True)
        )

    def _ramp(self, left: int, right: int) -> np.ndarray:
        """The right window's weights over what it shares with the left one: 0, half a Hann window, 1."""
        shared = left + self.window - right
        fading = self.overlap - 2 * self.drop
        before = (shared - fading) // 2
        position = np.clip((np.arange(shared) - before + 0.5) / fading, 0, 1)
        return np.round(np.sin(np.pi / 2 * position) ** 2, 6)


@dataclass(frozen=True)
class Block:
    """Windows that are read, predicted and kept together.

    Attributes:
        row, column: which it is, from the north-west.
        windows: of the scene, in the order in which they are predicted.
        region: what they cover together.
    """

    row: int
    column: int
    windows: tuple[Window, ...]
    region: Window


@dataclass(frozen=True)
class Tiling:
    """A scene's windows and blocks. Made by ``tiling``, which checks it."""

    rows: Axis
    columns: Axis
    per_side: int

    def blocks(self) -> Iterator[Block]:
        """Row by row, from the north-west."""
        groups = [
            [axis.starts[i : i + self.per_side] for i in range(0, len(axis.starts), self.per_side)]
            for axis in (self.rows, self.columns)
        ]
        size = self.rows.window
        for (i, tops), (j, lefts) in product(enumerate(groups[0]), enumerate(groups[1])):
            windows = tuple(Window(top, left, size, size) for top, left in product(tops, lefts))
            region = Window(tops[0], lefts[0], tops[-1] + size - tops[0], lefts[-1] + size - lefts[0])
            yield Block(i, j, windows, region)

    def weight(self, window: Window) -> np.ndarray:
        """(window, window) float32: how much each pixel of a window counts."""
        row, column = self.rows.starts.index(window.row), self.columns.starts.index(window.column)
        return self.rows.weights[row][:, None] * self.columns.weights[column][None, :]

    @property
    def computed_pixels(self) -> int:
        """Pixels that the model is given, over those of the scene the price of overlapping."""
        return len(self.rows.starts) * len(self.columns.starts) * self.rows.window**2

    def blended(self, block: Block, probability: np.ndarray) -> np.ndarray:
        """A block's share of the scene's probability: its windows, weighted and added in order.

        Args:
            block: of this tiling.
            probability: (windows, window, window) float32.

        Returns:
            (H, W) float32 of the block's region. Where blocks overlap, their shares add up.
        """
        total = np.zeros(block.region.shape, np.float32)
        for window, values in zip(block.windows, probability, strict=True):
            part = window.relative_to(block.region)
            total[part.rows, part.columns] += self.weight(window) * values
        return total


def tiling(shape: tuple[int, int], window: int = 512, overlap: int = 128, drop: int = 32, per_side: int = 4) -> Tiling:
    """Cut a scene.

    Args:
        shape: of the scene, (rows, columns).
        window: side of what the model is given at a time, a multiple of 32.
        overlap: of neighbouring windows.
        drop: pixels at a window's inner edges that do not count.
        per_side: windows along each side of a block at most: as many as have ``BLOCK_SIDE`` pixels, but one.

    Raises:
        LandslideError: sizes that cannot be.
    """
    if window % STRIDE or not STRIDE <= window <= LARGEST:
        raise LandslideError(f"the window must be a multiple of {STRIDE} pixels up to {LARGEST:,}, got {window:,}")
    if not 0 < overlap <= window // 2:
        raise LandslideError(f"the overlap must be 1 to {window // 2} pixels, half the window, got {overlap}")
    if not 0 <= 2 * drop < overlap:
        raise LandslideError(
            f"what is dropped must be 0 or more and less than half the overlap ({overlap}), got {drop}"
        )
    if per_side < 1 or min(shape) < 1:
        raise LandslideError(f"a scene of {shape} cannot be cut into blocks of {per_side} windows a side")
    few = min(per_side, max(1, BLOCK_SIDE // window))
    return Tiling(Axis(shape[0], window, overlap, drop), Axis(shape[1], window, overlap, drop), few)
