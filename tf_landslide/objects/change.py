"""What has changed between two images, as layers: indices after, before, and their difference.

Where both images have near infrared: NDVI, its change, and the relative one (rdNDVI, Scheip & Wegmann 2021,
doi:10.5194/nhess-21-1495-2021), -100..100 and beyond, negative where vegetation is lost. With visible bands alone the
green-red vegetation index (GRVI, Motohka et al. 2010, doi:10.3390/rs2102369) stands in for NDVI; it tells green leaves
from soil, but not brown leaves from soil. In any case: brightness (mean of the visible bands), which bare ground
raises, and redness, (red - blue) / (red + blue), by which soil is told from cloud and snow, bright and colourless.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from scipy.ndimage import uniform_filter

from tf_landslide.bands.indices import normalised_difference
from tf_landslide.objects.pair import NIR, VISIBLE, Pair
from tf_landslide.objects.radiometry import Normalisation
from tf_landslide.scenes.grid import Window
from tf_landslide.scenes.layers import Layer
from tf_landslide.scenes.scene import DEM, SLOPE

Bands = Mapping[str, np.ndarray]
CLOUD_BRIGHTNESS, CLOUD_REDNESS = 0.15, 0.06
"""Brighter and less red than that is cloud or snow. Ours, by eye, on top-of-atmosphere reflectance."""
CLOUD_REACH = 20
"""Pixels within which what is cloud counts, along rows and columns: its veil is wider than what is white."""
_BARE_NDVI = 0.02  # sums of NDVI below say nothing: water, snow and rock before and after


def _bounded(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return normalised_difference(a, b).astype(np.float32)


def brightness(bands: Bands) -> np.ndarray:
    """The mean of the visible bands."""
    return ((bands["red"] + bands["green"] + bands["blue"]) / np.float32(3)).astype(np.float32)


def ndvi(bands: Bands) -> np.ndarray:
    """Normalised difference vegetation index."""
    return _bounded(bands[NIR], bands["red"])


def grvi(bands: Bands) -> np.ndarray:
    """Green-red vegetation index."""
    return _bounded(bands["green"], bands["red"])


def redness(bands: Bands) -> np.ndarray:
    """Normalised difference of red and blue."""
    return _bounded(bands["red"], bands["blue"])


def rdndvi(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Relative difference of NDVI: ``100 (after - before) / sqrt(after + before)``, NaN where the sum is next to 0."""
    total = after + before
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total > _BARE_NDVI, 100 * (after - before) / np.sqrt(total), np.float32(np.nan)).astype(
            np.float32
        )


INDICES: dict[str, tuple[tuple[str, ...], Callable[[Bands], np.ndarray]]] = {
    "brightness": (VISIBLE, brightness),
    "redness": (("red", "blue"), redness),
    "grvi": (("green", "red"), grvi),
    "ndvi": ((NIR, "red"), ndvi),
}
"""By name: the bands that are needed, and how they are combined. Each is a layer after, before, and of the change."""


def change_layers(pair: Pair, normalisation: Normalisation, dem: bool = True) -> dict[str, Layer]:
    """All layers that a pair can give.

    Args:
        pair: of images.
        normalisation: of it.
        dem: terrain too, where the image after has it.

    Returns:
        ``INDEX``, ``INDEX_before`` and ``INDEX_change`` of each of ``INDICES`` that the bands allow, ``rdndvi``,
        ``brightness_sigmas`` (``brightness_change`` over ``Normalisation.noise``), ``cloud`` (share of the pixels
        around that look like cloud or snow after), ``slope`` and ``dem``. All but the terrain are missing where a band
        of either image is.
    """
    layers: dict[str, Layer] = {}
    for name, (needed, index) in INDICES.items():
        if set(needed) <= set(pair.bands):
            layers[name] = partial(_after, pair, index)
            layers[f"{name}_before"] = partial(_before, pair, normalisation, index)
            layers[f"{name}_change"] = partial(_difference, layers[name], layers[f"{name}_before"])
    if "ndvi" in layers:
        layers["rdndvi"] = partial(_relative, layers["ndvi_before"], layers["ndvi"])
    layers["brightness_sigmas"] = partial(_scaled, layers["brightness_change"], 1 / normalisation.noise)
    layers["cloud"] = partial(_cloud, pair)
    if dem:
        layers |= {name: partial(pair.after.read, name) for name in (SLOPE, DEM) if name in pair.after.names}
    return layers


def _cloud(pair: Pair, window: Window) -> np.ndarray:
    around = pair.read(window.padded(CLOUD_REACH))
    white = (brightness(around) > CLOUD_BRIGHTNESS) & (redness(around) < CLOUD_REDNESS)
    share = uniform_filter(white.astype(np.float64), 2 * CLOUD_REACH + 1, mode="constant")
    inner = slice(CLOUD_REACH, -CLOUD_REACH)
    return np.where(np.isnan(around["red"]), np.nan, share)[inner, inner].astype(np.float32)


def _after(pair: Pair, index: Callable[[Bands], np.ndarray], window: Window) -> np.ndarray:
    return index(pair.read(window))


def _before(
    pair: Pair, normalisation: Normalisation, index: Callable[[Bands], np.ndarray], window: Window
) -> np.ndarray:
    bands = pair.read(window)
    return index({name: line(bands[f"{name}_before"]) for name, line in normalisation.lines.items()})


def _difference(after: Layer, before: Layer, window: Window) -> np.ndarray:
    return after(window) - before(window)


def _scaled(layer: Layer, factor: float, window: Window) -> np.ndarray:
    return layer(window) * np.float32(factor)


def _relative(before: Layer, after: Layer, window: Window) -> np.ndarray:
    return rdndvi(before(window), after(window))
