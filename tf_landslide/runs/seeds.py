"""A folder of runs that differ in their seed alone, ``seed_0``, ``seed_1`` …, and what they score together."""

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
_NAME = re.compile(r"seed_(\d+)")


def seed_folder(folder: Path, seed: int) -> Path:
    """The run of a seed."""
    return folder / f"seed_{seed}"


def begun_seeds(folder: Path) -> list[int]:
    """The seeds whose runs a folder holds, finished or not."""
    names = (_NAME.fullmatch(path.name) for path in folder.iterdir() if formats.is_run(path)) if folder.is_dir() else ()
    return sorted(int(name[1]) for name in names if name)


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
