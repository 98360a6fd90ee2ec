"""The landscape of the sample as it was before its landslides, in another season: for pairs of images. SYNTHETIC.

What differs between the two images is what differs between real ones: the sun stands elsewhere, plants are drier, some
fields are under crops that are bare afterwards, snow lies on the heights, clouds hide a little, and the image lies a
fraction of a pixel beside the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage

from tf_landslide.data.landscape import SCENE, Ground, look, make_ground, noise

_DRY = np.array([1.05, 1.1, 1.2, 1.5, 1.3, 0.95, 0.85, 0.85, 0.9, 1, 1.15, 1.2])
"""What vegetation adds to the bands out of season, over what it adds in season."""
_SNOW = np.array([5200, 5400, 5300, 5200, 5100, 5000, 4900, 4800, 3000, 2, 700, 450], np.float64)
_CLOUD = np.array([3600, 3500, 3400, 3500, 3500, 3600, 3600, 3600, 1500, 60, 2600, 2100], np.float64)
_CROPPED, _SNOWY, _CLOUDY = 0.4, 0.04, 0.02  # share of the fields, and of the pixels


def make_earlier(seed: Sequence[int], size: int = SCENE, shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """An image from before the landslides that ``make_scene`` shows.

    Args:
        seed: the scene's.
        size: pixels along each side.
        shift: rows and columns by which all that it shows lies further on.

    Returns:
        (size, size, 12) int64 digital numbers.
    """
    ground = make_ground(np.random.default_rng(seed), size)
    rng = np.random.default_rng([*seed, 1])
    bare = ground.fields & ~_cropped(rng, ground)
    reflecting = replace(ground, plants=ground.plants * _DRY).reflecting(bare)
    height = ground.dem + 8 * noise(rng, size, 2.6)
    snow = ndimage.gaussian_filter((height > np.quantile(height, 1 - _SNOWY)).astype(float), 0.7)[..., None]
    reflecting += snow * (_SNOW - reflecting)
    clouds = noise(rng, size, 3.4, longest=120)
    cloud = ndimage.gaussian_filter((clouds > np.quantile(clouds, 1 - _CLOUDY)).astype(float), 1.5)[..., None]
    reflecting += cloud * (_CLOUD - reflecting)

    def moved(planes: np.ndarray) -> np.ndarray:
        return ndimage.shift(planes, (*shift, 0), order=3, mode="nearest", prefilter=True)

    numbers = look(rng, reflecting, ground.dem, sun_altitude=(30, 45), sun_azimuth=(150, 180), moved=moved)
    return np.rint(numbers).astype(np.int64)


def _cropped(rng: np.random.Generator, ground: Ground) -> np.ndarray:
    """(size, size) bool: the fields that were under crops."""
    labels, count = ndimage.label(ground.fields)
    chosen = np.concatenate([[False], rng.random(count) < _CROPPED])
    return chosen[labels]
