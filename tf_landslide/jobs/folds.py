"""Cross-validation by whole groups: a run a fold, each patch judged by the run that did not see its group."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import replacing, write_json
from tf_landslide.core.locks import is_in_the_way, locked, require_new
from tf_landslide.data.folders import find_patches
from tf_landslide.data.groups import balanced_folds, positions_of
from tf_landslide.data.source import PatchSource
from tf_landslide.evaluation.judge import predictions
from tf_landslide.evaluation.keeping import keep_counts
from tf_landslide.jobs.apart import check_apart, train_apart
from tf_landslide.jobs.combine import Recipe, combine
from tf_landslide.metrics.calibration import calibration
from tf_landslide.metrics.counts import Histograms, best_threshold, judge, scores
from tf_landslide.predict.load import predictor_of
from tf_landslide.runs import formats
from tf_landslide.runs.checked import read_folds
from tf_landslide.runs.folder import Run
from tf_landslide.runs.provenance import check_data_of
from tf_landslide.runs.sections import Config
from tf_landslide.runs.seeds import begun_seeds
from tf_landslide.runs.splits import groups_of, open_splits


def train_folds(
    config: Config, data_dir: str | Path, out: str | Path, folds: int, *, resume: bool = False
) -> dict[str, Any]:
    """Train a run for each fold of the training split's groups, validated on that fold, and judge all of them together.

    Args:
        config: of every run; ``data.groups`` says what belongs together.
        data_dir: HDF5 patches with a train split; only that is divided, a validation split takes no part.
        out: the folder to make: ``fold_0``, ``fold_1`` … and ``folds.json``.
        folds: how many; as many as there are groups leave out one group each.
        resume: go on where ``out`` holds some of them.

    Returns:
        what ``folds.json`` holds: ``threshold`` and ``scores`` of all patches out of fold (intervals from a bootstrap
        over groups), ``by_group`` and ``by_fold``.

    Raises:
        LandslideError: several workers, no groups, another number of folds than they allow, a folder in the way,
            nothing or runs of other data to go on with, or as ``train``.
    """
    _check_folder(Path(out), resume)
    return train_planned(config, data_dir, Path(out), fold_plan(config, data_dir, folds), resume=resume)


def train_planned(
    config: Config, data_dir: str | Path, path: Path, plan: list[list[str]], *, resume: bool = False
) -> dict[str, Any]:
    """As ``train_folds``, the groups of each fold being given."""
    with locked(path):
        if is_in_the_way(path, strictly=False) and not resume:
            raise LandslideError(f"{path}: already exists; name another folder, or go on with it with --resume")
        folders = fold_folders(path, plan)
        check_data_of(folders, Path(data_dir))
        runs = [_fold(_of_fold(config, names), data_dir, at) for names, at in zip(plan, folders, strict=True)]
        judged = _judged(config, data_dir, runs, plan, path / formats.OUT_OF_FOLD)
        write_json(path / formats.FOLDS, judged)
    return judged


def _check_folder(path: Path, resume: bool) -> None:
    """Raise ``LandslideError`` where runs of folds cannot be begun, or gone on with, in a folder."""
    if formats.is_run(path):
        raise LandslideError(f"{path}: is a run of no folds; name another folder, or leave out --folds")
    if seeds := [*begun_seeds(path), *begun_seeds(path, folded=True)]:
        raise LandslideError(f"{path}: holds runs of seed {seeds[0]}; give --seeds too, or name another folder")
    if resume and not any(map(formats.is_run, path.glob(fold_name("*")))):
        raise LandslideError(f"{path}: holds no run of a fold, there is nothing to go on with; leave out --resume")


def fold_name(number: int | str) -> str:
    """The folder of a fold's run in that of all; of ``*``, a pattern for any."""
    return f"fold_{number}"


def fold_folders(path: Path, plan: list[list[str]]) -> list[Path]:
    """The run of each fold."""
    return [path / fold_name(i) for i in range(len(plan))]


def fold_plan(config: Config, data_dir: str | Path, folds: int) -> list[list[str]]:
    """The groups of each fold, drawn by the config's ``split_seed``. Raises ``LandslideError`` where it cannot be."""
    check_apart(config, "--folds")
    data = config.data
    if data.divides_train:
        raise LandslideError(
            "--folds validates on each group in turn; leave out data.valid_groups and data.valid_share"
        )
    groups = data.groups.read(data_dir)
    if groups is None:
        raise LandslideError(
            "--folds divides by groups: say by data.groups.file or data.groups.pattern what belongs together "
            "(data.groups.pattern='(\\d+)' makes every patch a group of its own)"
        )
    return balanced_folds(groups.of_patches(find_patches(data_dir, "train"), data_dir), folds, config.split_seed)


def combine_folds(
    folders: Sequence[str | Path], out: str | Path, recipe: Recipe, data_dir: str | Path
) -> dict[str, Any]:
    """Combine the runs of some folders of folds, fold by fold, and judge the combinations on all patches out of fold.

    Args:
        folders: of ``train_folds``, all of the same folds.
        out: the folder to make, as ``train_folds`` makes one.
        recipe: how; nothing in it that is fitted, and no threshold of its own.
        data_dir: the data that they were trained on.

    Returns:
        as ``train_folds``.

    Raises:
        LandslideError: folders of other folds, a threshold, what would be fitted on the patches that are judged, a
            folder in the way, or as ``combine``.
    """
    path, first = Path(out), Path(folders[0])
    require_new(path)
    if recipe.threshold is not None:
        raise LandslideError("folds are judged at the threshold chosen on all their patches; leave out --threshold")
    if recipe.temperature or recipe.symmetries == "auto":
        raise LandslideError(
            "--temperature and --tta auto would be fitted on the patches out of fold that are then judged; leave out "
            "--temperature, and name the symmetries: --tta flips or --tta eight"
        )
    plans = [_plan_of(Path(folder)) for folder in folders]
    for folder, plan in zip(folders[1:], plans[1:], strict=True):
        if plan != plans[0]:
            raise LandslideError(f"{first} and {folder} are of other folds; train both with one data.split_seed")
    members = {name: [Run.open(Path(folder) / name) for folder in folders] for name in plans[0]}
    whole = _undivided(members[next(iter(plans[0]))][0].config)
    with replacing(path) as folder:
        folder.mkdir()
        made = [combine(runs, folder / name, recipe, data_dir) for name, runs in members.items()]
        judged = _judged(whole, data_dir, made, list(plans[0].values()), folder / formats.OUT_OF_FOLD)
        write_json(folder / formats.FOLDS, judged)
    return judged


def _plan_of(folder: Path) -> dict[str, list[str]]:
    """The groups that each run of a folder of folds was judged on, by the run's name."""
    if not (folder / formats.FOLDS).is_file():
        raise LandslideError(f"{folder}: is not a folder of finished folds: it has no {formats.FOLDS}")
    return {fold["run"]: fold["groups"] for fold in read_folds(folder / formats.FOLDS)["by_fold"]}


def _undivided(config: Config) -> Config:
    return config.model_copy(update={"data": config.data.model_copy(update={"valid_groups": None})})


def _of_fold(config: Config, names: list[str]) -> Config:
    return config.model_copy(update={"data": config.data.model_copy(update={"valid_groups": names})})


def _fold(config: Config, data_dir: str | Path, path: Path) -> Run:
    """The run of one fold: as it is where it is finished, else gone on with, else begun."""
    if formats.is_run(path) and formats.is_finished_run(path):
        run = Run.open(path)
        if run.config != config:
            raise LandslideError(f"{path}: is of another config or other folds; name another folder")
        return run
    return train_apart(config, data_dir, path, resume=formats.is_run(path))


def _judged(
    config: Config, data_dir: str | Path, runs: Sequence[Run], plan: list[list[str]], kept: Path
) -> dict[str, Any]:
    """What ``folds.json`` holds; the counts of all patches out of fold are kept in a folder."""
    whole = open_splits(config, data_dir, splits=["train"])["train"]
    groups = groups_of(config, {"train": whole})["train"]
    positions = [positions_of(groups, names) for names in plan]
    parts = [_histograms(run, whole.subset(chosen)) for run, chosen in zip(runs, positions, strict=True)]
    pooled = Histograms(*(np.concatenate([getattr(p, kind) for p in parts]) for kind in ("landslide", "other")))
    of_patches = groups[np.concatenate(positions)]
    threshold = best_threshold(pooled)
    of_groups = _summed(pooled.counts(threshold), of_patches)
    scores_of_all = judge(pooled, threshold, groups=of_patches)
    back = np.argsort(np.concatenate(positions))  # the split's own order
    in_order = Histograms(pooled.landslide[back], pooled.other[back])
    origin = "chosen on all patches out of fold"
    keep_counts(kept, config, whole, in_order, scores_of_all, origin, groups, of_train=True, derived=runs[0].derived)
    return {
        "folds": len(runs),
        "threshold": threshold,
        "scores": scores_of_all | {"calibration": calibration(pooled, groups=of_patches)},
        "by_group": {name: {**_f1(c), "patches": int((groups == name).sum())} for name, c in of_groups.items()},
        "by_fold": [
            {
                "run": run.path.name,
                "groups": names,
                "patches": len(part),
                **_f1(part.counts(threshold).sum(0)),
                "own_threshold": run.threshold,
                "at_own_threshold": _f1(part.counts(run.threshold).sum(0)),
            }
            for run, names, part in zip(runs, plan, parts, strict=True)
        ],
    }


def _histograms(run: Run, source: PatchSource) -> Histograms:
    predictor = predictor_of(run)
    return Histograms.of((p, mask) for _, p, mask in predictions(predictor, source, run.path.name))


def _summed(counts: np.ndarray, groups: np.ndarray) -> dict[str, np.ndarray]:
    """(4,) TP, FP, FN, TN of each group, of (n, 4) of patches."""
    return {str(name): counts[groups == name].sum(0) for name in np.unique(groups)}


def _f1(counts: np.ndarray) -> dict[str, float]:
    return {name: float(value) for name, value in scores(*counts[:3]).items()}
