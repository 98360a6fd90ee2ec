"""Files that this library wrote, or somebody in its name: read as what they must hold, or refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, Strict, TypeAdapter, ValidationError

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import read_json

_SHOWN = 60  # characters of a wrong value


_Number = Annotated[float, Strict()]  # scores are passed on as they are, so a text of digits is none
_Interval = tuple[_Number | None, _Number | None]


class _Intervals(BaseModel):
    model_config = ConfigDict(extra="allow")

    f1: _Interval
    precision: _Interval
    recall: _Interval
    iou: _Interval


class _Scores(BaseModel):
    """What a reader of a split's scores relies on; there may be more."""

    model_config = ConfigDict(extra="allow")

    f1: _Number | None
    precision: _Number | None
    recall: _Number | None
    iou: _Number | None
    threshold: _Number = Field(ge=0, le=1)
    patches: int = Field(ge=0)
    interval: _Intervals
    share_of_train: _Number | None = None
    groups_of_train: list[str] | None = None


class _Checkpoint(BaseModel):
    model_config = ConfigDict(extra="allow")

    file: str
    sha256: str


class _Environment(BaseModel):
    """What readers of a run's environment rely on; every part may be missing."""

    model_config = ConfigDict(extra="allow")

    packages: dict[str, str | None] = {}
    synthetic: Annotated[bool, Strict()] = False
    patch: tuple[int, int] | None = None
    positive_weight: _Number | None = None
    data: str = ""
    data_fingerprint: dict[str, dict[str, Any]] = {}
    pseudo_labels: dict[str, Any] = {}
    resumed: list[dict[str, Any]] = []
    converted_from: _Checkpoint | None = None


class _Fold(BaseModel):
    model_config = ConfigDict(extra="allow")

    run: str
    groups: list[str]


class _Folds(BaseModel):
    model_config = ConfigDict(extra="allow")

    threshold: _Number = Field(ge=0, le=1)
    by_fold: list[_Fold]


_SCORES, _ENVIRONMENT, _FOLDS = TypeAdapter(dict[str, _Scores]), TypeAdapter(_Environment), TypeAdapter(_Folds)


def checked(adapter: TypeAdapter[Any], value: Any, origin: object) -> Any:
    """A value as pydantic reads it. Raises ``LandslideError`` with the first key that is missing or wrong."""
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the whole"
        found = "" if first["type"] == "missing" else f", found {_short(first['input'])}"
        raise LandslideError(f"{origin}: {key}: {first['msg'][0].lower()}{first['msg'][1:]}{found}") from None


def checked_scores(scores: dict[str, Any], origin: object) -> dict[str, Any]:
    """Scores by split, unchanged. Raises ``LandslideError`` where a split's are not whole."""
    checked(_SCORES, scores, origin)
    return scores


def checked_environment(environment: dict[str, Any], origin: object) -> dict[str, Any]:
    """What a run was made with, unchanged. Raises ``LandslideError`` where a part of it is not what it must be."""
    checked(_ENVIRONMENT, environment, origin)
    return environment


def read_folds(path: Path) -> dict[str, Any]:
    """What ``folds.json`` holds, as written. Raises ``LandslideError`` where it is damaged."""
    folds = read_json(path)
    checked(_FOLDS, folds, path)
    return folds


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
