"""The readable report on a judged split: a page of Markdown with its figures, and one HTML file."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from tf_landslide.core.files import replacing, write_json
from tf_landslide.evaluation import robustness, sections
from tf_landslide.evaluation.document import Document
from tf_landslide.evaluation.judge import Judgement
from tf_landslide.metrics import SCORES
from tf_landslide.predict.predictor import Predictor
from tf_landslide.runs import formats
from tf_landslide.runs.derived import Derived
from tf_landslide.runs.folder import Run


def write_report(run: Run, predictor: Predictor, shown: Judgement, metrics: dict[str, Any], out: Path) -> None:
    """Write ``report.html``, ``report.md`` with its figures, and the shown split's ``metrics.json`` into ``out``.

    An earlier report gives way.

    Args:
        run: that was judged.
        predictor: of it, to show patches by.
        shown: the split that the figures are of.
        metrics: scores by split, for the table.
        out: the report's folder.
    """
    document = report_of(run, predictor, shown, metrics)
    with tempfile.TemporaryDirectory() as folder:
        staging = Path(folder)
        document.save_pictures(staging)
        write_json(staging / formats.METRICS, {shown.split: metrics[shown.split]})
        (staging / formats.REPORT_FILE).write_text(document.markdown(), encoding="utf-8")
        (staging / formats.REPORT_PAGE).write_text(document.html(), encoding="utf-8")
        out.mkdir(parents=True, exist_ok=True)
        for path in staging.iterdir():
            with replacing(out / path.name) as partial:
                shutil.copyfile(path, partial)


def report_of(run: Run, predictor: Predictor, shown: Judgement, metrics: dict[str, Any]) -> Document:
    """The report as data; see ``write_report``."""
    config, scores = run.config, shown.scores
    network = " + ".join(filter(None, (predictor.card.architecture, predictor.card.encoder)))
    names = {"f1": "F1", "precision": "precision", "recall": "recall", "iou": "IoU"}
    intervals = {name: "{:.3f} to {:.3f}".format(*scores["interval"][name]) for name in SCORES}
    return Document(
        title=f"{config.name}: {shown.split}",
        lead=f"{network} on {', '.join(run.recipe.channel_names)}; data: {run.recipe.layout.title}.",
        facts=(
            *_trained_by(run),
            ("split", f"{shown.split}, {scores['patches']:,} patches, {scores['pixels']:,} pixels"),
            ("data", str(shown.source.data_dir)),
            ("threshold", f"{scores['threshold']:.3f}, {run.threshold_from}"),
            *([("precision", f"{predictor.card.precision}: {predictor.card.proof}")] if predictor.card.proof else []),
            *_made_of(run.derived),
            ("averaging", "counts summed over all pixels, then divided once"),
        ),
        notes=sections.notes(run, shown, metrics),
        scores=[(names[name], f"{scores[name]:.3f}", intervals[name]) for name in SCORES],
        sections=(
            sections.scores_section(run, shown, metrics),
            sections.counts_section(shown),
            sections.curves_section(run, shown),
            sections.calibration_section(shown, metrics, config.name),
            robustness.shift_section(scores, shown.split),
            robustness.importance_section(scores),
            robustness.sensitivity_section(scores),
            robustness.unsure_section(scores),
            sections.strata_section(scores),
            sections.objects_section(shown, metrics),
            sections.refined_section(scores),
            sections.patches_section(run, predictor, shown),
            sections.made_with(run),
        ),
    )


def _trained_by(run: Run) -> list[tuple[str, str]]:
    """Which run it is, and by which settings that one's seeds and rivals differ most; nothing of one made of others."""
    if run.derived or run.is_converted:
        return []
    training, loss = run.config.training, run.config.loss
    settings = f"{len(run.history)} epochs, {loss.name}, learning rate {training.learning_rate:g}"
    return [("run", f"{run.path.name}: seed {training.seed}, {settings}, batch {training.batch_size}")]


def _made_of(derived: Derived | None) -> list[tuple[str, str]]:
    """How a run was made of others; the origin of the threshold stands beside that."""
    said = derived.said() if derived else {}
    return [(key.replace("_", " "), str(value)) for key, value in said.items() if key != "threshold_from"]
