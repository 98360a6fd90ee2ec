"""Candidates for landslides in a pair of images: segments judged by rules, joined where they touch, judged again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import allocate, replacing, require_space
from tf_landslide.objects.attributes import measure_scene
from tf_landslide.objects.pieces import Borders, united
from tf_landslide.objects.rules import Rules
from tf_landslide.objects.tiled import Segments, segment_scene
from tf_landslide.objects.vocabulary import OF_A_LAYER
from tf_landslide.scenes.grid import Grid, Window
from tf_landslide.scenes.layers import Layer

ROWS = 256
"""Of a scene that are held at a time."""

_TERRAIN = ("slope", "dem")
_JOINED = "joined"


@dataclass(frozen=True)
class Judged:
    """Objects of a scene, and how confident rules are of each.

    Attributes:
        segments: the objects.
        confidence: (N,) float32, 0..1.
        left_out: attributes that the rules ask for and the scene cannot give.
    """

    segments: Segments
    confidence: np.ndarray
    left_out: tuple[str, ...] = ()

    def read(self, window: Window) -> np.ndarray:
        """(H, W) float32 confidence of the object at each pixel of a window; NaN where there is none."""
        return self._by_label[self.segments.read(window)]

    @cached_property
    def _by_label(self) -> np.ndarray:
        return np.concatenate([[np.float32(np.nan)], self.confidence])


def judge(layers: Mapping[str, Layer], grid: Grid, rules: Rules, folder: Path) -> Judged:
    """Cut a scene into segments, measure them, and judge them by rules.

    Args:
        layers: of the scene.
        grid: of the scene.
        rules: to judge by; their segments' layers are used as far as there are any.
        folder: for the labels, 4 bytes a pixel.

    Raises:
        LandslideError: none of the layers of the rules' segments is there.
    """
    used = tuple(name for name in rules.segments.layers if name in layers)
    if not used:
        raise LandslideError(f"rules {rules.name!r}: segments need {', '.join(rules.segments.layers)}; none is there")
    segments = segment_scene(layers, grid.shape, replace(rules.segments, layers=used), folder)
    return judged(segments, layers, grid, rules)


def judged(segments: Segments, layers: Mapping[str, Layer], grid: Grid, rules: Rules) -> Judged:
    """Measure the attributes of segments that rules ask for, and judge by them."""
    asked = {condition.attribute for condition in rules.conditions}
    needed = {name: layer for name, layer in layers.items() if name in _TERRAIN or _is_asked(name, asked)}
    table = measure_scene(segments, needed, grid, rules.accept)
    left_out = tuple(rules.left_out(table)) if segments.count else ()
    return Judged(segments, rules.confidence(table).astype(np.float32), left_out)


def _is_asked(layer: str, asked: set[str]) -> bool:
    return any(f"{layer}_{end}" in asked for end in (*OF_A_LAYER, "max", "share"))


def joined(found: Judged, accept: float, folder: Path) -> Segments:
    """The accepted objects, those that share an edge as one.

    Args:
        found: objects.
        accept: from which confidence on they are accepted.
        folder: for the labels, 4 bytes a pixel.
    """
    segments = found.segments
    accepted = np.concatenate([[False], found.confidence >= np.float32(accept)])
    names = np.cumsum(accepted, dtype=np.int32) * accepted
    borders = [Borders.of(names[labels]) for _, labels in _strips(segments, above=1)]
    groups = united(
        int(accepted.sum()),
        np.concatenate([pair.a for pair in borders]).astype(np.int32),
        np.concatenate([pair.b for pair in borders]).astype(np.int32),
    )
    names = groups[names]
    folder = folder / _JOINED
    folder.mkdir(exist_ok=True)
    path = folder / segments.path.name
    require_space(folder, 4 * segments.shape[0] * segments.shape[1], "the labels of candidates")
    with replacing(path) as partial:
        np.lib.format.open_memmap(partial, "w+", np.int32, segments.shape)
        allocate(partial)
        for top, labels in _strips(segments):
            np.load(partial, mmap_mode="r+")[top : top + len(labels)] = names[labels]
    return Segments(path, segments.shape, int(names.max(initial=0)), segments.settings)


def _strips(segments: Segments, above: int = 0) -> Iterator[tuple[int, np.ndarray]]:
    """The labels by strips of rows from the north, and ``above`` more rows before each."""
    rows, columns = segments.shape
    for top in range(0, rows, ROWS):
        start = max(0, top - above)
        yield top, segments.read(Window(start, 0, min(top + ROWS, rows) - start, columns))


@dataclass(frozen=True)
class Candidates:
    """What is judged of a scene.

    Attributes:
        segments: and the confidence in each by itself.
        groups: of accepted segments, and the confidence in each.
    """

    segments: Judged
    groups: Judged

    def rows(self) -> Iterator[tuple[int, np.ndarray]]:
        """Confidence by rows from north to south, as ``scenes.writer.write_rasters`` takes it.

        It is that of the group, 0 where there is none, and NaN where nothing can be told.
        """
        rows, columns = self.segments.segments.shape
        for top in range(0, rows, ROWS):
            window = Window(top, 0, min(ROWS, rows - top), columns)
            told = np.isfinite(self.segments.read(window))
            yield top, np.where(told, np.nan_to_num(self.groups.read(window)), np.float32(np.nan))


def find_candidates(layers: Mapping[str, Layer], grid: Grid, rules: Rules, form: Rules, folder: Path) -> Candidates:
    """Candidates for landslides.

    Args:
        layers: of a pair, as ``change.change_layers`` gives them.
        grid: of the pair.
        rules: that segments are judged by.
        form: that groups of accepted segments are judged by; ``probability`` is the confidence of their segments.
        folder: for labels, twice 4 bytes a pixel.
    """
    segments = judge(layers, grid, rules, folder)
    groups = joined(segments, rules.accept, folder)
    return Candidates(segments, judged(groups, {**layers, "probability": segments.read}, grid, form))
