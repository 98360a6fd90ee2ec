"""Writing patches, in the folders that Landslide4Sense was released in."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np

from tf_landslide.core.errors import lookup
from tf_landslide.data.hdf5 import IMAGE_KEY, MASK_KEY
from tf_landslide.data.safe_hdf5 import LAYOUT_ATTRIBUTE

SPLIT_FOLDERS = {"train": "TrainData", "valid": "ValidData", "test": "TestData"}


def copy_patch(folder: Path, split: str, number: int, image: Path, mask: np.ndarray) -> tuple[Path, Path]:
    """Copy a patch's image as it is, and write a mask to it; as ``write_patch``."""
    files = _files(folder, split, number)
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(image, files[0])
    with h5py.File(files[1], "w") as file:
        file.create_dataset(MASK_KEY, data=mask)
    return files


def write_patch(
    folder: Path, split: str, number: int, image: np.ndarray, mask: np.ndarray, layout: str | None = None
) -> tuple[Path, Path]:
    """Write a patch's image and mask, contiguous and uncompressed.

    Args:
        folder: that holds the splits.
        split: ``train``, ``valid`` or ``test``.
        number: of the patch.
        image: (H, W, B) as stored.
        mask: (H, W) uint8.
        layout: that the image says it has; None says nothing, as the released files do.

    Returns:
        both files.
    """
    files = _files(folder, split, number)
    for path, key, values in zip(files, (IMAGE_KEY, MASK_KEY), (image, mask), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            dataset = file.create_dataset(key, data=values)
            if layout is not None and key == IMAGE_KEY:
                dataset.attrs[LAYOUT_ATTRIBUTE] = layout
    return files


def _files(folder: Path, split: str, number: int) -> tuple[Path, Path]:
    of_split = folder / lookup(SPLIT_FOLDERS, split, "split")
    return of_split / "img" / f"image_{number}.h5", of_split / "mask" / f"mask_{number}.h5"
