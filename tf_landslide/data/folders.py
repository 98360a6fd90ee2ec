"""Finding HDF5 patches, in either published folder layout.

    TrainData|ValidData|TestData/{img,mask}/{image,mask}_N.h5        as released
    {images,annotations}/{train,validation,test}/{image,mask}_N.h5   as mirrored

An image and a mask belong together by their number N, never by their position in a sorted list. A split without any
mask is an unlabelled one: it can be predicted, not judged. Hidden files are skipped; any other file that looks like an
image or a mask and is not taken is named.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tf_landslide.core.errors import LandslideError, lookup
from tf_landslide.data.foreign import FOREIGN_SUFFIXES, HDF5_SUFFIXES, foreign

_FOLDERS = {
    "train": (("TrainData/img", "TrainData/mask"), ("images/train", "annotations/train")),
    "valid": (("ValidData/img", "ValidData/mask"), ("images/validation", "annotations/validation")),
    "test": (("TestData/img", "TestData/mask"), ("images/test", "annotations/test")),
}
SPLITS = tuple(_FOLDERS)
_NUMBERED = re.compile(r"^(image|mask)_(\d+)\.h5$")
_ALIKE = re.compile(r"^(?:image|img|mask|label)[ _-]?(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Patch:
    """One numbered patch of a split; either file may be absent."""

    number: int
    image: Path | None
    mask: Path | None


def is_labelled(patches: Sequence[Patch]) -> bool:
    """Whether a split has masks. One that has none at all is unlabelled; one that lacks some is broken."""
    return any(patch.mask for patch in patches)


def split_folders(data_dir: str | Path, split: str) -> tuple[Path, Path] | None:
    """The image and mask folder of a split, or None where ``data_dir`` has neither published layout for it."""
    for images, masks in lookup(_FOLDERS, split, "split"):
        if (Path(data_dir) / images).is_dir() or (Path(data_dir) / masks).is_dir():
            return Path(data_dir) / images, Path(data_dir) / masks
    return None


def available_splits(data_dir: str | Path) -> list[str]:
    """The splits that ``data_dir`` holds. Raises ``LandslideError`` where it holds none."""
    if not Path(data_dir).is_dir():
        raise LandslideError(_no_folder(Path(data_dir)))
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
    images, masks = (_numbered(folder, kind, found) for folder, kind in zip(folders, ("image", "mask"), strict=True))
    if found and problems is None:
        raise found[0]
    if problems is not None:
        problems += map(str, found)
    if not images and not masks and not found:
        raise LandslideError(f"{folders[0]}: holds no image_N.h5")
    return [Patch(n, images.get(n), masks.get(n)) for n in sorted(images.keys() | masks.keys())]


def hidden_files(data_dir: str | Path, split: str) -> int:
    """How many hidden files a split holds, which file systems and archives leave behind (``._image_1.h5``)."""
    folders = split_folders(data_dir, split) or ()
    return sum(path.name.startswith(".") for folder in folders if folder.is_dir() for path in folder.iterdir())


def _no_folder(path: Path) -> str:
    if not path.exists():
        return f"{path}: no such folder"
    what, remedy = foreign(path) or ("a file", "")
    return f"{path}: is {what}, expected a folder of HDF5 patches{remedy and f'; {remedy}'}"


def _numbered(folder: Path, kind: str, problems: list[LandslideError]) -> dict[int, Path]:
    """The files of one kind by number; what else looks like a patch's file is a problem."""
    files: dict[int, Path] = {}
    others: list[Path] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = _NUMBERED.match(path.name)
        if not match or match[1] != kind:
            others.append(path)
        elif (number := int(match[2])) in files:
            problems.append(LandslideError(f"{path}: has the same number as {files[number].name}"))
        else:
            files[number] = path
    problems += [LandslideError(f"{path}: {reason}") for path in others if (reason := _untaken(path, kind, files))]
    return files


def _untaken(path: Path, kind: str, taken: dict[int, Path]) -> str | None:
    """Why a file that looks like a patch's is not taken; None for one that does not look so."""
    suffix, alike = path.suffix.lower(), _ALIKE.match(path.name)
    if path.name.startswith(".") or not (alike or suffix in FOREIGN_SUFFIXES) or path.is_dir():
        return None
    if suffix not in HDF5_SUFFIXES and alike and int(alike[1]) in taken:  # a preview beside its patch
        return None
    if match := _NUMBERED.match(path.name):
        return f"is named as a {match[1]}, in the folder of the {kind}s; move it, or name it {kind}_{match[2]}.h5"
    if kind_of_file := foreign(path):
        return f"is {kind_of_file[0]} and is not taken; {kind_of_file[1]}, or move it elsewhere"
    return f"expected a name like image_12.h5 or mask_12.h5; name it {kind}_N.h5, or move it elsewhere"
