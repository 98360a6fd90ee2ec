"""Judge a run on a split of any dataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tf_landslide.core.errors import LandslideError
from tf_landslide.data.source import PatchSource
from tf_landslide.evaluation.judge import judge_split
from tf_landslide.evaluation.keeping import judged_of
from tf_landslide.evaluation.report import write_report
from tf_landslide.objects.judging import Comparison, Refiner
from tf_landslide.objects.rules import Rules
from tf_landslide.predict.load import predictor_of
from tf_landslide.runs import formats
from tf_landslide.runs.folder import Run
from tf_landslide.runs.judged import Judged
from tf_landslide.runs.splits import groups_of, open_splits, with_share


def evaluate(run: Run, data_dir: str | Path, split: str, out: Path, rules: Rules | None = None) -> dict[str, Any]:
    """Judge one split with the run's own threshold, and write a report to ``out``.

    With rules the same map refined by them is judged beside it: ``refined`` of the scores, see
    ``objects.judging.Comparison``.

    The run's ``metrics.json`` stays what training judged, on the data it trained with.

    Returns:
        the scores of the split.

    Raises:
        LandslideError: an unfinished run, a split that is not there, or a fault in its files.
    """
    threshold = run.threshold  # an unfinished run is refused before any reading
    if out.exists() and not out.is_dir():
        raise LandslideError(f"{out}: is a file; name a folder for the report")
    source, groups = _opened(run, data_dir, split)
    predictor = predictor_of(run)
    comparison = Comparison(Refiner(predictor.card, rules, threshold)) if rules else None
    look = comparison.look if comparison else None
    judgement = judge_split(predictor, source, split, threshold, look, groups.get(split))
    if comparison:
        judgement = replace(judgement, scores=judgement.scores | {"refined": comparison.scores()})
    metrics = with_share(run.config, {split: judgement.scores}, groups)
    write_report(run, predictor, judgement, metrics, out)
    judged_of(run, judgement).save(formats.evaluated_file(out))
    return metrics[split]


def counts_on(run: Run, data_dir: str | Path, split: str) -> Judged:
    """The counts of a run on one split, at its own threshold. Raises ``LandslideError`` as ``evaluate``."""
    threshold = run.threshold
    source, groups = _opened(run, data_dir, split)
    return judged_of(run, judge_split(predictor_of(run), source, split, threshold, groups=groups.get(split)))


def _opened(run: Run, data_dir: str | Path, split: str) -> tuple[PatchSource, dict[str, np.ndarray]]:
    """A split's patches, and their groups where the config names any."""
    sources = open_splits(run.config, data_dir, splits=[split])
    return sources[split], groups_of(run.config, sources)
