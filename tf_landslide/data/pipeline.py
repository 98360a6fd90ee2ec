"""tf.data over HDF5 patches: read, features, cache, shuffle, oversample, flip and turn, batch, prefetch.

Which patches an epoch draws, in which order and how each is turned, is a pure function of (seed, epoch): two runs with
one seed see the same batches, and a resumed run goes on with the batches it would have seen.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_landslide.bands import get_layout
from tf_landslide.data.inspection import DuplicateFinder, checked_readings, detect_layout, usual_shape
from tf_landslide.data.patches import READERS, Patch, find_patches, read_image, read_mask
from tf_landslide.errors import LandslideError
from tf_landslide.features import Features

CACHES = ("memory", "disk", "none")


@dataclass(repr=False)
class PatchSource:
    """A split that has been read and checked once, giving any of its patches by position.

    Attributes:
        patches: the pairs, by number.
        channel_names: names of the channels.
        positive: (n,) bool, whether a patch holds any landslide pixel.
        views: positions -> of each ``((H, W, C) float32 channels, (H, W, 1) uint8 mask)``, in order.
        shape: (H, W, C) of one patch's channels.
    """

    patches: list[Patch]
    channel_names: tuple[str, ...]
    positive: np.ndarray
    views: Callable[[np.ndarray], Iterable[tuple[np.ndarray, np.ndarray]]]
    shape: tuple[int, int, int]

    def __len__(self) -> int:
        return len(self.patches)

    def __repr__(self) -> str:
        return f"PatchSource({len(self)} patches, {self.positive.sum()} with landslides, shape {self.shape})"

    def fetch(
        self, positions: np.ndarray, symmetries: np.ndarray | None = None, mask_type: np.dtype | type = np.uint8
    ) -> tuple[np.ndarray, np.ndarray]:
        """Some patches, each turned by one of the eight symmetries where they are given.

        Returns:
            (k, H, W, C) float32 channels and (k, H, W, 1) masks of 0 and 1.
        """
        channels = np.empty((len(positions), *self.shape), np.float32)
        masks = np.empty((*channels.shape[:-1], 1), mask_type)
        chosen = np.zeros(len(positions), int) if symmetries is None else symmetries
        for i, (symmetry, (x, y)) in enumerate(zip(chosen, self.views(positions), strict=True)):
            _whole_pixels(channels[i])[...] = turned(_whole_pixels(x), symmetry)
            masks[i] = turned(y, symmetry)
        return channels, masks

    @classmethod
    def open(
        cls,
        data_dir: str | Path,
        split: str,
        features: Features,
        *,
        cache: str = "memory",
        cache_dir: str | Path | None = None,
        allow_missing: bool = False,
        duplicates: DuplicateFinder | None = None,
    ) -> PatchSource:
        """Read a split, check every file of it, and keep its channels where ``cache`` says.

        Args:
            data_dir: a folder in either published layout.
            split: ``train``, ``valid`` or ``test``.
            features: the layer that turns stored bands into channels.
            cache: ``memory`` (float32 channels: 393 kB a patch of 128 x 128 x 6), ``disk`` (the same in ``cache_dir``,
                memory-mapped) or ``none`` (read again each time).
            cache_dir: folder for ``cache="disk"``.
            allow_missing: take NaN as a missing value rather than as a fault.
            duplicates: finds an image that occurs twice, among all splits it is shared by; None does not look.

        Raises:
            LandslideError: the first fault found, by file.
        """
        if cache not in CACHES:
            raise LandslideError(f"unknown cache {cache!r}; known: {', '.join(CACHES)}")
        if cache == "disk" and cache_dir is None:
            raise LandslideError("cache 'disk' needs a folder to write to (cache_dir)")
        patches, layout = find_patches(data_dir, split), features.layout
        positive = np.zeros(len(patches), bool)
        usual = usual_shape(patches, layout)
        shape = (*(usual or (0, 0))[:2], len(features.channels))
        store = _Store(cache, cache_dir, split, len(patches), shape)

        def keep(position, reading):
            positive[position] = reading.mask.any()
            if cache != "none":
                features.of_array(reading.image[None], out=store.channels[position : position + 1])
                store.masks[position] = reading.mask[..., None]

        try:
            for reading in checked_readings(
                patches, split, layout, duplicates, usual=usual, allow_missing=allow_missing, keep=keep
            ):
                if reading.errors:
                    raise reading.errors[0]
        except BaseException:
            store.discard()
            raise
        store.keep()
        views = _file_views(patches, features, allow_missing) if cache == "none" else store.views
        return cls(patches, features.channels, positive, views, shape)

    def dataset(
        self,
        batch_size: int = 16,
        *,
        shuffle: bool = False,
        augment: bool = False,
        positive_fraction: float | None = None,
        seed: int = 0,
        first_epoch: int = 0,
    ) -> tf.data.Dataset:
        """Batches of ``((N, H, W, C) float32 channels, (N, H, W, 1) float32 mask)``; see ``load_dataset``."""
        if batch_size < 1:
            raise LandslideError(f"batch_size must be at least 1, got {batch_size}")
        height, width, channels = self.shape
        if augment and height != width:
            raise LandslideError(f"augment turns patches by 90 degrees and needs square ones, got {height} x {width}")
        # TensorFlow never lets go of a function that it calls: that one refers weakly, and the dataset holds the source
        size, source, epochs = len(self), weakref.ref(self), count(first_epoch)
        plan_of = partial(
            epoch_plan,
            positive=self.positive,
            seed=seed,
            shuffle=shuffle,
            augment=augment,
            positive_fraction=positive_fraction,
        )
        plan_of(first_epoch)  # what cannot be drawn is refused here, not inside a running pipeline

        def next_plan():
            return plan_of(next(epochs))

        def plan(_):
            positions, symmetries = tf.numpy_function(next_plan, [], (tf.int64, tf.int64))
            positions.set_shape([size])
            symmetries.set_shape([size])
            return tf.data.Dataset.from_tensor_slices((positions, symmetries))

        def fetch(positions, symmetries):
            return source().fetch(positions, symmetries, np.float32)

        def load(positions, symmetries):
            x, y = tf.numpy_function(fetch, [positions, symmetries], (tf.float32, tf.float32))
            x.set_shape([None, height, width, channels])
            y.set_shape([None, height, width, 1])
            return x, y

        drop = shuffle and size >= batch_size  # a short last batch costs a compilation and a poor batch norm
        batches = size // batch_size if drop else -(-size // batch_size)
        dataset = (
            tf.data.Dataset.range(1)
            .flat_map(plan)
            .batch(batch_size, drop_remainder=drop)
            .map(load, num_parallel_calls=2, deterministic=True)
            .apply(tf.data.experimental.assert_cardinality(batches))
            .prefetch(4)
        )
        dataset.source = self  # every dataset and iterator made from this one refers to it
        return dataset


def load_dataset(
    data_dir: str | Path,
    split: str = "train",
    *,
    layout: str | None = None,
    channels: str | Sequence[str] = "six",
    median_size: int = 0,
    median_bands: Sequence[str] | None = None,
    batch_size: int = 16,
    shuffle: bool = False,
    augment: bool = False,
    positive_fraction: float | None = None,
    seed: int = 0,
    cache: str = "memory",
    cache_dir: str | Path | None = None,
    allow_missing: bool = False,
    allow_duplicates: bool = False,
) -> tf.data.Dataset:
    """A split of HDF5 patches as a ``tf.data.Dataset``, ready for ``model.fit``.

    Args:
        data_dir: a folder in either published layout (``TrainData/img`` … or ``images/train`` …).
        split: ``train``, ``valid`` or ``test``.
        layout: name of the band layout; None finds it by the number of bands.
        channels: a recipe (``six``, ``fourteen``, ``legacy_ratio``) or a list of band and index names.
        median_size: side in pixels of a median filter on the bands before the features; 0 for none.
        median_bands: the bands that it filters; None for all.
        batch_size: patches a batch. A shuffled dataset drops what does not fill the last batch.
        shuffle: draw the patches in a new order every epoch.
        augment: turn each patch into one of its eight flips and rotations, anew every epoch.
        positive_fraction: share of an epoch's patches that hold a landslide, 0..1 (oversampling; needs ``shuffle``);
            None draws every patch once.
        seed: of order, oversampling and flips.
        cache: ``memory``, ``disk`` (in ``cache_dir``) or ``none``.
        cache_dir: folder for ``cache="disk"``.
        allow_missing: take NaN as a missing value rather than as a fault.
        allow_duplicates: take a split in which an image occurs twice.

    Returns:
        A dataset of known cardinality that gives ``((N, H, W, C) float32 channels in physical units, NaN where missing;
        (N, H, W, 1) float32 mask of 0 and 1)``. Each iteration over it is the next epoch.

    Raises:
        LandslideError: the first fault found in the files, or an argument that makes no sense.

    Example:
        >>> train = load_dataset("sample", "train", batch_size=16, shuffle=True, augment=True, seed=1)
        >>> channels, mask = next(iter(train))
    """
    band_layout = get_layout(layout) if layout else detect_layout(Path(data_dir))
    features = Features(band_layout.name, channels, median_size, median_bands)
    source = PatchSource.open(
        data_dir,
        split,
        features,
        cache=cache,
        cache_dir=cache_dir,
        allow_missing=allow_missing,
        duplicates=None if allow_duplicates else DuplicateFinder(),
    )
    return source.dataset(batch_size, shuffle=shuffle, augment=augment, positive_fraction=positive_fraction, seed=seed)


def epoch_plan(
    epoch: int,
    positive: np.ndarray,
    seed: int,
    *,
    shuffle: bool,
    augment: bool,
    positive_fraction: float | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Which patches an epoch draws and how each is turned: a pure function of (seed, epoch).

    Args:
        epoch: number of the epoch, from 0.
        positive: (n,) bool, the patches that hold a landslide.
        seed: of the run.
        shuffle: draw in random order, else 0..n-1.
        augment: draw a symmetry 0..7 for each, else 0.
        positive_fraction: share of positive patches in the epoch; both kinds are drawn in whole rounds, so that none
            is seen twice before all of its kind were seen once.

    Returns:
        (n,) int64 positions and (n,) int64 symmetries.
    """
    n = len(positive)
    rng = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    positions = np.arange(n)
    if positive_fraction is not None:
        if not shuffle:
            raise LandslideError("positive_fraction oversamples at random and needs shuffle")
        if not 0 <= positive_fraction <= 1:
            raise LandslideError(f"positive_fraction must lie in 0..1, got {positive_fraction}")
        wanted = round(positive_fraction * n)
        parts = []
        for what, kind, size in (
            ("with", np.flatnonzero(positive), wanted),
            ("without", np.flatnonzero(~positive), n - wanted),
        ):
            if size and not len(kind):
                raise LandslideError(f"positive_fraction {positive_fraction} needs patches {what} landslides")
            rounds = [rng.permutation(kind) for _ in range(-(-size // len(kind)))] if size else []
            parts.append(np.concatenate([*rounds, np.empty(0, np.int64)])[:size])
        positions = np.concatenate(parts).astype(np.int64)
    if shuffle:
        positions = rng.permutation(positions)
    symmetries = rng.integers(0, 8, n) if augment else np.zeros(n, np.int64)
    return positions.astype(np.int64), symmetries.astype(np.int64)


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


def _file_views(patches, features, allow_missing):
    def read(patch):
        image = read_image(patch.image, features.layout, allow_missing=allow_missing)
        return features.of_array(image[None])[0], read_mask(patch.mask)[..., None]

    readers = ThreadPoolExecutor(READERS)  # one for all batches: each thread keeps the memory it reads into
    return lambda positions: readers.map(read, [patches[i] for i in positions])


class _Store:
    """Channels and masks of a split in memory, or in two memory-mapped files that exist only once they are whole."""

    def __init__(self, cache: str, cache_dir, split: str, n: int, shape: tuple[int, int, int]) -> None:
        self._files: list[tuple[Path, Path]] = []
        arrays = []
        for name, last, dtype in (("channels", shape[2], np.float32), ("masks", 1, np.uint8)):
            full = (n if cache != "none" else 0, *shape[:2], last)
            if cache != "disk":
                arrays.append(np.empty(full, dtype))
                continue
            folder = Path(cache_dir)
            folder.mkdir(parents=True, exist_ok=True)
            final = folder / f"{split}_{name}.npy"
            unfinished = final.with_suffix(f".{os.getpid()}.partial")
            arrays.append(np.lib.format.open_memmap(unfinished, "w+", dtype, full))
            self._files.append((unfinished, final))
        self.channels, self.masks = arrays

    def keep(self) -> None:
        for unfinished, final in self._files:
            unfinished.replace(final)

    def discard(self) -> None:
        for unfinished, _ in self._files:
            unfinished.unlink(missing_ok=True)

    def views(self, positions):
        return ((self.channels[i], self.masks[i]) for i in positions)
