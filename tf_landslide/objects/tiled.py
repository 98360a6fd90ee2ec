"""Segments of a scene of any size: tile by tile, whole across the tiles' lines, in a file."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tf_landslide.core.errors import LandslideError, lookup
from tf_landslide.core.files import allocate, replacing, require_space
from tf_landslide.core.progress import progress
from tf_landslide.objects.segmenting import Segmenting
from tf_landslide.objects.segments import segment
from tf_landslide.objects.stitch import Seen, Stitcher
from tf_landslide.objects.tiles import Tile, Tiles, around_all
from tf_landslide.scenes.grid import Window

Layer = Callable[[Window], np.ndarray]
"""Reads a window of a scene as (H, W) float32, NaN where missing; as ``scenes.layers.Layer``."""

FILE = "segments.npy"
PER_SIDE = 2
"""Tiles along each side of a block, which is read at a time."""

_SAMPLES, _SAMPLE = 8, 128  # along each axis, windows that spreads are measured on, and their side in pixels


@dataclass(frozen=True)
class Segments:
    """The segments of a scene.

    Attributes:
        path: of their labels, (H, W) int32 in ``.npy`` format: 0 where a layer is missing, else 1..``count``.
        shape: of the scene, (rows, columns).
        count: of segments.
        settings: that they were made with, the spread of every layer among them.
    """

    path: Path
    shape: tuple[int, int]
    count: int
    settings: Segmenting

    def read(self, window: Window) -> np.ndarray:
        """(H, W) int32 labels of a window; 0 beyond the scene."""
        labels = np.zeros(window.shape, np.int32)
        there = window.within(self.shape)
        inside = there.relative_to(window)
        labels[inside.rows, inside.columns] = np.load(self.path, mmap_mode="r")[there.rows, there.columns]
        return labels


def segment_scene(
    layers: Mapping[str, Layer],
    shape: tuple[int, int],
    settings: Segmenting,
    folder: str | Path,
    *,
    per_side: int = PER_SIDE,
    threads: int | None = None,
) -> Segments:
    """Cut a scene into segments.

    What comes out does not depend on blocks, threads, or the order in which tiles are done. A scene of one tile is cut
    as ``segment`` cuts a patch.

    Args:
        layers: readers by name; all of ``settings.layers``, and maybe more. Called by one thread, within the scene.
        shape: of the scene, (rows, columns).
        settings: spreads that they do not state are measured on windows spread over the scene.
        folder: that ``segments.npy`` is written into, 4 bytes a pixel.
        per_side: tiles along each side of a block.
        threads: that segment; by default as many as there are processors.

    Raises:
        LandslideError: a layer is not there or gives another shape than it was asked for, or the disk is full.
    """
    if min(shape) < 1:
        raise LandslideError(f"a scene of {shape} pixels has no segments")
    if per_side < 1:
        raise LandslideError(f"a block must have at least one tile a side, got {per_side}")
    used = {name: lookup(layers, name, "layer") for name in settings.layers}
    tiles = Tiles.of(shape, settings)
    settings = settings.with_spreads(_sampled(used, settings, tiles))
    path = Path(folder) / FILE
    require_space(folder, 4 * shape[0] * shape[1], "the labels of segments")
    with replacing(path) as partial:
        np.lib.format.open_memmap(partial, "w+", np.int32, shape)
        allocate(partial)
        count = _label(used, tiles, settings, partial, per_side, threads or os.cpu_count() or 1)
    return Segments(path, shape, count, settings)


def _label(
    layers: Mapping[str, Layer], tiles: Tiles, settings: Segmenting, path: Path, per_side: int, threads: int
) -> int:
    """Write the labels of a scene; how many segments there are."""
    stitcher = Stitcher(tiles, settings.least)
    for seen in progress(
        _seen(layers, tiles, settings, per_side, threads), total=len(tiles), label="segmenting", unit="tile"
    ):
        _write(path, seen.tile.core, seen.pieces)
        stitcher.add(seen)
    names, count = stitcher.names()
    for tile in tiles:
        core = tile.core
        labels = np.load(path, mmap_mode="r+")
        labels[core.rows, core.columns] = names[tiles.index(tile)][labels[core.rows, core.columns]]
    return count


def _write(path: Path, window: Window, labels: np.ndarray) -> None:
    """Mapped for that long only: what a file that stays mapped was given counts as this process's memory."""
    np.load(path, mmap_mode="r+")[window.rows, window.columns] = labels


def _seen(
    layers: Mapping[str, Layer], tiles: Tiles, settings: Segmenting, per_side: int, threads: int
) -> Iterator[Seen]:
    """Every tile's segments, in order; blocks are read here, and tiles segmented by threads, a few ahead."""

    def seen(tile: Tile, planes: dict[str, np.ndarray]) -> Seen:
        return Seen.of(tile, segment(planes, settings), settings.least)

    under_way: deque[Future[Seen]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for tile, planes in _read(layers, tiles, per_side):
                under_way.append(pool.submit(seen, tile, planes))
                if len(under_way) > threads + 1:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()


def _read(layers: Mapping[str, Layer], tiles: Tiles, per_side: int) -> Iterator[tuple[Tile, dict[str, np.ndarray]]]:
    """Every tile with the layers around it. Where nothing can be valid any longer, no further layer is read."""
    for block in tiles.blocks(per_side):
        window = around_all(block)
        planes: dict[str, np.ndarray] = {}
        valid = np.ones(window.shape, bool)
        for name, layer in layers.items():
            planes[name] = _read_layer(name, layer, window) if valid.any() else np.full(window.shape, np.nan, "f4")
            valid &= np.isfinite(planes[name])
        for tile in block:
            inside = tile.around.relative_to(window)
            yield tile, {name: values[inside.rows, inside.columns] for name, values in planes.items()}


def _read_layer(name: str, layer: Layer, window: Window) -> np.ndarray:
    values = np.asarray(layer(window))
    if values.shape != window.shape:
        raise LandslideError(f"layer {name!r} gives {values.shape} for a window of {window.shape}")
    return values


def _sampled(layers: Mapping[str, Layer], settings: Segmenting, tiles: Tiles) -> dict[str, np.ndarray]:
    """What spreads are measured on: windows on a lattice over the scene; all of a scene of one tile."""
    rows, columns = tiles.shape
    windows = [Window(0, 0, rows, columns)]
    if len(tiles) > 1:
        starts = [
            np.unique(np.linspace(0, max(0, length - _SAMPLE), _SAMPLES).astype(int)).tolist() for length in tiles.shape
        ]
        windows = [
            Window(row, column, _SAMPLE, _SAMPLE).within(tiles.shape) for row in starts[0] for column in starts[1]
        ]
    missing = [name for name in settings.layers if settings.needs_measuring(name)]
    return {
        name: np.concatenate([_read_layer(name, layers[name], window).ravel() for window in windows])
        for name in missing
    }
