"""Patches as most people read them: h5py, NumPy, one file after another. What both input peers stand on."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

BANDS = {"blue": 1, "green": 2, "red": 3, "nir": 7, "slope": 12, "dem": 13}  # in Landslide4Sense's order


def pairs(folder: str) -> list[tuple[Path, Path]]:
    """Image and mask of every training patch, by number."""
    images = sorted((Path(folder) / "TrainData/img").glob("image_*.h5"), key=lambda path: int(path.stem.split("_")[1]))
    return [(path, Path(folder) / "TrainData/mask" / path.name.replace("image", "mask")) for path in images]


def read(image: Path, mask: Path, scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(128, 128, 6) float32 channels and (128, 128, 1) float32 mask of a patch.

    Args:
        image: file of the image.
        mask: file of its mask.
        scales: (14,) what a stored value times gives the physical one.
    """
    with h5py.File(image, "r") as file:
        stored = file["img"][()]
    with h5py.File(mask, "r") as file:
        truth = file["mask"][()]
    physical = stored * scales
    band = {name: physical[..., number] for name, number in BANDS.items()}
    ndvi = (band["nir"] - band["red"]) / (band["nir"] + band["red"])
    channels = np.stack([band["red"], band["green"], band["blue"], ndvi, band["slope"], band["dem"]], axis=-1)
    return channels.astype(np.float32), truth[..., None].astype(np.float32)


def turned(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Both, turned by a random number of quarters and flipped at random."""
    quarters, flip = rng.integers(4), rng.integers(2)
    x, y = np.rot90(x, quarters), np.rot90(y, quarters)
    if flip:
        x, y = np.flip(x, 1), np.flip(y, 1)
    return np.ascontiguousarray(x), np.ascontiguousarray(y)
