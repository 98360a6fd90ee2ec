"""How an image is segmented: settings, and the spread of each layer.

Reflectance, degrees and probabilities have very different ranges. So each layer is divided by its *spread*, about one
standard deviation of ordinary ground, which is the same for the whole scene: a part of it is cut as the whole is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from tf_landslide.core.errors import LandslideError, lookup, require_known

METHODS = ("felzenszwalb", "slic", "watershed", "lsms")

LARGEST = 2**14
"""Pixels of the largest mean segment: tiles, and with them the memory that is needed, grow with it."""

SPREADS: dict[str, float] = {
    "probability": 0.25,
    **dict.fromkeys(("ndvi", "ndwi", "ndmi", "nbr"), 0.1),
    "ndvi_change": 0.1,
    "rdndvi": 10.0,  # per cent
}
"""Spreads of layers that mean the same everywhere. That of any other, as bands in whatever unit, is measured."""


@dataclass(frozen=True)
class Segmenting:
    """How an image is segmented. The defaults are for landslides on Sentinel-2's 10 m.

    Attributes:
        method: ``felzenszwalb``, whose segments take the shape of what is there; ``slic`` or ``watershed``, whose
            segments are all of about one size; ``lsms``, which needs Orfeo ToolBox.
        size: wanted mean area of a segment, in pixels: the scale.
        layers: names of those that are used.
        compactness: of ``slic``: by how many spreads two pixels must differ to be as unlike as two that lie one step of
            the grid (the root of ``size``) apart.
        smoothing: standard deviation of the Gaussian that the layers are smoothed with first, in pixels.
        spreads: by layer, where they are not ``SPREADS``'s and not to be measured; pairs, so that it can be hashed.
    """

    method: str = "felzenszwalb"
    size: int = 64
    layers: tuple[str, ...] = ("red", "green", "blue")
    compactness: float = 0.5
    smoothing: float = 0.5
    spreads: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        require_known(self.method, METHODS, "method of segmenting")
        spreads = self.spreads.items() if isinstance(self.spreads, Mapping) else self.spreads
        object.__setattr__(self, "layers", tuple(self.layers))
        object.__setattr__(self, "spreads", tuple(sorted((str(name), float(value)) for name, value in spreads)))
        if not self.layers:
            raise LandslideError("segments need at least one layer, got none")
        if not 1 <= self.size <= LARGEST:
            raise LandslideError(f"the size of segments must be 1 to {LARGEST:,} pixels, got {self.size}")
        positive = {"compactness": self.compactness, **dict(self.spreads)}
        for name, value in positive.items():
            if not (np.isfinite(value) and value > 0):
                what = name if name == "compactness" else f"spread of {name}"
                raise LandslideError(f"the {what} must be above 0, got {value}")
        if not 0 <= self.smoothing <= 16:
            raise LandslideError(f"smoothing must be 0 to 16 pixels, got {self.smoothing}")

    @property
    def step(self) -> int:
        """Side of a square of ``size`` pixels."""
        return max(1, round(self.size**0.5))

    @property
    def least(self) -> int:
        """Pixels of the smallest segment: smaller ones join a neighbour."""
        return max(1, self.size // 8)

    def needs_measuring(self, layer: str) -> bool:
        """Whether the spread of a layer is neither stated nor known."""
        return layer not in SPREADS and layer not in dict(self.spreads)

    def with_spreads(self, layers: Mapping[str, np.ndarray]) -> Segmenting:
        """The same with a spread of every layer: those that are not stated are measured on the given pixels.

        Args:
            layers: of a scene or some of it, or of a patch: arrays of any shape, NaN where missing.
        """
        known = SPREADS | dict(self.spreads)
        measured = {name: spread(lookup(layers, name, "layer")) for name in self.layers if self.needs_measuring(name)}
        return replace(self, spreads=tuple((name, (known | measured)[name]) for name in self.layers))


def spread(values: np.ndarray) -> float:
    """Half the range of the middle 68 % of what is finite: of a normal distribution, its standard deviation.

    1 where there is none, as where all values are equal.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 1.0
    low, high = np.quantile(finite.astype(np.float64), (0.16, 0.84))
    found = (high - low) / 2 or float(finite.std(dtype=np.float64))
    return float(found) if found > 0 and np.isfinite(found) else 1.0
