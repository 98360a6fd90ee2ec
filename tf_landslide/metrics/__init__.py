"""Scores of the landslide class: from integer counts (``counts``), and as Keras metrics for ``compile``.

The Keras ones are loaded on first use, so that counting needs no TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tf_landslide.metrics.keras import F1, BestF1, IoU, Precision, Recall, landslide_metrics

SCORES = ("f1", "precision", "recall", "iou")
"""The scores of the landslide class, in the order in which they are shown."""

IGNORED = 255
"""In a mask of 0 and 1, a pixel of which nobody knows what it is: it is left out of every count."""

_KERAS = ("F1", "BestF1", "IoU", "Precision", "Recall", "landslide_metrics")
__all__ = ["F1", "IGNORED", "SCORES", "BestF1", "IoU", "Precision", "Recall", "landslide_metrics"]


def __getattr__(name: str) -> Any:
    if name in _KERAS:
        return getattr(importlib.import_module("tf_landslide.metrics.keras"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
