"""tf.data over a split's patches: shuffle, oversample, flip and turn, batch, prefetch.

Which patches an epoch draws, in which order and how each is turned, is a pure function of (seed, epoch), and of the
patches' errors where hard ones are mined: two runs with one seed see the same batches, and a resumed run goes on with
the batches it would have seen. ``Epochs`` says which epoch comes next.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tf_landslide.bands.filters import Bilateral
from tf_landslide.bands.kinds import refuse_directions
from tf_landslide.bands.layouts import BandLayout
from tf_landslide.bands.recipes import channel_recipe
from tf_landslide.core.errors import LandslideError
from tf_landslide.data.augment.augmenter import Augmenter, augmenter_of, check
from tf_landslide.data.augment.draws import epoch_draws
from tf_landslide.data.augment.settings import Augmentation
from tf_landslide.data.checks import DuplicateFinder, detect_layout
from tf_landslide.data.plan import epoch_plan
from tf_landslide.data.source import PatchSource
from tf_landslide.metrics import IGNORED
from tf_landslide.models import STRIDE


def load_dataset(
    data_dir: str | Path,
    split: str = "train",
    *,
    layout: str | Path | Mapping[str, Any] | BandLayout | None = None,
    channels: str | Sequence[str] = "six",
    median_size: int = 0,
    median_bands: Sequence[str] | None = None,
    bilateral: Bilateral | None = None,
    batch_size: int = 16,
    shuffle: bool = False,
    augment: bool = False,
    augmentation: Augmentation | None = None,
    positive_fraction: float | None = None,
    seed: int = 0,
    cache: str = "memory",
    cache_dir: str | Path | None = None,
    allow_missing: bool = False,
    allow_duplicates: bool = False,
    pad: bool = False,
    strict: bool = False,
    ignore: int | None = None,
) -> tf.data.Dataset:
    """A split of HDF5 patches as a ``tf.data.Dataset``, ready for ``model.fit``.

    Args:
        data_dir: a folder in either published layout (``TrainData/img`` … or ``images/train`` …).
        split: ``train``, ``valid`` or ``test``.
        layout: band layout, or how ``get_layout`` names it; None finds it by what the files say of themselves, or by
            their number of bands.
        channels: a recipe (``six``, ``fourteen``, ``legacy_ratio``) or a list of band and index names.
        median_size: side in pixels of a median filter on the bands before the features; 0 for none.
        median_bands: the bands that it filters; None for all.
        bilateral: a bilateral filter behind it.
        batch_size: patches a batch. A shuffled dataset drops what does not fill the last batch.
        shuffle: draw the patches in a new order every epoch.
        augment: turn each patch into one of its eight flips and rotations, anew every epoch.
        augmentation: what else happens to patches, anew every epoch; needs ``shuffle``. With mix-up masks are soft.
        positive_fraction: share of an epoch's patches that hold a landslide, 0..1 (oversampling; needs ``shuffle``);
            None draws every patch once.
        seed: of order, oversampling, flips and augmentation.
        cache: ``memory``, ``disk`` (in ``cache_dir``) or ``none``.
        cache_dir: folder for ``cache="disk"``.
        allow_missing: take NaN as a missing value rather than as a fault.
        allow_duplicates: take a split in which an image occurs twice.
        pad: mirror patches at the bottom and right to a multiple of ``STRIDE``, which models need in training.
        strict: refuse values that are not those of the layout, rather than warn.
        ignore: the masks' value of pixels that are left out: they get weight 0.

    Returns:
        A dataset of known cardinality that gives ``((N, H, W, C) float32 channels in physical units, NaN where missing;
        (N, H, W, 1) float32 mask of 0 and 1)``, and with ``ignore`` behind them the pixels' weights of 0 and 1. Each
        iteration that reached the last batch makes the next one the next epoch; looking at a batch does not.

    Raises:
        LandslideError: the first fault found in the files, or an argument that makes no sense.

    Example:
        >>> train = load_dataset("sample", "train", batch_size=16, shuffle=True, augment=True, seed=1)
        >>> channels, mask = next(iter(train))
    """
    recipe = channel_recipe(layout or detect_layout(data_dir), channels, median_size, median_bands, bilateral)
    augments = augmentation is not None and bool(augmentation.on)
    if augmentation is not None:
        check(augmentation, recipe)
    source = PatchSource.open(
        data_dir,
        split,
        recipe,
        cache=cache,
        cache_dir=cache_dir,
        allow_missing=allow_missing,
        strict=strict,
        ignore=ignore,
        duplicates=None if allow_duplicates else DuplicateFinder(),
        keep_bands=augments,
    )
    return as_dataset(
        source,
        batch_size,
        shuffle=shuffle,
        augment=augment,
        augmentation=augmentation,
        positive_fraction=positive_fraction,
        seed=seed,
        pad=pad,
    )


class Epochs:
    """Which epoch an iteration over a dataset draws.

    One whose last batch was handed out is over, and the one after it comes next. Training counts by itself and says so
    by ``draw``: Keras looks at batches before the first epoch where a strategy shares them out.
    """

    def __init__(self) -> None:
        self.next, self._counts_itself = 0, True
        self.errors: np.ndarray | None = None

    def draw(self, epoch: int, errors: np.ndarray | None = None) -> None:
        """Have every iteration from now on draw this epoch, by these errors of the patches, until told of another."""
        self.next, self._counts_itself, self.errors = epoch, False, errors

    def over(self, epoch: int) -> None:
        """Take note that an epoch's last batch was handed out."""
        if self._counts_itself:
            self.next = int(epoch) + 1


def as_dataset(
    source: PatchSource,
    batch_size: int = 16,
    *,
    shuffle: bool = False,
    augment: bool = False,
    augmentation: Augmentation | None = None,
    positive_fraction: float | None = None,
    hard_share: float = 0,
    seed: int = 0,
    pad: bool = False,
) -> tf.data.Dataset:
    """Batches of ``((N, H, W, C) float32 channels, (N, H, W, 1) float32 mask)``, and weights; see ``load_dataset``.

    The dataset's ``source`` holds the patches, its ``epochs`` says which epoch comes next, and with which errors of the
    patches it draws ``hard_share`` of them, see ``epoch_plan``.
    """
    if batch_size < 1:
        raise LandslideError(f"batch_size must be at least 1, got {batch_size}")
    augmenter = augmenter_of(source, augmentation, seed, shuffle=shuffle)
    size, epochs, ignores = len(source), Epochs(), source.ignores
    plan_of = partial(
        epoch_plan,
        positive=source.positive,
        seed=seed,
        shuffle=shuffle,
        augment=augment,
        positive_fraction=positive_fraction,
        hard_share=hard_share,
    )
    _check_turns(source, augment)
    plan_of(0)  # what cannot be drawn is refused here, not inside a running pipeline
    fetch, shape = _fetcher(source, augmenter, pad)

    def next_plan():
        epoch = epochs.next
        drawn = plan_of(epoch, errors=epochs.errors)
        return *([epoch_draws(*drawn, seed, epoch)] if augmenter else drawn), np.full(size, epoch)

    def plan(_):
        shapes = [[size, 2, 3], [size]] if augmenter else [[size], [size], [size]]
        columns = tf.numpy_function(next_plan, [], [tf.int64] * len(shapes))
        for column, known in zip(columns, shapes, strict=True):
            column.set_shape(known)
        return tf.data.Dataset.from_tensor_slices(tuple(columns))

    def load(*columns):
        epoch = columns[-1][0]
        drawn = [columns[0], epoch] if augmenter else columns[:-1]
        x, y = tf.numpy_function(fetch, drawn, (tf.float32, tf.float32))
        x.set_shape([None, *shape])
        y.set_shape([None, *shape[:2], 1])
        return _weighted(x, y) if ignores else (x, y), epoch

    drop = shuffle and size >= batch_size  # a short last batch costs a compilation and a poor batch norm
    batches = size // batch_size if drop else -(-size // batch_size)

    def hand_out(batch, number):
        pair, epoch = batch
        if number == batches - 1:
            tf.numpy_function(epochs.over, [epoch], [])
        return pair

    dataset = (
        tf.data.Dataset.range(1)
        .flat_map(plan)
        .batch(batch_size, drop_remainder=drop)
        .map(load, num_parallel_calls=2, deterministic=True)
        .prefetch(4)
    )
    dataset = tf.data.Dataset.zip(dataset, tf.data.Dataset.range(batches)).map(hand_out)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(batches))
    dataset.source = source  # every dataset and iterator made from this one refers to it
    dataset.epochs = epochs
    return dataset


@contextmanager
def telling_what_is_unread(*datasets: tf.data.Dataset) -> Iterator[None]:
    """Raise the ``LandslideError`` or ``OSError`` of a patch that cannot be read any more, while datasets of
    ``as_dataset`` are iterated over: of an exception inside a pipeline TensorFlow passes on a traceback as text.
    """
    try:
        yield
    except tf.errors.OpError:
        failed = next((dataset.source.failed for dataset in datasets if dataset.source.failed), None)
        if failed is None:
            raise
        raise failed from None


def _check_turns(source: PatchSource, augment: bool) -> None:
    height, width, _ = source.shape
    if augment and height != width:
        raise LandslideError(f"augment turns patches by 90 degrees and needs square ones, got {height} x {width}")
    if augment and source.recipe is not None:
        refuse_directions(source.recipe.bands, "data.augment")


def _fetcher(
    source: PatchSource, augmenter: Augmenter | None, pad: bool
) -> tuple[Callable[..., Sequence[np.ndarray]], tuple[int, int, int]]:
    """What gives a batch's patches, and the shape of one of them."""
    height, width, channels = source.shape
    below, right = (-height % STRIDE, -width % STRIDE) if pad else (0, 0)
    weak = weakref.ref(source)  # TensorFlow never lets go of a function that it calls; the dataset holds the source

    def fetch(*drawn):
        try:
            batch = augmenter.fetch(weak(), *drawn) if augmenter else weak().fetch(*drawn, np.float32)
        except (LandslideError, OSError) as error:
            weak().failed = error
            raise
        # As predictors pad: mirrored ground is as real as ground that is turned, and so is its mask.
        edges = ((0, 0), (0, below), (0, right), (0, 0))
        return [np.pad(part, edges, mode="symmetric") for part in batch] if below or right else batch

    return fetch, (height + below, width + right, channels)


def _weighted(channels: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Channels, a mask of 0 and 1, and weights of 0 where it was ``IGNORED``."""
    known = mask != IGNORED
    return channels, tf.where(known, mask, 0.0), tf.cast(known, tf.float32)
