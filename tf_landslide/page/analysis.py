"""Running models on uploads, numbers about the results, and files to take away."""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from tf_landslide.card import ModelCard
from tf_landslide.errors import LandslideError
from tf_landslide.evaluation.figures import overlay
from tf_landslide.evaluation.scores import SCORES, scores
from tf_landslide.page import views
from tf_landslide.page.library import Library
from tf_landslide.page.uploads import Upload


@dataclass(frozen=True)
class Result:
    """What one model gives for one upload: (H, W) float32 probability, and the seconds it took."""

    model: str
    card: ModelCard
    probability: np.ndarray
    seconds: float

    def mask(self, threshold: float | None = None) -> np.ndarray:
        """(H, W) bool, at a threshold or the model's own."""
        return self.probability >= np.float32(self.card.threshold if threshold is None else threshold)


@dataclass
class Analysis:
    """Uploads and what models made of them: ``results[upload][model]``, in order."""

    uploads: list[Upload] = field(default_factory=list)
    results: list[dict[str, Result]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def analyse(
    library: Library,
    uploads: Sequence[Upload],
    models: Sequence[str],
    progress: Callable[[float, str], None] | None = None,
) -> Analysis:
    """Run models on uploads; what cannot be run is a problem in a sentence, the rest is done.

    Args:
        library: loads the models.
        uploads: what to look at.
        models: names of models.
        progress: told the share done and what is next.
    """
    analysis = Analysis(list(uploads), [{} for _ in uploads])
    done, total = 0, max(1, len(uploads) * len(models))
    for name in models:
        if progress:
            progress(done / total, f"loading {name}")
        try:
            predictor = library.predictor(name)
        except LandslideError as error:
            analysis.problems.append(str(error))
            done += len(uploads)
            continue
        for upload, results in zip(analysis.uploads, analysis.results, strict=True):
            if progress:
                progress(done / total, f"{name}: {upload.name}")
            started = time.perf_counter()
            try:
                probability = predictor(upload.channels(predictor))[0, ..., 0]
                results[name] = Result(name, predictor.card, probability, time.perf_counter() - started)
            except LandslideError as error:
                analysis.problems.append(str(error))
            done += 1
    return analysis


def summary(upload: Upload, result: Result, threshold: float | None = None) -> dict:
    """Numbers about a result: means, areas, and scores where there is a mask."""
    mask = result.mask(threshold)
    row = {
        "model": result.model,
        "threshold": float(result.card.threshold if threshold is None else threshold),
        "mean_probability": float(result.probability.mean()),
        "landslide_percent": 100 * float(mask.mean()),
        "landslide_m2": float(mask.sum() * upload.pixel_size**2) if upload.pixel_size else None,
        "seconds": result.seconds,
    }
    if upload.mask is not None:
        true = upload.mask.astype(bool)
        counted = scores((mask & true).sum(), (mask & ~true).sum(), (~mask & true).sum())
        row |= {name: float(value) for name, value in counted.items()}
    return row


COLUMNS = (
    *("model", "mean probability", "landslide %", "landslide m²", "threshold", "seconds"),
    *("F1", "precision", "recall", "IoU"),
)


def table(upload: Upload, results: dict[str, Result], threshold: float | None = None) -> list[list[str]]:
    """A row of ``COLUMNS`` for each model."""
    rows = []
    for row in (summary(upload, result, threshold) for result in results.values()):
        area = "-" if row["landslide_m2"] is None else f"{row['landslide_m2']:,.0f}"
        cells = [row["model"], f"{row['mean_probability']:.4f}", f"{row['landslide_percent']:.2f}", area]
        cells += [f"{row['threshold']:.3f}", f"{row['seconds']:.2f}"]
        rows.append([*cells, *(f"{row[name]:.4f}" if name in row else "-" for name in SCORES)])
    return rows


def sentence(upload: Upload, result: Result, threshold: float | None = None) -> str:
    """A result in words, as Markdown."""
    row = summary(upload, result, threshold)
    area = "" if row["landslide_m2"] is None else f" ({row['landslide_m2'] / 1e4:,.2f} ha)"
    own = "the model's own" if threshold is None else f"moved from {result.card.threshold:.3f}"
    text = f"**{upload.name}**, {result.model}: landslide on **{row['landslide_percent']:.2f} %**{area}, "
    text += f"mean probability {row['mean_probability']:.4f}; threshold {row['threshold']:.3f} ({own}); "
    text += f"{row['seconds']:.2f} s"
    if upload.mask is not None:
        text += "  \n" + ", ".join(f"{name} {row[name]:.4f}" for name in SCORES).replace("f1", "F1").replace(
            "iou", "IoU"
        )
    return text


def status(analysis: Analysis) -> str:
    """What was used and what could not be, as Markdown."""
    lines = [f"✓ {u.description}" for u, results in zip(analysis.uploads, analysis.results, strict=True) if results]
    return "\n\n".join([*lines, *(f"⚠ **{problem}**" for problem in analysis.problems)])


def write_downloads(analysis: Analysis, folder: Path, threshold: float | None = None) -> tuple[Path, list[Path]]:
    """Write every result and a ZIP of all of it.

    ``FILE_MODEL_probability.npy``, ``…_mask.png``, ``…_overlay.png`` for each upload and model, ``summary.json`` and
    ``landslides.zip``.

    Args:
        analysis: with at least one result.
        folder: to write to.
        threshold: for every model; None takes each model's own.

    Returns:
        the ZIP, and the files in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files, rows = [], []
    for upload, results in zip(analysis.uploads, analysis.results, strict=True):
        picture = views.natural(upload)
        for result in results.values():
            stem = f"{Path(upload.name).stem}_{_file_name(result.model)}"
            targets = [folder / f"{stem}_{kind}" for kind in ("probability.npy", "mask.png", "overlay.png")]
            mask = result.mask(threshold)
            np.save(targets[0], result.probability)
            Image.fromarray(mask.astype(np.uint8) * 255).save(targets[1])
            Image.fromarray(overlay(picture, mask)).save(targets[2])
            files += targets
            row = {"file": upload.name, "layout": upload.layout.name if upload.layout else None}
            rows.append(row | summary(upload, result, threshold) | {"files": [path.name for path in targets]})
    (folder / "summary.json").write_text(json.dumps(rows, indent=2) + "\n")
    files.append(folder / "summary.json")
    archive = folder / "landslides.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        for path in files:
            zipped.write(path, path.name)
    return archive, files


def _file_name(model: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in model)
