"""One config cross-validated with several seeds: the same folds for each, so that the training alone differs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tf_landslide.core.files import write_json
from tf_landslide.core.locks import locked
from tf_landslide.jobs.folds import fold_folders, fold_plan, train_planned
from tf_landslide.jobs.seeds import check_seeds, with_seed
from tf_landslide.runs import formats
from tf_landslide.runs.provenance import check_data_of
from tf_landslide.runs.sections import Config
from tf_landslide.runs.seeds import folds_summary, seed_folder


def train_folded_seeds(
    config: Config, data_dir: str | Path, out: str | Path, seeds: Sequence[int], folds: int, *, resume: bool = False
) -> dict[str, Any]:
    """Train a run for each seed and fold, each in a process of its own, and judge each seed's runs out of fold.

    Args:
        config: of each, ``training.seed`` aside; the folds of all seeds are drawn by its own ``split_seed``.
        data_dir: as ``train_folds`` takes it.
        out: the folder to make: ``seed_0``, ``seed_1`` …, each as ``train_folds`` makes it, and ``seeds.json``.
        seeds: of the runs.
        folds: how many.
        resume: go on with what ``out`` holds; there may be more seeds than before.

    Returns:
        what ``seeds.json`` holds, see ``folds_summary``.

    Raises:
        LandslideError: as ``train_folds`` and ``train_seeds``.
    """
    path = Path(out)
    plan = fold_plan(config, data_dir, folds)
    with locked(path):
        check_seeds(path, seeds, resume, folded=True)
        check_data_of([run for seed in seeds for run in fold_folders(seed_folder(path, seed), plan)], Path(data_dir))
        judged: dict[int, dict[str, Any]] = {}
        for seed in seeds:
            folder = seed_folder(path, seed)
            judged[seed] = train_planned(with_seed(config, seed), data_dir, folder, plan, resume=folder.exists())
            summary = folds_summary(judged)
            write_json(path / formats.SEEDS, summary)
    return summary
