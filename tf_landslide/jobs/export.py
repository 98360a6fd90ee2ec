"""Publish a run's model."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from tf_landslide.core.errors import require_known
from tf_landslide.core.files import write_json
from tf_landslide.predict.export import publish
from tf_landslide.predict.load import load_model
from tf_landslide.runs import formats
from tf_landslide.runs.folder import Run
from tf_landslide.runs.precision import FLOAT32, PRECISIONS, SHORT, read_proof


def export_run(run: Run, models_dir: str | Path, name: str | None = None, precision: str = FLOAT32) -> Path:
    """Publish a run's model as ``MODELS/NAME/VERSION``, one version above the highest there.

    Args:
        run: a finished one.
        models_dir: the folder that a model server watches.
        name: of the model; by default the config's.
        precision: what the predictor, maps and the page compute it in; a short format must be proven for the run. The
            SavedModel, and so a server, computes in float32 in any case.

    Returns:
        the version's folder.

    Raises:
        LandslideError: an unfinished run, a name that is no folder name, a precision that is not proven, or an export
            that differs from the model.
    """
    require_known(precision, PRECISIONS, "precision")
    card, folder = run.card(), formats.precision_folder(run.path, precision)
    proof = read_proof(folder, precision, run.model_digest, run.path) if precision in SHORT else None

    def add_short_format(version: Path) -> None:
        if proof:
            kept = formats.precision_folder(version, precision)
            shutil.copytree(folder, kept)
            write_json(kept / formats.PROOF, replace(proof, model=formats.export_digest(version)).as_dict())

    return publish(load_model(run.path, compile=False), card, models_dir, name, add_short_format)
