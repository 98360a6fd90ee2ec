"""A run with the statistics of a new region: of its batch norms, of its input, or of both; labels are never read."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tf_landslide.bands.recipes import ChannelRecipe
from tf_landslide.core.errors import LandslideError, require_known, warn
from tf_landslide.core.files import replacing, write_json
from tf_landslide.core.locks import require_new
from tf_landslide.data.hdf5 import image_shape, read_image
from tf_landslide.models.batch_statistics import batch_norms, even_batches, recompute
from tf_landslide.models.layers.norm import ChannelNormalization, all_layers
from tf_landslide.predict.files import split_images
from tf_landslide.predict.load import load_model
from tf_landslide.predict.predictor import padded
from tf_landslide.runs import formats
from tf_landslide.runs.derived import Derived, Member
from tf_landslide.runs.folder import Run
from tf_landslide.runs.provenance import machine

STATISTICS = ("batch_norm", "input", "both")


def adapt(
    run: Run, data_dir: str | Path, split: str, out: str | Path, statistics: str = "batch_norm"
) -> tuple[Run, int]:
    """Make a run folder of the same network and threshold, its statistics computed from the images of a split.

    Args:
        run: a finished one.
        data_dir: HDF5 patches of the new region, with masks or without: none is read.
        split: of it.
        out: the folder to make.
        statistics: ``batch_norm`` (Li et al. 2016), ``input`` (the channels' mean and deviation) or ``both``.

    Returns:
        the run, and the number of its batch norms that were adapted.

    Raises:
        LandslideError: a model without batch norm, no images, a file that cannot be used, or a folder in the way.
    """
    require_known(statistics, STATISTICS, "statistics")
    path, images = Path(out), split_images(data_dir, split)
    require_new(path)
    threshold = run.threshold
    model = load_model(run.path, compile=False)
    if statistics != "input" and not batch_norms(model):
        raise LandslideError(
            f"{run.path}: the network has no batch norm, so that there are no statistics to adapt but the input's: "
            "--statistics input"
        )
    if statistics != "batch_norm":
        if not run.config.data.normalise:
            raise LandslideError(f"{run.path}: does not normalise its channels; leave out --statistics {statistics}")
        _adapt_input(model, run, images)
    layers = recompute(model, map(padded, _batches(run, images))) if statistics != "input" else 0
    derived = _derived(run, statistics, f"{Path(data_dir).absolute().name}, {split}, {len(images)} images")
    config = run.config.model_copy(update={"threshold": threshold})
    devices = [device.device_type for device in tf.config.list_physical_devices()]
    names = ("packages", "patch", "data", "data_fingerprint", "synthetic")
    kept = {key: run.environment[key] for key in names if key in run.environment}
    with replacing(path) as folder:
        folder.mkdir()
        (folder / formats.CONFIG).write_text(config.to_yaml(), encoding="utf-8")
        model.save(folder / formats.MODEL)
        write_json(folder / formats.ENVIRONMENT, machine(devices) | kept | {formats.ADAPTED: derived.as_dict()})
    return Run.open(path), layers


def _derived(run: Run, statistics: str, images: str) -> Derived:
    card, before = run.card(threshold=0.5), run.derived
    name = run.path.absolute().name
    return Derived(
        members=(Member(name, run.model_digest, run.threshold, card.architecture, card.encoder),),
        threshold_from=f"that of {name}",
        statistics={"both": "batch norm and input", "input": "input", "batch_norm": "batch norm"}[statistics],
        images=images,
        temperature=before.temperature if before else None,
        symmetries=before.symmetries if before else "none",
        copies=card.copies,
        same_network=before.same_network if before else True,
    )


def _adapt_input(model: keras.Model, run: Run, images: list[Path]) -> None:
    """Normalise by the images' channels, and warn of one that says nothing in them."""
    constant: list[int] = []
    for layer in all_layers(model):
        if isinstance(layer, ChannelNormalization):
            layer.adapt(_batches(run, images))
            constant = layer.constant_channels  # the same of every member of a combined model
    if constant:
        warn(
            f"constant over all {len(images)} images: {', '.join(run.recipe.channel_names[i] for i in constant)}; the "
            "adapted model takes it as zero, there and elsewhere"
        )


def _batches(run: Run, images: list[Path]) -> Iterator[np.ndarray]:
    """Channels of all images, in batches of about one size; those of one height and width together."""
    recipe, data = run.recipe, run.config.data
    for _, alike in groupby(sorted(images, key=_shape), key=_shape):
        paths = list(alike)
        for positions in even_batches(len(paths), run.config.training.batch_size):
            yield np.concatenate([_channels(recipe, paths[i], data.allow_missing) for i in positions])


def _shape(image: Path) -> tuple[int, ...]:
    return image_shape(image) or ()  # of a damaged one, which is refused when it is read


def _channels(recipe: ChannelRecipe, image: Path, allow_missing: bool) -> np.ndarray:
    return recipe(read_image(image, recipe.layout, allow_missing=allow_missing)[None])
