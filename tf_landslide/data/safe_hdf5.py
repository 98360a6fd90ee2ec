"""One dataset of an HDF5 file that may come from anyone.

Before a value is read, a file is asked where the values lie and how many there are: nothing outside the file is read
(HDF5 knows four ways of pointing there), and no memory is taken for more than a limit. What cannot be read is refused
with its true cause, and with nothing of what the file holds.
"""

from __future__ import annotations

import errno
import math
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import require_regular
from tf_landslide.data.foreign import foreign
from tf_landslide.data.heaps import check_heaps

LIMIT = 2**30
"""Bytes that one dataset may take, unless a caller sets another limit: 4,000 x 4,000 pixels of fourteen bands."""

LAYOUT_ATTRIBUTE = "layout"  # of the image's dataset: the name of its band layout, where a file says it
_MOST_LINKS, _CODEC = 16, ("utf-8", "surrogateescape")  # links that are followed; how names are written


@dataclass(frozen=True)
class Kind:
    """What a dataset is for: its name, and those that others give it."""

    key: str
    others: tuple[str, ...]


IMAGE = Kind("img", ("image", "data", "x"))
MASK = Kind("mask", ("label", "labels", "gt", "y"))
_KINDS = (IMAGE, MASK)


@dataclass(frozen=True)
class Found:
    """A dataset before its values are read.

    Attributes:
        key: its name in the file.
        shape, dtype: as declared.
        offset: where the values lie in the file, if they lie there in one piece and as NumPy has them; else None.
        chunk: shape of the pieces that are read at a time, where there are any.
        layout: the band layout that the file names.
    """

    key: str
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int | None = None
    chunk: tuple[int, ...] | None = None
    layout: str | None = None

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


@contextmanager
def dataset(path: Path, kind: Kind) -> Iterator[tuple[Found, h5py.Dataset]]:
    """Open the dataset of a kind; none of its values is read.

    Raises:
        LandslideError: no such dataset, no array of numbers, one that lies in another file, or a file that cannot be
            read, then or within the context.
    """
    try:
        if not path.is_dir():
            require_regular(path)  # HDF5 would wait for who writes to a pipe
        with h5py.File(path, "r") as file:
            key = _key(path, file, kind)
            opened = _opened(path, file, key)
            yield _described(path, key, opened), h5py.Dataset(opened)
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, zlib.error) as error:
        raise LandslideError(f"{path}: {_cause(path, error)}") from None
    except MemoryError:
        raise out_of_memory(path) from None


def check_size(path: Path, found: Found, limit: int) -> None:
    """Raise ``LandslideError`` where reading a dataset, to float32, would take more than ``limit`` bytes."""
    for shape in filter(None, (found.shape, found.chunk)):
        needed = math.prod(shape) * max(found.dtype.itemsize, 4)
        if needed > limit:
            declared = " x ".join(map(str, shape))
            raise LandslideError(
                f"{path}: {found.key!r} declares {declared} numbers, {needed / 1e6:,.0f} MB in memory; at most "
                f"{limit / 1e6:,.0f} MB are taken; cut it up"
            )


def read_values(path: Path, found: Found, stored: h5py.Dataset, limit: int) -> np.ndarray:
    """All values of an open dataset, by HDF5. Raises ``LandslideError`` where they would take too much memory."""
    check_size(path, found, limit)
    if found.chunk:
        _check_pieces(path, found, stored.id, limit)
    values: np.ndarray = stored[()]
    return values


def _check_pieces(path: Path, found: Found, stored: h5py.h5d.DatasetID, limit: int) -> None:
    """Refuse what unpacks to more than was declared: HDF5 unpacks a piece whole before it looks at its size.

    Pieces so small that they stay below the limit whatever they hold are not looked at.
    """
    properties = stored.get_create_plist()
    filters = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
    packing = [number for number in filters if number not in _AS_LARGE]
    if not packing:
        return
    if len(packing) > 1 or packing[0] not in _UNPACKED:
        names = " and ".join(_FILTER_NAMES.get(number, f"filter {number}") for number in packing)
        raise LandslideError(
            f"{path}: {found.key!r} is compressed by {names}, whose size cannot be asked; write it with gzip alone"
        )
    left_out = 1 << filters.index(packing[0])
    most, unpacked = _UNPACKED[packing[0]]
    end = -4 if h5py.h5z.FILTER_FLETCHER32 in filters[filters.index(packing[0]) :] else None  # a checksum behind it
    declared = math.prod(found.chunk or ()) * found.dtype.itemsize
    pieces: list[tuple[int, ...]] = []

    def look(piece: Any) -> None:
        if piece.size * most > limit and not piece.filter_mask & left_out:
            pieces.append(piece.chunk_offset)

    stored.chunk_iter(look)
    for offset in pieces:
        packed = stored.read_direct_chunk(offset)[1][:end]
        if unpacked(packed, declared + 5) > declared + 4:  # a checksum may be within
            raise LandslideError(
                f"{path}: {found.key!r} unpacks to more than it declares; it is damaged or made to harm"
            )


def _inflated(packed: bytes, enough: int) -> int:
    """How many bytes gzip's own format unpacks to, counted up to ``enough``."""
    return len(zlib.decompressobj().decompress(packed, enough))


def _lzf_length(packed: bytes, enough: int) -> int:
    """How many bytes LZF unpacks to, by its control bytes alone, counted up to ``enough`` or a little above.

    Of Marc Lehmann's LibLZF: below 32 so many bytes follow, and one; else three bits say how many earlier ones are
    repeated, less two, seven of them that a byte more says it; the other five and a last byte say where they are.
    """
    length = at = 0
    while at < len(packed) and length < enough:
        control = packed[at]
        if control < 32:
            length, at = length + control + 1, at + control + 2
        elif control < 224:
            length, at = length + (control >> 5) + 2, at + 2
        else:
            length, at = length + 9 + (packed[at + 1] if at + 1 < len(packed) else 0), at + 3
    return length


_FILTER_NAMES = {
    h5py.h5z.FILTER_DEFLATE: "gzip",
    h5py.h5z.FILTER_LZF: "LZF",
    h5py.h5z.FILTER_SZIP: "szip",
    h5py.h5z.FILTER_NBIT: "n-bit",
    h5py.h5z.FILTER_SCALEOFFSET: "scale-offset",
}
_AS_LARGE = (h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32)  # filters that leave the size as it is
_UNPACKED: dict[int, tuple[int, Callable[[bytes, int], int]]] = {
    h5py.h5z.FILTER_DEFLATE: (1032, _inflated),
    h5py.h5z.FILTER_LZF: (88, _lzf_length),
}
"""Of each filter that packs: how many times its size a piece unpacks to at most, and what tells how much one does."""


def out_of_memory(path: Path) -> LandslideError:
    return LandslideError(f"{path}: does not fit into the memory that is left; cut it up, or close other programs")


def _key(path: Path, file: h5py.File, kind: Kind) -> str:
    """The name of the dataset: the usual one, else the only one that it can be."""
    names = [name if isinstance(name, str) else name.decode(*_CODEC) for name in file]  # bytes: a name is no UTF-8
    if kind.key in names:
        return kind.key
    foreign_names = {name for other in _KINDS if other is not kind for name in (other.key, *other.others)}
    known = [name for name in kind.others if name in names]
    candidates = known or [name for name in names if name not in foreign_names and _is_dataset(file, name)]
    if len(candidates) == 1:
        return candidates[0]
    shown = ", ".join(repr(name[:40]) for name in names[:6]) + (", …" if len(names) > 6 else "")
    what = f"several of which could be it: name one {kind.key!r}" if candidates else f"name it {kind.key!r}"
    raise LandslideError(f"{path}: has no dataset {kind.key!r} (found: {shown or 'nothing'}); {what}")


def _is_dataset(file: h5py.File, name: str) -> bool:
    """Whether a name stands for a dataset in the file itself, or for a link: what that is, opening it will tell."""
    raw = name.encode(*_CODEC)
    is_link = file.id.links.get_info(raw).type != h5py.h5l.TYPE_HARD
    return is_link or isinstance(h5py.h5o.open(file.id, raw), h5py.h5d.DatasetID)


def _opened(path: Path, file: h5py.File, key: str) -> h5py.h5d.DatasetID:
    """Open a dataset step by step, so that HDF5 itself follows no link: one into another file is refused unopened."""
    root = here = h5py.h5g.open(file.id, b"/")
    steps, links = [key], 0
    while steps:
        step = steps.pop(0).encode(*_CODEC)
        link = here.links.get_info(step).type
        if link == h5py.h5l.TYPE_SOFT:
            target, links = here.links.get_val(step).decode(*_CODEC), links + 1
            if links > _MOST_LINKS:
                raise LandslideError(f"{path}: {key!r} is a link that leads nowhere")
            here = root if target.startswith("/") else here
            steps = [part for part in target.split("/") if part not in ("", ".")] + steps
        elif link == h5py.h5l.TYPE_HARD:
            here = h5py.h5o.open(here, step)
        else:
            raise LandslideError(f"{path}: {key!r} is a link to another file (an external link); {_INTO_THE_FILE}")
    if not isinstance(here, h5py.h5d.DatasetID):
        raise LandslideError(f"{path}: {key!r} is no dataset; expected an array of numbers")
    return here


_INTO_THE_FILE = "only what lies in the file itself is read; write the values into it"


def _described(path: Path, key: str, dataset: h5py.h5d.DatasetID) -> Found:
    properties = dataset.get_create_plist()
    if properties.get_layout() == h5py.h5d.VIRTUAL:  # asked before its shape, for which HDF5 would open the others
        raise LandslideError(f"{path}: {key!r} is put together from other files (a virtual dataset); {_INTO_THE_FILE}")
    if properties.get_external_count():
        raise LandslideError(f"{path}: {key!r} lies in another file (external storage); {_INTO_THE_FILE}")
    for i in range(properties.get_nfilters()):
        number, _, _, name = properties.get_filter(i)
        if not h5py.h5z.filter_avail(number):
            what = name.decode(errors="replace").split(";")[0][:40] or f"number {number}"
            raise LandslideError(
                f"{path}: {key!r} is compressed by a filter that is not installed ({what}); write it with gzip"
            )
    shape, dtype = dataset.shape, dataset.dtype
    if not shape or dtype.kind not in "fiub":
        held = dtype if shape else "no array"
        raise LandslideError(f"{path}: dataset {key!r} holds {held}, expected an array of numbers")
    chunk = properties.get_chunk() if properties.get_layout() == h5py.h5d.CHUNKED else None
    return Found(key, shape, dtype, _offset(dataset), chunk, _stated_layout(path, dataset))


def _offset(dataset: h5py.h5d.DatasetID) -> int | None:
    """Where values lie in their file; None where they are in pieces, or of a type that HDF5 converts."""
    if dataset.dtype.kind == "b" or dataset.get_type() != h5py.h5t.py_create(dataset.dtype):  # 12-bit numbers, bfloat16
        return None
    offset: int | None = dataset.get_offset()
    return offset


def _stated_layout(path: Path, dataset: h5py.h5d.DatasetID) -> str | None:
    name = LAYOUT_ATTRIBUTE.encode()
    if not h5py.h5a.exists(dataset, name):
        return None
    attribute = h5py.h5a.open(dataset, name)
    kind = attribute.get_type()
    is_text = attribute.shape == () and isinstance(kind, h5py.h5t.TypeStringID)
    if is_text and kind.is_variable_str():
        check_heaps(path, h5py.h5i.get_file_id(dataset))
    value = h5py.Dataset(dataset).attrs[LAYOUT_ATTRIBUTE] if is_text else None
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    if not isinstance(text, str):
        raise LandslideError(f"{path}: its attribute {LAYOUT_ATTRIBUTE!r} is no text; expected a band layout's name")
    return text


def _cause(path: Path, error: Exception) -> str:
    """Why HDF5 could not read a file, in words."""
    text, number = str(error), error.errno if isinstance(error, OSError) else None
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, IsADirectoryError):
        return "is a folder, expected an HDF5 file"
    if isinstance(error, PermissionError):
        return "may not be read; check its permissions"
    if number in (errno.EAGAIN, errno.ENOLCK) or "unable to lock" in text or "already open" in text:
        return "is held open by another program that may be writing it; close it there, or read a copy"
    if number:
        return f"cannot be read ({os.strerror(number).lower()})"
    if "truncated" in text:
        return "truncated HDF5 file; fetch or write it again"
    if "signature" in text and (kind := foreign(path)):
        return f"is {kind[0]}, expected an HDF5 file; {kind[1]}"
    what = "damaged" if "signature" not in text else "empty" if not path.stat().st_size else "another kind of file"
    return f"not a readable HDF5 file ({what}); fetch or write it again"
