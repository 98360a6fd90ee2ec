"""A channel recipe as a Keras layer, for models and exported signatures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import keras
from keras import ops

from tf_landslide.bands.filters import Bilateral
from tf_landslide.bands.layouts import LANDSLIDE4SENSE, BandLayout, stated
from tf_landslide.bands.recipes import ChannelRecipe, channel_recipe


@keras.saving.register_keras_serializable(package="tf_landslide")
class Features(keras.layers.Layer):
    """Stored bands in, the model's channels out.

    Args:
        layout: the band layout: its name, e.g. ``"landslide4sense"``, or one of your own (see ``get_layout``).
        channels: name of a recipe (``six``, ``fourteen``, ``legacy_ratio``) or a list of band and index names.
        median_size: side of a median filter run on the bands first, in pixels (odd); 0 or 1 leaves it out.
        median_bands: the bands to filter; None for all.
        bilateral: a bilateral filter run after it, or its attributes as a mapping; None for none.

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
        layout: str | Mapping[str, Any] | BandLayout = LANDSLIDE4SENSE,
        channels: str | Sequence[str] = "six",
        median_size: int = 0,
        median_bands: Sequence[str] | None = None,
        bilateral: Bilateral | Mapping[str, Any] | None = None,
        **kwargs: Any,
    ):
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        if isinstance(bilateral, Mapping):
            bilateral = Bilateral(bilateral["sigma_space"], bilateral["sigma_value"], tuple(bilateral["bands"]))
        self.recipe = channel_recipe(layout, channels, median_size, median_bands, bilateral)

    @classmethod
    def of(cls, recipe: ChannelRecipe) -> Features:
        """The layer that computes a recipe."""
        return cls(recipe.layout, recipe.channel_names, recipe.median_size, recipe.median_bands, recipe.bilateral)

    def call(self, stored: Any) -> Any:
        return ops.moveaxis(ops.stack(self.recipe.planes(ops.cast(stored, "float32"), ops)), 0, -1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], len(self.recipe.channel_names))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "layout": stated(self.recipe.layout),
            "channels": list(self.recipe.channel_names),
            "median_size": self.recipe.median_size,
            "median_bands": list(self.recipe.median_bands),
            "bilateral": None if self.recipe.bilateral is None else asdict(self.recipe.bilateral),
        }
