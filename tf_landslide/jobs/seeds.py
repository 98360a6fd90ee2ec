"""One config trained with several seeds: a folder of runs, and what they score together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import write_json
from tf_landslide.core.locks import is_in_the_way, locked
from tf_landslide.jobs.apart import check_apart, train_apart
from tf_landslide.runs import formats
from tf_landslide.runs.folder import Run
from tf_landslide.runs.provenance import check_data_of
from tf_landslide.runs.sections import Config
from tf_landslide.runs.seeds import begun_seeds, seed_folder, seeds_summary


def train_seeds(
    config: Config, data_dir: str | Path, out: str | Path, seeds: Sequence[int], *, resume: bool = False
) -> dict[str, Any]:
    """Train a run for each seed, one after another, each in a process of its own.

    Args:
        config: of each, ``training.seed`` aside.
        data_dir: HDF5 patches, as ``train`` takes them.
        out: the folder to make: ``seed_0``, ``seed_1`` …, each a run like any other, and ``seeds.json``.
        seeds: of the runs.
        resume: go on with what ``out`` holds: finished runs are left, others gone on with; there may be more seeds than
            before, and more epochs.

    Returns:
        what ``seeds.json`` holds, see ``seeds_summary``.

    Raises:
        LandslideError: as ``train``; several workers, a folder in the way, or one of other seeds, or of other data.
    """
    path = Path(out)
    check_apart(config, "--seeds")
    with locked(path):
        check_seeds(path, seeds, resume)
        check_data_of([seed_folder(path, seed) for seed in seeds], Path(data_dir))
        runs: dict[int, Run] = {}
        for seed in seeds:
            runs[seed] = _finished(with_seed(config, seed), data_dir, seed_folder(path, seed))
            summary = seeds_summary(runs)
            write_json(path / formats.SEEDS, summary)
    return summary


def check_seeds(path: Path, seeds: Sequence[int], resume: bool, folded: bool = False) -> None:
    """Raise ``LandslideError`` where the runs of some seeds cannot be begun, or gone on with, in a folder."""
    if formats.is_run(path):
        raise LandslideError(f"{path}: is a run of one seed; name another folder, or leave out --seeds")
    taken, begun, others = is_in_the_way(path, strictly=False), begun_seeds(path, folded), begun_seeds(path, not folded)
    if taken and not begun and not others:
        raise LandslideError(f"{path}: already holds something, and no run of a seed; name another folder")
    if taken and not resume:
        raise LandslideError(f"{path}: already exists; name another folder, or go on with it with --resume")
    if others:
        has, give = ("no folds", "leave out --folds") if folded else ("folds", "give --folds too")
        raise LandslideError(f"{path}: its runs of seed {others[0]} have {has}; {give}, or name another folder")
    if resume and not begun:
        raise LandslideError(f"{path}: holds no run of a seed, there is nothing to go on with; leave out --resume")
    if left_out := [str(seed) for seed in begun if seed not in seeds]:
        raise LandslideError(f"{path}: holds runs of seeds that --seeds leaves out ({', '.join(left_out)}); name all")


def with_seed(config: Config, seed: int) -> Config:
    """The same config but for its seed."""
    return config.model_copy(update={"training": config.training.model_copy(update={"seed": seed})})


def _finished(config: Config, data_dir: str | Path, path: Path) -> Run:
    """A seed's run: as it is where it is finished, else trained to the end."""
    resume = formats.is_run(path)
    if resume and formats.is_finished_run(path) and (run := Run.open(path)).config == config and run.is_trained:
        return run
    return train_apart(config, data_dir, path, resume=resume)
