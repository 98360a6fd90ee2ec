"""A training run and its folder.

config.yaml       the resolved config
model.keras       the best model by dataset-level validation F1
last/             what a stopped run goes on from
history.csv       one row an epoch
logs/             TensorBoard
metrics.json      scores of each split at the threshold chosen on validation
environment.json  versions, seed, git revision
report/           figures and tables
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import keras
import tensorflow as tf
import yaml

from tf_landslide.card import ModelCard
from tf_landslide.data.inspection import DuplicateFinder
from tf_landslide.data.patches import available_splits
from tf_landslide.data.pipeline import PatchSource
from tf_landslide.data.synthetic import SYNTHETIC_MARK
from tf_landslide.errors import LandslideError, first_line
from tf_landslide.features import Features
from tf_landslide.files import write_json, write_text
from tf_landslide.losses import get_loss
from tf_landslide.metrics import landslide_metrics
from tf_landslide.models import build_model
from tf_landslide.optimizers import Adam
from tf_landslide.predictor import STRIDE
from tf_landslide.training.callbacks import (
    MONITOR,
    BestModel,
    EarlyStopping,
    EpochLines,
    HistoryLogger,
    RefuseNaN,
    epochs_backed_up,
    read_history,
)
from tf_landslide.training.config import Config, TrainingConfig, check_config


@dataclass(frozen=True)
class Run:
    """A run folder and the config in it."""

    path: Path
    config: Config

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open an existing run. Raises ``LandslideError`` where there is none, or its config cannot be read."""
        path = Path(path)
        config = path / "config.yaml"
        if not config.is_file():
            raise LandslideError(f"{path}: is not a run folder (it has no config.yaml)")
        try:
            values = yaml.safe_load(config.read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            raise LandslideError(f"{config}: is not valid YAML") from None
        return cls(path, check_config(values, str(config)))

    @property
    def model_path(self) -> Path:
        return self.path / "model.keras"

    @property
    def history(self) -> list[dict[str, float]]:
        return read_history(self.path / "history.csv")

    def load_model(self) -> keras.Model:
        """The best model, loaded in safe mode."""
        if not self.model_path.is_file():
            raise LandslideError(f"{self.path}: holds no model.keras yet; let its training finish an epoch")
        try:
            return keras.saving.load_model(self.model_path, compile=False, safe_mode=True)
        except Exception as error:  # a damaged file makes Keras raise almost anything
            raise LandslideError(f"{self.model_path}: cannot be loaded ({first_line(error)})") from None

    def metrics(self) -> dict:
        """The scores of each judged split. Raises ``LandslideError`` where the run was not judged yet."""
        path = self.path / "metrics.json"
        try:
            return json.loads(path.read_text())
        except FileNotFoundError:
            raise LandslideError(f"{self.path}: has no metrics.json; resume its training to the end") from None
        except ValueError:
            raise LandslideError(f"{path}: is not valid JSON") from None

    @property
    def threshold(self) -> float:
        """The threshold chosen on validation."""
        return self.metrics()["valid"]["threshold"]

    @property
    def environment(self) -> dict:
        """What the run was made with; empty where that was not written down."""
        path = self.path / "environment.json"
        return json.loads(path.read_text()) if path.is_file() else {}

    def features(self) -> Features:
        """The layer that makes this run's channels."""
        data = self.config.data
        return Features(data.layout, data.channels, data.median.size, data.median.bands)

    def card(self, threshold: float | None = None) -> ModelCard:
        """The model card; ``threshold`` stands in where the run was not judged yet."""
        config, features = self.config, self.features()
        return ModelCard(
            name=config.name,
            architecture=config.model.architecture,
            encoder=config.model.encoder,
            layout=features.layout.name,
            channels=features.channels,
            threshold=self.threshold if threshold is None else threshold,
            median_size=features.median_size,
            median_bands=features.median_bands,
            description=config.description,
            scores={} if threshold is not None else self.metrics(),
            recipe=_recipe(config),
            versions=self.environment.get("packages", {}),
            synthetic=self.environment.get("synthetic", False),
        )


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
    features = run.features()
    model = build_model(
        config.model.architecture,
        config.model.encoder,
        channels=features.channels,
        encoder_weights=None if config.model.encoder_weights == "none" else config.model.encoder_weights,
        name=config.name,
        **config.model.options,
    )
    cache_dir = run.path.with_name(f".{run.path.name}.cache")
    try:
        sources = open_sources(config, data_dir, cache_dir=cache_dir)
        for split in ("train", "valid"):
            _check_size(sources[split], split, data_dir)
        train_set = sources["train"].dataset(
            settings.batch_size,
            shuffle=True,
            augment=data.augment,
            positive_fraction=data.positive_fraction,
            seed=settings.seed,
            first_epoch=epochs_backed_up(run.path / "last"),
        )
        model.get_layer("normalization").adapt(sources["train"].dataset(settings.batch_size))
        with _run_folder(run, Path(data_dir)):
            _fit(model, run, train_set, sources["valid"].dataset(settings.batch_size))

        from tf_landslide.evaluation.report import judge_run

        judge_run(run, sources)
    finally:
        shutil.rmtree(cache_dir, ignore_errors=True)
    return run


@contextmanager
def _run_folder(run: Run, data_dir: Path) -> Iterator[None]:
    """Make the run folder; take it away again where training ends before anything is worth resuming."""
    existed = run.path.exists()
    run.path.mkdir(parents=True, exist_ok=True)
    write_text(run.path / "config.yaml", run.config.to_yaml())
    write_json(run.path / "environment.json", _environment(run.config.training.seed, data_dir))
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
            raise LandslideError(f"{path}: was started with another config; resume it with {path}/config.yaml")
    elif path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise LandslideError(f"{path}: already exists; name another folder, or go on with it with --resume")
    return Run(path, config)


def _check_size(source: PatchSource, split: str, data_dir: str | Path) -> None:
    height, width, _ = source.shape
    if height % STRIDE or width % STRIDE:
        raise LandslideError(
            f"{data_dir}: {split} patches are {height} x {width}; training needs heights and widths that are multiples "
            f"of {STRIDE} (predict takes any size)"
        )


def open_sources(
    config: Config, data_dir: str | Path, *, splits: Sequence[str] | None = None, cache_dir: Path | None = None
) -> dict[str, PatchSource]:
    """Read and check the splits of a dataset as a config asks.

    Args:
        config: of the run.
        data_dir: a folder in either published layout.
        splits: which; None takes all there are, and train and valid must be among them.
        cache_dir: folder for ``data.cache: disk``; None keeps in memory instead.

    Raises:
        LandslideError: a split that is not there, or the first fault found in a file.
    """
    data, found = config.data, available_splits(data_dir)
    for needed in ("train", "valid") if splits is None else splits:
        if needed not in found:
            raise LandslideError(f"{data_dir}: has no {needed!r} split (found: {', '.join(found)})")
    features = Features(data.layout, data.channels, data.median.size, data.median.bands)
    duplicates = None if data.allow_duplicates else DuplicateFinder()
    return {
        split: PatchSource.open(
            data_dir,
            split,
            features,
            cache="memory" if data.cache == "disk" and cache_dir is None else data.cache,
            cache_dir=cache_dir,
            allow_missing=data.allow_missing,
            duplicates=duplicates,
        )
        for split in splits or found
    }


def _fit(model: keras.Model, run: Run, train_set: tf.data.Dataset, valid_set: tf.data.Dataset) -> None:
    settings = run.config.training
    history = run.history[: epochs_backed_up(run.path / "last")]
    earlier = [row[MONITOR] for row in history]
    stopping = EarlyStopping(settings.early_stopping, earlier) if settings.early_stopping else None
    if len(history) >= settings.epochs or (stopping and stopping.exhausted):
        return
    model.compile(
        optimizer=get_optimizer(settings, len(train_set)),
        loss=get_loss(**run.config.loss.model_dump()),
        metrics=landslide_metrics(),
        jit_compile=settings.jit_compile,
    )
    on_terminal = sys.stderr.isatty()
    averaging = keras.callbacks.SwapEMAWeights() if settings.ema else None
    callbacks = [
        RefuseNaN(),
        averaging,
        BestModel(run.model_path, earlier, averaging),
        HistoryLogger(run.path / "history.csv", history),
        keras.callbacks.TensorBoard(run.path / "logs", write_graph=False),
        stopping,
        None if on_terminal else EpochLines(),
        # Last, so that an epoch counts as done only when all the others have written what they write.
        keras.callbacks.BackupAndRestore(run.path / "last", double_checkpoint=True, delete_checkpoint=False),
    ]
    model.fit(
        train_set,
        validation_data=valid_set,
        epochs=settings.epochs,
        callbacks=[callback for callback in callbacks if callback is not None],
        verbose=1 if on_terminal else 0,
        shuffle=False,  # the dataset shuffles itself
    )


def _recipe(config: Config) -> dict:
    """How a model was trained, for its card."""
    loss, training = config.loss.model_dump(), config.training.model_dump()
    return {
        "loss": ", ".join(f"{key} {value}" if key != "name" else value for key, value in loss.items()),
        "encoder_weights": config.model.encoder_weights,
        "augment": config.data.augment,
        **{key: training[key] for key in ("epochs", "batch_size", "learning_rate", "schedule", "seed")},
    }


def get_optimizer(settings: TrainingConfig, steps: int) -> Adam:
    """The optimiser that a config asks for, ``steps`` being those of an epoch."""
    rate = settings.learning_rate
    warmup = round(settings.warmup_epochs * steps)
    if settings.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate,
            max(1, settings.epochs * steps - warmup),
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    ema = {"use_ema": True, "ema_momentum": settings.ema} if settings.ema else {}
    return Adam(rate, weight_decay=settings.weight_decay or None, **ema)


def _environment(seed: int, data_dir: Path) -> dict:
    names = ("tf-landslide", "tensorflow", "keras", "numpy", "h5py", "segmentation-models")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in names},
        "devices": [device.device_type for device in tf.config.list_physical_devices()],
        "seed": seed,
        "git_revision": _git_revision(),
        "data": str(data_dir.absolute()),
        "synthetic": (data_dir / SYNTHETIC_MARK).is_file(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    """Revision of the checkout this library runs from, ``-dirty`` where it was changed; None outside a checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()
