"""A split's patches as training sees them: bands turned, moved, lit, mixed, then made into channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tf_landslide.bands.kinds import refuse_directions
from tf_landslide.bands.recipes import LEGACY_RATIO_CHANNELS, ChannelRecipe
from tf_landslide.core.errors import LandslideError
from tf_landslide.data.augment.draws import Draw
from tf_landslide.data.augment.geometry import coordinates, resampled
from tf_landslide.data.augment.mixing import Pair, cut_mixed, dropped, mixed_up
from tf_landslide.data.augment.radiometry import Bands, apply, change, shade
from tf_landslide.data.augment.settings import Augmentation
from tf_landslide.data.source import PatchSource, channels_of, turned

_Mix = Callable[[Any, Pair, Pair, np.random.Generator], Pair]
_MIXING: dict[str, _Mix] = {"mixup": mixed_up, "cutmix": cut_mixed}
_NEEDS = {
    "shadow": "optical",
    "haze": "optical",
    "optical": "optical",
    "radar": "radar",
    "other": "other",
    "elevation": "elevation",
}


class Augmenter:
    """Looks of a source's patches, each a pure function of (seed, epoch, patch).

    Args:
        settings: what may happen.
        recipe: of the source's channels.
        seed: of the run.

    Raises:
        LandslideError: a part that is on and finds no band to change, or a recipe that has no physical bands.
    """

    def __init__(self, settings: Augmentation, recipe: ChannelRecipe, seed: int) -> None:
        self.settings, self.recipe, self.seed = settings, recipe, seed
        self.bands = check(settings, recipe)

    def fetch(self, source: PatchSource, draws: np.ndarray, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Some patches of a source that was opened with ``keep_bands``.

        Args:
            source: of the patches.
            draws: (k, 2, 3), rows of ``epoch_draws``.
            epoch: that drew them.

        Returns:
            (k, H, W, C) float32 channels and (k, H, W, 1) float32 masks of 0 to 1 and ``IGNORED``.
        """
        assert source.bands is not None  # as_dataset says so
        own = [Draw(self.seed, epoch, int(patch), int(repeat)) for patch, _, repeat in draws[:, 0]]
        mixing = [self._mixing(draw) for draw in own]
        others = [i for i, parts in enumerate(mixing) if parts]
        views = iter(source.bands(np.concatenate([draws[:, 0, 0], draws[others, 1, 0]])))
        looks = [
            self._look(*next(views), symmetry, draw) for (_, symmetry, _), draw in zip(draws[:, 0], own, strict=True)
        ]
        mixed = dict[int, Pair]()
        for i in others:
            patch, symmetry, repeat = map(int, draws[i, 1])
            other = self._look(*next(views), symmetry, Draw(self.seed, epoch, patch, repeat))
            mixed[i] = self._mixed((looks[i][0], looks[i][1]), other, mixing[i])
        channels = np.empty((len(draws), *source.shape), np.float32)
        masks = np.empty((*channels.shape[:-1], 1), np.float32)
        for i, draw in enumerate(own):
            bands, mask = mixed.get(i, looks[i])
            self._drop(bands, draw)
            channels_of(self.recipe, bands, out=channels[i])
            masks[i, ..., 0] = mask
        return channels, masks

    def _look(self, bands: np.ndarray, mask: np.ndarray, symmetry: int, draw: Draw) -> Pair:
        """One patch by itself: turned, moved and lit; the source's own memory is left as it is."""
        settings = self.settings
        planes = np.moveaxis(turned(np.moveaxis(bands, 0, -1), symmetry), -1, 0)
        known = turned(mask, symmetry)[..., 0]
        where = coordinates(settings.scale, settings.elastic, known.shape, draw)
        made = np.array(planes, order="C")
        if where is not None:
            made, known = resampled(made, np.ascontiguousarray(known), where)
        if settings.shadow.probability:
            rng = draw.stream("shadow")
            if rng.random() < settings.shadow.probability:
                shade(settings.shadow, made, self.bands, rng)
        if (by := change(settings, self.bands, draw)) is not None:
            apply(made, by, self.bands)
        return made, known.astype(np.float32)

    def _mixing(self, draw: Draw) -> list[tuple[str, np.random.Generator]]:
        """The parts that mix another patch into this one, and their random numbers."""
        parts = []
        for name in _MIXING:
            if probability := getattr(self.settings, name).probability:
                rng = draw.stream(name)
                if rng.random() < probability:
                    parts.append((name, rng))
        return parts

    def _mixed(self, patch: Pair, other: Pair, parts: Sequence[tuple[str, np.random.Generator]]) -> Pair:
        for name, rng in parts:
            patch = _MIXING[name](getattr(self.settings, name), patch, other, rng)
        return patch

    def _drop(self, bands: np.ndarray, draw: Draw) -> None:
        if self.settings.dropout.probability:
            rng = draw.stream("dropout")
            if rng.random() < self.settings.dropout.probability:
                bands[dropped(self.settings.dropout, self.bands.sources, rng)] = np.nan


def check(settings: Augmentation, recipe: ChannelRecipe) -> Bands:
    """What a recipe's bands measure. Raises ``LandslideError`` for a part that is on and cannot act on them."""
    on = settings.on
    if on and recipe.channel_names == LEGACY_RATIO_CHANNELS:
        raise LandslideError(
            "data.augmentation changes bands in physical units, and recipe 'legacy_ratio' is of stored values; name "
            "other channels, or turn it off"
        )
    bands = Bands.of(recipe.bands, haze="haze" in on)
    names = ", ".join(bands.names)
    for part, kind in _NEEDS.items():
        if part in on and not getattr(bands, kind).any():
            raise LandslideError(
                f"data.augmentation.{part}: none of the bands that the channels need ({names}) is {kind}; leave "
                "it out, or state the bands' kind in the layout"
            )
    for part in ("scale", "elastic"):
        if part in on:
            refuse_directions(recipe.bands, f"data.augmentation.{part}")
    if "dropout" in on and len(bands.names) < 2:
        raise LandslideError(f"data.augmentation.dropout: {names} is the only band; leave it out")
    if settings.elastic.probability and settings.elastic.strength > settings.elastic.sigma / 4:
        raise LandslideError(
            f"data.augmentation.elastic: strength {settings.elastic.strength:g} folds the ground at sigma "
            f"{settings.elastic.sigma:g}; it may be a quarter of sigma at most"
        )
    return bands


def augmenter_of(source: PatchSource, settings: Augmentation | None, seed: int, *, shuffle: bool) -> Augmenter | None:
    """What augments a source's patches; None where nothing may happen. Raises ``LandslideError`` where it cannot."""
    if settings is None or not settings.on:
        return None
    if not shuffle:
        raise LandslideError("augmentation changes patches at random and needs shuffle")
    if source.bands is None or source.recipe is None:
        raise LandslideError("augmentation starts from bands; open the source with keep_bands=True")
    return Augmenter(settings, source.recipe, seed)
