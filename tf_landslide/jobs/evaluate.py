"""Judge a run on a split of any dataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tf_landslide.core.errors import LandslideError
from tf_landslide.evaluation.judge import judge_split
from tf_landslide.evaluation.report import write_report
from tf_landslide.objects.judging import Comparison, Refiner
from tf_landslide.objects.rules import Rules
from tf_landslide.predict.load import predictor_of
from tf_landslide.runs.folder import Run
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
    sources = open_splits(run.config, data_dir, splits=[split])
    predictor = predictor_of(run)
    comparison = Comparison(Refiner(predictor.card, rules, threshold)) if rules else None
    groups = groups_of(run.config, sources)
    look = comparison.look if comparison else None
    judgement = judge_split(predictor, sources[split], split, threshold, look, groups.get(split))
    if comparison:
        judgement = replace(judgement, scores=judgement.scores | {"refined": comparison.scores()})
    metrics = with_share(run.config, {split: judgement.scores}, groups)
    write_report(run, predictor, judgement, metrics, out)
    return metrics[split]
