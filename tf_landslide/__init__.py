"""Landslide mapping from Sentinel-2 imagery and a terrain model, with Keras and TensorFlow.

``load_dataset``, ``build_model``, ``losses``, ``metrics`` and ``optimizers`` are all that a ``keras fit`` script needs;
``load_model`` and ``load_predictor`` take what training or export made. They are loaded on first use: importing this
package costs nothing, and changes nothing but that ``keras.saving.load_model`` knows the classes of our models.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tf_landslide.core import keras_names

if TYPE_CHECKING:
    from tf_landslide import metrics
    from tf_landslide.data.pipeline import load_dataset
    from tf_landslide.models.build import build_model
    from tf_landslide.predict.load import load_model, load_predictor
    from tf_landslide.training import losses, optimizers

__version__ = "0.1.0"
__all__ = ["build_model", "load_dataset", "load_model", "load_predictor", "losses", "metrics", "optimizers"]

_HOMES = {
    "build_model": "tf_landslide.models.build",
    "load_dataset": "tf_landslide.data.pipeline",
    "load_model": "tf_landslide.predict.load",
    "load_predictor": "tf_landslide.predict.load",
    "losses": "tf_landslide.training",
    "metrics": "tf_landslide",
    "optimizers": "tf_landslide.training",
}

keras_names.announce()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tf_landslide' has no attribute {name!r}")
    home = _HOMES[name]
    if name in ("losses", "metrics", "optimizers"):
        return importlib.import_module(f"{home}.{name}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
