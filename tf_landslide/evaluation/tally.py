"""What is counted of a split beside the histograms, a patch at a time: pixels, objects, classes of pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_landslide.bands.recipes import ChannelRecipe
from tf_landslide.metrics import IGNORED
from tf_landslide.metrics.objects import ObjectCounts, object_scores
from tf_landslide.metrics.resampling import bootstrap
from tf_landslide.metrics.strata import strata_of, stratum_counts, stratum_scores


class MasksDigest:
    """Tells whether two splits are of the same masks."""

    def __init__(self) -> None:
        self._sum = hashlib.sha256()

    def add(self, mask: np.ndarray) -> None:
        self._sum.update(np.ascontiguousarray(mask, np.uint8).tobytes())

    @property
    def text(self) -> str:
        return self._sum.hexdigest()


class Tally:
    """Counts of patches as they are judged.

    Args:
        recipe: of the model's channels, which decides by what pixels can be divided.
    """

    def __init__(self, recipe: ChannelRecipe):
        self.strata = strata_of(recipe)
        self._digest = MasksDigest()
        self._pixels: list[int] = []
        self._ignored: list[int] = []
        self._objects: list[ObjectCounts] = []
        self._counts: list[list[np.ndarray]] = [[] for _ in self.strata]

    def codes(self, channels: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
        """The class of each pixel of a patch, (H, W) uint8 for each way to divide them."""
        return [strata.codes(channels, mask) for strata in self.strata]

    def add(self, codes: Sequence[np.ndarray], marked: np.ndarray, mask: np.ndarray) -> None:
        """Count a patch, as it is marked: (H, W) bool, beside its mask (H, W)."""
        self._digest.add(mask)
        self._pixels.append(mask.size)
        self._ignored.append(int((mask == IGNORED).sum()))
        self._objects.append(ObjectCounts.of([(marked, mask)]))
        for strata, of_pixel, counts in zip(self.strata, codes, self._counts, strict=True):
            counts.append(stratum_counts(of_pixel, marked, mask, len(strata.labels)))

    @property
    def pixels(self) -> np.ndarray:
        """(n,) int64 pixels of each patch, whatever its mask says of them."""
        return np.array(self._pixels, np.int64)

    @property
    def ignored(self) -> np.ndarray:
        """(n,) int64 pixels of each patch that its mask leaves out."""
        return np.array(self._ignored, np.int64)

    @property
    def masks(self) -> str:
        """SHA-256 of the masks, in the order of the patches."""
        return self._digest.text

    def scores(self, *, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
        """``pixels`` and ``ignored`` (numbers), ``objects`` and ``strata`` of the split, for its scores."""
        draws = bootstrap(len(self._pixels), resamples, seed)
        return {
            "pixels": sum(self._pixels),
            "ignored": sum(self._ignored),
            "objects": object_scores(ObjectCounts.joined(self._objects), resamples=resamples, seed=seed),
            "strata": {
                strata.name: stratum_scores(strata, np.array(counts), draws)
                for strata, counts in zip(self.strata, self._counts, strict=True)
            },
        }
