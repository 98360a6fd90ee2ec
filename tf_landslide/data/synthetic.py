"""The sample landscape: a SYNTHETIC dataset in exactly Landslide4Sense's released format.

Whatever is trained or scored on it says nothing about real landslides; ``landscape`` says how it is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tf_landslide.bands.layouts import LANDSLIDE4SENSE_DIVISORS
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import beside, telling_a_full_disk
from tf_landslide.core.locks import is_in_the_way, locked
from tf_landslide.core.progress import progress
from tf_landslide.data.folders import SPLITS
from tf_landslide.data.landscape import PATCH, SCENE, Scene, make_scene
from tf_landslide.data.writing import write_patch

SYNTHETIC_MARK = "SYNTHETIC.txt"  # a file in its folder, by which the sample landscape is told from real data


def scene_patches(scene: Scene) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The scene's patches as stored: (128, 128, 14) float64 and (128, 128) uint8, row by row."""
    for top in range(0, SCENE, PATCH):
        for left in range(0, SCENE, PATCH):
            window = slice(top, top + PATCH), slice(left, left + PATCH)
            yield scene.original[window] / LANDSLIDE4SENSE_DIVISORS, scene.mask[window]


def write_sample(
    out: str | Path, *, train: int = 192, valid: int = 48, test: int = 64, seed: int = 0
) -> dict[str, int]:
    """Write the sample landscape.

    Args:
        out: a folder that does not exist yet, or is empty.
        train: number of training patches; the others likewise.
        valid: of validation patches.
        test: of test patches.
        seed: equal seeds give equal files.

    Returns:
        the number of patches written, by split.

    Raises:
        LandslideError: the folder holds something, or is in use by another process, a number is negative, there is
            nothing to write, or the disk is full.
    """
    out = Path(out)
    sizes = dict(zip(SPLITS, (train, valid, test), strict=True))
    if min(sizes.values()) < 0 or not any(sizes.values()):
        raise LandslideError(f"nothing to write: {', '.join(f'{k} {v}' for k, v in sizes.items())} patches")
    if seed < 0:
        raise LandslideError(f"the seed must not be negative, got {seed}")
    with locked(out):
        if is_in_the_way(out):
            raise LandslideError(f"{out}: already holds something; name an empty or new folder")
        made = not out.exists()
        try:
            with telling_a_full_disk(out), beside(out / "sample") as partial:
                _write_patches(partial, sizes, seed)
                for child in partial.iterdir():
                    child.rename(out / child.name)
        finally:
            if made and out.exists() and not any(out.iterdir()):
                out.rmdir()
    return sizes


def _write_patches(folder: Path, sizes: dict[str, int], seed: int) -> None:
    steps = progress(_numbered_patches(sizes, seed), total=sum(sizes.values()), label="sample landscape")
    for split, number, stored, mask in steps:
        write_patch(folder, split, number, stored, mask)
    (folder / SYNTHETIC_MARK).write_text(
        f"Synthetic sample landscape of tf_landslide, seed {seed}. Not measured anywhere on Earth.\n", encoding="utf-8"
    )


def _numbered_patches(sizes: dict[str, int], seed: int):
    for i, split in enumerate(SPLITS):
        number = 0
        while number < sizes[split]:
            scene = make_scene([seed, i, number])
            for stored, mask in scene_patches(scene):
                number += 1
                yield split, number, stored, mask
                if number == sizes[split]:
                    break
