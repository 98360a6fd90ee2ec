"""Parts: each block's share of the maps as a file, which is whole and right, or is predicted again.

A part is an ``.npy`` file with its CRC-32 behind it. Its size, header, checksum and range are compared with what they
must be, so that nothing in it is believed: one that was cut short, overwritten or put there by somebody else is found.
Parts lie in a folder named by a hash of everything that they depend on, and appear whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from zlib import crc32

import numpy as np

from tf_landslide.core.errors import LandslideError, warn
from tf_landslide.core.files import replacing
from tf_landslide.scenes.blocks import Block, Tiling
from tf_landslide.scenes.grid import Window

PREFIX = ".parts-"
_CHECKSUM = 4  # bytes
_DTYPE = np.dtype("<f4")
_ROUNDING = 1e-3  # weights sum to one, but for their last digits

Shape = tuple[int, int, int]


class Damaged(Exception):
    """What is wrong with a part."""


def encoded(share: np.ndarray) -> bytes:
    """A share, (maps, H, W) float32, as the bytes of a part; without pixels where all of it is missing."""
    file = BytesIO()
    kept = share[:, :0, :0] if np.isnan(share).all() else share
    np.lib.format.write_array(file, np.ascontiguousarray(kept, _DTYPE), (1, 0), allow_pickle=False)
    content = file.getvalue()  # whoever looks at frames, as Dask's profiler does, would hold a view of the buffer open
    return content + _checksum(content)


def check(content: bytes, shape: Shape) -> None:
    """Raises ``Damaged`` unless bytes are a part of that shape, or one without pixels."""
    header = next((header for header in map(_header, (shape, _empty(shape))) if content.startswith(header)), None)
    if header is None:
        raise Damaged("is no part of this map")
    if len(content) != len(header) + (_size(shape) if header == _header(shape) else 0) + _CHECKSUM:
        raise Damaged(f"has {len(content):,} bytes, another number than it says")
    if content[-_CHECKSUM:] != _checksum(memoryview(content)[:-_CHECKSUM]):
        raise Damaged("does not match its checksum")
    values = np.frombuffer(content, _DTYPE, offset=len(header), count=(len(content) - len(header) - _CHECKSUM) // 4)
    if values.size and not (np.nanmin(values) >= -_ROUNDING and np.nanmax(values) <= 1 + _ROUNDING):
        raise Damaged("holds values outside 0..1")


def _empty(shape: Shape) -> Shape:
    return shape[0], 0, 0


def _header(shape: Shape) -> bytes:
    file = BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": _DTYPE.str, "fortran_order": False, "shape": shape})
    return file.getvalue()


def _size(shape: Shape) -> int:
    return prod(shape) * _DTYPE.itemsize


def _checksum(content: bytes | memoryview) -> bytes:
    return crc32(content).to_bytes(_CHECKSUM, "little")


@dataclass(frozen=True)
class Parts:
    """The parts of a map.

    Attributes:
        folder: of them.
        tiling: whose blocks they are of.
        maps: that each holds, one behind the other: the probability, and what else is mapped.
    """

    folder: Path
    tiling: Tiling
    maps: int = 1

    def shape(self, block: Block) -> Shape:
        """Of a block's share."""
        return self.maps, *block.region.shape

    def path(self, block: Block) -> Path:
        return self.folder / f"{block.row}_{block.column}.npy"

    def missing(self) -> list[Block]:
        """The blocks that have no part yet, or a damaged one, which is warned of and removed."""
        return [block for block in self.tiling.blocks() if not self._is_there(block)]

    def _is_there(self, block: Block) -> bool:
        path = self.path(block)
        if not path.is_file():
            return False
        try:
            if path.stat().st_size > self.nbytes(block):  # no more of it is read
                raise Damaged(f"has {path.stat().st_size:,} bytes, expected {self.nbytes(block):,}")
            check(path.read_bytes(), self.shape(block))
        except Damaged as reason:
            warn(f"{path}: {reason}; block {block.row}, {block.column} is predicted again")
            path.unlink()
            return False
        return True

    def nbytes(self, block: Block) -> int:
        """Size of a block's part, at most."""
        return len(_header(self.shape(block))) + _size(self.shape(block)) + _CHECKSUM

    def keep(self, block: Block, content: bytes) -> None:
        """Write a part.

        Raises:
            LandslideError: it is damaged, or the disk is full.
        """
        try:
            check(content, self.shape(block))
        except Damaged as reason:
            raise LandslideError(f"block {block.row}, {block.column} of the scene: its answer {reason}") from None
        with replacing(self.path(block)) as partial:
            partial.write_bytes(content)

    def total(self, blocks: list[Block], window: Window, which: int = 0) -> np.ndarray:
        """The shares of blocks added up, in their order, over a window of the scene: (H, W) float32, one of the maps.

        Of each part only the rows that are needed are read.

        Raises:
            LandslideError: a part has vanished or changed meanwhile.
        """
        total = np.zeros(window.shape, np.float32)
        for block in blocks:
            both = _common(block.region, window)
            there = both.relative_to(window)
            total[there.rows, there.columns] += self._read(block, both.relative_to(block.region), which)
        return total

    def _read(self, block: Block, part: Window, which: int) -> np.ndarray:
        """A window of one map of a block's share, or NaN where all of it is missing."""
        path, shape, (height, width) = self.path(block), self.shape(block), block.region.shape
        try:
            if path.stat().st_size == len(_header(_empty(shape))) + _CHECKSUM:
                return np.full(part.shape, np.nan, np.float32)
            start = len(_header(shape)) + (which * height + part.row) * width * _DTYPE.itemsize
            rows = np.fromfile(path, _DTYPE, count=part.height * width, offset=start)
            return rows.reshape(part.height, width)[:, part.columns]
        except (OSError, ValueError) as error:
            raise LandslideError(f"{path}: cannot be read ({error}); run the same command again") from None


def _common(a: Window, b: Window) -> Window:
    """What two windows share."""
    inside = a.relative_to(b).within(b.shape)
    return Window(inside.row + b.row, inside.column + b.column, inside.height, inside.width)


def parts_under(folder: Path) -> Iterator[Path]:
    """The folders of parts in a map's folder, of whatever settings."""
    return folder.glob(f"{PREFIX}*")


def parts_folder(folder: Path, settings: dict[str, object]) -> Path:
    """Where the parts of a map lie, by a hash of all that they depend on."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()
    return folder / f"{PREFIX}{digest[:16]}"
