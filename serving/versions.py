"""What a version of a model is on disk: a folder named by a number, in the folder of its model."""

from __future__ import annotations

from pathlib import Path

MAX_VERSION = 2**63 - 1


def version_folders(model: str | Path) -> dict[int, Path]:
    """The version folders in a model's folder, by number; as TensorFlow Serving reads names, ``²`` is none."""
    found: dict[int, Path] = {}
    for child in sorted(Path(model).iterdir()):
        name = child.name
        if name.isascii() and name.isdigit() and int(name) <= MAX_VERSION and child.is_dir():
            found.setdefault(int(name), child)
    return found


def has_versions(path: str | Path) -> bool:
    """Whether a path is a folder with at least one version folder in it."""
    return Path(path).is_dir() and bool(version_folders(path))
