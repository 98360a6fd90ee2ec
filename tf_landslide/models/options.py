"""An architecture's own options, checked by the annotations of the function that takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Annotated, Any, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError

from tf_landslide.core.errors import LandslideError, require_known

Width = Annotated[int, Field(gt=0)]
"""A number of filters, pixels or the like: at least 1."""
Share = Annotated[float, Field(ge=0, lt=1)]
"""A share of a whole, below 1."""


def check_options(function: Callable[..., Any], options: Mapping[str, Any], what: str) -> None:
    """Check options against the parameters of a function but its first, by name and by annotation.

    Args:
        function: that takes them by keyword, e.g. a decoder.
        options: by name, as a config gives them.
        what: whose they are, for errors.

    Raises:
        LandslideError: an unknown name, or a value of another type or out of range.
    """
    hints = get_type_hints(function, include_extras=True)
    names = list(signature(function).parameters)[1:]
    for name, value in options.items():
        require_known(name, names, f"option of {what}")
        try:
            TypeAdapter(hints[name]).validate_python(value, strict=True)
        except ValidationError as error:
            problem = error.errors()[0]["msg"]
            raise LandslideError(
                f"option {name!r} of {what}: {problem[0].lower()}{problem[1:]}, found {value!r}"
            ) from None
