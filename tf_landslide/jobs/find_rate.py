"""Which learning rate: a sweep over many, and what it says. It leaves no run behind."""

from __future__ import annotations

from pathlib import Path

import keras

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import beside, require_writable, write_json
from tf_landslide.data.pipeline import telling_what_is_unread
from tf_landslide.figures.plots import rate_range
from tf_landslide.jobs.train import begin, check_size, normalise, training_set
from tf_landslide.models.depth import encoder_of
from tf_landslide.runs.folder import Run
from tf_landslide.runs.sections import Config
from tf_landslide.runs.sections.loss import is_balanced
from tf_landslide.runs.splits import open_splits
from tf_landslide.training.fit import compiled
from tf_landslide.training.memory import telling_of_full_memory
from tf_landslide.training.rate_range import RateRange, exponential, judged, sweep

TABLE, FIGURE = "learning_rate.json", "learning_rate.png"


def find_rate(
    config: Config, data_dir: str | Path, out: str | Path, *, low: float = 1e-6, high: float = 1.0, steps: int = 200
) -> RateRange:
    """Sweep the learning rate over the training split, and write ``learning_rate.json`` and ``learning_rate.png``.

    Args:
        config: of the run that is meant; model, data, loss, batches and their accumulation, clipping, factors of the
            rate and a frozen encoder are as there, the rate is constant for each step.
        data_dir: HDF5 patches with a train split.
        out: folder for the two files.
        low: the first rate.
        high: the last one, which is tried where the loss has not blown up before.
        steps: of the optimiser.

    Raises:
        LandslideError: bad config or data, too little memory, or a loss that never fell.
    """
    path, rates = Path(out), exponential(low, high, steps)
    require_writable(path)
    if path.is_file():
        raise LandslideError(f"{path}: is a file; name a folder to write to")
    settings = config.training.model_copy(
        update={"schedule": "constant", "warmup_epochs": 0, "learning_rate": low, "ema": None, "strategy": "none"}
    )
    run = Run(path, config.model_copy(update={"training": settings}))
    keras.utils.set_random_seed(settings.seed)
    model = begin(run)
    with beside(path) as cache_dir:
        source = open_splits(config, data_dir, splits=["train"], cache_dir=cache_dir)["train"]
        check_size(source, "train", config.data.pad)
        normalise(model, run, source)
        batches = training_set(config, source)
        compiled(model, run, len(batches), source.balance if is_balanced(config.loss) else None)
        if settings.freeze_encoder:
            encoder = encoder_of(model)
            assert encoder is not None  # as the config was checked for
            encoder.trainable = False
        with telling_of_full_memory(config.training), telling_what_is_unread(batches):
            losses = sweep(model, batches, rates, settings.accumulate)
    found = judged(rates, losses)
    write_json(path / TABLE, {"config": config.name, "batch_size": settings.batch_size, **found.as_dict()})
    rate_range(path / FIGURE, found.as_dict(), config.name)
    return found
