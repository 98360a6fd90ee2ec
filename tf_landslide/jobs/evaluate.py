"""Judge a run on a split of any dataset."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import require_writable
from tf_landslide.data.source import PatchSource
from tf_landslide.evaluation.importance import permutation_importance
from tf_landslide.evaluation.judge import judge_split
from tf_landslide.evaluation.keeping import judged_of
from tf_landslide.evaluation.report import write_report
from tf_landslide.evaluation.sensitivity import sensitivity
from tf_landslide.evaluation.unsure import measures_of, unsureness
from tf_landslide.metrics.counts import Histograms
from tf_landslide.metrics.shift import shift
from tf_landslide.objects.judging import Comparison, Refiner
from tf_landslide.objects.rules import Rules
from tf_landslide.predict.load import predictor_of, require_float32
from tf_landslide.runs import formats
from tf_landslide.runs.folder import Run
from tf_landslide.runs.judged import Judged
from tf_landslide.runs.precision import SHORT
from tf_landslide.runs.provenance import judged_on
from tf_landslide.runs.splits import groups_of, open_splits, with_share


@dataclass(frozen=True)
class Asked:
    """What an evaluation is to say beside the scores.

    Attributes:
        rules: the same map refined by them, see ``objects.judging.Comparison``.
        against: a split whose counts the run kept: what F1 and calibration lose from there to here.
        importance: shuffles of each channel; 0 for none.
        sensitivity: what faults of the input cost.
        uncertainty: whether the model is unsure where it is wrong.
    """

    rules: Rules | None = None
    against: str | None = None
    importance: int = 0
    sensitivity: bool = False
    uncertainty: bool = False


def evaluate(
    run: Run, data_dir: str | Path, split: str, out: Path, asked: Asked | None = None, precision: str | None = None
) -> dict[str, Any]:
    """Judge one split with the run's own threshold, and write a report to ``out``.

    Data that the run was not trained on are taken whole, also where it held a part of its own out. The run's
    ``metrics.json`` stays what training judged, on the data it trained with.

    Args:
        run: to judge.
        data_dir: of patches.
        split: of them.
        out: the report's folder.
        asked: what else it is to say.
        precision: as of ``load_predictor``; a short one is judged by its own threshold.

    Returns:
        the scores of the split, with ``refined``, ``shift``, ``importance``, ``sensitivity`` and ``uncertainty`` as
        they are asked for.

    Raises:
        LandslideError: an unfinished run, a split that is not there, a fault in its files, a precision that is not
            proven, or a folder for the report that is a run's own.
    """
    asked = asked or Asked()
    formats.check_spares_runs(out, "folder for the report")
    _ = run.threshold  # an unfinished run is refused before any reading
    require_writable(out)
    if precision in SHORT and asked.against is not None:
        raise LandslideError(f"{run.path}: what it kept of {asked.against!r} is of float32; leave out --against")
    if asked.uncertainty:
        require_float32(run.path, "auto", precision)
    before = None if asked.against is None else _kept(run, asked.against)
    run = judged_on(run, data_dir, split)
    source, groups = _opened(run, data_dir, split)
    predictor = predictor_of(run, precision=precision)
    threshold = predictor.card.threshold
    comparison = Comparison(Refiner(predictor.card, asked.rules, threshold)) if asked.rules else None
    look = comparison.look if comparison else None
    of_patches = groups.get(split)
    judgement = judge_split(predictor, source, split, threshold, look, of_patches)
    drawn = of_patches if of_patches is not None and len(np.unique(of_patches)) > 1 else None
    more: dict[str, Any] = {"refined": comparison.scores()} if comparison else {}
    more |= {"computed_in": precision} if precision in SHORT else {}
    if before:
        more["shift"] = {"against": asked.against, **shift(before, judgement.histograms, threshold)}
    if asked.importance:
        repeats = asked.importance
        more["importance"] = permutation_importance(predictor, source, threshold, repeats=repeats, groups=drawn)
    if asked.sensitivity:
        missing = run.config.data.allow_missing
        more["sensitivity"] = sensitivity(predictor, source, threshold, allow_missing=missing, groups=drawn)
    if asked.uncertainty:
        more["uncertainty"] = unsureness(measures_of(predictor, source, threshold), source, threshold)
    judgement = replace(judgement, scores=judgement.scores | more)
    metrics = with_share(run.config, {split: judgement.scores}, groups)
    write_report(run, predictor, judgement, metrics, out)
    judged_of(run, judgement).save(formats.evaluated_file(out))
    return metrics[split]


def _kept(run: Run, split: str) -> Histograms:
    """The counts that a run kept of a split when it was judged."""
    path = formats.judged_file(run.path, split)
    try:
        judged = Judged.load(path)
    except FileNotFoundError:
        raise LandslideError(
            f"{path}: is not there: runs of before kept no counts; train anew, or leave it out"
        ) from None
    if judged.about.split != split or judged.about.model != run.model_digest:
        raise LandslideError(f"{path}: is of another split, or of another model than {run.model_path.name} is now")
    return judged.histograms


def counts_on(run: Run, data_dir: str | Path, split: str) -> Judged:
    """The counts of a run on one split, at its own threshold. Raises ``LandslideError`` as ``evaluate``."""
    run, threshold = judged_on(run, data_dir, split), run.threshold
    source, groups = _opened(run, data_dir, split)
    return judged_of(run, judge_split(predictor_of(run), source, split, threshold, groups=groups.get(split)))


def _opened(run: Run, data_dir: str | Path, split: str) -> tuple[PatchSource, dict[str, np.ndarray]]:
    """A split's patches, and their groups where the config names any."""
    sources = open_splits(run.config, data_dir, splits=[split])
    return sources[split], groups_of(run.config, sources)
