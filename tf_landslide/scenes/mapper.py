"""A scene through a model, block by block: read, predicted once, kept as a part, added up into one probability.

Blocks may be predicted in any order and by anybody, here or by workers (``scenes.cluster``). Whoever writes the map
takes them as they are finished, keeps each as a part (``scenes.parts``) and adds the parts up in one order. So a run
that was stopped goes on where it stopped, and a failed block fails the run by name.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from threading import Event

import numpy as np

from tf_landslide.bands.recipes import ChannelRecipe
from tf_landslide.core.errors import LandslideError
from tf_landslide.predict.predictor import UNCERTAINTY, Predictor
from tf_landslide.scenes.blocks import Block, Tiling
from tf_landslide.scenes.grid import Window
from tf_landslide.scenes.parts import Parts, encoded
from tf_landslide.scenes.scene import Scene

STRIP = 512  # rows that are added up and written at a time: a row of the rasters' tiles
BATCH_PIXELS = 2**20  # that the model is given at a time
AHEAD = 2  # blocks under way: one is predicted, the next one read, while the last one is written

Finished = Iterator[tuple[Block, bytes]]
"""Blocks as they are predicted, in any order, each with the bytes of its part."""


class Stopped(Exception):
    """Nobody waits for the block any longer."""


@dataclass(frozen=True)
class Mapping:
    """What is mapped, by which model, and how.

    Attributes:
        scene: the bands.
        predictor: the model.
        tiling: how the scene is cut.
        batch: windows handed to the model at a time: always as many, so that every block is computed alike.
        unsure: map too how sure the model is, as ``predict.predictor.UNCERTAINTY`` has it.
    """

    scene: Scene
    predictor: Predictor
    tiling: Tiling
    batch: int
    unsure: bool = False

    @property
    def recipe(self) -> ChannelRecipe:
        return self.predictor.card.channel_recipe

    @property
    def maps(self) -> int:
        """How many are made of the scene: the probability, and what says how sure the model is of it."""
        return len(UNCERTAINTY) if self.unsure else 1

    def channels(self, window: Window) -> np.ndarray | None:
        """(H, W, C) channels of a window; missing in every channel where any band that the model needs is.

        None where that is everywhere: once it shows, no further band is read.
        """
        bands: dict[str, np.ndarray] = {}
        valid = np.ones(window.shape, bool)
        for band in self.recipe.bands:
            bands[band.name] = self._band(band.name, window)
            valid &= np.isfinite(bands[band.name])
            if not valid.any():
                return None
        channels = self.recipe.of_physical(bands)
        channels[~valid] = np.nan
        return channels

    def _band(self, name: str, window: Window) -> np.ndarray:
        """A band of a window, by strips: what sampling takes of memory is many times what it gives."""
        values = np.empty(window.shape, np.float32)
        for top in range(0, window.height, STRIP):
            height = min(STRIP, window.height - top)
            values[top : top + height] = self.scene.read(
                name, Window(window.row + top, window.column, height, window.width)
            )
        return values

    def share(self, block: Block, channels: np.ndarray | None, stop: Event | None = None) -> np.ndarray:
        """A block's share of the maps, NaN where nothing can be told; windows without data skip the model.

        Args:
            block: of the tiling.
            channels: of its region.
            stop: where it is set meanwhile, ``Stopped`` is raised.

        Returns:
            (maps, H, W) float32 of its region.
        """
        if channels is None:
            return np.full((self.maps, *block.region.shape), np.nan, np.float32)
        valid = np.isfinite(channels).all(axis=-1)
        parts = [window.relative_to(block.region) for window in block.windows]
        having = [i for i, part in enumerate(parts) if valid[part.rows, part.columns].any()]
        found = np.zeros((self.maps, len(parts), *parts[0].shape), np.float32)
        given = np.zeros((self.batch, *parts[0].shape, channels.shape[-1]), np.float32)
        for start in range(0, len(having), self.batch):
            if stop is not None and stop.is_set():
                raise Stopped
            chosen = having[start : start + self.batch]
            for image, i in zip(given, chosen, strict=False):
                image[:] = channels[parts[i].rows, parts[i].columns]
            given[len(chosen) :] = 0
            for values, answer in zip(found, self._answers(given), strict=True):
                values[chosen] = answer[: len(chosen), ..., 0]
        share = np.stack([self.tiling.blended(block, values) for values in found])
        share[:, ~valid] = np.nan
        return share

    def _answers(self, channels: np.ndarray) -> tuple[np.ndarray, ...]:
        """Of each map, (N, H, W, 1)."""
        if not self.unsure:
            return (self.predictor(channels),)
        found = self.predictor.uncertainty(channels)
        return tuple(getattr(found, name) for name in UNCERTAINTY)

    def part(self, block: Block) -> bytes:
        """A block's part, from reading to its bytes."""
        return encoded(self.share(block, self.channels(block.region)))


def batch_of(predictor: Predictor, cut: Tiling) -> int:
    """Windows to hand to a model at a time: as large ones are few, or memory would be full of them."""
    return max(1, min(predictor.batch_size, cut.per_side**2, BATCH_PIXELS // cut.rows.window**2))


@contextmanager
def named(block: Block) -> Iterator[None]:
    """Tell which block an error is of."""
    try:
        yield
    except LandslideError as error:
        raise LandslideError(f"block {block.row}, {block.column} of the scene: {error}") from None


@contextmanager
def predicted_here(mapping: Mapping, blocks: Sequence[Block]) -> Iterator[Finished]:
    """Predict blocks in this process: while one is computed, the next is read, and the last one can be written.

    The iterator that it gives raises ``LandslideError`` for a block that cannot be read or predicted, by its place.
    """
    stop = Event()
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as model:
        try:
            yield _pipeline(mapping, blocks, reader, model, stop)
        finally:  # what is under way is given up
            stop.set()
            for pool in (reader, model):
                pool.shutdown(wait=False, cancel_futures=True)


def _pipeline(
    mapping: Mapping, blocks: Sequence[Block], reader: ThreadPoolExecutor, model: ThreadPoolExecutor, stop: Event
) -> Finished:
    def predict(block: Block, reading: Future[np.ndarray | None]) -> bytes:
        return encoded(mapping.share(block, reading.result(), stop))

    def submit(block: Block) -> tuple[Block, Future[bytes]]:
        return block, model.submit(predict, block, reader.submit(mapping.channels, block.region))

    waiting = iter(blocks)
    pending = deque(map(submit, islice(waiting, AHEAD)))
    while pending:
        block, predicting = pending.popleft()
        with named(block):
            content = predicting.result()
        pending.extend(map(submit, islice(waiting, 1)))
        yield block, content


def rows_of(parts: Parts, shape: tuple[int, int], finished: Finished) -> Iterator[tuple[int, np.ndarray]]:
    """The scene's probability from north to south: (first row, (H, W) float32, NaN where it cannot be told).

    Blocks are kept as they are finished; rows are given as soon as all blocks that reach into them are. Holds ``STRIP``
    rows at a time. Parts are added in the order of their places, whoever made them, so that the sum is the same bit
    for bit.

    Args:
        parts: of the scene.
        shape: of the scene.
        finished: the blocks that have no part yet.
    """
    kept = {block for block in parts.tiling.blocks() if parts.path(block).is_file()}
    for strip, needed in _strips(parts, shape):
        while not kept.issuperset(needed):
            block, content = next(finished)
            parts.keep(block, content)
            kept.add(block)
        yield strip.row, parts.total(needed, strip)


def unsure_rows_of(parts: Parts, shape: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
    """How sure the model is, from north to south, once every block is kept: (first row, (2, H, W) float32, NaN where it
    cannot be told), the deviation and the mutual information.
    """
    for strip, needed in _strips(parts, shape):
        yield strip.row, np.stack([parts.total(needed, strip, which) for which in range(1, parts.maps)])


def _strips(parts: Parts, shape: tuple[int, int]) -> Iterator[tuple[Window, list[Block]]]:
    """Of a scene, from north to south, each with the blocks that reach into it, in order."""
    rows, columns = shape
    blocks = list(parts.tiling.blocks())
    for top in range(0, rows, STRIP):
        strip = Window(top, 0, min(STRIP, rows - top), columns)
        yield strip, [block for block in blocks if block.region.row < top + strip.height and top < block.region.end]
