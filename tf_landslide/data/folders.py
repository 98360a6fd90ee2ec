"""Finding HDF5 patches, in either published folder layout.

    TrainData|ValidData|TestData/{img,mask}/{image,mask}_N.h5        as released
    {images,annotations}/{train,validation,test}/{image,mask}_N.h5   as mirrored

An image and a mask belong together by their number N, never by their position in a sorted list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tf_landslide.core.errors import LandslideError, lookup

_FOLDERS = {
    "train": (("TrainData/img", "TrainData/mask"), ("images/train", "annotations/train")),
    "valid": (("ValidData/img", "ValidData/mask"), ("images/validation", "annotations/validation")),
    "test": (("TestData/img", "TestData/mask"), ("images/test", "annotations/test")),
}
SPLITS = tuple(_FOLDERS)
_NUMBERED = re.compile(r"^(?:image|mask)_(\d+)\.h5$")


@dataclass(frozen=True)
class Patch:
    """One numbered patch of a split; either file may be absent."""

    number: int
    image: Path | None
    mask: Path | None


def split_folders(data_dir: str | Path, split: str) -> tuple[Path, Path] | None:
    """The image and mask folder of a split, or None where ``data_dir`` has neither published layout for it."""
    for images, masks in lookup(_FOLDERS, split, "split"):
        if (Path(data_dir) / images).is_dir() or (Path(data_dir) / masks).is_dir():
            return Path(data_dir) / images, Path(data_dir) / masks
    return None


def available_splits(data_dir: str | Path) -> list[str]:
    """The splits that ``data_dir`` holds. Raises ``LandslideError`` where it holds none."""
    if not Path(data_dir).is_dir():
        raise LandslideError(f"{data_dir}: no such folder")
    splits = [split for split in SPLITS if split_folders(data_dir, split)]
    if not splits:
        raise LandslideError(
            f"{data_dir}: found neither TrainData|ValidData|TestData/img nor images/train|validation|test; "
            "name the folder that holds one of them"
        )
    return splits


def find_patches(data_dir: str | Path, split: str, problems: list[str] | None = None) -> list[Patch]:
    """The numbered patches of a split, by number; a patch whose image or mask is missing has None there.

    Args:
        data_dir: a folder in either published layout.
        split: ``train``, ``valid`` or ``test``.
        problems: takes what is wrong with the files' names, in place of an exception.

    Raises:
        LandslideError: no such split in ``data_dir``, or a file whose name has no number or that of another.
    """
    available_splits(data_dir)  # refuses a folder without any
    folders = split_folders(data_dir, split)
    if folders is None:
        expected = " or ".join(images for images, _ in _FOLDERS[split])
        raise LandslideError(f"{data_dir}: no {split!r} split; expected a folder {expected}")
    found: list[LandslideError] = []
    images, masks = (_numbered(folder, found) for folder in folders)
    if found and problems is None:
        raise found[0]
    if problems is not None:
        problems += map(str, found)
    if not images and not masks:
        raise LandslideError(f"{folders[0]}: holds no image_N.h5")
    return [Patch(n, images.get(n), masks.get(n)) for n in sorted(images.keys() | masks.keys())]


def _numbered(folder: Path, problems: list[LandslideError]) -> dict[int, Path]:
    files: dict[int, Path] = {}
    for path in sorted(folder.glob("*.h5")):
        match = _NUMBERED.match(path.name)
        if not match:
            problems.append(LandslideError(f"{path}: expected a name like image_12.h5 or mask_12.h5"))
        elif (number := int(match.group(1))) in files:
            problems.append(LandslideError(f"{path}: has the same number as {files[number].name}"))
        else:
            files[number] = path
    return files
