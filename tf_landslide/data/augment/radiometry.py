"""What light, air and sensors do to bands: shadow on the ground, haze in the air, gain and offset of the sensor.

All but shadow are a gain and an offset of each band. Values are in physical units, and channels are computed
afterwards, so that an index always follows from the bands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tf_landslide.bands.kinds import kind_of, source_of, wavelength_of
from tf_landslide.bands.layout import Band
from tf_landslide.core.errors import LandslideError
from tf_landslide.data.augment.draws import Draw
from tf_landslide.data.augment.fields import smooth_fields
from tf_landslide.data.augment.settings import Augmentation, Elevation, Haze, Optical, Other, Radar, Shadow

_REFERENCE = 490.0  # nm, at which haze is stated
_EXPONENTS = 0.7, 2.0  # of scattering, from hazy to clear air (Chavez 1988)
_ABSORBED = 1350, 1450  # nm: water vapour hides the lower air here; what a cirrus band sees lies above it
_LEAST = np.float32(1e-4)  # one step of reflectance x 10,000; a band that was above it is not moved below it
_PENUMBRA = 3.0  # pixels


@dataclass(frozen=True, eq=False)
class Bands:
    """What bands measure, (K,) each.

    Attributes:
        names: of the bands.
        sources: what each is missing together with.
        optical, radar, elevation, other: bool.
        logarithmic: bool, those in dB.
        scattering: wavelength over that at which haze is stated; infinite where no haze is seen.
    """

    names: tuple[str, ...]
    sources: tuple[str, ...]
    optical: np.ndarray
    radar: np.ndarray
    elevation: np.ndarray
    other: np.ndarray
    logarithmic: np.ndarray
    scattering: np.ndarray

    @classmethod
    def of(cls, bands: Sequence[Band], *, haze: bool = False) -> Bands:
        """Raises ``LandslideError`` where ``haze`` is wanted and an optical band's wavelength is unknown."""
        kinds = np.array([kind_of(band) for band in bands])
        scattering = np.full(len(bands), np.inf)
        for i, band in enumerate(bands):
            if not haze or kinds[i] != "optical":
                continue
            wavelength = wavelength_of(band)
            if wavelength is None:
                raise LandslideError(
                    f"data.augmentation.haze: nobody knows the wavelength of band {band.name!r}; state it in the "
                    "layout (wavelength: 560, in nm)"
                )
            if not _ABSORBED[0] <= wavelength <= _ABSORBED[1]:
                scattering[i] = wavelength / _REFERENCE
        return cls(
            tuple(band.name for band in bands),
            tuple(source_of(band) for band in bands),
            kinds == "optical",
            kinds == "sar",
            kinds == "elevation",
            kinds == "other",
            np.array([band.unit.lower() == "db" for band in bands]),
            scattering,
        )


Change = tuple[np.ndarray, np.ndarray]
"""Gain and offset of each band, (K,) float64."""


def _unchanged(bands: Bands) -> Change:
    return np.ones(len(bands.names)), np.zeros(len(bands.names))


def haze(settings: Haze, bands: Bands, rng: np.random.Generator) -> Change:
    """Path radiance, added alike over the patch: ``a * (wavelength / 490 nm) ** -n``.

    ``a`` is uniform in 0..strength; ``n`` in 0.7..2, which is Chavez's range from hazy to clear air (1988, An improved
    dark-object subtraction technique, Remote Sensing of Environment 24). What haze takes of the ground's own light is
    left to the optical gain. Between 1350 and 1450 nm (cirrus) nothing is added.
    """
    gain, offset = _unchanged(bands)
    amount, exponent = settings.strength * rng.random(), rng.uniform(*_EXPONENTS)
    offset[bands.optical] = amount * bands.scattering[bands.optical] ** -exponent
    return gain, offset


def optical(settings: Optical, bands: Bands, rng: np.random.Generator) -> Change:
    """Gain and offset of optical bands: together, and each by itself; uniform."""
    gain, offset = _unchanged(bands)
    together, count = rng.uniform(-1, 1, 2), int(bands.optical.sum())
    gain[bands.optical] = (1 + settings.strength * together[0]) * (1 + settings.gain_each * rng.uniform(-1, 1, count))
    offset[bands.optical] = settings.offset * together[1] + settings.offset_each * rng.uniform(-1, 1, count)
    return gain, offset


def radar(settings: Radar, bands: Bands, rng: np.random.Generator) -> Change:
    """Gain of radar bands in dB, together and each by itself: added to what is in dB, else a factor of power."""
    gain, offset = _unchanged(bands)
    decibels = settings.strength * rng.uniform(-1, 1) + settings.gain_each * rng.uniform(-1, 1, len(gain))
    offset[bands.radar & bands.logarithmic] = decibels[bands.radar & bands.logarithmic]
    linear = bands.radar & ~bands.logarithmic
    gain[linear] = 10 ** (decibels[linear] / 10)
    return gain, offset


def other(settings: Other, bands: Bands, rng: np.random.Generator) -> Change:
    """Gain and offset of each band of another kind by itself; uniform."""
    gain, offset = _unchanged(bands)
    by = rng.uniform(-1, 1, (2, len(gain)))
    gain[bands.other] += settings.strength * by[0, bands.other]
    offset[bands.other] = settings.offset * by[1, bands.other]
    return gain, offset


def elevation(settings: Elevation, bands: Bands, rng: np.random.Generator) -> Change:
    """One offset of elevation, uniform in ±strength: the same slopes, higher or lower above the sea."""
    gain, offset = _unchanged(bands)
    offset[bands.elevation] = settings.strength * rng.uniform(-1, 1)
    return gain, offset


_CHANGES: dict[str, Callable[[Any, Bands, np.random.Generator], Change]] = {
    "haze": haze,
    "optical": optical,
    "radar": radar,
    "other": other,
    "elevation": elevation,
}


def change(settings: Augmentation, bands: Bands, draw: Draw) -> Change | None:
    """All gains and offsets as one, haze first; None where there are none."""
    changes = []
    for name, make in _CHANGES.items():
        part = getattr(settings, name)
        if part.probability:
            rng = draw.stream(name)
            if rng.random() < part.probability:
                changes.append(make(part, bands, rng))
    if not changes:
        return None
    gain, offset = _unchanged(bands)
    for by, more in changes:
        gain, offset = gain * by, offset * by + more
    return gain, offset


def apply(bands: np.ndarray, by: Change, what: Bands) -> None:
    """Change (K, H, W) bands in place; no optical value that lay above 0.0001 falls below it."""
    for plane, gain, offset, is_optical in zip(bands, *by, what.optical, strict=True):
        floor = np.minimum(plane, _LEAST) if is_optical and offset < 0 else None
        if gain != 1:
            plane *= np.float32(gain)
        if offset != 0:
            plane += np.float32(offset)
        if floor is not None:
            np.maximum(plane, floor, out=plane)


def shade(settings: Shadow, bands: np.ndarray, what: Bands, rng: np.random.Generator) -> None:
    """Darken the optical ones of (K, H, W) bands in place, under a smooth random outline with a soft edge.

    What the ground adds to a band's darkest value in the patch loses a share of 0..strength. That darkest value stays,
    for it is the air's light more than the ground's (Chavez's dark object), and no shadow takes it away: so nothing
    gets darker than the patch's darkest pixel.
    """
    share = settings.strength * rng.random()
    level = rng.uniform(0, 1.3)  # of a field of variance 1: shadow over a half to a tenth
    field, _ = smooth_fields(rng, bands.shape[1], bands.shape[2], settings.sigma)
    edge = _PENUMBRA / (np.sqrt(2) * settings.sigma)
    taken = np.float32(share) * np.clip((field - np.float32(level)) / np.float32(edge) + np.float32(0.5), 0, 1)
    for i in np.flatnonzero(what.optical) if share else ():
        darkest = np.fmin.reduce(bands[i], axis=None)
        bands[i] -= taken * (bands[i] - darkest)
