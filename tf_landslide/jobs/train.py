"""Train, keep the best epoch, choose the threshold, judge, report."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import tensorflow as tf

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import write_json, write_text
from tf_landslide.data.pipeline import as_dataset
from tf_landslide.data.source import PatchSource
from tf_landslide.evaluation.judge import judge_splits
from tf_landslide.evaluation.report import write_report
from tf_landslide.models import STRIDE
from tf_landslide.models.build import build_model
from tf_landslide.predict.load import predictor_of
from tf_landslide.runs import formats
from tf_landslide.runs.config import Config
from tf_landslide.runs.folder import Run
from tf_landslide.runs.history import epochs_backed_up
from tf_landslide.runs.provenance import environment
from tf_landslide.runs.splits import open_splits
from tf_landslide.training.fit import fit


def train(config: Config, data_dir: str | Path, run_dir: str | Path, *, resume: bool = False) -> Run:
    """Train, keep the best model by validation F1, choose its threshold on validation, and judge every split.

    All input is read and checked before the run folder is made.

    Args:
        config: of the run.
        data_dir: HDF5 patches with a train and a valid split; a test split is judged where there is one.
        run_dir: the run folder to make.
        resume: go on with the run that ``run_dir`` holds.

    Returns:
        The finished run.

    Raises:
        LandslideError: bad config or data, a run folder in the way, or a loss that is no longer a number.
    """
    run = _prepared(config, Path(run_dir).absolute(), resume)
    settings, data = config.training, config.data
    keras.utils.set_random_seed(settings.seed)
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    model = _built(run)
    cache_dir = run.path.with_name(f".{run.path.name}.cache")
    try:
        sources = open_splits(data, data_dir, cache_dir=cache_dir)
        for split in ("train", "valid"):
            _check_size(sources[split], split, data.pad)
        train_set = as_dataset(
            sources["train"],
            settings.batch_size,
            shuffle=True,
            augment=data.augment,
            positive_fraction=data.positive_fraction,
            seed=settings.seed,
            first_epoch=epochs_backed_up(run.path / formats.LAST),
            pad=data.pad,
        )
        model.get_layer("normalization").adapt(as_dataset(sources["train"], settings.batch_size))
        with _run_folder(run, Path(data_dir)):
            fit(model, run, train_set, as_dataset(sources["valid"], settings.batch_size, pad=data.pad))
        judge_run(run, sources)
    finally:
        shutil.rmtree(cache_dir, ignore_errors=True)
    return run


def judge_run(run: Run, sources: dict[str, PatchSource]) -> None:
    """Judge every split with the threshold chosen on validation, and write ``metrics.json`` and ``report/``."""
    predictor = predictor_of(run, threshold=0.5)
    judgements = judge_splits(predictor, sources)
    metrics = {split: judgement.scores for split, judgement in judgements.items()}
    write_json(run.path / formats.METRICS, metrics)
    shown = judgements.get("test", judgements["valid"])
    write_report(run, predictor, shown, metrics, run.path / formats.REPORT)


def _built(run: Run) -> keras.Model:
    config = run.config
    return build_model(
        config.model.architecture,
        config.model.encoder,
        channels=run.recipe.channel_names,
        encoder_weights=None if config.model.encoder_weights == "none" else config.model.encoder_weights,
        name=config.name,
        **config.model.options,
    )


@contextmanager
def _run_folder(run: Run, data_dir: Path) -> Iterator[None]:
    """Make the run folder; take it away again where training ends before anything is worth resuming."""
    existed = run.path.exists()
    run.path.mkdir(parents=True, exist_ok=True)
    devices = [device.device_type for device in tf.config.list_physical_devices()]
    write_text(run.path / formats.CONFIG, run.config.to_yaml())
    write_json(run.path / formats.ENVIRONMENT, environment(run.config.training.seed, data_dir, devices))
    try:
        yield
    except BaseException:
        if not run.history and not existed:
            shutil.rmtree(run.path)
        raise


def _prepared(config: Config, path: Path, resume: bool) -> Run:
    if resume:
        earlier = Run.open(path).config
        if earlier != config:
            raise LandslideError(f"{path}: was started with another config; resume it with {path}/{formats.CONFIG}")
    elif path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise LandslideError(f"{path}: already exists; name another folder, or go on with it with --resume")
    return Run(path, config)


def _check_size(source: PatchSource, split: str, pad: bool) -> None:
    height, width, _ = source.shape
    if not pad and (height % STRIDE or width % STRIDE):
        raise LandslideError(
            f"{source.data_dir}: {split} patches are {height} x {width}; training needs heights and widths that are "
            f"multiples of {STRIDE} (predict takes any size): data.pad=true mirrors them to that"
        )
