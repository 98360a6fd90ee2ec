"""Landslide mapping from Sentinel-2 imagery and a terrain model, with Keras and TensorFlow.

``load_dataset``, ``build_model``, ``losses``, ``metrics`` and ``optimizers`` are all that a ``keras fit`` script needs.
They are loaded on first use: importing this package costs nothing and changes nothing.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"
__all__ = ["build_model", "load_dataset", "losses", "metrics", "optimizers"]

_HOMES = {"load_dataset": "tf_landslide.data.pipeline", "build_model": "tf_landslide.models"}


def __getattr__(name: str):
    if name in ("losses", "metrics", "optimizers"):
        return importlib.import_module(f"tf_landslide.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tf_landslide' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
