"""Writing patches, in the folders that Landslide4Sense was released in."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from tf_landslide.core.errors import lookup
from tf_landslide.data.hdf5 import IMAGE_KEY, MASK_KEY
from tf_landslide.data.safe_hdf5 import LAYOUT_ATTRIBUTE

SPLIT_FOLDERS = {"train": "TrainData", "valid": "ValidData", "test": "TestData"}


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
    of_split = folder / lookup(SPLIT_FOLDERS, split, "split")
    files = of_split / "img" / f"image_{number}.h5", of_split / "mask" / f"mask_{number}.h5"
    for path, key, values in zip(files, (IMAGE_KEY, MASK_KEY), (image, mask), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            dataset = file.create_dataset(key, data=values)
            if layout is not None and key == IMAGE_KEY:
                dataset.attrs[LAYOUT_ATTRIBUTE] = layout
    return files
