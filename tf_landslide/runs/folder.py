"""A run folder: what is in it (``formats``), read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tf_landslide.bands.recipes import ChannelRecipe
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import digest_of, read_json
from tf_landslide.core.safe_yaml import read_yaml
from tf_landslide.runs import formats
from tf_landslide.runs.card import ModelCard
from tf_landslide.runs.checked import checked_environment, checked_scores
from tf_landslide.runs.config import check_config
from tf_landslide.runs.derived import Derived
from tf_landslide.runs.history import Row, is_over, read_history
from tf_landslide.runs.sections import Config
from tf_landslide.runs.sections.loss import loss_text


@dataclass(frozen=True)
class Run:
    """A run folder and the config in it."""

    path: Path
    config: Config

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open an existing run. Raises ``LandslideError`` where there is none, or its config cannot be read."""
        path = Path(path)
        config = path / formats.CONFIG
        if not formats.is_run(path):
            kinds = ("seed", "fold")
            held = next((kind for kind in kinds if any(path.glob(f"{kind}_*/{formats.CONFIG}"))), None)
            told = (
                f"; it holds a run a {held}, as train --{held}s makes them: name one, or {path}/{held}_*"
                if held
                else ""
            )
            raise LandslideError(f"{path}: is not a run folder (it has no {formats.CONFIG}){told}")
        return cls(path, check_config(read_yaml(config, "config"), str(config)))

    @property
    def model_path(self) -> Path:
        return self.path / formats.MODEL

    @property
    def state_path(self) -> Path:
        return self.path / formats.STATE

    @property
    def report_path(self) -> Path:
        """The readable report that training ends with."""
        return self.path / formats.REPORT / formats.REPORT_FILE

    @property
    def history(self) -> list[Row]:
        return read_history(self.path / formats.HISTORY)

    @property
    def is_trained(self) -> bool:
        """Whether training has nothing left to do; judging may have."""
        return is_over(self.history, self.config.training.epochs, self.config.training.early_stopping)

    @property
    def is_judged(self) -> bool:
        """Whether its scores are written down."""
        return (self.path / formats.METRICS).is_file()

    def metrics(self) -> dict[str, Any]:
        """The scores of each judged split. Raises ``LandslideError`` where the run was not judged yet."""
        path = self.path / formats.METRICS
        try:
            return checked_scores(read_json(path), path)
        except FileNotFoundError:
            raise LandslideError(f"{self.path}: has no {formats.METRICS}; resume its training to the end") from None

    @property
    def model_digest(self) -> str:
        """SHA-256 of ``model.keras``. Raises ``LandslideError`` where there is none yet."""
        return digest_of(self.require_model())

    def require_model(self) -> Path:
        """The path of the model. Raises ``LandslideError`` where there is none yet."""
        if not self.model_path.is_file():
            if not self.history and (self.path / formats.JUDGED).is_dir():
                raise LandslideError(
                    f"{self.path}: holds counts alone, as those out of fold, and no model; see compare"
                )
            raise LandslideError(f"{self.path}: holds no {formats.MODEL} yet; let its training finish an epoch")
        return self.model_path

    @property
    def threshold(self) -> float:
        """The threshold chosen on validation; of a model that was made of others, the one it came with."""
        if self.came_with_threshold and self.config.threshold is not None:
            return self.config.threshold
        metrics = self.metrics()
        if "valid" not in metrics:
            raise LandslideError(f"{self.path / formats.METRICS}: has no split 'valid', and so no threshold")
        return metrics["valid"]["threshold"]

    @property
    def threshold_from(self) -> str:
        """Where the threshold comes from, in words."""
        if not self.came_with_threshold:
            return "chosen on validation"
        derived = self.derived
        return derived.threshold_from if derived else "given with the model"

    @property
    def is_converted(self) -> bool:
        """Whether the model came from elsewhere with a threshold, and was not judged here."""
        return formats.CONVERTED in self.environment

    @property
    def derived(self) -> Derived | None:
        """Of a run that was made of others: of which, and how; else None."""
        return Derived.of(self.environment, self.path / formats.ENVIRONMENT)

    @property
    def came_with_threshold(self) -> bool:
        """Whether no threshold was chosen for this model, which was made of another one that had one."""
        return self.config.threshold is not None and (self.is_converted or self.derived is not None)

    @property
    def environment(self) -> dict[str, Any]:
        """What the run was made with; empty where that was not written down. Raises ``LandslideError`` if damaged."""
        path = self.path / formats.ENVIRONMENT
        return checked_environment(read_json(path), path) if path.is_file() else {}

    @property
    def recipe(self) -> ChannelRecipe:
        """How this run's channels are made."""
        return self.config.data.recipe

    def card(self, threshold: float | None = None) -> ModelCard:
        """The model card; ``threshold`` stands in where the run was not judged yet."""
        config, recipe, derived = self.config, self.recipe, self.derived
        architecture, encoder = derived.network if derived else (config.model.architecture, config.model.encoder)
        return ModelCard(
            name=config.name,
            architecture=architecture,
            encoder=encoder,
            layout=recipe.layout,
            channel_names=recipe.channel_names,
            threshold=self.threshold if threshold is None else threshold,
            median_size=recipe.median_size,
            median_bands=recipe.median_bands,
            bilateral=recipe.bilateral,
            description=config.description,
            scores={} if threshold is not None or self.came_with_threshold else self.metrics(),
            training=self._training(),
            versions=self.environment.get("packages", {}),
            synthetic=self.environment.get("synthetic", False),
            copies=derived.copies if derived else 1,
        )

    def _training(self) -> dict[str, Any]:
        """How the model came to be, for its card."""
        if self.is_converted:
            return _converted(self.environment[formats.CONVERTED])
        if derived := self.derived:
            return derived.said() | _patch(self.environment)
        return _training(self.config, self.environment) | _patch(self.environment)


def _patch(environment: dict[str, Any]) -> dict[str, Any]:
    """Height and width of the patches that a model was trained on, in pixels; nothing where nobody wrote it down."""
    return {"patch": environment["patch"]} if "patch" in environment else {}


def _converted(origin: dict[str, str]) -> dict[str, Any]:
    """Where a model that was trained elsewhere comes from, for its card: an address, or a file's name."""
    file = origin["file"]
    return {"converted_from": file if "://" in file else Path(file).name, "sha256": origin["sha256"]}


def _training(config: Config, environment: dict[str, Any]) -> dict[str, Any]:
    """How a model was trained, for its card."""
    training = config.training.model_dump()
    return {
        "loss": loss_text(config.loss, environment.get("positive_weight")),
        "encoder_weights": config.model.encoder_weights,
        "augment": config.data.augment,
        **{key: value for key, value in _where_used(config).items() if value},
        **{key: training[key] for key in ("epochs", "batch_size", "learning_rate", "schedule", "seed")},
    }


def _part(config: Config, name: str) -> str:
    """A part of augmentation as a card says it: ``haze 0.3 x 0.02``."""
    part = getattr(config.data.augmentation, name)
    return f"{name} {part.probability:g} x {part.strength:g}"


def _where_used(config: Config) -> dict[str, Any]:
    """What a card says of a training only where it was used."""
    training = config.training
    precision = training.precision
    return {
        "init_from": config.model.init_from,
        "head_dropout": config.model.head_dropout,
        "valid_share": config.data.valid_share,
        "valid_groups": config.data.valid_groups,
        "accumulate": training.accumulate if training.accumulate > 1 else None,
        **{key: getattr(training, key) for key in ("clip_norm", "freeze_encoder")},
        **{key: factor for key in ("encoder_learning_rate", "layer_decay") if (factor := getattr(training, key)) != 1},
        "precision": precision if precision != "float32" else None,
        "augmentation": ", ".join(_part(config, name) for name in config.data.augmentation.settings.on),
    }
