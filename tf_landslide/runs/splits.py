"""The splits of a dataset as a run's config asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tf_landslide.core.errors import LandslideError, warn
from tf_landslide.data.checks import DuplicateFinder
from tf_landslide.data.folders import Patch, available_splits, find_patches, is_labelled
from tf_landslide.data.groups import drawn_groups, positions_of
from tf_landslide.data.source import PatchSource
from tf_landslide.runs.sections import Config

_OF_TRAIN = "data.valid_share=0.2 takes a share of train"


def open_splits(
    config: Config, data_dir: str | Path, *, splits: Sequence[str] | None = None, cache_dir: Path | None = None
) -> dict[str, PatchSource]:
    """Read and check splits of a dataset.

    Args:
        config: what is asked of them, and by which seed ``data.valid_share`` is drawn from the training split.
        data_dir: a folder in either published layout.
        splits: which; None takes all that have masks, and train and valid must be among them.
        cache_dir: folder for ``cache: disk``; None reads files again instead: what asks for a disk may not fit memory.

    Raises:
        LandslideError: a split that is not there or has no masks, a share of train where there is a validation split,
            or the first fault found in a file.
    """
    data = config.data
    recipe, found = data.recipe, available_splits(data_dir)
    of_train = data.divides_train
    if data.valid_share is not None and (splits is None or "valid" in splits):
        _check_unvalidated(data_dir, found)
    if of_train:
        found = ["train", "valid", *(split for split in found if split not in ("train", "valid"))]
    for needed in ("train", "valid") if splits is None else splits:
        if needed not in found:
            remedy = f"; {_OF_TRAIN}" if needed == "valid" and "train" in found else ""
            raise LandslideError(f"{data_dir}: has no {needed!r} split (found: {', '.join(found)}){remedy}")
    if splits is None and not of_train and not is_labelled(find_patches(data_dir, "valid", problems=[])):
        raise LandslideError(f"{data_dir}: its 'valid' split has no masks; {_OF_TRAIN}")
    if splits is None:  # without masks there is nothing to judge
        splits = [s for s in found if s in ("train", "valid") or is_labelled(find_patches(data_dir, s))]
    duplicates = None if data.allow_duplicates else DuplicateFinder()
    wanted = list(splits)
    sources = {
        split: PatchSource.open(
            data_dir,
            split,
            recipe,
            cache="none" if data.cache == "disk" and cache_dir is None else data.cache,
            cache_dir=cache_dir,
            allow_missing=data.allow_missing,
            strict=data.strict,
            ignore=data.ignore,
            duplicates=duplicates,
            keep_bands=split == "train" and bool(data.augmentation.settings.on),
        )
        for split in dict.fromkeys(map(data.stored_split, wanted))
    }
    if of_train and "train" in sources:
        train, valid = _divided(sources["train"], config)
        sources |= {"train": train, "valid": valid}
    return {split: sources[split] for split in wanted}


def groups_of(config: Config, sources: dict[str, PatchSource]) -> dict[str, np.ndarray]:
    """The group of each patch by split, as the config's ``data.groups`` names them; nothing where it names none.

    A split with a patch that has no group is left out, with a warning: its scores do without.
    """
    found: dict[str, np.ndarray] = {}
    for split, source in sources.items():
        try:
            groups = config.data.groups.read(source.data_dir)
            if groups is not None:
                found[split] = groups.of(source)
        except LandslideError as error:
            warn(f"{split}: no intervals over groups: {error}")
    return found


def with_share(
    config: Config, metrics: dict[str, dict[str, Any]], groups: dict[str, np.ndarray]
) -> dict[str, dict[str, Any]]:
    """Scores by split, those of a validation split that is made of train marked as such.

    Args:
        config: by which the splits were opened.
        metrics: the scores.
        groups: of the splits, as ``groups_of`` gives them.

    Returns:
        the same, with ``groups_of_train`` (their names) for validation on whole groups, or ``share_of_train``.
    """
    data = config.data
    if "valid" not in metrics or not data.divides_train:
        return metrics
    names = sorted(set(groups["valid"].tolist())) if "valid" in groups else []
    said = {"groups_of_train": names} if data.groups.given else {"share_of_train": data.valid_share}
    return {**metrics, "valid": {**metrics["valid"], **said}}


def _check_unvalidated(data_dir: str | Path, found: Sequence[str]) -> None:
    if "valid" in found and any(patch.mask for patch in find_patches(data_dir, "valid", problems=[])):
        raise LandslideError(f"{data_dir}: has a validation split with masks; leave out data.valid_share")


def _divided(source: PatchSource, config: Config) -> tuple[PatchSource, PatchSource]:
    """Training and validation patches, each in the order of their numbers."""
    rest, chosen = divided(config, source.patches, source.data_dir)
    return source.subset(rest), source.subset(chosen)


def divided(config: Config, patches: Sequence[Patch], data_dir: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Which patches of the training split are trained and which are validated on, where a part of it is held out.

    Args:
        config: that holds a part out: whole groups where it names some.
        patches: of the split, by number, each with an image; nothing of them is read.
        data_dir: their folder.

    Returns:
        positions of both, sorted.

    Raises:
        LandslideError: groups that cannot be read or leave nothing to train on, or fewer than two patches.
    """
    data, seed = config.data, config.split_seed
    groups = data.groups.read(data_dir)
    if groups is None:
        assert data.valid_share is not None  # else groups were asked for
        if len(patches) < 2:
            raise LandslideError(f"{data_dir}: data.valid_share needs two training patches at least")
        chosen = _drawn(len(patches), data.valid_share, seed)
    else:
        of_patches = groups.of_patches(patches, data_dir)
        names = data.valid_groups if data.valid_share is None else drawn_groups(of_patches, data.valid_share, seed)
        chosen = positions_of(of_patches, names or [])
    rest = np.setdiff1d(np.arange(len(patches)), chosen)
    if not len(rest):
        raise LandslideError(f"{data_dir}: data.valid_groups names every group of train; leave one to train on")
    return rest, chosen


def _drawn(count: int, share: float, seed: int) -> np.ndarray:
    """Positions that are drawn by chance, sorted."""
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[: min(max(1, round(share * count)), count - 1)])
