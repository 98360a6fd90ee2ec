"""What a file is that is no HDF5 file, told by its first bytes, and what to do with it."""

from __future__ import annotations

from pathlib import Path

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import open_regular

_PICTURE = "write its bands, in the layout's order, to a dataset 'img' (height, width, bands) of an .h5 file"
_SCENE = f"a georeferenced scene goes to 'tf-landslide map MODEL SCENE.tif'; else {_PICTURE}"
_ARRAY = "write the array to a dataset 'img' (height, width, bands) of an .h5 file"
_ARCHIVE = "unpack it and name what is in it"
_KINDS = (
    (b"II*\0", "a TIFF image", _SCENE),
    (b"MM\0*", "a TIFF image", _SCENE),
    (b"II+\0", "a BigTIFF image", _SCENE),
    (b"MM\0+", "a BigTIFF image", _SCENE),
    (b"\x89PNG", "a PNG picture", _PICTURE),
    (b"\xff\xd8\xff", "a JPEG picture", _PICTURE),
    (b"\0\0\0\x0cjP", "a JPEG 2000 picture", _PICTURE),
    (b"\x93NUMPY", "a NumPy array", _ARRAY),
    (b"MATLAB", "a MATLAB file", _ARRAY),
    (b"CDF", "a netCDF file of the classic kind", _ARRAY),
    (b"\x0e\x03\x13\x01", "an HDF4 file", _ARRAY),
    (b"PK\x03\x04", "a ZIP archive", _ARCHIVE),
    (b"\x1f\x8b", "a gzip archive", _ARCHIVE),
    (b"7z\xbc\xaf", "a 7z archive", _ARCHIVE),
    (b"Rar!", "a RAR archive", _ARCHIVE),
)
HDF5_SUFFIXES = frozenset({".h5", ".hdf5", ".hdf", ".he5"})
FOREIGN_SUFFIXES = HDF5_SUFFIXES | {
    *(".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".npy", ".npz", ".mat", ".nc", ".zip", ".gz")
}
"""Endings of the files that images and masks come in."""


def foreign(path: Path) -> tuple[str, str] | None:
    """What a file is, and what to do with it, for an error; None where it is nothing known, or cannot be opened."""
    try:
        with open_regular(path) as file:
            head = file.read(16)
    except (OSError, LandslideError):
        return None
    return next((kind[1:] for kind in _KINDS if head.startswith(kind[0])), None)
