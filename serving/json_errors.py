"""How TensorFlow Serving's errors print JSON values."""

from __future__ import annotations

import json
import re
from typing import Any

from serving.status import Code, ServingError

MAX_DEBUG = 256  # kMaxJsonDebugStringBytes


def invalid(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)


def wrong_format(value: Any, said: str) -> ServingError:
    """Its ``FormatError``."""
    return invalid(f"JSON Value: {debug_text(value)} {said}")


def wrong_type(value: Any, expected: str) -> ServingError:
    """Its ``TypeError``."""
    return wrong_format(value, f"Type: {type_name(value)} is not of expected type: {expected}")


def debug_text(value: Any) -> str:
    """A value as TensorFlow Serving prints it in an error: indented, and cut off."""
    parts: list[str] = []
    size = 0
    for part in _events(value):
        if size >= MAX_DEBUG:
            break
        parts.append(part)
        size += len(part)
    return "".join(parts)


def type_name(value: Any) -> str:
    """Name of a value's JSON type, as TensorFlow Serving's errors have it."""
    if value is None or isinstance(value, bool):
        return {None: "Null", True: "True", False: "False"}[value]
    for kind, name in ((dict, "Object"), (list, "Array"), (str, "String")):
        if isinstance(value, kind):
            return name
    return "Number"


def _events(value: Any, depth: int = 0):
    """The pieces that a pretty writer would write, one by one; no deeper than could be shown."""
    if depth > MAX_DEBUG:
        return
    if isinstance(value, dict):
        yield "{"
        for position, (name, member) in enumerate(value.items()):
            yield ("," if position else "") + "\n" + " " * 4 * (depth + 1) + _quoted(name)
            yield ": "
            yield from _events(member, depth + 1)
        yield ("\n" + " " * 4 * depth if value else "") + "}"
    elif isinstance(value, list):
        yield "["
        for position, item in enumerate(value):
            if position:
                yield ", "
            yield from _events(item, depth + 1)
        yield "]"
    else:
        yield _quoted(value) if isinstance(value, str) else _scalar(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _scalar(value: Any) -> str:
    if isinstance(value, float):
        return re.sub(r"e([-+])0*", lambda sign: "e-" if sign[1] == "-" else "e", repr(value))
    return json.dumps(value)
