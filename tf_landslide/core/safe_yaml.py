"""Every YAML text that people write is read here: plain data only, of a bounded size, each key once.

A kilobyte of anchors can stand for megabytes, a thousand brackets for as deep a recursion, and a key that is given
twice hides one of its values; all are refused in one line.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from tf_landslide.core.errors import LandslideError

MOST_BYTES = 1_000_000
MOST_NODES = 10_000
"""Values and keys of a text, those that an anchor repeats counted each time."""
DEEPEST = 32
LONGEST_INTEGER = 40  # digits


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, bounded; ``1e-3`` is a number, as in YAML 1.2."""

    def __init__(self, stream: str):
        super().__init__(stream)
        self._depth = 0
        self._sizes: dict[int, int] = {}  # nodes that each node stands for, anchors followed

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        mark, is_alias = event.start_mark, isinstance(event, yaml.AliasEvent)
        self._depth += 1
        if self._depth > DEEPEST:
            raise yaml.MarkedYAMLError(problem=f"is nested more than {DEEPEST} deep", problem_mark=mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if not is_alias:
            self._sizes[id(node)] = 1 + sum(self._sizes[id(part)] for part in _parts(node))
        elif id(node) not in self._sizes:  # it is still being composed
            raise yaml.MarkedYAMLError(problem="holds itself by an anchor", problem_mark=mark)
        if self._sizes[id(node)] > MOST_NODES:
            raise yaml.MarkedYAMLError(problem=f"holds more than {MOST_NODES:,} values", problem_mark=mark)
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value == "<<":
                continue
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"gives {key.value!r} twice", problem_mark=key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)

    def construct_scalar(self, node: Any) -> Any:
        if node.tag == "tag:yaml.org,2002:int" and len(node.value) > LONGEST_INTEGER:
            raise ValueError(f"an integer of {len(node.value):,} digits")
        return super().construct_scalar(node)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError, KeyError, AttributeError) as error:  # 2024-02-30, !!bool maybe and the like
            problem = f"holds a value that is none: {error}"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from None


def _parts(node: Any) -> list[Any]:
    """The nodes that a node holds."""
    pairs = node.value if isinstance(node, yaml.CollectionNode) else ()
    return [part for pair in pairs for part in (pair if isinstance(pair, tuple) else (pair,))]


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def parse_yaml(text: str, origin: str) -> Any:
    """The value of a YAML text.

    Args:
        text: of one document.
        origin: where it is from, for errors.

    Raises:
        LandslideError: not valid YAML, a key given twice, or beyond the bounds; with the line.
    """
    if len(text) > MOST_BYTES:
        raise LandslideError(f"{origin}: is not valid YAML: holds more than {MOST_BYTES:,} characters")
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        where = f" in line {mark.line + 1}" if mark else ""
        what = f": {' '.join(str(problem).split())[:200]}" if problem else ""
        raise LandslideError(f"{origin}: is not valid YAML{where}{what}") from None


def read_yaml(path: Path, what: str = "file") -> Any:
    """The value of a YAML file.

    Args:
        path: of it.
        what: it is, for errors.

    Raises:
        LandslideError: no such file, unreadable, or as ``parse_yaml``.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise LandslideError(f"{path}: is not valid YAML: holds more than {MOST_BYTES:,} characters")
        return parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise LandslideError(f"{path}: no such {what}") from None
    except UnicodeDecodeError:
        raise LandslideError(f"{path}: cannot be read (it is not text in UTF-8)") from None
    except (OSError, ValueError) as error:  # the latter of a name that no file can have
        raise LandslideError(f"{path}: cannot be read ({getattr(error, 'strerror', error)})") from None
