"""What a model gives for one image: the one form in which predictions are shown, summed up and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import replacing
from tf_landslide.figures.pictures import overlay
from tf_landslide.metrics.counts import scores
from tf_landslide.runs.card import ModelCard

FILES = {"probability": "probability.npy", "mask": "mask.png", "overlay": "overlay.png"}
"""What ``Result.write`` writes, each behind the stem of a name."""


@dataclass(frozen=True)
class Result:
    """A probability for every pixel of an image, and what is needed to read it.

    Attributes:
        name: of the image.
        card: of the model.
        probability: (H, W) float32.
        threshold: a pixel is a landslide from this probability on; the model's own, unless it was moved.
        pixel_size: ground size of a pixel in metres, or None where nobody says.
        missing: number of missing channel values.
        seconds: that computing it took, where somebody looked.
        refined: (H, W) bool, the mask where rules have refined it.
    """

    name: str
    card: ModelCard
    probability: np.ndarray
    threshold: float
    pixel_size: float | None = None
    missing: int = 0
    seconds: float | None = None
    refined: np.ndarray | None = None

    def mask(self) -> np.ndarray:
        """(H, W) bool, true on landslide: refined, where rules did so."""
        return self.network_mask() if self.refined is None else self.refined

    def network_mask(self) -> np.ndarray:
        """(H, W) bool, true where the network reaches the threshold."""
        return self.probability >= np.float32(self.threshold)

    def summary(self, truth: np.ndarray | None = None) -> dict[str, Any]:
        """Numbers about it, for people and for JSON.

        Args:
            truth: (H, W) mask of 0 and 1, to score by.

        Returns:
            ``threshold``, ``mean_probability``, ``landslide_fraction`` (of the pixels), ``landslide_area_m2`` (None
            without a pixel size), and with a truth ``f1 precision recall iou``, each None where it has nothing to
            divide by (no F1 where there is nothing to find and nothing was marked).
        """
        mask = self.mask()
        summary = {
            "threshold": float(self.threshold),
            "mean_probability": float(self.probability.mean()),
            "landslide_fraction": float(mask.mean()),
            "landslide_area_m2": float(mask.sum() * self.pixel_size**2) if self.pixel_size else None,
        }
        if truth is not None:
            summary |= defined_scores(**self.counts(truth))
        return summary

    def counts(self, truth: np.ndarray) -> dict[str, int]:
        """Pixels that are hits (``tp``), false alarms (``fp``) and misses (``fn``), by a mask (H, W) of 0 and 1."""
        mask, true = self.mask(), truth.astype(bool)
        return {
            "tp": int((mask & true).sum()),
            "fp": int((mask & ~true).sum()),
            "fn": int((~mask & true).sum()),
        }

    def write(
        self, folder: Path, stem: str, picture: np.ndarray, maps: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, Path]:
        """Write ``STEM_probability.npy`` (float32), ``STEM_mask.png`` (255 on landslide) and ``STEM_overlay.png``.

        Of a refined result the network's own mask too, ``STEM_mask_pixels.png``.

        Args:
            folder: to write to; each file appears whole or not at all.
            stem: of their names.
            picture: (H, W, 3) uint8, to lay the mask over.
            maps: (H, W) float32 arrays by name, each written as ``STEM_NAME.npy``.

        Returns:
            the paths by kind, as in ``FILES``; ``mask_pixels`` too of a refined one.
        """
        mask = self.mask()
        paths = {kind: folder / f"{stem}_{ending}" for kind, ending in FILES.items()}
        arrays = {"probability": self.probability, **(maps or {})}
        paths |= {name: folder / f"{stem}_{name}.npy" for name in arrays}
        for name, array in arrays.items():
            with replacing(paths[name]) as partial:
                np.save(partial, array.astype(np.float32))
        pictures = {"mask": mask.astype(np.uint8) * 255, "overlay": overlay(picture, mask)}
        if self.refined is not None:
            paths["mask_pixels"] = folder / f"{stem}_mask_pixels.png"
            pictures["mask_pixels"] = self.network_mask().astype(np.uint8) * 255
        for kind, pixels in pictures.items():
            with replacing(paths[kind]) as partial:
                Image.fromarray(pixels).save(partial)
        return paths


def defined_scores(tp: int, fp: int, fn: int) -> dict[str, float | None]:
    """F1, precision, recall and IoU of the landslide class; None where a ratio has nothing to divide by."""
    divided_by = {"f1": tp + fp + fn, "precision": tp + fp, "recall": tp + fn, "iou": tp + fp + fn}
    return {name: float(value) if divided_by[name] else None for name, value in scores(tp, fp, fn).items()}


def check_threshold(threshold: float) -> float:
    """The threshold. Raises ``LandslideError`` where it is no probability."""
    if not 0 <= threshold <= 1:
        raise LandslideError(f"the threshold must lie in 0..1, got {threshold}")
    return threshold


def channel_ranges(channels: np.ndarray, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Minimum, mean and maximum of each channel of (H, W, C), missing values skipped; empty where all are missing."""
    ranges = {}
    for name, plane in zip(names, np.moveaxis(channels, -1, 0), strict=True):
        values = plane[np.isfinite(plane)]
        ranges[name] = (
            {"min": float(values.min()), "mean": float(values.mean()), "max": float(values.max())}
            if values.size
            else {}
        )
    return ranges
