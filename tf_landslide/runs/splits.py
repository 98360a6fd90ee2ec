"""The splits of a dataset as a run's config asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tf_landslide.core.errors import LandslideError
from tf_landslide.data.checks import DuplicateFinder
from tf_landslide.data.folders import available_splits, find_patches, is_labelled
from tf_landslide.data.source import PatchSource
from tf_landslide.runs.config import DataConfig


def open_splits(
    data: DataConfig, data_dir: str | Path, *, splits: Sequence[str] | None = None, cache_dir: Path | None = None
) -> dict[str, PatchSource]:
    """Read and check splits of a dataset.

    Args:
        data: what a config says of them.
        data_dir: a folder in either published layout.
        splits: which; None takes all that have masks, and train and valid must be among them.
        cache_dir: folder for ``cache: disk``; None keeps in memory instead.

    Raises:
        LandslideError: a split that is not there or has no masks, or the first fault found in a file.
    """
    recipe, found = data.recipe, available_splits(data_dir)
    for needed in ("train", "valid") if splits is None else splits:
        if needed not in found:
            raise LandslideError(f"{data_dir}: has no {needed!r} split (found: {', '.join(found)})")
    if splits is None:  # without masks there is nothing to judge
        splits = [s for s in found if s in ("train", "valid") or is_labelled(find_patches(data_dir, s))]
    duplicates = None if data.allow_duplicates else DuplicateFinder()
    return {
        split: PatchSource.open(
            data_dir,
            split,
            recipe,
            cache="memory" if data.cache == "disk" and cache_dir is None else data.cache,
            cache_dir=cache_dir,
            allow_missing=data.allow_missing,
            strict=data.strict,
            duplicates=duplicates,
        )
        for split in splits
    }
