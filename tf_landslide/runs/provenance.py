"""``environment.json``: what a run was made with, and on which data."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from tf_landslide.core.errors import LandslideError, warn
from tf_landslide.core.files import read_json, write_json
from tf_landslide.data.folders import Patch, available_splits, find_patches
from tf_landslide.data.synthetic import SYNTHETIC_MARK
from tf_landslide.runs import formats
from tf_landslide.runs.folder import Run

PACKAGES = ("tf-landslide", "tensorflow", "keras", "numpy", "h5py", "segmentation-models")
_SAMPLES, _SAMPLE_BYTES = 8, 2**21  # patches of a split whose content is looked at, and how far into each file


def environment(seed: int, data_dir: Path, devices: Sequence[str], fingerprint: dict[str, Any]) -> dict[str, Any]:
    """Versions, seed, git revision, data and devices of a run.

    Args:
        seed: of the run.
        data_dir: the folder it is trained on.
        devices: their types, as TensorFlow names them.
        fingerprint: of that folder, see ``data_fingerprint``.
    """
    return {
        **machine(devices),
        "seed": seed,
        **data_said(data_dir, fingerprint),
    }


def data_said(data_dir: Path, fingerprint: dict[str, Any] | None = None) -> dict[str, Any]:
    """Which dataset, its fingerprint (computed where it is not given), whether it was made by a program, and which
    split's patches it holds with a model's labels, if so.
    """
    labels = data_dir / formats.PSEUDO_LABELS
    return {
        "data": str(data_dir.absolute()),
        "data_fingerprint": data_fingerprint(data_dir) if fingerprint is None else fingerprint,
        "synthetic": (data_dir / SYNTHETIC_MARK).is_file(),
        **({"pseudo_labels": read_json(labels).get("source", {})} if labels.is_file() else {}),
    }


def machine(devices: Sequence[str]) -> dict[str, Any]:
    """Versions, git revision and devices, the types of these as TensorFlow names them."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version_of(name) for name in PACKAGES},
        "devices": list(devices),
        "git_revision": _git_revision(),
    }


def record_session(run: Run, session: dict[str, Any], epoch: int) -> None:
    """Write ``environment.json``, or add to it what a run is gone on with: the first session stays as it was.

    Args:
        run: whose folder exists.
        session: as ``environment`` gives it.
        epoch: the number of epochs that were done before it.
    """
    first = run.environment
    resumed = {**first, "resumed": [*first.get("resumed", []), {"epoch": epoch, **session}]}
    write_json(run.path / formats.ENVIRONMENT, resumed if first else session)


def data_fingerprint(data_dir: Path) -> dict[str, dict[str, Any]]:
    """What tells one dataset from another, wherever it lies: of each split ``patches``, their number, and ``sha256``.

    The digest is of the names and sizes of all files, and of the first two megabytes of those of a few patches.
    """
    patches = {split: find_patches(data_dir, split, problems=[]) for split in available_splits(data_dir)}
    return {split: {"patches": len(found), "sha256": _digest(found)} for split, found in patches.items()}


def split_fingerprint(data_dir: Path, split: str) -> str:
    """The digest of one split's files, as ``data_fingerprint`` has it."""
    return _digest(find_patches(data_dir, split, problems=[]))


def files_of(run: Run, data_dir: Path, split: str) -> str:
    """The digest of the files that a run takes a split from: where validation is a share of train, of train's."""
    return split_fingerprint(data_dir, run.config.data.stored_split(split))


def is_of(run: Run, data_dir: str | Path, split: str) -> bool:
    """Whether a run took its split from these data, as far as it says; see ``is_of_files``. Other splits may differ."""
    stored = run.config.data.stored_split(split)
    there = stored in available_splits(data_dir)
    return there and is_of_files(run, split, split_fingerprint(Path(data_dir), stored))


def is_of_files(run: Run, split: str, files: str) -> bool:
    """Whether a run took its split from the files of a digest, as far as it says.

    Where nobody wrote that down, they are taken for its own; nothing here is that of a model from elsewhere.
    """
    said = run.environment.get("data_fingerprint")
    if not said:
        return not run.is_converted
    return said.get(run.config.data.stored_split(split), {}).get("sha256") == files


def has_seen(run: Run, files: str) -> bool:
    """Whether a run was trained on the files of a digest, as its training split or with a model's labels."""
    said = run.environment
    seen = (said.get("data_fingerprint", {}).get("train", {}), said.get("pseudo_labels", {}))
    return files in [part.get("sha256") for part in seen]


def judged_on(run: Run, data_dir: str | Path, split: str) -> Run:
    """A run as it is judged on a split of a dataset.

    Of other data than it was trained on it holds no part out, and takes no groups from a file that lies elsewhere: the
    names in it are those of other patches, which may be called alike.

    Args:
        run: that may validate on a part of its training split.
        data_dir: the dataset.
        split: of it.

    Returns:
        the run; where the data are others, with a config that takes the split as it is stored, which a warning tells.
    """
    data = run.config.data
    divided = split in ("train", "valid") and data.divides_train
    file = Path(data.groups.file or "")
    named = file.is_absolute() and not file.is_relative_to(Path(data_dir).absolute())
    if not (divided or named) or is_of(run, data_dir, "train") or (not divided and is_of(run, data_dir, split)):
        return run
    changes: dict[str, Any] = {}
    if divided:
        changes = {"valid_share": None, "valid_groups": None}
        told = "its splits are taken whole, as they are stored"
        warn(f"{data_dir}: is not the data that {run.path} was trained on; {told}")
    if named:
        changes["groups"] = data.groups.model_copy(update={"file": None, "pattern": None})
        warn(f"{data_dir}: is not the data that {run.path} was trained on; {file} says nothing of its groups")
    return replace(run, config=run.config.model_copy(update={"data": data.model_copy(update=changes)}))


def _digest(patches: Sequence[Patch]) -> str:
    digest = hashlib.sha256()
    for patch in patches:
        for file in filter(None, (patch.image, patch.mask)):
            digest.update(f"{file.name} {file.stat().st_size}\n".encode())
    for patch in patches[:: max(1, len(patches) // _SAMPLES)]:
        for file in filter(None, (patch.image, patch.mask)):
            with file.open("rb") as opened:
                digest.update(opened.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def check_same_data(run: Run, data_dir: Path, fingerprint: dict[str, Any]) -> None:
    """Refuse to go on with a run on data that it was not trained on; a test split may be another.

    Args:
        run: to go on with.
        data_dir: the folder to go on with.
        fingerprint: of that folder.

    Raises:
        LandslideError: another dataset; both are named.
    """
    before = run.environment.get("data_fingerprint")
    if before and any(before.get(split) != fingerprint.get(split) for split in ("train", "valid")):
        raise LandslideError(
            f"{run.path}: was trained on {run.environment['data']} ({_counts(before)}); {data_dir.absolute()} "
            f"({_counts(fingerprint)}) holds another dataset: resume it with its own, or train anew in another folder"
        )


def check_data_of(folders: Sequence[Path], data_dir: Path) -> None:
    """Refuse to go on with a folder of runs where one of them, finished or not, was trained on other data.

    Args:
        folders: of the runs; those that are no runs yet are left out.
        data_dir: the folder to go on with.

    Raises:
        LandslideError: as ``check_same_data``.
    """
    begun = [Run.open(folder) for folder in folders if formats.is_run(folder)]
    fingerprint = data_fingerprint(data_dir) if begun else {}
    for run in begun:
        check_same_data(run, data_dir, fingerprint)


def _counts(fingerprint: dict[str, Any]) -> str:
    return ", ".join(f"{split} {value['patches']:,}, {value['sha256'][:8]}" for split, value in fingerprint.items())


def version_of(package: str) -> str | None:
    """The version of an installed package, None where it is not."""
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
