"""Indices: normalised differences of two bands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class NormalisedDifference:
    """Names of two physical bands, see ``normalised_difference``."""

    a: str
    b: str


INDICES: dict[str, NormalisedDifference] = {
    "ndvi": NormalisedDifference("nir", "red"),  # vegetation (Rouse et al. 1974)
    "ndwi": NormalisedDifference("green", "nir"),  # open water (McFeeters 1996)
    "ndmi": NormalisedDifference("nir", "swir_1"),  # canopy moisture (Gao 1996)
    "nbr": NormalisedDifference("nir", "swir_2"),  # burnt ground (Key & Benson 2006)
}
"""Channels that are computed; any other channel name is a band of the layout."""


def normalised_difference(a: Any, b: Any, xp: Any = np) -> Any:
    """``(a - b) / (a + b)``, clipped to -1..1; NaN where the sum is not a positive number.

    Reflectance at the surface falls below zero in deep shadow and over water, and next to a sum of zero the quotient
    is any number at all.

    Args:
        a, b: arrays or tensors of one shape, NaN where missing.
        xp: NumPy, or ``keras.ops`` for tensors.
    """
    total = a + b
    known = xp.logical_and(total > 0, xp.isfinite(total))
    return xp.where(known, xp.clip((a - b) / total, -1.0, 1.0), float("nan"))
