"""Files to take away."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from tf_landslide.core.files import write_text
from tf_landslide.page import views
from tf_landslide.page.analysis import Analysis
from tf_landslide.page.tables import as_csv, records, totals
from tf_landslide.page.text import distinct

ARCHIVE = "landslides.zip"


def write_downloads(analysis: Analysis, folder: Path, threshold: float | None = None) -> tuple[Path, list[Path]]:
    """Write every result and a ZIP of all of it.

    ``FILE_MODEL_probability.npy``, ``…_mask.png``, ``…_overlay.png`` for each upload and model, no two of one name, and
    ``…_mask_pixels.png``, the network's own mask, of what rules refine;
    ``patches.csv`` and ``totals.csv``, and ``summary.json``, which also says which files belong to which patch.

    Args:
        analysis: with at least one result.
        folder: to write to.
        threshold: for every model; None takes each model's own.

    Returns:
        the ZIP, and the files in it: tables first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    written: dict[tuple[str, str], list[str]] = {}
    taken: set[str] = set()
    for position, upload in enumerate(analysis.uploads):
        picture = views.natural(upload)
        for name, result in analysis.at(position, threshold).items():
            stem = distinct(f"{Path(upload.name).stem}_{_file_name(name)}", taken)
            taken.add(stem.casefold())
            paths = list(result.write(folder, stem, picture).values())
            files += paths
            written[upload.name, name] = [path.name for path in paths]
    rows = records(analysis, threshold)
    summary = [row | {"files": written[row["file"], row["model"]]} for row in rows]
    tables = {
        "patches.csv": as_csv(rows),
        "totals.csv": as_csv(totals(rows)),
        "summary.json": json.dumps(summary, indent=2) + "\n",
    }
    for name, text in tables.items():
        write_text(folder / name, text)
    files = [*(folder / name for name in tables), *files]
    with zipfile.ZipFile(folder / ARCHIVE, "w", zipfile.ZIP_DEFLATED) as zipped:
        for path in files:
            zipped.write(path, path.name)
    return folder / ARCHIVE, files


def _file_name(model: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in model)
