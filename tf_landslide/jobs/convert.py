"""PyTorch checkpoints in, run folders out; and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import digest_of, replacing, require_writable, write_json
from tf_landslide.core.locks import require_new
from tf_landslide.core.safe_torch import read_tensors, write_tensors
from tf_landslide.metrics.counts import threshold_bin
from tf_landslide.models.build import build_model
from tf_landslide.models.layers.norm import input_normalization
from tf_landslide.models.torch_names import load_state_dict, state_dict_of
from tf_landslide.predict.load import load_model
from tf_landslide.runs import formats
from tf_landslide.runs.folder import Run
from tf_landslide.runs.provenance import machine
from tf_landslide.runs.sections import Config

_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")


@dataclass(frozen=True)
class Converted:
    """A checkpoint that became a run.

    Attributes:
        run: the folder.
        tensors: number of those that were taken.
        parameters: of the network.
        left_out: names of tensors that the network does not compute with.
    """

    run: Run
    tensors: int
    parameters: int
    left_out: list[str]


def convert(
    checkpoint: Path, config: Config, out: Path, source: str | None = None, prefix: str | None = None
) -> Converted:
    """Build a run folder from a checkpoint of one of the paper's networks.

    The folder predicts, is judged, exported, served, mapped with and fine-tuned (``model.init_from``) like any other.
    It has no scores; its threshold is the config's.

    Args:
        checkpoint: a state dict, or what holds one.
        config: of the model, its channels and layout, and the threshold.
        out: the run folder to make.
        source: where the file comes from, if not from its path.
        prefix: of the network's tensors, where a checkpoint holds several networks.

    Raises:
        LandslideError: a file that cannot be read, a network that it is not of, a threshold that nothing is judged at,
            or a folder in the way.
    """
    if config.threshold is None:
        raise LandslideError("a converted model needs a threshold: give --threshold")
    threshold_bin(config.threshold)
    require_new(out)
    tensors = read_tensors(checkpoint)
    chosen = config.model
    model = build_model(
        chosen.architecture,
        chosen.encoder,
        channels=config.data.recipe.channel_names,
        head_dropout=chosen.head_dropout,
        name=config.name,
        **chosen.options,
    )
    left_out = load_state_dict(model, chosen.architecture, tensors, str(checkpoint), prefix)
    with replacing(out) as folder:
        folder.mkdir()
        (folder / formats.CONFIG).write_text(config.to_yaml(), encoding="utf-8")
        model.save(folder / formats.MODEL)
        write_json(folder / formats.ENVIRONMENT, _provenance(checkpoint, source, len(tensors), left_out))
    return Converted(Run.open(out), len(tensors) - len(left_out), model.count_params(), left_out)


def _provenance(checkpoint: Path, source: str | None, tensors: int, left_out: list[str]) -> dict[str, Any]:
    return {
        **machine([device.device_type for device in tf.config.list_physical_devices()]),
        formats.CONVERTED: {
            "file": source or str(checkpoint.absolute()),
            "bytes": checkpoint.stat().st_size,
            "sha256": digest_of(checkpoint),
            "tensors": tensors,
            "left_out": left_out,
        },
        "synthetic": False,
    }


def to_torch(run: Run, out: Path) -> Path:
    """Write a run's weights as a state dict that smp (for SegFormer, transformers) loads with ``strict=True``.

    Those networks do not normalise. What ours does to its channels first, and the threshold, stand beside the file, in
    ``STEM.json``: ``channels``, ``mean``, ``std`` (``(x - mean) / std``, a missing value becoming 0), ``threshold``.

    Args:
        run: of one of the paper's networks.
        out: the file, ``.pth`` (or ``.pt``, ``.ckpt``, ``.bin``) or ``.safetensors``.

    Returns:
        the path of the JSON file.

    Raises:
        LandslideError: another network, a run without a threshold yet, or a file in the way.
    """
    beside = out.with_suffix(".json")
    if out.suffix not in _SUFFIXES:
        raise LandslideError(f"{out}: expected a name that ends with {', '.join(_SUFFIXES)}")
    for file in (out, beside):
        if file.exists():
            raise LandslideError(f"{file}: already exists; name another file")
    require_writable(out.parent)
    threshold = run.threshold  # a run that has none yet is refused before anything is written
    if run.derived and not run.derived.same_network:
        raise LandslideError(
            f"{run.path}: is a combined model, which PyTorch has no network for; write its members' weights"
        )
    model = load_model(run.path, compile=False)
    layer = input_normalization(model)
    mean, variance = (keras.ops.convert_to_numpy(weight).tolist() for weight in (layer.mean, layer.variance))
    write_tensors(out, state_dict_of(model, run.config.model.architecture))
    said = {
        "channels": list(run.recipe.channel_names),
        "mean": mean,
        "std": [math.sqrt(value) for value in variance],
        "threshold": threshold,
    }
    write_json(beside, said)
    return beside
