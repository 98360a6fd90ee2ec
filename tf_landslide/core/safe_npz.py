"""NumPy's archives (``.npz``) that nobody vouches for: plain arrays, and no more memory than their members declare."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from tf_landslide.core.errors import first_line

_MAX_HEADER = 10_000  # characters of an array's header


class DamagedError(ValueError):
    """An archive that cannot be read, and why."""


def read_npz(file: Path | IO[bytes], at_most: int) -> dict[str, np.ndarray]:
    """The arrays of an archive by name, read-only.

    Args:
        file: its path, or it, open.
        at_most: bytes of all arrays together, as the archive declares them; no member gives more than it declares.

    Raises:
        FileNotFoundError: there is none.
        DamagedError: no archive of arrays of numbers and texts, one that is damaged, or a larger one.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > at_most:
                raise DamagedError(f"its arrays have more than {at_most:,} bytes")
            return {member.filename.removesuffix(".npy"): _array(archive, member) for member in members}
    except (FileNotFoundError, DamagedError):
        raise
    except Exception as error:  # zipfile, zlib, lzma and NumPy's parser of headers raise almost anything
        raise DamagedError(first_line(error)) from None


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """An array; what its header describes must be what there is, or NumPy would take memory for more."""
    with archive.open(member) as opened:
        content = opened.read(member.file_size)  # asked for all, zipfile would unpack what was never declared
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, is_fortran, dtype = headers[version](stream, max_header_size=_MAX_HEADER)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(content) - stream.tell():
        raise DamagedError(f"{member.filename[:80]!r} is no plain array")
    values = np.frombuffer(content, dtype, math.prod(shape), stream.tell())
    return values.reshape(shape, order="F" if is_fortran else "C")
