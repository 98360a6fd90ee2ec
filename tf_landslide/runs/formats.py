"""What lies on disk, by name: the files of a run folder and of an exported model. No other module knows these names.

A run folder is what ``train`` makes. An export is ``MODELS/NAME/VERSION``, a SavedModel in the layout that TensorFlow
Serving watches; ``serving.versions`` says what a version folder is.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from serving.versions import version_folders
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import read_text

CONFIG = "config.yaml"  # resolved
MODEL = "model.keras"  # the best epoch, see runs.history.best_epoch
HISTORY = "history.csv"  # one row an epoch
METRICS = "metrics.json"  # scores of each split at the threshold chosen on validation
ENVIRONMENT = "environment.json"  # versions, seed, git revision
CONVERTED = "converted_from"  # in it, where the model was trained elsewhere: the checkpoint
COMBINED = "combined_from"  # in it, where a model was made of other runs: which, and how
ADAPTED = "adapted_from"  # in it, where a run's statistics were computed anew: of which run, from what
STATE = "last/state.npz"  # what a stopped run goes on from
LOGS = "logs"  # TensorBoard
FOLDS = "folds.json"  # in a folder of runs, one a fold: what they score together
OUT_OF_FOLD = "out_of_fold"  # beside it: the counts of all patches, as ``compare`` takes them
TRACKERS = "trackers.json"  # what a run is called where it is followed
PSEUDO_LABELS = "pseudo_labels.json"  # in a dataset: which patches a run gave their masks
SEEDS = "seeds.json"  # in a folder of runs, one a seed: what they score together
JUDGED = "judged"  # SPLIT.npz: the counts of each patch
REPORT = "report"  # figures and tables
REPORT_FILE = "report.md"
PRECISION = "precision"  # a folder for each short format that was proven
PROOF = "proof.json"  # in it: what it scored on validation
GRAPH, GRAPH_WEIGHTS = "model.xml", "model.bin"  # and the graph that was judged, as OpenVINO writes it
REPORT_PAGE = "report.html"  # the same in one file, pictures inside

SAVED_MODEL = "saved_model.pb"
VARIABLES = "variables"
CARD = "assets.extra/model_card.json"
CARD_TEXT = "assets.extra/model_card.md"
WARMUP = "assets.extra/tf_serving_warmup_requests"
EXPORT_PRECISION = "assets.extra/precision"  # as in a run: the short format it was published with
REFERENCE = "assets.extra/reference.npz"  # channels, and what the model that was exported made of them

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_OWN = (CONFIG, MODEL, HISTORY, METRICS, ENVIRONMENT, TRACKERS, LOGS, JUDGED, REPORT, PRECISION, Path(STATE).parts[0])


def is_run(path: Path) -> bool:
    """Whether a folder is a run, finished or not."""
    return (path / CONFIG).is_file()


def check_spares_runs(path: Path, what: str) -> None:
    """Raise ``LandslideError`` for a path that is to be written to and is a run, or one of a run's own.

    Args:
        path: of a folder, or of a file.
        what: it is to be, in words.
    """
    whole = path.resolve()
    if is_run(whole):
        raise LandslideError(f"{path}: is a run; name another {what}")
    if whole.name in _OWN and is_run(whole.parent):
        raise LandslideError(f"{path}: belongs to the run {path.parent}; name another {what}")


def is_finished_run(path: Path) -> bool:
    """Whether a folder is a run that training went through with, or that holds a model made of another one."""
    return is_run(path) and ((path / METRICS).is_file() or _is_made_of_others(path))


def _is_made_of_others(path: Path) -> bool:
    said = path / ENVIRONMENT
    text = read_text(said) if said.is_file() else ""
    return any(f'"{key}"' in text for key in (CONVERTED, COMBINED, ADAPTED))


def precision_folder(model: Path, precision: str) -> Path:
    """Where a run, or an exported version, keeps a short format."""
    return model / (EXPORT_PRECISION if (model / SAVED_MODEL).is_file() else PRECISION) / precision


def published_precision(version: Path) -> str | None:
    """The short format that a version was published with; None where it was with none."""
    kept = sorted((version / EXPORT_PRECISION).glob(f"*/{PROOF}"))
    return kept[0].parent.name if kept else None


def judged_file(run: Path, split: str) -> Path:
    """Where a run keeps the counts of a split that training ended with."""
    return run / JUDGED / f"{split}.npz"


def evaluated_file(report: Path) -> Path:
    """Where the report of an evaluation keeps them."""
    return report / f"{JUDGED}.npz"


def is_export(path: Path) -> bool:
    """Whether a folder is an exported version, or a model's folder that holds one."""
    return export_version(path) is not None


def export_version(path: Path) -> Path | None:
    """The folder of the SavedModel that a path names: itself, or the highest of its versions; None where neither is."""
    if not path.is_dir():
        return None
    if (path / SAVED_MODEL).is_file():
        return path
    versions = {number: folder for number, folder in version_folders(path).items() if (folder / SAVED_MODEL).is_file()}
    return versions[max(versions)] if versions else None


def export_digest(version: Path) -> str:
    """SHA-256 of an exported version's graph and weights."""
    digest = hashlib.sha256()
    for path in (version / SAVED_MODEL, *sorted((version / VARIABLES).iterdir())):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def next_version(model: Path) -> Path:
    """The version folder above the highest there is."""
    versions = version_folders(model) if model.is_dir() else {}
    return model / str(max(versions, default=0) + 1)


def check_model_name(name: str) -> None:
    """Raise ``LandslideError`` for a name that is no folder's and no model's of a server."""
    if not _NAME.fullmatch(name):
        raise LandslideError(f"model name {name!r}: use letters, digits, '_' and '-' only")


__all__ = [
    *("ADAPTED", "CARD", "CARD_TEXT", "COMBINED", "CONFIG", "CONVERTED", "ENVIRONMENT", "FOLDS"),
    *("EXPORT_PRECISION", "GRAPH", "GRAPH_WEIGHTS", "HISTORY", "JUDGED", "PRECISION", "PROOF"),
    *("LOGS", "METRICS", "MODEL", "OUT_OF_FOLD", "REFERENCE", "REPORT", "REPORT_FILE", "REPORT_PAGE"),
    *("PSEUDO_LABELS", "SAVED_MODEL", "SEEDS", "STATE"),
    *("TRACKERS", "VARIABLES", "WARMUP"),
    *("check_model_name", "check_spares_runs", "evaluated_file", "export_digest", "export_version", "is_export"),
    *("is_finished_run", "is_run", "judged_file", "next_version", "precision_folder", "published_precision"),
]
