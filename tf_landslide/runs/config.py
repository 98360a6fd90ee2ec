"""The training config: a YAML file over a shared base, checked before anything runs.

A file may name another with ``base: other.yaml`` (relative to itself) and override any of its values. Unknown keys and
wrong values are refused by name, a value of another type too. Field descriptions are the documentation of the keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    field_validator,
    model_validator,
)

from tf_landslide.bands.layouts import LANDSLIDE4SENSE, BandLayout, get_layout, is_layout_file, stated
from tf_landslide.bands.recipes import ChannelRecipe, channel_recipe
from tf_landslide.core.errors import LandslideError, unknown
from tf_landslide.core.safe_yaml import parse_yaml, read_yaml

_PACKAGE = Path(__file__).parents[1]
SHIPPED = next(filter(Path.is_dir, (_PACKAGE / "configs", _PACKAGE.parent / "configs")), _PACKAGE / "configs")
"""The folder of the configs that come with the library: in the package where it is installed, else in the checkout."""

LossName = Literal["bce", "dice", "bce_dice"]
"""The losses; ``tf_landslide.training.losses`` builds one for each."""

Precision = Literal["float32", "mixed_float16", "mixed_bfloat16"]
"""What layers compute in; weights are always kept in float32."""

Layout = Annotated[BandLayout, PlainValidator(get_layout), PlainSerializer(stated)]
"""A band layout: by name or as a mapping in YAML, and a ``BandLayout`` once it is read."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class MedianConfig(_Section):
    """Optional median filter on the bands, before the features."""

    size: int = Field(0, ge=0, description="side of the window in pixels, odd; 0 turns the filter off")
    bands: list[str] | None = Field(None, min_length=1, description="the bands to filter; null for all")

    @field_validator("size")
    @classmethod
    def _odd(cls, size: int) -> int:
        if size and size % 2 == 0:
            raise ValueError(f"a median filter's window has an odd side, found {size}")
        return size


class DataConfig(_Section):
    """From stored bands to batches."""

    layout: Layout = Field(LANDSLIDE4SENSE, description="band layout: a name, a YAML file's path, or keys and values")
    channels: str | list[str] = Field("six", description="six, fourteen, fourteen_stored, legacy_ratio, or a list")
    median: MedianConfig = MedianConfig()
    augment: bool = Field(True, description="the eight flips and rotations")
    positive_fraction: float | None = Field(None, ge=0, le=1, description="share of patches with landslides an epoch")
    cache: Literal["memory", "disk", "none"] = Field(
        "memory", description="where the channels are kept: memory, disk (beside the run while it lasts) or none"
    )
    valid_share: float | None = Field(
        None, gt=0, lt=1, description="share of train to validate on where no validation split with masks is there"
    )
    allow_missing: bool = Field(False, description="take NaN as a missing value rather than as a fault")
    allow_duplicates: bool = Field(False, description="train although an image occurs twice, even in two splits")
    ignore: int | None = Field(
        None, description="value of mask pixels that are left out of loss, metrics and scores, e.g. 255"
    )
    normalise: bool = Field(True, description="channels by the training split's mean and deviation, inside the model")
    pad: bool = Field(False, description="mirror training patches at the bottom and right to a multiple of 32")
    strict: bool = Field(False, description="refuse values that are not those of the layout, rather than warn")

    @property
    def recipe(self) -> ChannelRecipe:
        """How the channels are made. Raises ``LandslideError`` for an unknown channel or band."""
        return channel_recipe(self.layout, self.channels, self.median.size, self.median.bands)


class ModelConfig(_Section):
    """Which model."""

    architecture: str = Field("unet", description="see tf_landslide.models")
    encoder: str | None = Field("resnet34", description="for architectures that take one, else null")
    encoder_weights: str = Field("none", description="none, imagenet (downloaded once), or a published file's path")
    init_from: str | None = Field(
        None, description="a finished run of the same model, whose weights this one starts with"
    )
    options: dict[str, Any] = Field({}, description="the architecture's own options, e.g. width and depth")


class LossConfig(_Section):
    """(1 - alpha) * weighted BCE + alpha * Dice, or one of the two."""

    name: LossName = Field("bce_dice", description="bce, dice or bce_dice")
    alpha: float = Field(0.5, ge=0, le=1, description="share of Dice")
    positive_weight: float = Field(1.0, gt=0, description="weight of a landslide pixel in the cross-entropy")
    cross_entropy_weight: float = Field(
        1.0, gt=0, description="of the whole cross-entropy, both classes, beside Dice: 5 in the paper's code"
    )

    @model_validator(mode="after")
    def _used(self) -> LossConfig:
        if problem := unused_loss_setting(self.name, self.alpha, self.positive_weight, self.cross_entropy_weight):
            raise ValueError(problem)
        return self


def unused_loss_setting(
    name: str, alpha: float, positive_weight: float, cross_entropy_weight: float = 1.0
) -> str | None:
    """What to say of a setting that a loss has no use for; None where each has its effect."""
    if name != "bce_dice" and cross_entropy_weight != 1:
        return (
            f"cross_entropy_weight {cross_entropy_weight} weighs the cross-entropy against Dice in 'bce_dice', and the "
            f"loss is {name!r}; leave it out"
        )
    if name == "dice" and positive_weight != 1:
        return f"positive_weight {positive_weight} weighs a cross-entropy, and loss 'dice' has none; leave it out"
    if name != "bce_dice" and alpha != LossConfig.model_fields["alpha"].default:
        return f"alpha {alpha} is the share of Dice in 'bce_dice', and the loss is {name!r}; leave it out"
    return None


class TrainingConfig(_Section):
    """How it is trained. The optimiser is Adam."""

    epochs: int = Field(50, ge=1, description="at most; early stopping may end sooner")
    batch_size: int = Field(16, ge=1, description="patches a step")
    learning_rate: float = Field(1e-3, gt=0, description="at its highest")
    schedule: Literal["constant", "cosine", "step"] = Field(
        "cosine", description="cosine decays to zero over all epochs; step multiplies by step_factor"
    )
    step_epochs: int = Field(30, ge=1, description="epochs between two steps of schedule step")
    step_factor: float = Field(0.1, gt=0, lt=1, description="of a step of schedule step")
    warmup_epochs: float = Field(0, ge=0, description="linear warm-up before the schedule")
    weight_decay: float = Field(0, ge=0, description="decoupled weight decay (AdamW); 0 for plain Adam")
    ema: float | None = Field(None, gt=0, lt=1, description="momentum of an average of the weights, judged and kept")
    early_stopping: int | None = Field(None, ge=1, description="epochs without a better one before stopping")
    precision: Precision = Field("float32", description="of the layers' computations: float32 or mixed_(b)float16")
    jit_compile: bool = Field(False, description="XLA: a long first step, then faster ones where it suits the machine")
    seed: int = Field(0, ge=0, lt=2**32, description="of weights, order, oversampling and flips")
    deterministic: bool = Field(False, description="the same weights, bit for bit, from the same seed; slower")

    @model_validator(mode="after")
    def _warm_in_time(self) -> TrainingConfig:
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"warmup_epochs {self.warmup_epochs:g} is longer than the run, of {self.epochs} epochs")
        if self.warmup_epochs and self.schedule == "step":
            raise ValueError("schedule step has no warm-up; leave warmup_epochs out, or take cosine or constant")
        return self


class Config(_Section):
    """A whole run."""

    name: str = Field("landslide", pattern=r"^[A-Za-z0-9_-]+$", description="names the model when it is exported")
    description: str = Field("", description="one line for people")
    threshold: float | None = Field(
        None, ge=0, le=1, description="of a model that came from elsewhere; training chooses its own on validation"
    )
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
    return check_config(_merged(_read(_found(path), seen=()), _settings(overrides)), str(path))


def _settings(overrides: Sequence[str]) -> dict[str, Any]:
    """``section.key=value`` settings as one mapping, whatever their order."""
    settings: dict[str, Any] = {}
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key:
            raise LandslideError(f"override {override!r}: expected key=value, e.g. training.epochs=10")
        nested: Any = parse_yaml(text, f"override {override!r}")
        for part in reversed(key.split(".")):
            nested = {part: nested}
        _add(settings, _with_layout(nested, Path()), override)
    return settings


def _add(settings: dict[str, Any], more: dict[str, Any], override: str) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(settings.get(key), dict):
            _add(settings[key], value, override)
        elif key in settings and settings[key] != value:
            raise LandslideError(f"override {override!r}: was given before, as {settings[key]!r}; give it once")
        else:
            settings[key] = value


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
    except LandslideError as error:  # of the band layout
        raise LandslideError(f"{origin}: data.layout: {error}") from None


def _explained(error: Any) -> str:
    parts = [str(part) for part in error["loc"]]
    key = ".".join(parts) or "the config"
    if error["type"] == "extra_forbidden":
        section: Any = Config
        for part in parts[:-1]:
            section = section.model_fields[part].annotation
        return unknown(parts[-1], section.model_fields, f"key in {'.'.join(parts[:-1]) or 'the config'}")
    if error["type"] in ("model_type", "dict_type"):
        return f"{key or 'the config'}: expected a section with keys of its own, found {_short(error['input'])}"
    if error["type"] == "value_error":  # of a validator above, which says what was found
        return f"{key}: {error['ctx']['error']}"
    return f"{key}: {error['msg'][0].lower()}{error['msg'][1:]}, found {_short(error['input'])}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}…"


def _read(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    path = path.resolve() if path.exists() else path
    if path in seen:
        raise LandslideError(f"{path}: is its own base")
    values = read_yaml(path, "config")
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise LandslideError(f"{path}: expected keys and values, found {type(values).__name__}")
    base, values = values.pop("base", None), _with_layout(values, path.parent)
    return values if base is None else _merged(_read(path.parent / str(base), (*seen, path)), values)


def _with_layout(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Values with their band layout read, where they name a file: its path is relative to ``folder``."""
    data = values.get("data")
    if not isinstance(data, dict) or not is_layout_file(layout := data.get("layout")):
        return values
    return values | {"data": data | {"layout": get_layout(layout, folder)}}


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``over``, key by key; another architecture drops the options of the one before, and a
    band layout is taken whole."""
    model, chosen = base.get("model"), over.get("model")
    if isinstance(model, dict) and isinstance(chosen, dict):
        before = model.get("architecture", ModelConfig.model_fields["architecture"].default)
        if chosen.get("architecture", before) != before:
            base = {**base, "model": {key: value for key, value in model.items() if key != "options"}}
    return _key_by_key(base, over)


def _key_by_key(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict) and key != "layout"
        merged[key] = _key_by_key(merged[key], value) if both else value
    return merged
