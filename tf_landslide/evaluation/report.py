"""Judging a run: metrics.json, figures and a readable report."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np

from tf_landslide.bands import get_layout
from tf_landslide.card import scores_table
from tf_landslide.data.patches import read_image
from tf_landslide.data.pipeline import PatchSource
from tf_landslide.errors import LandslideError
from tf_landslide.evaluation import figures
from tf_landslide.evaluation.scores import Histograms, best_threshold, curve, judge, patch_f1
from tf_landslide.files import replacing, write_json
from tf_landslide.predictor import Predictor, predictor_of
from tf_landslide.progress import progress


def predictions(predictor: Predictor, source: PatchSource, label: str = ""):
    """(probability, mask) of every patch of a split, in order, (H, W) each."""
    step = predictor.batch_size
    for start in progress(range(0, len(source), step), label=f"judging {label}", unit="batch"):
        channels, masks = source.fetch(np.arange(start, min(start + step, len(source))))
        yield from zip(predictor(channels)[..., 0], masks[..., 0], strict=True)


def judge_run(run, sources: dict[str, PatchSource]) -> dict:
    """Choose the threshold on validation, judge every split with it, and write ``metrics.json`` and ``report/``.

    Returns:
        the scores by split.
    """
    predictor = predictor_of(run.load_model(), run.card(threshold=0.5))
    histograms = {split: Histograms.of(predictions(predictor, sources[split], split)) for split in sources}
    threshold = best_threshold(histograms["valid"])
    metrics = {split: judge(h, threshold) for split, h in histograms.items()}
    write_json(run.path / "metrics.json", metrics)
    shown = "test" if "test" in sources else "valid"
    write_report(run, predictor, shown, sources[shown], histograms[shown], metrics, run.path / "report")
    return metrics


def evaluate_split(run, source: PatchSource, split: str, out: Path) -> dict:
    """Judge one split of any dataset with the run's own threshold, and write a report to ``out``.

    The run's ``metrics.json`` stays what training judged, on the data it trained with.

    Returns:
        the scores of the split.
    """
    if out.exists() and not out.is_dir():
        raise LandslideError(f"{out}: is a file; name a folder for the report")
    predictor = predictor_of(run.load_model(), run.card())
    histograms = Histograms.of(predictions(predictor, source, split))
    scores = judge(histograms, run.threshold)
    write_report(run, predictor, split, source, histograms, {split: scores}, out)
    return scores


def write_report(run, predictor, split, source, histograms, metrics, out: Path) -> None:
    """Write figures, the split's ``metrics.json`` and ``report.md`` into ``out``, in place of an earlier report."""
    scores = metrics[split]
    threshold = scores["threshold"]
    f1 = patch_f1(histograms, threshold)
    pictures = []
    with tempfile.TemporaryDirectory() as folder:
        staging = Path(folder)
        for label, position in pick_patches(f1).items():
            channels, mask = source.fetch(np.array([position]))
            patch = source.patches[position]
            rgb = figures.rgb(read_image(patch.image, allow_missing=True), get_layout(run.config.data.layout))
            probability = predictor(channels)[0, ..., 0]
            name = f"triptych_{label}.png"
            title = f"{patch.image.name}: {label} of {split}, F1 {f1[position]:.3f}"
            figures.triptych(staging / name, rgb, mask[0, ..., 0], probability, title)
            pictures.append(name)
        title = f"{run.config.name}, {split}"
        figures.precision_recall(staging / "precision_recall.png", curve(histograms), scores, title)
        figures.learning_curve(staging / "learning_curve.png", run.history, run.config.name)
        pictures += ["precision_recall.png", "learning_curve.png"]
        write_json(staging / "metrics.json", {split: scores})
        data_dir = source.patches[0].image.parents[2]
        (staging / "report.md").write_text(report_text(run, split, metrics, pictures, data_dir))
        out.mkdir(parents=True, exist_ok=True)
        for path in staging.iterdir():
            with replacing(out / path.name) as partial:
                shutil.copyfile(path, partial)


def pick_patches(f1: np.ndarray) -> dict[str, int]:
    """Positions of the best, median and worst patch by F1, among those where there is anything to find or mark."""
    order = np.argsort(f1)[: int(np.isfinite(f1).sum())]  # NaN sorts last
    if not len(order):
        return {}
    return {"best": int(order[-1]), "median": int(order[len(order) // 2]), "worst": int(order[0])}


def report_text(run, split: str, metrics: dict, pictures: list[str], data_dir: Path) -> str:
    """The report as Markdown."""
    config = run.config
    model = " + ".join(filter(None, (config.model.architecture, config.model.encoder)))
    layout = get_layout(config.data.layout)
    return "\n".join(
        [
            f"# {config.name}: {split}",
            "",
            f"{model} on {', '.join(run.features().channels)}; data: {layout.title}, in `{data_dir}`.",
            "",
            scores_table(metrics),
            "",
            "Counts are summed over all pixels of a split, then divided once. The threshold was chosen on validation, "
            "so validation's own scores are slightly flattering; test is the split to quote. Intervals are 95 %, from "
            "a bootstrap over patches. "
            f"At threshold 0.5, {split} scores F1 {metrics[split]['at_0.5']['f1']:.4f}.",
            "",
            *(f"![{name}]({name})\n" for name in pictures),
        ]
    )
