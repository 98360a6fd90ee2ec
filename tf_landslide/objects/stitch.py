"""Objects made whole across the lines between tiles.

Two neighbouring tiles both see the ground along their line, each with margin beyond it. A segment of one and a segment
of the other that touch at the line are the same object where, in a strip along it, they share more than half of what
they cover together (so none has two partners). What the line cuts off and is small then joins a neighbour, as small
pieces do everywhere. All of it is decided after all tiles are seen, so their order does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from tf_landslide.core.errors import LandslideError
from tf_landslide.objects.pieces import Borders, absorbed, connected, united
from tf_landslide.objects.tiles import Tile, Tiles, common
from tf_landslide.scenes.grid import Window

_SAME = 0.5  # of the union, to be the same object
_NEAR = 4  # of a tile's margin, how far from the line two tiles' views are compared
_MOST = np.iinfo(np.int32).max


@dataclass(frozen=True)
class Seen:
    """What a tile's segmentation says.

    Attributes:
        tile: which.
        labels: (H, W) int32 segments of its surroundings.
        pieces: (h, w) int32 connected pieces of its core; numbers are the tile's own.
        areas: (n + 1,) pixels of each piece, 0 first.
        borders: those of which a side is small.
    """

    tile: Tile
    labels: np.ndarray
    pieces: np.ndarray
    areas: np.ndarray
    borders: Borders

    @classmethod
    def of(cls, tile: Tile, labels: np.ndarray, least: int) -> Seen:
        """From the segments of the tile's surroundings; pieces of fewer than ``least`` pixels are small."""
        core = tile.core.relative_to(tile.around)
        pieces = connected(labels[core.rows, core.columns])
        areas, borders = np.bincount(pieces.ravel(), minlength=1), Borders.of(pieces)
        kept = (areas[borders.a] < least) | (areas[borders.b] < least)
        return cls(tile, labels, pieces, areas, Borders(borders.a[kept], borders.b[kept], borders.length[kept]))

    def cut(self, window: Window) -> np.ndarray:
        """(H, W) segments of a window of the scene."""
        inside = window.relative_to(self.tile.around)
        return self.labels[inside.rows, inside.columns].copy()

    def line(self, neighbour: Tile) -> tuple[np.ndarray, np.ndarray]:
        """Pieces and segments of the core's pixels along the line towards a neighbour."""
        core = self.tile.core.relative_to(self.tile.around)
        segments = self.labels[core.rows, core.columns]
        beside = neighbour.row == self.tile.row
        end = -1 if (neighbour.row, neighbour.column) > (self.tile.row, self.tile.column) else 0
        pieces, segments = (labels[:, end] if beside else labels[end] for labels in (self.pieces, segments))
        return pieces.copy(), segments.copy()


@dataclass(frozen=True)
class _Side:
    """One tile's view of a line: segments of the strip; pieces and segments of its own pixels along it."""

    strip: np.ndarray
    pieces: np.ndarray
    segments: np.ndarray


@dataclass
class Stitcher:
    """Takes what every tile says, in any order, and names the objects of the scene.

    Attributes:
        tiles: of the scene.
        least: pixels of the smallest segment.
    """

    tiles: Tiles
    least: int
    _areas: dict[int, np.ndarray] = field(default_factory=dict)
    _borders: dict[int, Borders] = field(default_factory=dict)
    _waiting: dict[tuple[int, int], _Side] = field(default_factory=dict)
    _touching: dict[tuple[int, int], tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=dict)

    def add(self, seen: Seen) -> None:
        """Take a tile. Its strips are held until the tile beyond the line comes."""
        own = self.tiles.index(seen.tile)
        self._areas[own], self._borders[own] = seen.areas, seen.borders
        for neighbour in self._neighbours(seen.tile):
            other = self.tiles.index(neighbour)
            side = _Side(seen.cut(self.strip(seen.tile, neighbour)), *seen.line(neighbour))
            line = (min(own, other), max(own, other))
            waiting = self._waiting.pop(line, None)
            if waiting is None:
                self._waiting[line] = side
            else:
                first, second = (waiting, side) if other < own else (side, waiting)
                self._touching[line] = _touching(first, second)

    def strip(self, tile: Tile, neighbour: Tile) -> Window:
        """What both judge well: near their line, away from where one of them sees no further."""
        near = self.tiles.margin // _NEAR
        return common(tile.core.padded(near), neighbour.core.padded(near)).within(self.tiles.shape)

    def _neighbours(self, tile: Tile) -> list[Tile]:
        places = [(tile.row + down, tile.column + right) for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1))]
        return [self.tiles.tile(r, c) for r, c in places if 0 <= r < self.tiles.rows and 0 <= c < self.tiles.columns]

    def names(self) -> tuple[list[np.ndarray], int]:
        """Of each tile the names of its pieces, (n + 1,) int32 with 0 first; and how many objects there are.

        Raises:
            LandslideError: more pieces than an int32 can number.
        """
        areas = [self._areas[i] for i in range(len(self.tiles))]
        offsets = np.concatenate([[0], np.cumsum([len(own) - 1 for own in areas])])
        total = int(offsets[-1])
        if total > _MOST:
            raise LandslideError(
                f"{total:,} segments are more than the {_MOST:,} that can be numbered; take larger ones"
            )
        a, b, length, same = self._borders_of_all(offsets)
        whole = united(total, a[same], b[same])
        sums = np.bincount(whole, np.concatenate([[0], *(own[1:] for own in areas)])).astype(np.int64)
        names = absorbed(sums, Borders.of_pairs(a, b, length).renamed(whole), self.least)[whole]
        parts = [
            np.concatenate([[0], names[1 + start : 1 + end]]).astype(np.int32)
            for start, end in pairwise(offsets.tolist())
        ]
        return parts, int(names.max(initial=0))

    def _borders_of_all(self, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Borders within tiles and across lines, by numbers of the whole scene, and whether both are one object."""
        rows = [
            (own.a + offsets[i], own.b + offsets[i], own.length, np.zeros(len(own.a), bool))
            for i, own in sorted(self._borders.items())
        ]
        for (first, second), (a, b, same) in sorted(self._touching.items()):
            rows.append((a + offsets[first], b + offsets[second], np.ones(len(a), np.int64), same))
        a, b, length, same = (np.concatenate(column) for column in zip(*rows, strict=True))
        return a, b, length, same


def _touching(first: _Side, second: _Side) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pieces that touch across a line, one pair for each edge of pixels, and whether they are the same object."""
    there = (first.pieces > 0) & (second.pieces > 0)
    a, b = first.segments[there].astype(np.int64), second.segments[there].astype(np.int64)
    base = int(second.strip.max(initial=0)) + 1
    pairs, shared = np.unique(first.strip.ravel().astype(np.int64) * base + second.strip.ravel(), return_counts=True)
    place = np.searchsorted(pairs, a * base + b).clip(max=len(pairs) - 1)
    both = np.where(pairs[place] == a * base + b, shared[place], 0)
    areas = [np.bincount(side.strip.ravel()) for side in (first, second)]
    same = both > _SAME * (areas[0][a] + areas[1][b] - both)
    return first.pieces[there].astype(np.int64), second.pieces[there].astype(np.int64), same
