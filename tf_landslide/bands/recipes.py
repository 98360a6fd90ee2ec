"""Channel recipes: the model's channels, computed from named bands.

A recipe computes with NumPy or with ``keras.ops``, by the same lines: in front of tf.data, inside an exported signature
(``bands.features``) and on the page a channel has one definition. Missing values (NaN, or a band's no-data value) stay
missing: they come out as NaN, and the model's own normalisation turns them into the training mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tf_landslide.bands.filters import (
    WIDEST_MEDIAN,
    Bilateral,
    bilateral_filter,
    is_missing,
    named_bilateral,
    nanmedian_filter,
)
from tf_landslide.bands.indices import INDICES, normalised_difference
from tf_landslide.bands.layouts import LANDSLIDE4SENSE, Band, BandLayout, get_layout
from tf_landslide.core.errors import LandslideError, lookup, unknown

LEGACY_RATIO_CHANNELS = ("red_ratio", "green_ratio", "blue_ratio", "ndvi_stored", "slope_ratio", "dem_ratio")

STORED = "_stored"
"""Behind a band's name: the band as it is stored, in no unit. What is missing is 0.000001 on a patch, as in the paper's
code, and stays missing on a scene."""
STORED_MISSING = 1e-6

RECIPES: dict[str, tuple[str, ...]] = {
    "six": ("red", "green", "blue", "ndvi", "slope", "dem"),
    "fourteen": LANDSLIDE4SENSE.names,
    "fourteen_stored": tuple(name + STORED for name in LANDSLIDE4SENSE.names),
    "legacy_ratio": LEGACY_RATIO_CHANNELS,
}
"""Recipes that have a name. A config may also list channels itself."""


@dataclass(frozen=True)
class ChannelRecipe:
    """How a model's channels come from stored bands. Made by ``channel_recipe``, which checks it.

    Attributes:
        layout: of the stored bands.
        channel_names: the channels, in order.
        median_size: side of a median filter run on the bands first, in pixels (odd); 0 or 1 leaves it out.
        median_bands: the bands that it filters.
        bilateral: a filter run after it, its bands named; None leaves it out.
        bands: those of the layout that the channels are computed from.
    """

    layout: BandLayout
    channel_names: tuple[str, ...]
    median_size: int = 0
    median_bands: tuple[str, ...] = ()
    bilateral: Bilateral | None = None
    bands: tuple[Band, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        own = {name.removesuffix(STORED) for name in self.channel_names} & set(self.layout.names)
        of_indices = {
            band for name in self.channel_names if name in INDICES for band in (INDICES[name].a, INDICES[name].b)
        }
        needed = tuple(band for band in self.layout.bands if band.name in own | of_indices)
        object.__setattr__(self, "bands", needed)

    def __call__(self, stored: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute the channels by NumPy, on one thread.

        Args:
            stored: (N, H, W, B) values as stored, of any float type.
            out: (N, H, W, C) float32 to write to.

        Returns:
            (N, H, W, C) float32 in physical units (reflectance 0..1, indices -1..1, degrees, metres), NaN where a value
            is missing.
        """
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.stack(self.planes(np.asarray(stored, np.float32), np), axis=-1, out=out)

    @property
    def margin(self) -> int:
        """How far from its own pixel a channel's value may come from, in pixels: what the noise filters reach."""
        return self.median_size // 2 + (self.bilateral.radius if self.bilateral else 0)

    def check_size(self, height: int | None, width: int | None) -> None:
        """Raise ``LandslideError`` for a size in pixels that the recipe cannot be computed on; None is any."""
        widths = {"median": self.median_size, "bilateral": 2 * self.bilateral.radius + 1 if self.bilateral else 0}
        for name, wide in widths.items():
            if any(side is not None and side < wide for side in (height, width)):
                raise LandslideError(
                    f"a {name} filter of {wide} x {wide} pixels is wider than a patch of {height} x {width}; take a "
                    "smaller one"
                )

    def planes(self, stored: Any, xp: Any) -> list[Any]:
        """The channels of (N, H, W, B) float32, (N, H, W) each; ``xp`` is NumPy or ``keras.ops``."""
        if self.channel_names == LEGACY_RATIO_CHANNELS:
            self.check_size(*stored.shape[1:3])
            return _legacy_ratio(self._filtered(stored, xp), xp)
        return self.of_bands(self.physical(stored, xp), xp)

    def physical(self, stored: Any, xp: Any = np) -> dict[str, Any]:
        """Each of ``bands`` in its unit, by name, after the noise filters.

        Args:
            stored: (N, H, W, B) float32.
            xp: NumPy or ``keras.ops``.

        Returns:
            (N, H, W) each, NaN where missing; ``of_bands`` makes channels of them.
        """
        self.check_size(*stored.shape[1:3])
        planes = xp.moveaxis(stored, -1, 0)  # whole planes are quicker to compute with than every 14th number
        bands = {band.name: _physical(planes[self.layout.index(band.name)], band, xp) for band in self.bands}
        return self._smoothed(bands, xp)

    def of_bands(self, physical: Mapping[str, Any], xp: Any = np) -> list[Any]:
        """The channels of a patch's ``physical`` bands, in their shape."""
        return [
            xp.where(is_missing(plane, xp), STORED_MISSING, plane) if name.endswith(STORED) else plane
            for name, plane in ((name, self._channel(physical, name, xp)) for name in self.channel_names)
        ]

    def of_physical(self, physical: Mapping[str, np.ndarray]) -> np.ndarray:
        """Compute the channels of a scene's bands, which are in physical units already.

        Args:
            physical: (H, W) float32 of each of ``bands`` by name, NaN where missing.

        Returns:
            (H, W, C) float32.

        Raises:
            LandslideError: a recipe that is defined on a patch's stored values.
        """
        if self.channel_names == LEGACY_RATIO_CHANNELS:
            raise LandslideError("recipe 'legacy_ratio' divides by a patch's own maxima; it has no meaning on a scene")
        with np.errstate(divide="ignore", invalid="ignore"):
            bands = self._smoothed({name: values[None] for name, values in physical.items()}, np)
            planes = [self._channel(bands, name, np) for name in self.channel_names]
        return np.stack(planes, axis=-1)[0].astype(np.float32, copy=False)

    def _smoothed(self, physical: dict[str, Any], xp: Any) -> dict[str, Any]:
        """Physical bands, (N, H, W) each, after the noise filters."""
        if self.median_size > 1:
            chosen = [name for name in physical if name in self.median_bands]
            physical |= {n: nanmedian_filter(physical[n][..., None], self.median_size, xp)[..., 0] for n in chosen}
        if self.bilateral and (chosen := [name for name in physical if name in self.bilateral.bands]):
            smooth = bilateral_filter(xp.stack([physical[name] for name in chosen], axis=-1), self.bilateral, xp)
            physical |= {name: smooth[..., i] for i, name in enumerate(chosen)}
        return physical

    def _channel(self, physical: Mapping[str, Any], name: str, xp: Any) -> Any:
        if not name.endswith(STORED):
            return channel(physical, name, xp)
        band = self.layout.bands[self.layout.index(name.removesuffix(STORED))]
        return (physical[band.name] - band.offset) / band.scale

    def _filtered(self, stored: Any, xp: Any) -> Any:
        if self.median_size <= 1:
            return stored
        chosen = xp.array([name in self.median_bands for name in self.layout.names])
        return xp.where(chosen, nanmedian_filter(stored, self.median_size, xp), stored)


def channel_recipe(
    layout: str | Path | Mapping[str, Any] | BandLayout = LANDSLIDE4SENSE,
    channels: str | Sequence[str] = "six",
    median_size: int = 0,
    median_bands: Sequence[str] | None = None,
    bilateral: Bilateral | None = None,
) -> ChannelRecipe:
    """A recipe, checked against the layout it computes from.

    Args:
        layout: of the stored bands, or how ``get_layout`` names it.
        channels: name of a recipe (a key of ``RECIPES``) or a list of band and index names.
        median_size: side of a median filter run on the bands first, in pixels (odd); 0 or 1 leaves it out.
        median_bands: the bands to filter; None for all.
        bilateral: a filter run after it; without bands, on all optical ones.

    Raises:
        LandslideError: an unknown layout, recipe, channel or band, a channel that the layout cannot give, an even
            filter size or one above ``WIDEST_MEDIAN``, a filter of no band, or of bands in several units.
    """
    layout = get_layout(layout)
    names = _checked_names(channels, layout)
    if median_size and median_size % 2 == 0:
        raise LandslideError(f"the median filter's size must be odd, got {median_size}")
    if median_size > WIDEST_MEDIAN:
        raise LandslideError(f"the median filter's size must be {WIDEST_MEDIAN} pixels at most, got {median_size}")
    if isinstance(median_bands, str):
        median_bands = (median_bands,)
    bands = layout.names if median_bands is None else tuple(median_bands)
    for band in bands:
        layout.index(band)
    if median_size > 1 and not bands:
        raise LandslideError("the median filter names no band; name some, or none at all for every band, or set size 0")
    if bilateral is not None and names == LEGACY_RATIO_CHANNELS:
        raise LandslideError("a bilateral filter is of physical values, and recipe 'legacy_ratio' is of stored ones")
    bilateral = None if bilateral is None else named_bilateral(bilateral, layout)
    return ChannelRecipe(layout, names, int(median_size), bands, bilateral)


def _checked_names(channels: str | Sequence[str], layout: BandLayout) -> tuple[str, ...]:
    names = lookup(RECIPES, channels, "channel recipe") if isinstance(channels, str) else tuple(channels)
    if not names:
        raise LandslideError("the channel list is empty; name at least one band or index")
    if names == LEGACY_RATIO_CHANNELS:
        if layout != LANDSLIDE4SENSE:
            raise LandslideError(
                f"recipe 'legacy_ratio' is defined on Landslide4Sense bands as released, not on {layout.name!r}"
            )
        return names
    for name in names:
        if name.removesuffix(STORED) in layout.names:
            continue
        if name not in INDICES:
            raise LandslideError(unknown(name, (*layout.names, *INDICES), f"channel of layout {layout.name!r}"))
        for band in (INDICES[name].a, INDICES[name].b):
            if band not in layout.names:
                raise LandslideError(
                    f"channel {name!r} needs band {band!r}, which layout {layout.name!r} lacks; "
                    f"name the channels, e.g. [{', '.join(layout.names[:6])}]"
                )
    if len(set(names)) != len(names):
        raise LandslideError(f"a channel is listed twice: {', '.join(names)}")
    return names


def available(name: str, layout: BandLayout) -> bool:
    """Whether a layout can give a channel."""
    index = INDICES.get(name)
    return name in layout.names or (index is not None and {index.a, index.b} <= set(layout.names))


def _physical(values: Any, band: Band, xp: Any) -> Any:
    """One stored band in its unit, (N, H, W)."""
    physical = values * band.scale + band.offset if band.offset else values * band.scale
    return physical if band.nodata is None else xp.where(xp.equal(values, band.nodata), float("nan"), physical)


def holds_value(stored: np.ndarray, band: Band) -> np.ndarray:
    """Whether numbers of a band, float32 as they are read, say anything: finite, and not its no-data value.

    That value is compared as float32 too: -9999.9 is another number in float64.
    """
    return np.isfinite(stored) & (True if band.nodata is None else stored != np.float32(band.nodata))


def channel(physical: Mapping[str, Any], name: str, xp: Any = np) -> Any:
    """A channel of physical bands by name: one of them, or an index of two; NaN where missing.

    Args:
        physical: arrays or tensors of one shape by name, NaN where missing.
        name: of a band among them, or of an index (``INDICES``) whose bands are.
        xp: NumPy, or ``keras.ops`` for tensors.
    """
    if name in physical:
        return physical[name]
    return normalised_difference(physical[INDICES[name].a], physical[INDICES[name].b], xp)


def _legacy_ratio(stored: Any, xp: Any) -> list[Any]:
    """The six per-patch ratios of the widely copied Landslide4Sense U-Net notebook, on stored values, NaN -> 1e-6;
    (N, H, W) each.
    """
    x = xp.where(xp.isnan(stored), 1e-6, stored)
    column = LANDSLIDE4SENSE.index
    first = column("blue")

    def half_maximum(bands: Any) -> Any:
        return xp.max(bands, axis=(-3, -2, -1))[..., None, None] / 2

    mid_rgb = half_maximum(x[..., first : column("red") + 1])
    ratios = [1 - x[..., column(band)] / mid_rgb for band in ("red", "green", "blue")]
    nir, red = x[..., column("nir")], x[..., column("red")]
    ratios.append((nir - red) / (nir + red))
    for band in ("slope", "dem"):
        values = x[..., column(band)]
        ratios.append(1 - values / half_maximum(values[..., None]))
    return ratios
