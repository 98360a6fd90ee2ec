"""What augmentation may do: a part of it a class, each off where its probability is 0; plain data."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Part:
    """A part of augmentation.

    Attributes:
        probability: that it happens to a patch, 0..1.
        strength: how much of it; 0 changes nothing. Each part says in which unit.
    """

    probability: float = 0.0
    strength: float = 0.0


@dataclass(frozen=True)
class Scale(Part):
    """The ground under another pixel size, cropped to the patch's size; ``strength``: zoom by up to 1 + this."""

    strength: float = 0.25


@dataclass(frozen=True)
class Elastic(Part):
    """A smooth displacement (Simard et al. 2003).

    Attributes:
        strength: its root mean square along each axis, pixels.
        sigma: of the Gaussian that smooths it, pixels.
    """

    strength: float = 1.5
    sigma: float = 10.0


@dataclass(frozen=True)
class Optical(Part):
    """Gain and offset of the optical bands: another sun, atmosphere or calibration.

    Attributes:
        strength: all bands together are multiplied by 1 ± this, at most.
        gain_each: and each by itself by 1 ± this.
        offset: all bands together are moved by this, at most, in their unit.
        offset_each: and each by itself.
    """

    strength: float = 0.1
    gain_each: float = 0.03
    offset: float = 0.005
    offset_each: float = 0.002


@dataclass(frozen=True)
class Radar(Part):
    """Gain of synthetic-aperture radar.

    Attributes:
        strength: of all bands together, at most, dB.
        gain_each: and of each by itself.
    """

    strength: float = 1.0
    gain_each: float = 0.5


@dataclass(frozen=True)
class Other(Part):
    """Gain and offset of bands that are neither optical, radar nor terrain, each by itself.

    Attributes:
        strength: a band is multiplied by 1 ± this, at most.
        offset: and moved by this, at most, in its unit.
    """

    strength: float = 0.05
    offset: float = 0.0


@dataclass(frozen=True)
class Haze(Part):
    """Light that the air adds; ``strength``: at 490 nm, at most, in the bands' unit."""

    strength: float = 0.03


@dataclass(frozen=True)
class Shadow(Part):
    """Shadow of clouds.

    Attributes:
        strength: the share of the ground's light that it takes, at most, 0..1.
        sigma: of the Gaussian that its outline is drawn by, pixels.
    """

    strength: float = 0.6
    sigma: float = 15.0


@dataclass(frozen=True)
class Dropout(Part):
    """Bands that go missing, never all of them.

    Attributes:
        strength: how many.
        source: chance that a whole source (optical, radar, terrain …) goes instead, 0..1.
    """

    strength: int = 1
    source: float = 0.0


@dataclass(frozen=True)
class Elevation(Part):
    """A constant added to elevation, slope untouched; ``strength``: at most, metres (or the band's unit)."""

    strength: float = 100.0


@dataclass(frozen=True)
class MixUp(Part):
    """Patches and masks blended in pairs (Zhang et al. 2018); ``strength``: alpha of Beta(alpha, alpha)."""

    strength: float = 0.2


@dataclass(frozen=True)
class CutMix(Part):
    """A rectangle of another patch, its mask too (Yun et al. 2019); ``strength``: alpha of Beta(alpha, alpha)."""

    strength: float = 1.0


@dataclass(frozen=True)
class Augmentation:
    """All of augmentation but flips and turns, in the order in which it is done."""

    scale: Scale = Scale()
    elastic: Elastic = Elastic()
    shadow: Shadow = Shadow()
    haze: Haze = Haze()
    optical: Optical = Optical()
    radar: Radar = Radar()
    other: Other = Other()
    elevation: Elevation = Elevation()
    mixup: MixUp = MixUp()
    cutmix: CutMix = CutMix()
    dropout: Dropout = Dropout()

    @property
    def on(self) -> tuple[str, ...]:
        """Names of the parts that may happen."""
        return tuple(name for name in PARTS if getattr(self, name).probability > 0)


PARTS = tuple(field.name for field in fields(Augmentation))
