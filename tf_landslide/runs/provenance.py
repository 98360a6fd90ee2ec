"""``environment.json``: what a run was made with."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from tf_landslide.data.synthetic import SYNTHETIC_MARK

PACKAGES = ("tf-landslide", "tensorflow", "keras", "numpy", "h5py", "segmentation-models")


def environment(seed: int, data_dir: Path, devices: Sequence[str]) -> dict[str, Any]:
    """Versions, seed, git revision, data and devices of a run.

    Args:
        seed: of the run.
        data_dir: the folder it is trained on.
        devices: their types, as TensorFlow names them.
    """
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "devices": list(devices),
        "seed": seed,
        "git_revision": _git_revision(),
        "data": str(data_dir.absolute()),
        "synthetic": (data_dir / SYNTHETIC_MARK).is_file(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    """Revision of the checkout this library runs from, ``-dirty`` where it was changed; None outside a checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()
