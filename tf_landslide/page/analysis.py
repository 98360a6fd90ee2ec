"""Running models on uploads, numbers about the results, and files to take away."""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tf_landslide.core.errors import LandslideError
from tf_landslide.metrics import SCORES
from tf_landslide.page import views
from tf_landslide.page.library import Library
from tf_landslide.page.uploads import Upload
from tf_landslide.predict.result import Result

COLUMNS = (
    *("model", "mean probability", "landslide %", "landslide m²", "threshold", "seconds"),
    *("F1", "precision", "recall", "IoU"),
)


@dataclass
class Analysis:
    """Uploads and what models made of them: ``results[upload][model]``, in order."""

    uploads: list[Upload] = field(default_factory=list)
    results: list[dict[str, Result]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def at(self, upload: int, threshold: float | None = None) -> dict[str, Result]:
        """An upload's results by model, each at a threshold, or at its model's own where that is None."""
        results = self.results[upload]
        if threshold is None:
            return results
        return {name: replace(result, threshold=threshold) for name, result in results.items()}


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
                channels = upload.channels(predictor)
                probability = predictor(channels)[0, ..., 0]
                missing = int((~np.isfinite(channels)).sum())
                results[name] = Result(
                    upload.name,
                    predictor.card,
                    probability,
                    predictor.card.threshold,
                    upload.pixel_size,
                    missing,
                    seconds=time.perf_counter() - started,
                )
            except LandslideError as error:
                analysis.problems.append(str(error))
            done += 1
    return analysis


def table(analysis: Analysis, upload: int, threshold: float | None = None) -> list[list[str]]:
    """A row of ``COLUMNS`` for each model on one upload."""
    rows = []
    for name, result in analysis.at(upload, threshold).items():
        row = result.summary(analysis.uploads[upload].mask)
        area = "-" if row["landslide_area_m2"] is None else f"{row['landslide_area_m2']:,.0f}"
        cells = [name, f"{row['mean_probability']:.4f}", f"{100 * row['landslide_fraction']:.2f}", area]
        cells += [f"{row['threshold']:.3f}", f"{result.seconds:.2f}"]
        rows.append([*cells, *(f"{row[score]:.4f}" if score in row else "-" for score in SCORES)])
    return rows


def sentence(analysis: Analysis, upload: int, model: str, threshold: float | None = None) -> str:
    """A result in words, as Markdown."""
    result, truth = analysis.at(upload, threshold)[model], analysis.uploads[upload].mask
    row = result.summary(truth)
    area = "" if row["landslide_area_m2"] is None else f" ({row['landslide_area_m2'] / 1e4:,.2f} ha)"
    own = "the model's own" if threshold is None else f"moved from {result.card.threshold:.3f}"
    text = f"**{result.name}**, {model}: landslide on **{100 * row['landslide_fraction']:.2f} %**{area}, "
    text += f"mean probability {row['mean_probability']:.4f}; threshold {row['threshold']:.3f} ({own}); "
    text += f"{result.seconds:.2f} s"
    if truth is not None:
        labels = {"f1": "F1", "iou": "IoU"}
        text += "  \n" + ", ".join(f"{labels.get(name, name)} {row[name]:.4f}" for name in SCORES)
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
    files: list[Path] = []
    rows: list[dict[str, Any]] = []
    for position, upload in enumerate(analysis.uploads):
        picture = views.natural(upload)
        for name, result in analysis.at(position, threshold).items():
            written = list(result.write(folder, f"{Path(upload.name).stem}_{_file_name(name)}", picture).values())
            files += written
            rows.append(
                {"file": upload.name, "layout": upload.layout.name if upload.layout else None, "model": name}
                | result.summary(upload.mask)
                | {"seconds": result.seconds, "files": [path.name for path in written]}
            )
    (folder / "summary.json").write_text(json.dumps(rows, indent=2) + "\n")
    files.append(folder / "summary.json")
    archive = folder / "landslides.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        for path in files:
            zipped.write(path, path.name)
    return archive, files


def _file_name(model: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in model)
