"""A scene through a model, block by block: read, predicted once, kept as a part, added up into one probability.

A part is a file that appears whole or not at all, in a folder named by a hash of everything that it depends on. So a
run that was stopped goes on where it stopped, a failed block fails the run by name, and blocks may be predicted in any
order and by anybody: they are added up in one order by one writer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tf_landslide.bands.recipes import ChannelRecipe
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import replacing
from tf_landslide.core.progress import progress
from tf_landslide.predict.predictor import Predictor
from tf_landslide.scenes.blocks import Block, Tiling
from tf_landslide.scenes.grid import Window
from tf_landslide.scenes.scene import Scene


@dataclass(frozen=True)
class Mapping:
    """What is mapped, by which model, and how.

    Attributes:
        scene: the bands.
        predictor: the model.
        tiling: how the scene is cut.
        batch: windows handed to the model at a time: always as many, so that every block is computed alike.
        parts: folder of the parts.
    """

    scene: Scene
    predictor: Predictor
    tiling: Tiling
    batch: int
    parts: Path

    @property
    def recipe(self) -> ChannelRecipe:
        return self.predictor.card.channel_recipe

    def part(self, block: Block) -> Path:
        return self.parts / f"{block.row}_{block.column}.npy"

    def missing(self) -> list[Block]:
        """The blocks that have no part yet."""
        return [block for block in self.tiling.blocks() if not self.part(block).is_file()]

    def channels(self, window: Window) -> np.ndarray:
        """(H, W, C) channels of a window; missing in every channel where any band that the model needs is."""
        bands = {band.name: self.scene.read(band.name, window) for band in self.recipe.bands}
        channels = self.recipe.of_physical(bands)
        channels[~np.isfinite(list(bands.values())).all(axis=0)] = np.nan
        return channels

    def read(self, block: Block) -> np.ndarray:
        """(windows, H, W, C) channels of a block's windows; its region is read once."""
        region = self.channels(block.region)
        parts = (window.relative_to(block.region) for window in block.windows)
        return np.stack([region[part.rows, part.columns] for part in parts])

    def predict(self, block: Block, channels: np.ndarray) -> np.ndarray:
        """A block's share of the probability, NaN where it cannot be told; windows without data skip the model."""
        valid = np.isfinite(channels).all(axis=-1)
        having = np.flatnonzero(valid.any(axis=(1, 2)))
        probability = np.zeros(valid.shape, np.float32)
        for start in range(0, len(having), self.batch):
            chosen = having[start : start + self.batch]
            given = np.zeros((self.batch, *channels.shape[1:]), np.float32)
            given[: len(chosen)] = channels[chosen]
            probability[chosen] = self.predictor(given)[: len(chosen), ..., 0]
        share = self.tiling.blended(block, probability)
        for window, seen in zip(block.windows, valid, strict=True):
            part = window.relative_to(block.region)
            share[part.rows, part.columns][~seen] = np.nan
        return share

    def keep(self, block: Block, share: np.ndarray) -> None:
        with replacing(self.part(block)) as partial:
            np.save(partial, share)


def map_blocks(mapping: Mapping) -> None:
    """Predict every block that has no part yet; the next ones are read meanwhile.

    Raises:
        LandslideError: a block that cannot be read or predicted, by its place.
    """
    blocks = mapping.missing()
    with ThreadPoolExecutor(1) as reader:
        pending = [(block, reader.submit(mapping.read, block)) for block in blocks[:2]]
        for following in progress(
            [*blocks[2:], None, None][: len(blocks)], total=len(blocks), label="mapping", unit="block"
        ):
            block, reading = pending.pop(0)
            if following is not None:
                pending.append((following, reader.submit(mapping.read, following)))
            try:
                mapping.keep(block, mapping.predict(block, reading.result()))
            except LandslideError as error:
                raise LandslideError(f"block {block.row}, {block.column} of the scene: {error}") from None


def rows_of(mapping: Mapping) -> Iterator[tuple[int, np.ndarray]]:
    """The scene's probability from north to south: (first row, (H, W) float32, NaN where it cannot be told).

    Holds one row of blocks at a time. Parts are added in the order of their places, whoever made them, so that the
    sum is the same bit for bit.
    """
    rows, columns = mapping.scene.grid.shape
    open_rows = np.zeros((0, columns), np.float32)
    done = 0
    blocks = list(mapping.tiling.blocks())
    last = blocks[-1].row
    for number in range(last + 1):
        of_row = [block for block in blocks if block.row == number]
        region = of_row[0].region
        total = np.zeros((min(region.row + region.height, rows) - done, columns), np.float32)
        total[: len(open_rows)] = open_rows
        for block in of_row:
            share = np.load(mapping.part(block))
            inside = block.region.within((rows, columns))
            part = inside.relative_to(block.region)
            total[inside.row - done : inside.row - done + inside.height, inside.columns] += share[
                part.rows, part.columns
            ]
        end = next((block.region.row for block in blocks if block.row == number + 1), rows)
        yield done, total[: end - done]
        open_rows, done = total[end - done :], end


def settings_hash(values: dict[str, object]) -> str:
    """A short name for all that a part depends on."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]
