"""The splits of a dataset as a run's config asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tf_landslide.core.errors import LandslideError
from tf_landslide.data.checks import DuplicateFinder
from tf_landslide.data.folders import available_splits, find_patches, is_labelled
from tf_landslide.data.source import PatchSource
from tf_landslide.runs.sections import Config

_OF_TRAIN = "data.valid_share=0.2 takes a share of train"


def open_splits(
    config: Config, data_dir: str | Path, *, splits: Sequence[str] | None = None, cache_dir: Path | None = None
) -> dict[str, PatchSource]:
    """Read and check splits of a dataset.

    Args:
        config: what is asked of them, and the seed by which ``data.valid_share`` is drawn from the training split.
        data_dir: a folder in either published layout.
        splits: which; None takes all that have masks, and train and valid must be among them.
        cache_dir: folder for ``cache: disk``; None keeps in memory instead.

    Raises:
        LandslideError: a split that is not there or has no masks, a share of train where there is a validation split,
            or the first fault found in a file.
    """
    data = config.data
    recipe, found = data.recipe, available_splits(data_dir)
    if data.valid_share is not None:
        _check_unvalidated(data_dir, found)
        found = ["train", "valid", *(split for split in found if split not in ("train", "valid"))]
    for needed in ("train", "valid") if splits is None else splits:
        if needed not in found:
            remedy = f"; {_OF_TRAIN}" if needed == "valid" and "train" in found else ""
            raise LandslideError(f"{data_dir}: has no {needed!r} split (found: {', '.join(found)}){remedy}")
    if splits is None and data.valid_share is None and not is_labelled(find_patches(data_dir, "valid", problems=[])):
        raise LandslideError(f"{data_dir}: its 'valid' split has no masks; {_OF_TRAIN}")
    if splits is None:  # without masks there is nothing to judge
        splits = [s for s in found if s in ("train", "valid") or is_labelled(find_patches(data_dir, s))]
    duplicates = None if data.allow_duplicates else DuplicateFinder()
    wanted = list(splits)
    stored = wanted if data.valid_share is None else ["train" if split == "valid" else split for split in wanted]
    sources = {
        split: PatchSource.open(
            data_dir,
            split,
            recipe,
            cache="memory" if data.cache == "disk" and cache_dir is None else data.cache,
            cache_dir=cache_dir,
            allow_missing=data.allow_missing,
            strict=data.strict,
            ignore=data.ignore,
            duplicates=duplicates,
        )
        for split in dict.fromkeys(stored)
    }
    if data.valid_share is not None and "train" in sources:
        train, valid = _shared(sources["train"], data.valid_share, config.training.seed)
        sources |= {"train": train, "valid": valid}
    return {split: sources[split] for split in wanted}


def with_share(config: Config, metrics: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Scores by split, those of a validation split that is a share of train marked as such: ``share_of_train``."""
    share = config.data.valid_share
    if share is None or "valid" not in metrics:
        return metrics
    return {**metrics, "valid": {**metrics["valid"], "share_of_train": share}}


def _check_unvalidated(data_dir: str | Path, found: Sequence[str]) -> None:
    if "valid" in found and any(patch.mask for patch in find_patches(data_dir, "valid", problems=[])):
        raise LandslideError(f"{data_dir}: has a validation split with masks; leave out data.valid_share")


def _shared(source: PatchSource, share: float, seed: int) -> tuple[PatchSource, PatchSource]:
    """Training and validation patches, drawn by chance, each in the order of their numbers."""
    if len(source) < 2:
        raise LandslideError(f"{source.data_dir}: data.valid_share needs two training patches at least")
    order = np.random.default_rng(seed).permutation(len(source))
    count = min(max(1, round(share * len(source))), len(source) - 1)
    return source.subset(np.sort(order[count:])), source.subset(np.sort(order[:count]))
