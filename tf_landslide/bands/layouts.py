"""Band layouts: which bands a source stores, in which order, and how a stored value becomes a physical one.

Plain data; nothing here computes: ``recipes`` does.
"""

from __future__ import annotations

from dataclasses import dataclass

from tf_landslide.core.errors import lookup, require_known


@dataclass(frozen=True)
class Band:
    """One stored band: ``physical = stored * scale + offset``; ``nodata`` (a stored value) or NaN means missing."""

    name: str
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None
    unit: str = "reflectance"


@dataclass(frozen=True)
class BandLayout:
    """The bands of a source, in stored order.

    Attributes:
        name: the key a config names.
        title: how it is shown to people.
        bands: the bands in stored order.
        pixel_size: ground size of a pixel in metres, where the source states one.
        reference: where the facts come from.
    """

    name: str
    title: str
    bands: tuple[Band, ...]
    pixel_size: float | None
    reference: str

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(band.name for band in self.bands)

    def index(self, name: str) -> int:
        """Position of a band, by name. Raises ``LandslideError`` for a name the layout does not have."""
        require_known(name, self.names, f"band of layout {self.name!r}")
        return self.names.index(name)


# Landslide4Sense stores every band divided by a constant of its own. Original values are reflectance x 10,000 (bands
# 0-11), degrees (slope) and metres (DEM); stored value x constant is a whole number in every released file.
_DIVISORS = {
    "coastal_aerosol": 1111.812,
    "blue": 824.631,
    "green": 663.416,
    "red": 445.173,
    "red_edge_1": 645.858,
    "red_edge_2": 1547.735,
    "red_edge_3": 1960.444,
    "nir": 1941.322,
    "water_vapour": 674.076,
    "cirrus": 9.048,
    "swir_1": 1113.983,
    "swir_2": 519.904,
    "slope": 20.2923,
    "dem": 772.8314,
}
_TERRAIN_UNITS = {"slope": "degrees", "dem": "metres"}
LANDSLIDE4SENSE_DIVISORS = tuple(_DIVISORS.values())
REFLECTANCE_SCALE = 1e-4  # Sentinel-2 Level-1C digital numbers to top-of-atmosphere reflectance (1.0 = 100 %)

LANDSLIDE4SENSE = BandLayout(
    name="landslide4sense",
    title="Landslide4Sense (Sentinel-2 Level-1C B1-B12, slope and DEM from ALOS PALSAR)",
    bands=tuple(
        Band(name, scale=divisor, unit=_TERRAIN_UNITS[name])
        if name in _TERRAIN_UNITS
        else Band(name, scale=divisor * REFLECTANCE_SCALE)
        for name, divisor in _DIVISORS.items()
    ),
    pixel_size=10.0,
    reference="Ghorbanzadeh et al. 2022, IEEE TGRS 60, doi:10.1109/TGRS.2022.3215209",
)

MMLS = BandLayout(
    name="mmls",
    title="MMLS, the Multimodal Martian Landslides dataset (every band scaled to 0-1)",
    bands=(
        Band("red", unit="relative"),
        Band("green", unit="relative"),
        Band("blue", unit="relative"),
        Band("dem", unit="relative"),
        Band("thermal_inertia", nodata=0.0, unit="relative"),
        Band("slope", unit="relative"),
        Band("grey", unit="relative"),
    ),
    pixel_size=None,
    reference="Paheding et al. 2024, WACV",
)

LAYOUTS: dict[str, BandLayout] = {layout.name: layout for layout in (LANDSLIDE4SENSE, MMLS)}


def get_layout(layout: str | BandLayout) -> BandLayout:
    """A layout by name. Raises ``LandslideError`` for an unknown one, with the nearest known name."""
    return layout if isinstance(layout, BandLayout) else lookup(LAYOUTS, layout, "band layout")


def layouts_with(band_count: int) -> list[BandLayout]:
    """The layouts that store ``band_count`` bands. Which of several a file has, only its name can say."""
    return [layout for layout in LAYOUTS.values() if len(layout.bands) == band_count]


def known_band_counts() -> str:
    """In words, for errors: ``14 (landslide4sense), 7 (mmls)``."""
    return ", ".join(f"{len(layout.bands)} ({name})" for name, layout in LAYOUTS.items())
