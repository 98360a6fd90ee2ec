"""The training config: a YAML file over a shared base, checked before anything runs.

A file may name another with ``base: other.yaml`` (relative to itself) and override any of its values. Unknown keys and
wrong values are refused by name, a value of another type too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tf_landslide.bands.layouts import get_layout, is_layout_file
from tf_landslide.core.errors import LandslideError, unknown
from tf_landslide.core.files import is_file
from tf_landslide.core.safe_yaml import parse_yaml, read_yaml
from tf_landslide.runs.refusals import explained
from tf_landslide.runs.sections import Config

_PACKAGE = Path(__file__).parents[1]
SHIPPED = next(filter(Path.is_dir, (_PACKAGE / "configs", _PACKAGE.parent / "configs")), _PACKAGE / "configs")
"""The folder of the configs that come with the library: in the package where it is installed, else in the checkout."""


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
        _add(settings, _with_groups(_with_layout(nested, Path()), Path()), override)
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
        raise LandslideError(f"{origin}: {explained(error.errors())}") from None
    except LandslideError as error:  # of the band layout
        raise LandslideError(f"{origin}: data.layout: {error}") from None


def _read(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    path = path.resolve() if is_file(path) else path
    if path in seen:
        raise LandslideError(f"{path}: is its own base")
    values = read_yaml(path, "config")
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise LandslideError(f"{path}: expected keys and values, found {type(values).__name__}")
    base, values = values.pop("base", None), _with_groups(_with_layout(values, path.parent), path.parent)
    return values if base is None else _merged(_read(path.parent / str(base), (*seen, path)), values)


def _with_layout(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Values with their band layout read, where they name a file: its path is relative to ``folder``."""
    data = values.get("data")
    if not isinstance(data, dict) or not is_layout_file(layout := data.get("layout")):
        return values
    return values | {"data": data | {"layout": get_layout(layout, folder)}}


def _with_groups(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Values whose file of groups is the one in ``folder``, where there is one; else it is relative to the data."""
    data: Any = values.get("data")
    groups: Any = data.get("groups") if isinstance(data, dict) else None
    file = groups.get("file") if isinstance(groups, dict) else None
    if not isinstance(file, str) or not is_file(folder / file):
        return values
    return values | {"data": data | {"groups": groups | {"file": str((folder / file).absolute())}}}


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``over``, key by key; another architecture drops the options of the one before,
    another loss the settings, and a band layout is taken whole."""
    if _chooses_another(base, over, "model", "architecture"):
        base = {**base, "model": {key: value for key, value in base["model"].items() if key != "options"}}
    if _chooses_another(base, over, "loss", "name"):
        base = {**base, "loss": {}}
    return _key_by_key(base, over)


def _chooses_another(base: dict[str, Any], over: dict[str, Any], section: str, key: str) -> bool:
    """Whether both have a section, and ``over`` another value of its key than ``base``."""
    before, chosen = base.get(section), over.get(section)
    if not isinstance(before, dict) or not isinstance(chosen, dict):
        return False
    value = before.get(key, getattr(getattr(Config(), section), key))
    return chosen.get(key, value) != value


def _key_by_key(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict) and key != "layout"
        merged[key] = _key_by_key(merged[key], value) if both else value
    return merged
