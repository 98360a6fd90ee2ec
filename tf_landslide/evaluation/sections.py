"""What a report on a judged split says, section by section."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps

from tf_landslide.core.tables import Table
from tf_landslide.data.hdf5 import read_image
from tf_landslide.data.synthetic import SYNTHETIC_MARK
from tf_landslide.evaluation.document import Block, Panels, Plot, Section
from tf_landslide.evaluation.judge import Judgement
from tf_landslide.figures import curves, plots
from tf_landslide.figures.pictures import FOUND, INVENTED, MISSED, errors, rgb
from tf_landslide.metrics import IGNORED
from tf_landslide.metrics.calibration import equal_mass, equal_width, reliability
from tf_landslide.metrics.counts import best_threshold, curve, f1_band, patch_f1
from tf_landslide.predict.predictor import Predictor
from tf_landslide.runs import score_tables as tables
from tf_landslide.runs.folder import Run
from tf_landslide.runs.provenance import files_of, has_seen, is_of

_CALIBRATION = (
    "Probabilities as frequencies, over all pixels: ECE is the mean gap between predicted probability and the share "
    "that is landslide in ten bins (of equal width, or as equal in pixels as can be), RMS-CE its root mean square, MCE "
    "the gap of the worst bin, however few pixels it holds, Brier the mean squared error of single pixels. Where "
    "landslides are rare, most pixels lie near 0 and make ECE small: look at the curve."
)
_STRATA = {
    "size": "Recall by the size, in {unit}, of the landslide that a pixel belongs to: what touches, corners included, "
    "within a patch. What is marked outside landslides belongs to no size.",
    "slope": "By slope ({unit}), as the model sees it.",
    "ndvi": "By vegetation: NDVI of the pixel, as the model sees it.",
}


_LEARNED = "the scores say what the model has learned, not what it can do"


def notes(run: Run, shown: Judgement, metrics: dict[str, Any]) -> list[str]:
    """What a reader must know before believing a number."""
    told = []
    if run.environment.get("synthetic") or (shown.source.data_dir / SYNTHETIC_MARK).is_file():
        told.append("SYNTHETIC: the sample landscape was made by a program; it says nothing about real landslides.")
    if run.recipe.layout.caveat:
        told.append(run.recipe.layout.caveat)
    data = run.config.data
    if (share := data.valid_share) and not data.groups.given:
        told.append(
            f"Validation is a share ({share:g}) of the training split, drawn by chance: its patches may lie beside "
            "those that were trained on."
        )
    if groups := metrics.get("valid", {}).get("groups_of_train"):
        told.append(
            f"Validation is whole groups of the training split, on which nothing was trained: {', '.join(groups)}."
        )
    own = is_of(run, shown.source.data_dir, shown.split)
    if shown.split == "train" and own:
        told.append(f"These patches were trained on: {_LEARNED}.")
    if not own and has_seen(run, files_of(run, shown.source.data_dir, shown.split)):
        told.append(f"The model was trained on these patches, whatever split they are here: {_LEARNED}.")
    if shown.split == "valid" and own:
        chosen = "epoch and the threshold were" if not run.came_with_threshold else "epochs of what it is made of were"
        told.append(f"The {chosen} chosen on validation: its scores flatter. Quote a test split.")
    return told


def scores_section(run: Run, shown: Judgement, metrics: dict[str, Any]) -> Section:
    scores = shown.scores
    origin = (
        "The threshold was chosen on validation, so validation's own scores are slightly flattering; test is the "
        "split to quote."
    )
    if run.is_converted:
        origin = (
            "The threshold came with the model, which was trained elsewhere: on which patches, these scores do not "
            "know."
        )
    elif run.came_with_threshold:
        origin = f"The threshold was not chosen for this model: it is {run.threshold_from}."
    elif not is_of(run, shown.source.data_dir, "valid"):
        origin = (
            "The threshold was chosen on the validation split that the model was trained beside, not on these data."
        )
    text = (
        f"Counts are summed over all pixels of a split, then divided once. {origin} Intervals are 95 %, from a "
        f"bootstrap over patches. At threshold 0.5, {shown.split} scores F1 {scores['at_0.5']['f1']:.4f}; "
        f"the best threshold on {shown.split} itself would be {best_threshold(shown.histograms):.3f}."
    )
    groups = tables.intervals_table(metrics)
    grouped = "Patches of one group (data.groups) are alike; an interval over whole groups does not count them twice."
    over_groups: list[Block] = [groups, grouped] if groups else []
    return Section("Scores", [tables.scores_table(metrics), text, *over_groups])


def counts_section(shown: Judgement) -> Section:
    """The confusion counts, and the pixels that they sum to."""
    scores = shown.scores
    height, width = shown.source.shape[:2]
    known = scores["pixels"] - scores["ignored"]
    left = f" less {scores['ignored']:,} whose mask leaves them out" if scores["ignored"] else ""
    text = (
        f"{scores['patches']:,} patches of {height} x {width} are {scores['pixels']:,} pixels{left}; the four counts "
        f"sum to {known:,}, all of them. A pixel is marked from probability {scores['threshold']:.3f} on."
    )
    return Section("Counts", [tables.confusion_table(scores), text])


def curves_section(run: Run, shown: Judgement) -> Section:
    at_all, title = curve(shown.histograms), f"{run.config.name}, {shown.split}"
    over = curves.over_threshold(at_all, f1_band(shown.histograms), shown.scores["threshold"], title)
    blocks: list[Block] = [
        Plot(
            "precision_recall",
            "Precision against recall over all thresholds, the chosen one marked",
            curves.precision_recall(at_all, shown.scores, title),
        ),
        Plot("over_threshold", "F1, precision and recall over all thresholds", over),
    ]
    if run.history:  # a model that came from elsewhere has none
        figure = curves.learning_curve(run.history, run.config.name)
        blocks.append(Plot("learning_curve", "Loss and F1 by epoch", figure, wide=True))
    return Section("Thresholds and training" if run.history else "Thresholds", blocks)


def calibration_section(shown: Judgement, metrics: dict[str, Any], name: str) -> Section:
    if not shown.scores["calibration"]["bins"]:
        return Section("Calibration", [])
    binned = {
        "bins of equal width": reliability(shown.histograms, equal_width()),
        "bins of equal mass": reliability(shown.histograms, equal_mass(shown.histograms)),
    }
    rows = [
        (f"{r['low']:.1f} to {r['high']:.1f}", f"{r['pixels']:,}", f"{r['probability']:.3f}", f"{r['frequency']:.3f}")
        for r in shown.scores["calibration"]["bins"]
    ]
    return Section(
        "Calibration",
        [
            tables.calibration_table(metrics),
            _CALIBRATION,
            Plot("reliability", "Reliability diagram", curves.reliability(binned, f"{name}, {shown.split}")),
            Table(("probability", "pixels", "mean", "landslide"), rows),
        ],
    )


def strata_section(scores: dict[str, Any]) -> Section:
    blocks: list[Block] = []
    for name, told in scores["strata"].items():
        blocks += [_STRATA[name].format(unit=told["unit"]), tables.strata_table(told)]
    return Section("By what pixels lie on", blocks)


def objects_section(shown: Judgement, metrics: dict[str, Any]) -> Section:
    told = shown.scores["objects"]
    text = (
        "An object is a group of marked pixels that touch, corners included; pairs of a true and a found one are made "
        "one to one. Missed: true objects without a partner at that intersection over union (IoU); invented: found "
        f"ones. In {shown.split}, {told['split']} of {told['truth']} true objects are found in pieces, "
        f"{told['merging']} of {told['found']} found ones merge several, and the marked area is "
        f"{tables.percent(told['area_error'])} off the true one. By size, at IoU 0.3:"
    )
    return Section("Objects", [tables.objects_table(metrics), text, tables.sizes_table(told)])


def refined_section(scores: dict[str, Any]) -> Section:
    """The same map refined by rules; empty where none were given."""
    if "refined" not in scores:
        return Section("Refined by objects", [])
    refined = scores["refined"]
    forest = " and their forest" if refined["by_forest"] else ""
    left = ", ".join(f"{name} ({why})" for name, why in refined["left_out"].items())
    text = (
        f"By the rules {refined['rules']}{forest}, see docs/objects.md. Both maps are of the same patches; intervals "
        "of the difference are 95 %, from a bootstrap that draws the same patches of both."
        + (f" What these data cannot tell was left out: {left}." if left else "")
        + (f" {refined['caveat']}" if refined["caveat"] else "")
    )
    return Section("Refined by objects", [tables.refined_table(scores), text])


def patches_section(run: Run, predictor: Predictor, shown: Judgement) -> Section:
    """The best, the median and the worst patch."""
    threshold = shown.scores["threshold"]
    f1, blocks = patch_f1(shown.histograms, threshold), []
    for label, position in pick_patches(f1).items():
        channels, masks = shown.source.fetch(np.array([position]))
        image = shown.source.patches[position].image
        assert image is not None  # a source holds pairs
        picture, mask = rgb(read_image(image, allow_missing=True), run.recipe.layout), masks[0, ..., 0]
        probability = predictor(channels)[0, ..., 0]
        title = f"{image.name}: {label} of {shown.split}, F1 {f1[position]:.3f}"
        marked = probability >= np.float32(threshold)
        panels = (
            ("picture", picture),
            ("ground truth", _coloured("viridis", np.where(mask == IGNORED, 0.5, mask))),
            ("probability", _coloured("plasma", probability)),
            (f"marked from {threshold:.3f} on", errors(picture, marked, mask)),
        )
        legend = ((FOUND, "found"), (MISSED, "missed"), (INVENTED, "invented"))
        figure = plots.triptych(picture, mask == 1, probability, title)
        blocks.append(Panels(f"triptych_{label}", title, panels, legend, figure))
    return Section("Best, median and worst patch", blocks)


def pick_patches(f1: np.ndarray) -> dict[str, int]:
    """Positions of the best, median and worst patch by F1, among those where there is anything to find or mark."""
    order = np.argsort(f1)[: int(np.isfinite(f1).sum())]  # NaN sorts last
    if not len(order):
        return {}
    return {"best": int(order[-1]), "median": int(order[len(order) // 2]), "worst": int(order[0])}


def made_with(run: Run) -> Section:
    """Versions, seed and revision, where they were written down."""
    about = run.environment
    parts = [f"{name} {version}" for name, version in about.get("packages", {}).items() if version]
    parts += [f"{name} {about[name]}" for name in ("python", "platform") if about.get(name)]
    parts += [f"seed {about['seed']}"] if "seed" in about else []
    parts += [f"revision {about['git_revision']}"] if about.get("git_revision") else []
    return Section("Made with", [", ".join(parts)])


def _coloured(name: str, values: np.ndarray) -> np.ndarray:
    """(H, W) of 0..1 as a picture by one of Matplotlib's colour maps."""
    return colormaps[name](np.clip(values, 0, 1), bytes=True)[..., :3]
