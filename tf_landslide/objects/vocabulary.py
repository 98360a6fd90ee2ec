"""The names of attributes, as ``attributes.measure`` gives them: what rules may ask for."""

from __future__ import annotations

from difflib import get_close_matches

from tf_landslide.core.errors import LandslideError
from tf_landslide.objects.planes import NEARNESS

OF_A_LAYER = ("mean", "std", "contrast", "texture_mean", "texture_homogeneity")
"""What follows the name of a layer."""

OTHERS = (
    *("relief", "curvature_mean", "aspect_deg", "off_aspect_deg", "probability_share", "probability_max"),
    *("area_px", "area_m2", "length_px", "length_m", "width_px", "width_m", "length_width", "orientation_deg"),
    *("rectangular_fit", "compactness"),
    *(f"{name}_{unit}" for name in NEARNESS for unit in ("px", "m")),
)
"""Attributes that are not of any layer there may be."""

_INDICES = ("brightness", "redness", "grvi", "ndvi")
_USUAL = (
    *("red", "green", "blue", "nir", "ndwi", "ndmi", "nbr", "rdndvi", "cloud", "slope", "dem", "probability"),
    *(f"{name}{when}" for name in _INDICES for when in ("", "_before", "_change")),
)  # layers that a misspelt attribute is compared with


def require_attribute(name: str) -> None:
    """Raise ``LandslideError`` for what is the attribute of no data whatever: a layer may have any name."""
    if name not in OTHERS and not any(name.endswith(f"_{end}") for end in OF_A_LAYER):
        layers = [f"{layer}_{end}" for layer in _USUAL for end in OF_A_LAYER]
        close = get_close_matches(name, [*layers, *OTHERS], n=1)
        known = ", ".join([*(f"LAYER_{end}" for end in OF_A_LAYER), *OTHERS])
        hint = f"did you mean {close[0]!r}?" if close else f"known: {known}"
        raise LandslideError(f"unknown attribute {name!r}; {hint}")
