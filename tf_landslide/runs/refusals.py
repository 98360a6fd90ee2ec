"""What pydantic says of a config, as one line that names the key as it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from pydantic import BaseModel

from tf_landslide.core.errors import unknown
from tf_landslide.runs.sections import Config

Models = dict[str, type[BaseModel]]
_NO_SECTION = ("model_type", "dict_type", "model_attributes_type")


@dataclass
class _Place:
    """A key, and the sections that may stand there; in a union told apart by ``name``, by that."""

    keys: list[str] = field(default_factory=list)
    sections: Models = field(default_factory=lambda: {"": Config})
    siblings: Models = field(default_factory=dict)

    @classmethod
    def of(cls, location: Sequence[int | str]) -> _Place:
        """The place of a location of pydantic's, which also names which part of a union was tried."""
        place = cls()
        for part in location:
            fields = next(iter(place.sections.values())).model_fields if len(place.sections) == 1 else {}
            if part in fields:
                place = cls([*place.keys, str(part)], _models(fields[str(part)].annotation))
            elif isinstance(part, int):
                place.keys.append(str(part))
            elif part in place.sections:
                place = cls(place.keys, {part: place.sections[part]}, place.sections)
        return place

    def __str__(self) -> str:
        return ".".join(self.keys) or "the config"


def _models(annotation: Any) -> Models:
    """The sections in a type, by the default of their ``name``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        name = annotation.model_fields.get("name")
        return {str(name.default) if name else "": annotation}
    return {name: model for part in get_args(annotation) for name, model in _models(part).items()}


def explained(errors: Sequence[Any]) -> str:
    """The first of pydantic's errors, and what else the same key might have been, on one line."""
    error = errors[0]
    location, kind = error["loc"], error["type"]
    if kind == "extra_forbidden":
        return _unknown_key(_Place.of(location[:-1]), location[-1])
    place = _Place.of(location)
    if kind in _NO_SECTION:
        return f"{place}: expected a section with keys of its own, found {_short(error['input'])}"
    if kind == "union_tag_invalid":
        return f"{place}.name: {unknown(error['ctx']['tag'], place.sections, 'name')}"
    if kind == "union_tag_not_found":
        return f"{place}: has no name; known: {', '.join(sorted(place.sections))}"
    if kind == "missing":
        return f"{place}: is missing"
    if kind == "value_error":  # of a validator of a section, which says what was found
        return f"{place}: {error['ctx']['error']}"
    said = [other["msg"] for other in errors if _Place.of(other["loc"]).keys == place.keys]
    also = [" or" + text.removeprefix("Input should be") for text in said[1:] if text.startswith("Input should be")]
    return f"{place}: {said[0][0].lower()}{said[0][1:]}{''.join(also)}, found {_short(error['input'])}"


def _unknown_key(place: _Place, key: str) -> str:
    (name, section), *_ = place.sections.items()
    owners = [other for other, sibling in place.siblings.items() if key in sibling.model_fields]
    if owners:
        return f"{place}: {key!r} is a setting of {', '.join(owners)}, and not of {name!r}; leave it out"
    return unknown(key, section.model_fields, f"key in {place}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}…"
