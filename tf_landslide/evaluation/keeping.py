"""A judgement as what a run keeps of it."""

from __future__ import annotations

from tf_landslide.evaluation.judge import Judgement
from tf_landslide.runs.derived import digest_of
from tf_landslide.runs.folder import Run
from tf_landslide.runs.judged import About, Judged
from tf_landslide.runs.provenance import split_fingerprint


def judged_of(run: Run, judgement: Judgement) -> Judged:
    """The counts of a judgement, and what they are of."""
    source, tally, data = judgement.source, judgement.tally, run.config.data
    divided = data.valid_share is not None or data.valid_groups is not None
    of_train = divided and judgement.split in ("train", "valid")
    about = About(
        split=judgement.split,
        threshold=judgement.scores["threshold"],
        threshold_from=run.threshold_from,
        model=digest_of(run.model_path),
        data=str(source.data_dir.absolute()),
        files=split_fingerprint(source.data_dir, "train" if of_train else judgement.split),
        masks=tally.masks,
        names=[patch.image.name for patch in source.patches if patch.image],
        of_train=of_train,
        groups=None if judgement.groups is None else [str(group) for group in judgement.groups],
    )
    return Judged(about, judgement.histograms, tally.pixels, tally.ignored)
