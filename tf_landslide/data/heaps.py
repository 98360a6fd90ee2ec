"""HDF5's heaps of texts of any length, looked through before HDF5 does: it walks a damaged one forever."""

from __future__ import annotations

import mmap
from pathlib import Path

import h5py

from tf_landslide.core.errors import LandslideError

_SIGNATURE = b"GCOL\x01"  # and its version; HDF5 itself refuses another
_HEAD, _OBJECT = 16, 16  # bytes of a heap's head, and of each of its objects'
_MOST_OBJECTS = 2**19  # of all heaps together: a second


def check_heaps(path: Path, file: h5py.h5f.FileID) -> None:
    """Refuse a file in which some heap's objects do not follow one another to the heap's end.

    A heap may lie anywhere in a file; all places that look like the beginning of one are asked (HDF5 File Format
    Specification 3.0, III.E), unless it would reach beyond the file: values may look so by chance, and HDF5 itself
    refuses such a heap.

    Raises:
        LandslideError: there is such a heap, more texts than anybody writes, or lengths are not of eight
            bytes, as everybody writes them.
    """
    if file.get_create_plist().get_sizes()[1] != 8:
        raise LandslideError(f"{path}: states lengths in another number of bytes than 8; write it again")
    with path.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start, left = content.find(_SIGNATURE), _MOST_OBJECTS
        while start >= 0:
            objects = _objects(content, start, left)
            if objects is None or (left := left - objects - 1) < 0:
                raise LandslideError(f"{path}: not a readable HDF5 file (damaged); fetch or write it again")
            start = content.find(_SIGNATURE, start + len(_SIGNATURE))


def _objects(content: mmap.mmap, start: int, at_most: int) -> int | None:
    """How many objects follow one another to a heap's end; none if it reaches beyond the file; None if they do not."""

    def number(at: int, width: int) -> int:
        return int.from_bytes(content[at : at + width], "little")

    end, at, objects = start + number(start + 8, 8), start + _HEAD, 0
    if end > len(content):
        return 0
    while at + _OBJECT <= end:
        index, size = number(at, 2), number(at + 8, 8)
        step = size if index == 0 else _OBJECT + -(-size // 8) * 8  # object 0 is what is free, its own head included
        if not _OBJECT <= step <= end - at or objects >= at_most:
            return None
        at, objects = at + step, objects + 1
    return objects
