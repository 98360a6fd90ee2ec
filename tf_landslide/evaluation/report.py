"""The readable report on a judged split: figures and a page of Markdown."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tf_landslide.core.files import replacing, write_json
from tf_landslide.core.templates import render
from tf_landslide.data.hdf5 import read_image
from tf_landslide.evaluation.judge import Judgement
from tf_landslide.figures import plots
from tf_landslide.figures.pictures import rgb
from tf_landslide.metrics.calibration import equal_mass, equal_width, reliability
from tf_landslide.metrics.counts import curve, patch_f1
from tf_landslide.predict.predictor import Predictor
from tf_landslide.runs import formats
from tf_landslide.runs.card import calibration_table, objects_table, percent, refined_table, scores_table, sizes_table
from tf_landslide.runs.folder import Run

_TEMPLATE = Path(__file__).parent / "report.md.jinja"


def write_report(run: Run, predictor: Predictor, shown: Judgement, metrics: dict[str, Any], out: Path) -> None:
    """Write figures, the shown split's ``metrics.json`` and ``report.md`` into ``out``, in place of an earlier report.

    Args:
        run: that was judged.
        predictor: of it, to show patches by.
        shown: the split that the figures are of.
        metrics: scores by split, for the table.
        out: the report's folder.
    """
    with tempfile.TemporaryDirectory() as folder:
        staging = Path(folder)
        pictures = [*_triptychs(run, predictor, shown, staging), *_curves(run, shown, staging)]
        write_json(staging / formats.METRICS, {shown.split: metrics[shown.split]})
        (staging / formats.REPORT_FILE).write_text(report_text(run, shown, metrics, pictures))
        out.mkdir(parents=True, exist_ok=True)
        for path in staging.iterdir():
            with replacing(out / path.name) as partial:
                shutil.copyfile(path, partial)


def _triptychs(run: Run, predictor: Predictor, shown: Judgement, folder: Path) -> list[str]:
    """The best, the median and the worst patch. Returns the pictures' names."""
    f1, names = patch_f1(shown.histograms, shown.scores["threshold"]), []
    for label, position in pick_patches(f1).items():
        channels, mask = shown.source.fetch(np.array([position]))
        image = shown.source.patches[position].image
        assert image is not None  # a source holds pairs
        picture = rgb(read_image(image, allow_missing=True), run.recipe.layout)
        title = f"{image.name}: {label} of {shown.split}, F1 {f1[position]:.3f}"
        names.append(f"triptych_{label}.png")
        plots.triptych(folder / names[-1], picture, mask[0, ..., 0] == 1, predictor(channels)[0, ..., 0], title)
    return names


def _curves(run: Run, shown: Judgement, folder: Path) -> list[str]:
    title = f"{run.config.name}, {shown.split}"
    plots.precision_recall(folder / "precision_recall.png", curve(shown.histograms), shown.scores, title)
    binned = {
        "bins of equal width": reliability(shown.histograms, equal_width()),
        "bins of equal mass": reliability(shown.histograms, equal_mass(shown.histograms)),
    }
    plots.reliability(folder / "reliability.png", binned, title)
    if not run.history:  # a model that came from elsewhere
        return ["precision_recall.png", "reliability.png"]
    plots.learning_curve(folder / "learning_curve.png", run.history, run.config.name)
    return ["precision_recall.png", "reliability.png", "learning_curve.png"]


def pick_patches(f1: np.ndarray) -> dict[str, int]:
    """Positions of the best, median and worst patch by F1, among those where there is anything to find or mark."""
    order = np.argsort(f1)[: int(np.isfinite(f1).sum())]  # NaN sorts last
    if not len(order):
        return {}
    return {"best": int(order[-1]), "median": int(order[len(order) // 2]), "worst": int(order[0])}


def report_text(run: Run, shown: Judgement, metrics: dict[str, Any], pictures: list[str]) -> str:
    """The report as Markdown."""
    config = run.config
    return render(
        _TEMPLATE,
        config=config,
        split=shown.split,
        converted=run.is_converted,
        network=" + ".join(filter(None, (config.model.architecture, config.model.encoder))),
        channel_names=run.recipe.channel_names,
        layout=run.recipe.layout,
        data_dir=shown.source.data_dir,
        scores=scores_table(metrics),
        calibration=calibration_table(metrics),
        objects=objects_table(metrics),
        of_split=shown.scores["objects"],
        sizes=sizes_table(shown.scores["objects"]),
        area_error=percent(shown.scores["objects"]["area_error"]),
        refined=shown.scores.get("refined"),
        refined_rows=refined_table(shown.scores),
        share=None if config.data.groups.given else config.data.valid_share,
        groups=metrics.get("valid", {}).get("groups_of_train"),
        f1_at_half=shown.scores["at_0.5"]["f1"],
        pictures=pictures,
    )
