"""Publish a run's model."""

from __future__ import annotations

from pathlib import Path

from tf_landslide.predict.export import publish
from tf_landslide.predict.load import load_model
from tf_landslide.runs.folder import Run


def export_run(run: Run, models_dir: str | Path, name: str | None = None) -> Path:
    """Publish a run's model as ``MODELS/NAME/VERSION``, one version above the highest there.

    Args:
        run: a finished one.
        models_dir: the folder that a model server watches.
        name: of the model; by default the config's.

    Returns:
        the version's folder.

    Raises:
        LandslideError: an unfinished run, a name that is no folder name, or an export that differs from the model.
    """
    card = run.card()
    return publish(load_model(run.path, compile=False), card, models_dir, name)
