"""The training config: a YAML file over a shared base, checked before anything runs.

A file may name another with ``base: other.yaml`` (relative to itself) and override any of its values. Unknown keys and
wrong values are refused by name. Field descriptions are the documentation of the keys.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tf_landslide.bands.recipes import ChannelRecipe, channel_recipe
from tf_landslide.core.errors import LandslideError, unknown
from tf_landslide.core.tables import markdown_table

_PACKAGE = Path(__file__).parents[1]
SHIPPED = next(filter(Path.is_dir, (_PACKAGE / "configs", _PACKAGE.parent / "configs")), _PACKAGE / "configs")
"""The folder of the configs that come with the library: in the package where it is installed, else in the checkout."""

LossName = Literal["bce", "dice", "bce_dice"]
"""The losses; ``tf_landslide.training.losses`` builds one for each."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MedianConfig(_Section):
    """Optional median filter on the bands, before the features."""

    size: int = Field(0, ge=0, description="side of the window in pixels, odd; 0 turns the filter off")
    bands: list[str] | None = Field(None, description="the bands to filter; null for all")


class DataConfig(_Section):
    """From stored bands to batches."""

    layout: str = Field("landslide4sense", description="band layout of the files")
    channels: str | list[str] = Field("six", description="recipe (six, fourteen, legacy_ratio) or list of channels")
    median: MedianConfig = MedianConfig()
    augment: bool = Field(True, description="the eight flips and rotations")
    positive_fraction: float | None = Field(None, ge=0, le=1, description="share of patches with landslides an epoch")
    cache: Literal["memory", "disk", "none"] = Field(
        "memory", description="where the channels are kept: memory, disk (beside the run while it lasts) or none"
    )
    allow_missing: bool = Field(False, description="take NaN as a missing value rather than as a fault")
    allow_duplicates: bool = Field(False, description="train although an image occurs twice, even in two splits")

    @property
    def recipe(self) -> ChannelRecipe:
        """How the channels are made. Raises ``LandslideError`` for an unknown layout, channel or band."""
        return channel_recipe(self.layout, self.channels, self.median.size, self.median.bands)


class ModelConfig(_Section):
    """Which model."""

    architecture: str = Field("unet", description="see tf_landslide.models")
    encoder: str | None = Field("resnet34", description="for architectures that take one, else null")
    encoder_weights: str = Field("none", description="none, imagenet (downloaded once), or a published file's path")
    options: dict[str, Any] = Field({}, description="the architecture's own options, e.g. width and depth")


class LossConfig(_Section):
    """(1 - alpha) * weighted BCE + alpha * Dice, or one of the two."""

    name: LossName = Field("bce_dice", description="bce, dice or bce_dice")
    alpha: float = Field(0.5, ge=0, le=1, description="share of Dice")
    positive_weight: float = Field(1.0, gt=0, description="weight of a landslide pixel in the cross-entropy")


class TrainingConfig(_Section):
    """How it is trained. The optimiser is Adam."""

    epochs: int = Field(50, ge=1, description="at most; early stopping may end sooner")
    batch_size: int = Field(16, ge=1, description="patches a step")
    learning_rate: float = Field(1e-3, gt=0, description="at its highest")
    schedule: Literal["constant", "cosine"] = Field("cosine", description="cosine decays to zero over all epochs")
    warmup_epochs: float = Field(0, ge=0, description="linear warm-up before the schedule")
    weight_decay: float = Field(0, ge=0, description="decoupled weight decay (AdamW); 0 for plain Adam")
    ema: float | None = Field(None, gt=0, lt=1, description="momentum of an average of the weights, judged and kept")
    early_stopping: int | None = Field(None, ge=1, description="epochs without a better validation F1 before stopping")
    jit_compile: bool = Field(False, description="XLA: a long first step, then faster ones where it suits the machine")
    seed: int = Field(0, ge=0, lt=2**32, description="of weights, order, oversampling and flips")
    deterministic: bool = Field(False, description="the same weights, bit for bit, from the same seed; slower")


class Config(_Section):
    """A whole run."""

    name: str = Field("landslide", pattern=r"^[A-Za-z0-9_-]+$", description="names the model when it is exported")
    description: str = Field("", description="one line for people")
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    training: TrainingConfig = TrainingConfig()

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(), sort_keys=False)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read, merge and check a config.

    Args:
        path: a YAML file, or the name of a shipped config.
        overrides: ``section.key=value`` settings, values in YAML.

    Raises:
        LandslideError: unreadable file, unknown key (with the nearest valid one) or a value out of range.
    """
    values = _read(_found(path), seen=())
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key:
            raise LandslideError(f"override {override!r}: expected key=value, e.g. training.epochs=10")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise LandslideError(f"override {override!r}: {text!r} is not a YAML value") from None
        nested: Any = value
        for part in reversed(key.split(".")):
            nested = {part: nested}
        values = _merged(values, nested)
    return check_config(values, str(path))


def shipped_configs() -> dict[str, Path]:
    """The configs that come with the library, by name; ``base.yaml``, which they share, is none."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.yaml")) if path.stem != "base"}


def _found(config: str | Path) -> Path:
    """The file that is meant: an existing one first, else the shipped config of that name."""
    path, shipped = Path(config), shipped_configs()
    if path.exists() or path.suffix or len(path.parts) != 1:
        return path
    if path.name not in shipped:
        raise LandslideError(f"{path}: no such file, and {unknown(path.name, shipped, 'shipped config')}")
    return shipped[path.name]


def check_config(values: Any, origin: str) -> Config:
    """Check a mapping against the config's fields; errors name ``origin``."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise LandslideError(f"{origin}: {_explained(error.errors()[0])}") from None


def _explained(error: Any) -> str:
    parts = [str(part) for part in error["loc"]]
    key = ".".join(parts) or "the config"
    if error["type"] == "extra_forbidden":
        section: Any = Config
        for part in parts[:-1]:
            section = section.model_fields[part].annotation
        return unknown(parts[-1], section.model_fields, f"key in {'.'.join(parts[:-1]) or 'the config'}")
    if error["type"] in ("model_type", "dict_type"):
        return f"{key}: expected a section with keys of its own, found {error['input']!r}"
    return f"{key}: {error['msg'][0].lower()}{error['msg'][1:]}, found {error['input']!r}"


def _read(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    path = path.resolve() if path.exists() else path
    if path in seen:
        raise LandslideError(f"{path}: is its own base")
    try:
        values = yaml.safe_load(path.read_text()) or {}
    except FileNotFoundError:
        raise LandslideError(f"{path}: no such config") from None
    except (OSError, UnicodeDecodeError) as error:
        raise LandslideError(f"{path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" in line {where.line + 1}" if where else ""
        raise LandslideError(f"{path}: is not valid YAML{line}") from None
    if not isinstance(values, dict):
        raise LandslideError(f"{path}: expected keys and values, found {type(values).__name__}")
    base = values.pop("base", None)
    return values if base is None else _merged(_read(path.parent / str(base), (*seen, path)), values)


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``over``, key by key; another architecture drops the options of the one before."""
    merged = dict(base)
    if over.get("architecture", base.get("architecture")) != base.get("architecture"):
        merged.pop("options", None)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def config_table() -> str:
    """The keys of a config as a Markdown table, for the docs."""
    rows: list[tuple[str, str, str]] = []

    def add(section: type[BaseModel], prefix: str) -> None:
        for name, field in section.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                add(field.annotation, f"{prefix}{name}.")
            else:
                rows.append((f"`{prefix}{name}`", f"`{json.dumps(field.default)}`", field.description or ""))

    add(Config, "")
    return markdown_table(("key", "default", ""), rows)
