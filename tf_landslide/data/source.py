"""A split that has been read and checked once, giving any of its patches by position; without TensorFlow."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tf_landslide.bands.layout import BandLayout
from tf_landslide.bands.recipes import ChannelRecipe
from tf_landslide.core.errors import LandslideError, require_known
from tf_landslide.core.files import allocate, beside, telling_a_full_disk
from tf_landslide.core.threads import READERS
from tf_landslide.data.checks import DuplicateFinder, checked_readings, tell_notes, usual_shape
from tf_landslide.data.folders import Patch, find_patches, is_labelled
from tf_landslide.data.hdf5 import read_image, read_mask
from tf_landslide.data.ranges import RangeCheck

CACHES = ("memory", "disk", "none")
Views = Callable[[np.ndarray], Iterable[tuple[np.ndarray, np.ndarray]]]


@dataclass(repr=False)
class PatchSource:
    """A split that has been read and checked once, giving any of its patches by position.

    Attributes:
        data_dir: the folder it was read from.
        patches: the pairs, by number.
        channel_names: names of the channels.
        pixels: (n, 2) int64, of each patch the pixels without and with a landslide; those ignored are in neither.
        views: positions -> of each ``((H, W, C) float32 channels, (H, W, 1) uint8 mask)``, in order.
        shape: (H, W, C) of one patch's channels.
        ignores: whether masks may hold ``IGNORED`` beside 0 and 1.
        bands: positions -> of each ``((K, H, W) float32 bands, (H, W, 1) uint8 mask)``, the K physical bands that the
            recipe needs, in its order; None where the source was not opened for them.
        recipe: that makes the channels.
        failed: why a patch could not be read where TensorFlow asked for it; see ``pipeline.telling_what_is_unread``.
    """

    data_dir: Path
    patches: list[Patch]
    channel_names: tuple[str, ...]
    pixels: np.ndarray
    views: Views
    shape: tuple[int, int, int]
    ignores: bool = False
    bands: Views | None = None
    recipe: ChannelRecipe | None = None
    failed: Exception | None = field(default=None, init=False)

    def __len__(self) -> int:
        return len(self.patches)

    def __repr__(self) -> str:
        return f"PatchSource({len(self)} patches, {self.positive.sum()} with landslides, shape {self.shape})"

    @property
    def positive(self) -> np.ndarray:
        """(n,) bool, whether a patch holds any landslide pixel."""
        return self.pixels[:, 1] > 0

    @property
    def balance(self) -> float:
        """How many pixels without a landslide there are to one with: the weight that makes both classes weigh alike.

        Raises:
            LandslideError: all pixels are of one class.
        """
        without, landslides = map(int, self.pixels.sum(axis=0))
        if not without or not landslides:
            what = "no landslide pixel" if without else "nothing but landslide pixels"
            raise LandslideError(f"{self.data_dir}: holds {what}, so that there is no weight to balance them")
        return without / landslides

    def fetch(
        self, positions: np.ndarray, symmetries: np.ndarray | None = None, mask_type: np.dtype | type = np.uint8
    ) -> tuple[np.ndarray, np.ndarray]:
        """Some patches, each turned by one of the eight symmetries where they are given.

        Returns:
            (k, H, W, C) float32 channels and (k, H, W, 1) masks of 0, 1 and ``IGNORED``.
        """
        channels = np.empty((len(positions), *self.shape), np.float32)
        masks = np.empty((*channels.shape[:-1], 1), mask_type)
        chosen = np.zeros(len(positions), int) if symmetries is None else symmetries
        for i, (symmetry, (x, y)) in enumerate(zip(chosen, self.views(positions), strict=True)):
            _whole_pixels(channels[i])[...] = turned(_whole_pixels(x), symmetry)
            masks[i] = turned(y, symmetry)
        return channels, masks

    def subset(self, positions: np.ndarray) -> PatchSource:
        """The patches at some positions, in that order, as a source of their own; nothing is copied."""
        positions, bands = np.asarray(positions, int), self.bands
        return replace(
            self,
            patches=[self.patches[i] for i in positions],
            pixels=self.pixels[positions],
            views=lambda chosen: self.views(positions[chosen]),
            bands=None if bands is None else lambda chosen: bands(positions[chosen]),
        )

    @classmethod
    def open(
        cls,
        data_dir: str | Path,
        split: str,
        recipe: ChannelRecipe,
        *,
        cache: str = "memory",
        cache_dir: str | Path | None = None,
        allow_missing: bool = False,
        strict: bool = False,
        ignore: int | None = None,
        duplicates: DuplicateFinder | None = None,
        keep_bands: bool = False,
    ) -> PatchSource:
        """Read a split, check every file of it, and keep its channels, or bands, where ``cache`` says.

        Args:
            data_dir: a folder in either published layout.
            split: ``train``, ``valid`` or ``test``.
            recipe: how stored bands become channels.
            cache: ``memory`` (float32 channels: 393 kB a patch of 128 x 128 x 6), ``disk`` (the same in ``cache_dir``,
                memory-mapped) or ``none`` (read again each time).
            cache_dir: folder for ``cache="disk"``.
            allow_missing: take NaN as a missing value rather than as a fault.
            strict: refuse values that are not those of the layout, rather than warn.
            ignore: the masks' value of pixels that are left out.
            duplicates: finds an image that occurs twice, among all splits it is shared by; None does not look.
            keep_bands: keep the physical bands that the recipe needs instead of the channels, which are then computed
                each time they are asked for; augmentation starts from them.

        Raises:
            LandslideError: a split without masks, the first fault found, by file, a recipe that does not fit the
                patches, or a disk without room for the cache.
        """
        require_known(cache, CACHES, "cache")
        if cache == "disk" and cache_dir is None:
            raise LandslideError("cache 'disk' needs a folder to write to (cache_dir)")
        patches, layout = find_patches(data_dir, split), recipe.layout
        if not is_labelled(patches):
            raise LandslideError(f"{data_dir}: split {split!r} has no masks, so it can be predicted, but not judged")
        ranges, notes = RangeCheck(layout), Counter[str]()
        pixels = np.zeros((len(patches), 2), np.int64)
        usual = usual_shape(patches, layout)
        height, width = (usual or (0, 0))[:2]
        if usual:
            recipe.check_size(height, width)
        shape = (height, width, len(recipe.channel_names))
        kept = (len(recipe.bands), height, width) if keep_bands else shape
        store = _Store(cache, cache_dir, split, len(patches), kept, (height, width, 1))

        def keep(position: int, image: np.ndarray, mask: np.ndarray) -> None:
            pixels[position] = [np.count_nonzero(mask == label) for label in (0, 1)]
            if cache != "none":
                if keep_bands:
                    store.values[position] = physical_bands(recipe, image)
                else:
                    recipe(image[None], out=store.values[position : position + 1])
                store.masks[position] = mask[..., None]

        try:
            for reading in checked_readings(
                patches,
                split,
                layout,
                duplicates,
                usual=usual,
                allow_missing=allow_missing,
                ignore=ignore,
                ranges=ranges,
                keep=keep,
            ):
                if reading.errors:
                    raise reading.errors[0]
                notes.update(reading.notes)
            tell_notes(f"{data_dir}, {split}", notes)
            ranges.report(f"{data_dir}, {split}", strict=strict)
        except BaseException:
            store.discard()
            raise
        store.keep()
        make = partial(physical_bands, recipe) if keep_bands else lambda image: recipe(image[None])[0]
        views = _file_views(patches, layout, make, allow_missing, ignore) if cache == "none" else store.views
        names, ignores = recipe.channel_names, ignore is not None
        source = cls(Path(data_dir), patches, names, pixels, views, shape, ignores, recipe=recipe)
        return _of_bands(source, recipe) if keep_bands else source


def physical_bands(recipe: ChannelRecipe, stored: np.ndarray) -> np.ndarray:
    """(K, H, W) float32: the bands that a recipe needs of a stored (H, W, B) image, physical, noise filters behind."""
    with np.errstate(over="ignore"):
        return np.concatenate(list(recipe.physical(stored[None]).values()))


def channels_of(recipe: ChannelRecipe, bands: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """(H, W, C) float32 channels of what ``physical_bands`` gives, bit for bit those of the stored image."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        named = dict(zip((band.name for band in recipe.bands), bands, strict=True))
        return np.stack(recipe.of_bands(named), axis=-1, out=out)


def _of_bands(source: PatchSource, recipe: ChannelRecipe) -> PatchSource:
    """A source whose views are of bands, as one that gives channels too."""
    bands = source.views

    def views(positions: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return ((channels_of(recipe, planes), mask) for planes, mask in bands(positions))

    return replace(source, views=views, bands=bands)


def turned(x: np.ndarray, symmetry: int) -> np.ndarray:
    """A view of a square (S, S, …) as one of its eight flips and rotations.

    Args:
        x: the square.
        symmetry: 0..7: bit 0 transposes, bit 1 flips rows, bit 2 flips columns, in that order.
    """
    if symmetry & 1:
        x = x.swapaxes(0, 1)
    return x[:: -1 if symmetry & 2 else 1, :: -1 if symmetry & 4 else 1]


def _whole_pixels(x: np.ndarray) -> np.ndarray:
    """(H, W, C) as (H, W) items of C numbers each: turning them is copying items, twice as fast as number by number."""
    return x.view(f"V{x.shape[-1] * x.itemsize}")[..., 0]


def _file_views(
    patches: list[Patch],
    layout: BandLayout,
    make: Callable[[np.ndarray], np.ndarray],
    allow_missing: bool,
    ignore: int | None,
) -> Views:
    def read(patch: Patch) -> tuple[np.ndarray, np.ndarray]:
        assert patch.image and patch.mask  # as was checked
        image = read_image(patch.image, layout, allow_missing=allow_missing)
        return make(image), read_mask(patch.mask, ignore=ignore)[..., None]

    readers = ThreadPoolExecutor(READERS)  # one for all batches: each thread keeps the memory it reads into
    return lambda positions: readers.map(read, [patches[i] for i in positions])


def _array(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    try:
        return np.empty(shape, dtype)
    except MemoryError:
        size = math.prod(shape) * np.dtype(dtype).itemsize / 1e9
        said = f"{shape[0]} patches of {shape[1]} x {shape[2]} x {shape[3]} take {size:,.1f} GB, more than there is"
        raise LandslideError(f"{said}; cache them on disk, or not at all (cache: disk or none)") from None


class _Store:
    """Channels (or bands) and masks of a split, in memory or in two memory-mapped files that exist only when whole."""

    def __init__(
        self, cache: str, cache_dir: str | Path | None, split: str, n: int, kept: tuple[int, ...], mask: tuple[int, ...]
    ) -> None:
        self._files: list[tuple[Path, Path]] = []
        arrays = []
        with ExitStack() as unfinished:
            for name, shape, dtype in (("channels", kept, np.float32), ("masks", mask, np.uint8)):
                full = (n if cache != "none" else 0, *shape)
                if cache != "disk" or cache_dir is None:
                    arrays.append(_array(full, dtype))
                    continue
                final = Path(cache_dir) / f"{split}_{name}.npy"
                partial = unfinished.enter_context(beside(final))
                with telling_a_full_disk(final):
                    arrays.append(np.lib.format.open_memmap(partial, "w+", dtype, full))
                    allocate(partial)
                self._files.append((partial, final))
            self._unfinished = unfinished.pop_all()
        self.values, self.masks = arrays

    def keep(self) -> None:
        for unfinished, final in self._files:
            unfinished.replace(final)
        self._unfinished.close()

    def discard(self) -> None:
        self._unfinished.close()

    def views(self, positions):
        return ((self.values[i], self.masks[i]) for i in positions)
