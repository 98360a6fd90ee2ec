"""What happens to training patches beside flips and turns, all of it off by default: what a config may say of it."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from tf_landslide.data.augment import settings as parts
from tf_landslide.runs.sections.section import Section


def _probability() -> Any:
    return Field(0.0, ge=0, le=1, description="that it happens to a patch")


class ScaleConfig(Section):
    """Another ground pixel size, and a crop."""

    probability: float = _probability()
    strength: float = Field(
        parts.Scale.strength, ge=0, le=1, description="zoom by up to 1 + this, in or out; mirrored beyond the edges"
    )


class ElasticConfig(Section):
    """A smooth displacement."""

    probability: float = _probability()
    strength: float = Field(
        parts.Elastic.strength, ge=0, description="root mean square of the displacement along each axis, pixels"
    )
    sigma: float = Field(parts.Elastic.sigma, ge=1, description="of the Gaussian that smooths it, pixels")

    @model_validator(mode="after")
    def _no_fold(self) -> ElasticConfig:
        if self.strength > self.sigma / 4:
            raise ValueError(f"strength {self.strength:g} folds the ground; it may be a quarter of sigma at most")
        return self


class ShadowConfig(Section):
    """Shadow of clouds."""

    probability: float = _probability()
    strength: float = Field(
        parts.Shadow.strength, ge=0, le=1, description="share of the ground's light that it takes, at most"
    )
    sigma: float = Field(parts.Shadow.sigma, ge=1, description="of the Gaussian that draws its outline, pixels")


class HazeConfig(Section):
    """Path radiance."""

    probability: float = _probability()
    strength: float = Field(parts.Haze.strength, ge=0, description="light added at 490 nm, at most, in the bands' unit")


class OpticalConfig(Section):
    """Gain and offset of optical bands."""

    probability: float = _probability()
    strength: float = Field(parts.Optical.strength, ge=0, lt=1, description="gain of all together: 1 ± this, at most")
    gain_each: float = Field(parts.Optical.gain_each, ge=0, lt=1, description="gain of each by itself: 1 ± this")
    offset: float = Field(parts.Optical.offset, ge=0, description="offset of all together, at most, in their unit")
    offset_each: float = Field(parts.Optical.offset_each, ge=0, description="offset of each by itself")


class RadarConfig(Section):
    """Gain of radar bands."""

    probability: float = _probability()
    strength: float = Field(parts.Radar.strength, ge=0, description="gain of all together, at most, dB")
    gain_each: float = Field(parts.Radar.gain_each, ge=0, description="gain of each by itself, dB")


class OtherConfig(Section):
    """Gain and offset of bands that are neither optical, radar nor terrain."""

    probability: float = _probability()
    strength: float = Field(parts.Other.strength, ge=0, lt=1, description="gain of each by itself: 1 ± this, at most")
    offset: float = Field(parts.Other.offset, ge=0, description="offset of each by itself, at most, in its unit")


class ElevationConfig(Section):
    """A constant added to elevation."""

    probability: float = _probability()
    strength: float = Field(
        parts.Elevation.strength, ge=0, description="its size, at most, metres (or the band's unit); slope stays"
    )


class MixUpConfig(Section):
    """Patches blended in pairs."""

    probability: float = _probability()
    strength: float = Field(parts.MixUp.strength, ge=0, description="alpha of Beta(alpha, alpha), as of Zhang 2018")


class CutMixConfig(Section):
    """A rectangle of another patch."""

    probability: float = _probability()
    strength: float = Field(parts.CutMix.strength, ge=0, description="alpha of Beta(alpha, alpha), as of Yun 2019")


class DropoutConfig(Section):
    """Bands that go missing."""

    probability: float = _probability()
    strength: int = Field(parts.Dropout.strength, ge=0, description="how many bands go missing, never all")
    source: float = Field(
        parts.Dropout.source, ge=0, le=1, description="chance that a whole source goes instead: optical, terrain …"
    )


class AugmentationConfig(Section):
    """What happens to training patches beside flips and turns, in this order."""

    scale: ScaleConfig = ScaleConfig()
    elastic: ElasticConfig = ElasticConfig()
    shadow: ShadowConfig = ShadowConfig()
    haze: HazeConfig = HazeConfig()
    optical: OpticalConfig = OpticalConfig()
    radar: RadarConfig = RadarConfig()
    other: OtherConfig = OtherConfig()
    elevation: ElevationConfig = ElevationConfig()
    mixup: MixUpConfig = MixUpConfig()
    cutmix: CutMixConfig = CutMixConfig()
    dropout: DropoutConfig = DropoutConfig()

    @property
    def settings(self) -> parts.Augmentation:
        """As the data pipeline takes it."""
        default = parts.Augmentation()
        return parts.Augmentation(
            **{name: type(getattr(default, name))(**getattr(self, name).model_dump()) for name in parts.PARTS}
        )
