"""A folder of runs that differ in their seed alone, ``seed_0``, ``seed_1`` …, and what they score together.

Each is a run, or a folder of runs, one a fold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tf_landslide.metrics import SCORES
from tf_landslide.runs import formats
from tf_landslide.runs.folder import Run

OBJECTS = "objects_f1"
_LEVEL = "0.3"  # of IoU, from which on a found object is a true one
OUT_OF_FOLD = "out of fold"
_NAME = re.compile(r"seed_(\d+)")


def seed_folder(folder: Path, seed: int) -> Path:
    """The run of a seed."""
    return folder / f"seed_{seed}"


def begun_seeds(folder: Path, folded: bool = False) -> list[int]:
    """The seeds whose runs a folder holds, finished or not; or those whose folds it holds."""
    found = {int(name[1]): path for path in _inside(folder) if (name := _NAME.fullmatch(path.name))}
    return sorted(seed for seed, path in found.items() if (_is_folded(path) if folded else formats.is_run(path)))


def _inside(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _is_folded(path: Path) -> bool:
    return not formats.is_run(path) and any(formats.is_run(inside) for inside in _inside(path))


def seeds_summary(runs: Mapping[int, Run]) -> dict[str, Any]:
    """What finished runs score together.

    Args:
        runs: by seed.

    Returns:
        ``seeds``; ``runs``, the folder of each; ``splits``: of each split that all have, and each score of it
        (``objects_f1`` is that of objects at IoU 0.3), ``mean``, ``sd`` (of the sample, n - 1; None for one run) and
        ``values`` in the order of the seeds.
    """
    metrics = [run.metrics() for run in runs.values()]
    shared = [split for split in metrics[0] if all(split in rows for rows in metrics)]
    return {
        "seeds": list(runs),
        "runs": {str(seed): run.path.name for seed, run in runs.items()},
        "splits": {split: _spread([_scores(rows[split]) for rows in metrics]) for split in shared},
    }


def folds_summary(judged: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """What the folds of several seeds score together.

    Args:
        judged: by seed, what its ``folds.json`` holds.

    Returns:
        as ``seeds_summary``, of the scores of all patches out of fold at each seed's one threshold; ``folds``: the
        groups of each, the same for every seed.
    """
    rows = [{**one["scores"], "threshold": one["threshold"]} for one in judged.values()]
    first = next(iter(judged.values()))
    return {
        "seeds": list(judged),
        "runs": {str(seed): seed_folder(Path(), seed).name for seed in judged},
        "folds": [fold["groups"] for fold in first["by_fold"]],
        "splits": {OUT_OF_FOLD: _spread([_scores(row) for row in rows])},
    }


def _scores(row: dict[str, Any]) -> dict[str, float]:
    objects = {OBJECTS: row["objects"]["at"][_LEVEL]["f1"]} if "objects" in row else {}
    return {name: row[name] for name in (*SCORES, "threshold")} | objects


def _spread(rows: list[dict[str, float]]) -> dict[str, dict[str, Any]]:
    found = {name: [row[name] for row in rows] for name in rows[0] if all(name in row for row in rows)}
    return {
        name: {
            "mean": float(np.mean(values)),
            "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
            "values": values,
        }
        for name, values in found.items()
    }
