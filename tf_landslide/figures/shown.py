"""A few patches that are shown again and again while a model learns."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib
import numpy as np

from tf_landslide.bands.layouts import BandLayout
from tf_landslide.data.hdf5 import read_image
from tf_landslide.data.source import PatchSource
from tf_landslide.figures.pictures import rgb
from tf_landslide.metrics import IGNORED

_GREYS = {0: 0, 1: 255, IGNORED: 128}


@dataclass(frozen=True)
class ShownPatches:
    """Patches, and what of them stays the same.

    Attributes:
        names: of the patches' files.
        channels: (n, H, W, C) float32.
        pictures: (H, W, 3) uint8 of each.
        masks: (n, H, W) uint8 of 0, 1 and ``IGNORED``.
    """

    names: tuple[str, ...]
    channels: np.ndarray
    pictures: tuple[np.ndarray, ...]
    masks: np.ndarray

    @classmethod
    def of(cls, source: PatchSource, layout: BandLayout, count: int) -> ShownPatches:
        """Up to ``count`` patches of a split, spread over those with landslides; over all where none has any."""
        having = np.flatnonzero(source.positive) if source.positive.any() else np.arange(len(source))
        chosen = having[np.linspace(0, len(having) - 1, min(count, len(having))).round().astype(int)]
        channels, masks = source.fetch(chosen)
        files = [path for position in chosen if (path := source.patches[position].image)]
        pictures = tuple(rgb(read_image(path, allow_missing=True), layout) for path in files)
        return cls(tuple(path.stem for path in files), channels, pictures, masks[..., 0])

    def drawn(self, probability: np.ndarray) -> dict[str, np.ndarray]:
        """Picture, mask (white landslide, grey unknown) and probability (plasma, 0 to 1) side by side, by name.

        Args:
            probability: (n, H, W).

        Returns:
            (H, 3 W, 3) uint8 of each patch.
        """
        colours = (matplotlib.colormaps["plasma"](probability)[..., :3] * 255).round().astype(np.uint8)
        greys = np.zeros_like(self.masks)
        for value, grey in _GREYS.items():
            greys[self.masks == value] = grey
        rows = zip(self.names, self.pictures, greys, colours, strict=True)
        return {name: np.concatenate([p, np.repeat(g[..., None], 3, -1), c], axis=1) for name, p, g, c in rows}
