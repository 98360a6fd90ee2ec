"""How a scene is cut for segmenting: tiles that lie still, whatever else is chosen.

A segment depends on its surroundings. So tiles are of one size, begin at the scene's origin, and each is seen with a
margin around it; sides and margins are whole steps of the segmenters' grid, which therefore runs on from tile to tile.
Blocks are tiles that are read together: they change how much is held in memory, and no result.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from tf_landslide.objects.segmenting import Segmenting
from tf_landslide.scenes.grid import Window

_SIDE, _MARGIN = 512, 64  # pixels at least
_SIDE_STEPS, _MARGIN_STEPS = 8, 4  # of the segmenters' grid at least


@dataclass(frozen=True)
class Tile:
    """A part of a scene.

    Attributes:
        row, column: which it is, from the north-west.
        core: the pixels that it decides on; the cores of all tiles are the scene.
        around: the core with its margin, as far as the scene goes.
    """

    row: int
    column: int
    core: Window
    around: Window


@dataclass(frozen=True)
class Tiles:
    """The tiles of a scene.

    Attributes:
        shape: of the scene, (rows, columns).
        side: of a tile's core; the last of a row or column may be smaller.
        margin: around it.
    """

    shape: tuple[int, int]
    side: int
    margin: int

    @classmethod
    def of(cls, shape: tuple[int, int], settings: Segmenting) -> Tiles:
        """Those for segments of the wanted size."""
        step = settings.step
        side, margin = max(_SIDE, _SIDE_STEPS * step), max(_MARGIN, _MARGIN_STEPS * step)
        return cls(shape, -(-side // step) * step, -(-margin // step) * step)

    @property
    def rows(self) -> int:
        return -(-self.shape[0] // self.side)

    @property
    def columns(self) -> int:
        return -(-self.shape[1] // self.side)

    def __len__(self) -> int:
        return self.rows * self.columns

    def __iter__(self) -> Iterator[Tile]:
        """Row by row."""
        return (self.tile(row, column) for row, column in product(range(self.rows), range(self.columns)))

    def index(self, tile: Tile) -> int:
        """Its place in the order of iteration."""
        return tile.row * self.columns + tile.column

    def tile(self, row: int, column: int) -> Tile:
        core = Window(row * self.side, column * self.side, self.side, self.side).within(self.shape)
        return Tile(row, column, core, core.padded(self.margin).within(self.shape))

    def blocks(self, per_side: int) -> Iterator[list[Tile]]:
        """Squares of ``per_side`` x ``per_side`` tiles, row by row."""
        for top, left in product(range(0, self.rows, per_side), range(0, self.columns, per_side)):
            rows, columns = range(top, min(top + per_side, self.rows)), range(left, min(left + per_side, self.columns))
            yield [self.tile(row, column) for row, column in product(rows, columns)]


def common(a: Window, b: Window) -> Window:
    """What two windows share; of height or width 0 where that is nothing."""
    inside = a.relative_to(b).within(b.shape)
    return Window(inside.row + b.row, inside.column + b.column, inside.height, inside.width)


def around_all(tiles: list[Tile]) -> Window:
    """The smallest window that holds the surroundings of all of them."""
    first, last = tiles[0].around, tiles[-1].around
    bottom, right = last.row + last.height, last.column + last.width
    return Window(first.row, first.column, bottom - first.row, right - first.column)
