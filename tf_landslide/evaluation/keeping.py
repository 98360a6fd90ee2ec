"""A judgement as what a run keeps of it, and counts alone of a model that is not kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tf_landslide.core.files import write_json, write_text
from tf_landslide.data.source import PatchSource
from tf_landslide.evaluation.judge import Judgement
from tf_landslide.evaluation.tally import MasksDigest
from tf_landslide.metrics import IGNORED
from tf_landslide.metrics.counts import Histograms
from tf_landslide.runs import formats
from tf_landslide.runs.derived import Derived
from tf_landslide.runs.folder import Run
from tf_landslide.runs.judged import About, Judged
from tf_landslide.runs.provenance import split_fingerprint
from tf_landslide.runs.sections import Config


def judged_of(run: Run, judgement: Judgement) -> Judged:
    """The counts of a judgement, and what they are of."""
    source, tally, data = judgement.source, judgement.tally, run.config.data
    about = About(
        split=judgement.split,
        threshold=judgement.scores["threshold"],
        threshold_from=run.threshold_from,
        model=run.model_digest,
        data=str(source.data_dir.absolute()),
        files=split_fingerprint(source.data_dir, data.stored_split(judgement.split)),
        masks=tally.masks,
        names=[patch.image.name for patch in source.patches if patch.image],
        of_train=data.divides_train and judgement.split in ("train", "valid"),
        groups=None if judgement.groups is None else [str(group) for group in judgement.groups],
    )
    return Judged(about, judgement.histograms, tally.pixels, tally.ignored)


def keep_counts(
    folder: Path,
    config: Config,
    source: PatchSource,
    histograms: Histograms,
    scores: dict[str, Any],
    threshold_from: str,
    groups: np.ndarray | None = None,
    *,
    of_train: bool = False,
    derived: Derived | None = None,
) -> None:
    """Keep the counts of patches as a run's validation, without a model: ``compare`` sets it beside runs.

    Args:
        folder: to make, or to write anew.
        config: of what was trained.
        source: the patches, in the order of the split.
        histograms: of each, by probability.
        scores: of them, with their ``threshold``.
        threshold_from: in words.
        groups: of each patch.
        of_train: whether they are patches of the training split.
        derived: of what runs the model was made, and how; None for one that was trained.
    """
    digest, pixels, ignored = MasksDigest(), np.zeros(len(source), np.int64), np.zeros(len(source), np.int64)
    for i in range(len(source)):
        mask = source.fetch(np.array([i]))[1][0, ..., 0]
        digest.add(mask)
        pixels[i], ignored[i] = mask.size, int((mask == IGNORED).sum())
    about = About(
        split="valid",
        threshold=scores["threshold"],
        threshold_from=threshold_from,
        model="",
        data=str(source.data_dir.absolute()),
        files=split_fingerprint(source.data_dir, "train" if of_train else "valid"),
        masks=digest.text,
        names=[patch.image.name for patch in source.patches if patch.image],
        of_train=of_train,
        groups=None if groups is None else [str(group) for group in groups],
    )
    folder.mkdir(parents=True, exist_ok=True)
    Judged(about, histograms, pixels, ignored).save(formats.judged_file(folder, "valid"))
    write_json(folder / formats.METRICS, {"valid": scores})
    write_text(folder / formats.CONFIG, config.to_yaml())
    if derived:
        write_json(folder / formats.ENVIRONMENT, {formats.COMBINED: derived.as_dict()})
