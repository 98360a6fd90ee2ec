"""Channel recipes: the model's channels, computed from named bands by a Keras layer.

The same layer runs before tf.data, inside a model and inside an exported signature, so a channel has one definition.
Missing values (NaN, or a band's no-data value) stay missing: they come out as NaN, and the model's own normalisation
turns them into the training mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from tf_landslide.bands import LANDSLIDE4SENSE, BandLayout, get_layout
from tf_landslide.errors import LandslideError, nearest


@dataclass(frozen=True)
class NormalisedDifference:
    """``(a - b) / (a + b)`` of two physical bands, -1..1; missing where the sum is zero."""

    a: str
    b: str


INDICES: dict[str, NormalisedDifference] = {
    "ndvi": NormalisedDifference("nir", "red"),  # vegetation (Rouse et al. 1974)
    "ndwi": NormalisedDifference("green", "nir"),  # open water (McFeeters 1996)
    "ndmi": NormalisedDifference("nir", "swir_1"),  # canopy moisture (Gao 1996)
    "nbr": NormalisedDifference("nir", "swir_2"),  # burnt ground (Key & Benson 2006)
}
"""Channels that are computed; any other channel name is a band of the layout."""

LEGACY_RATIO_CHANNELS = ("red_ratio", "green_ratio", "blue_ratio", "ndvi_stored", "slope_ratio", "dem_ratio")

RECIPES: dict[str, tuple[str, ...]] = {
    "six": ("red", "green", "blue", "ndvi", "slope", "dem"),
    "fourteen": LANDSLIDE4SENSE.names,
    "legacy_ratio": LEGACY_RATIO_CHANNELS,
}
"""Recipes that have a name. A config may also list channels itself."""


def channel_names(channels: str | Sequence[str], layout: str | BandLayout) -> tuple[str, ...]:
    """The channels of a recipe, checked against the layout they are computed from.

    Args:
        channels: the name of a recipe, or a list of band and index names.
        layout: the layout of the stored bands.

    Raises:
        LandslideError: an unknown recipe, or a channel that this layout cannot give.
    """
    layout = get_layout(layout)
    if isinstance(channels, str):
        if channels not in RECIPES:
            raise LandslideError(nearest(channels, RECIPES, "channel recipe"))
        names = RECIPES[channels]
    else:
        names = tuple(channels)
    if not names:
        raise LandslideError("the channel list is empty; name at least one band or index")
    if names == LEGACY_RATIO_CHANNELS:
        if layout.name != LANDSLIDE4SENSE.name:
            raise LandslideError(f"recipe 'legacy_ratio' is defined on Landslide4Sense bands, not on {layout.name!r}")
        return names
    for name in names:
        needed = (INDICES[name].a, INDICES[name].b) if name in INDICES and name not in layout.names else (name,)
        missing = [band for band in needed if band not in layout.names]
        if missing and name in INDICES:
            raise LandslideError(f"channel {name!r} needs band {missing[0]!r}, which layout {layout.name!r} lacks")
        if missing:
            raise LandslideError(nearest(name, (*layout.names, *INDICES), f"channel of layout {layout.name!r}"))
    if len(set(names)) != len(names):
        raise LandslideError(f"a channel is listed twice: {', '.join(names)}")
    return names


def _is_missing(x, xp):
    return xp.logical_not(xp.isfinite(x))


def nanmedian_filter(x, size: int, xp=ops):
    """Median of each pixel's ``size`` x ``size`` neighbourhood, band by band, skipping missing values.

    Edges are mirrored (``d c b a | a b c d``), as in ``scipy.ndimage.median_filter(mode="reflect")``. A missing pixel
    stays missing, so that the filter neither spreads nor invents values; an even number of valid neighbours gives the
    mean of the middle two.

    Args:
        x: (N, H, W, B) float tensor.
        size: odd window side, in pixels.
        xp: ``keras.ops``, or ``numpy`` for an array.
    """
    radius = size // 2
    height, width = xp.shape(x)[-3], xp.shape(x)[-2]
    padded = xp.pad(x, [[0, 0], [radius, radius], [radius, radius], [0, 0]], mode="symmetric")
    window = xp.stack(
        [padded[:, row : row + height, column : column + width, :] for row in range(size) for column in range(size)],
        axis=-1,
    )
    missing = _is_missing(window, xp)
    ordered = xp.sort(xp.where(missing, float("inf"), window), axis=-1)
    valid = xp.sum(xp.where(missing, 0, 1), axis=-1, keepdims=True)
    lower = xp.take_along_axis(ordered, xp.maximum(valid - 1, 0) // 2, axis=-1)[..., 0]
    upper = xp.take_along_axis(ordered, xp.minimum(valid // 2, size * size - 1), axis=-1)[..., 0]
    return xp.where(_is_missing(x, xp), float("nan"), (lower + upper) / 2)


def _legacy_ratio(stored, xp):
    """The six per-patch ratios of the widely copied Landslide4Sense U-Net notebook, on stored values, NaN -> 1e-6;
    (N, H, W) each.
    """
    x = xp.where(xp.isnan(stored), 1e-6, stored)
    column = LANDSLIDE4SENSE.index
    first = column("blue")

    def half_maximum(bands):
        return xp.max(bands, axis=(-3, -2, -1))[..., None, None] / 2

    mid_rgb = half_maximum(x[..., first : column("red") + 1])
    ratios = [1 - x[..., column(band)] / mid_rgb for band in ("red", "green", "blue")]
    nir, red = x[..., column("nir")], x[..., column("red")]
    ratios.append((nir - red) / (nir + red))
    for band in ("slope", "dem"):
        values = x[..., column(band)]
        ratios.append(1 - values / half_maximum(values[..., None]))
    return ratios


@keras.saving.register_keras_serializable(package="tf_landslide")
class Features(keras.layers.Layer):
    """Stored bands in, the model's channels out.

    Args:
        layout: name of the band layout, e.g. ``"landslide4sense"``.
        channels: name of a recipe (``six``, ``fourteen``, ``legacy_ratio``) or a list of band and index names.
        median_size: side of a median filter run on the bands first, in pixels (odd); 0 or 1 leaves it out.
        median_bands: the bands to filter; None filters all but none where ``median_size`` is off.

    Call with ``(N, H, W, B)`` values as stored, of any float dtype; gives ``(N, H, W, C)`` float32 in physical units
    (reflectance 0..1, indices -1..1, degrees, metres), NaN where a value is missing.

    Raises:
        LandslideError: an unknown layout, recipe, channel or band, or an even filter size.

    Example:
        >>> features = Features("landslide4sense", "six")
        >>> features(stored).shape  # stored: (2, 128, 128, 14)
        (2, 128, 128, 6)
    """

    def __init__(
        self,
        layout: str = LANDSLIDE4SENSE.name,
        channels: str | Sequence[str] = "six",
        median_size: int = 0,
        median_bands: Sequence[str] | None = None,
        **kwargs,
    ):
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.layout = get_layout(layout)
        self.channels = channel_names(channels, self.layout)
        if median_size and median_size % 2 == 0:
            raise LandslideError(f"the median filter's size must be odd, got {median_size}")
        self.median_size = int(median_size)
        self.median_bands = tuple(self.layout.names if median_bands is None else median_bands)
        for name in self.median_bands:
            self.layout.index(name)
        own = {name for name in self.channels if name in self.layout.names}
        sources = {band for name in self.channels if name in INDICES for band in (INDICES[name].a, INDICES[name].b)}
        self._needed = [band for band in self.layout.bands if band.name in own | sources]

    def call(self, stored):
        return ops.moveaxis(ops.stack(self._planes(ops.cast(stored, "float32"), ops)), 0, -1)

    def of_array(self, stored: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The same, bit for bit, by NumPy on one thread and into ``out`` where given: the quick way patch by patch."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.stack(self._planes(np.asarray(stored, np.float32), np), axis=-1, out=out)

    def _planes(self, stored, xp):
        """The channels, (N, H, W) each; ``xp`` is ``keras.ops`` or NumPy."""
        if self.channels == LEGACY_RATIO_CHANNELS:
            return _legacy_ratio(self._filtered(stored, xp), xp)
        planes = xp.moveaxis(stored, -1, 0)  # whole planes are quicker to compute with than every 14th number
        physical = {band.name: self._physical(planes[self.layout.index(band.name)], band, xp) for band in self._needed}
        return [self._channel(physical, name, xp) for name in self.channels]

    def _physical(self, values, band, xp):
        """One band in its unit, (N, H, W)."""
        physical = values * band.scale + band.offset if band.offset else values * band.scale
        if band.nodata is not None:
            physical = xp.where(xp.equal(values, band.nodata), float("nan"), physical)
        if self.median_size > 1 and band.name in self.median_bands:
            physical = nanmedian_filter(physical[..., None], self.median_size, xp)[..., 0]
        return physical

    def _filtered(self, x, xp):
        if self.median_size <= 1:
            return x
        chosen = xp.array([name in self.median_bands for name in self.layout.names])
        return xp.where(chosen, nanmedian_filter(x, self.median_size, xp), x)

    def _channel(self, physical, name, xp):
        if name in physical:
            return physical[name]
        a, b = physical[INDICES[name].a], physical[INDICES[name].b]
        total = a + b
        return xp.where(xp.equal(total, 0.0), float("nan"), (a - b) / total)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], len(self.channels))

    def get_config(self):
        return {
            **super().get_config(),
            "layout": self.layout.name,
            "channels": list(self.channels),
            "median_size": self.median_size,
            "median_bands": list(self.median_bands),
        }
