"""The band layouts that are shipped, and those of one's own: which bands a source stores, in which order, and how a
stored value becomes a physical one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeGuard

from tf_landslide.bands.layout import TERRAIN_UNITS as TERRAIN_UNITS  # from here for everyone
from tf_landslide.bands.layout import Band as Band
from tf_landslide.bands.layout import BandLayout as BandLayout
from tf_landslide.bands.layout import parse_band as parse_band
from tf_landslide.core.errors import LandslideError, lookup
from tf_landslide.core.safe_yaml import read_yaml

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
LANDSLIDE4SENSE_DIVISORS = tuple(_DIVISORS.values())
REFLECTANCE_SCALE = 1e-4  # Sentinel-2 Level-1C digital numbers to top-of-atmosphere reflectance (1.0 = 100 %)
_REFLECTANCE, _RELATIVE = (-0.1, 1.6), (0.0, 1.0)  # ranges; snow and sunlit cloud shine brighter than a white plate
_TERRAIN = {
    "slope": Band("slope", unit=TERRAIN_UNITS["slope"], range=(0.0, 90.0)),
    "dem": Band("dem", unit=TERRAIN_UNITS["dem"], range=(-500.0, 9000.0)),
}


def _landslide4sense(name: str, title: str, reflectance: dict[str, float], terrain: dict[str, float]) -> BandLayout:
    """One of the forms that these fourteen bands come in, by the scale of each band."""
    return BandLayout(
        name=name,
        title=title,
        bands=tuple(
            replace(_TERRAIN[band], scale=terrain[band])
            if band in _TERRAIN
            else Band(band, scale=reflectance[band], range=_REFLECTANCE)
            for band in _DIVISORS
        ),
        pixel_size=10.0,
        reference="Ghorbanzadeh et al. 2022, IEEE TGRS 60, doi:10.1109/TGRS.2022.3215209",
    )


_ONE = dict.fromkeys(_DIVISORS, 1.0)
LANDSLIDE4SENSE = _landslide4sense(
    "landslide4sense",
    "Landslide4Sense (Sentinel-2 Level-1C B1-B12, slope and DEM from ALOS PALSAR)",
    {band: divisor * REFLECTANCE_SCALE for band, divisor in _DIVISORS.items()},
    _DIVISORS,
)
LANDSLIDE4SENSE_DN = _landslide4sense(
    "landslide4sense_dn",
    "the bands of Landslide4Sense as digital numbers (reflectance x 10,000), degrees and metres",
    dict.fromkeys(_DIVISORS, REFLECTANCE_SCALE),
    _ONE,
)
LANDSLIDE4SENSE_REFLECTANCE = _landslide4sense(
    "landslide4sense_reflectance",
    "the bands of Landslide4Sense as reflectance (1.0 = 100 %), degrees and metres",
    _ONE,
    _ONE,
)

LEVEL_1C = frozenset(layout.name for layout in (LANDSLIDE4SENSE, LANDSLIDE4SENSE_DN, LANDSLIDE4SENSE_REFLECTANCE))
"""The layouts whose reflectance is that at the top of the atmosphere, as Sentinel-2's Level-1C is."""

MMLS = BandLayout(
    name="mmls",
    title="MMLS, the Multimodal Martian Landslides dataset (every band scaled to 0-1)",
    bands=tuple(
        Band(name, nodata=0.0 if name == "thermal_inertia" else None, unit="relative", range=_RELATIVE)
        for name in ("red", "green", "blue", "dem", "thermal_inertia", "slope", "grey")
    ),
    pixel_size=None,
    reference="Paheding et al. 2024, WACV",
    caveat="Trained on Mars: it says nothing about landslides on Earth.",
)

BIJIE = BandLayout(
    name="bijie",
    title="Bijie (TripleSat red, green and blue as pictures of 0-255, averaged to 1.2 m)",
    bands=tuple(Band(name, scale=1 / 255, unit="relative", range=_RELATIVE) for name in ("red", "green", "blue")),
    pixel_size=1.2,
    reference="Ji et al. 2020, Landslides 17, doi:10.1007/s10346-020-01353-2",
    caveat="Every patch of Bijie holds a landslide, and neighbours may stand in two splits: it scores higher than a "
    "map of new ground would.",
)

LAYOUTS: dict[str, BandLayout] = {
    layout.name: layout for layout in (LANDSLIDE4SENSE, LANDSLIDE4SENSE_DN, LANDSLIDE4SENSE_REFLECTANCE, MMLS, BIJIE)
}
"""Those that are shipped. Of several with as many bands the first is what a file has that says nothing of itself."""


def get_layout(layout: str | Path | Mapping[str, Any] | BandLayout, folder: str | Path = ".") -> BandLayout:
    """A layout, however it is named.

    Args:
        layout: the layout itself, the name of a shipped one, the path of a YAML file (``….yaml`` or ``….yml``), or a
            mapping as ``BandLayout.from_dict`` takes it.
        folder: that a relative path starts from.

    Raises:
        LandslideError: an unknown name (with the nearest known one), or a file or mapping that describes no layout.
    """
    if isinstance(layout, BandLayout):
        return layout
    if isinstance(layout, Path) or is_layout_file(layout):
        return read_layout(Path(folder) / str(layout))
    if isinstance(layout, str):
        return lookup(LAYOUTS, layout, "band layout")
    return BandLayout.from_dict(layout)


def is_layout_file(layout: object) -> TypeGuard[str]:
    """Whether what names a layout is the path of a YAML file."""
    return isinstance(layout, str) and layout.endswith((".yaml", ".yml"))


def read_layout(path: Path) -> BandLayout:
    """The layout that a YAML file describes. Raises ``LandslideError`` where it describes none."""
    values = read_yaml(path, "band layout")
    try:
        return BandLayout.from_dict(values)
    except LandslideError as error:
        raise LandslideError(f"{path}: {error}") from None


def stated(layout: BandLayout) -> str | dict[str, Any]:
    """A layout as configs and cards state it: by its name where it is a shipped one, else by all that it says."""
    return layout.name if LAYOUTS.get(layout.name) == layout else layout.as_dict()


def layouts_with(band_count: int) -> list[BandLayout]:
    """The shipped layouts that store ``band_count`` bands."""
    return [layout for layout in LAYOUTS.values() if len(layout.bands) == band_count]


def known_band_counts() -> str:
    """In words, for errors: ``14 (landslide4sense), 7 (mmls)``; of several layouts with as many, the first."""
    counts = dict.fromkeys(len(layout.bands) for layout in LAYOUTS.values())
    return ", ".join(f"{count} ({layouts_with(count)[0].name})" for count in counts)
