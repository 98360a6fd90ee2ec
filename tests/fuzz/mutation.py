"""Damage to valid files, as disks, networks and people who mean harm do it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

MOST_BYTES = 2**18
_BOUNDARIES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)


def damaged(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """A valid input after one to six accidents, each drawn by chance; ``others`` are inputs of its kind."""
    content = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        rng.choice(_ACCIDENTS)(rng, content, others)
    return bytes(content[:MOST_BYTES])


def _flip(rng: random.Random, content: bytearray, _: Sequence[bytes]) -> None:
    for _ in range(rng.choice((1, 1, 4))):
        if content:
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def _cut(rng: random.Random, content: bytearray, _: Sequence[bytes]) -> None:
    del content[rng.randint(0, len(content)) :]


def _splice(rng: random.Random, content: bytearray, others: Sequence[bytes]) -> None:
    other = rng.choice(others)
    content[rng.randint(0, len(content)) :] = other[rng.randint(0, len(other)) :]


def _length(rng: random.Random, content: bytearray, _: Sequence[bytes]) -> None:
    """Another number in one, two, four or eight bytes, in either order: lengths, counts, offsets, versions."""
    width, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
    if len(content) < width:
        return
    at = rng.randint(0, len(content) - width)
    number = int.from_bytes(content[at : at + width], order)  # type: ignore[arg-type]
    number = rng.choice((*_BOUNDARIES, number + 1, number - 1, number * 2, number // 2)) % (1 << 8 * width)
    content[at : at + width] = number.to_bytes(width, order)  # type: ignore[arg-type]


def _digits(rng: random.Random, content: bytearray, _: Sequence[bytes]) -> None:
    """Another number in a text."""
    places = [i for i, byte in enumerate(content) if 48 <= byte < 58]
    if places:
        at = rng.choice(places)
        number = rng.choice((*_BOUNDARIES, -1, 10**30, 10**400, "1e999", "nan", "-0.0", "0x10"))
        content[at : at + 1] = str(number).encode()


def _repeat(rng: random.Random, content: bytearray, _: Sequence[bytes]) -> None:
    start = rng.randint(0, len(content))
    part = content[start : start + rng.choice((1, 4, 64, 4096))]
    content[start:start] = part * rng.choice((1, 2, 50))


def _remove(rng: random.Random, content: bytearray, _: Sequence[bytes]) -> None:
    start = rng.randint(0, len(content))
    del content[start : start + rng.choice((1, 2, 4, 16, 256))]


def _strange(rng: random.Random, content: bytearray, _: Sequence[bytes]) -> None:
    """A few bytes that mean something somewhere."""
    at = rng.randint(0, len(content))
    content[at:at] = rng.choice(_STRANGE)


_STRANGE = (
    *(
        b"\0",
        b"\xff\xfe",
        b"\x1b[2J",
        b"\r\n",
        b"\n\n",
        b'"',
        b"'",
        b"{",
        b"[" * 2000,
        b"}",
        b"]",
        b"&a ",
        b"*a",
        b"!!",
    ),
    *(
        "\u2028".encode(),
        "\ud800".encode("utf-8", "surrogatepass"),
        "é😀".encode(),
        b"null",
        b"../" * 9,
        b"/etc/passwd",
    ),
    *(b'"\\ud800"', b'"\\u001b[31m"', b'"\\n"', b"%s%n", b"<<: ", b"!!timestamp ", b"NaN", b"1_000", b"- ", b": "),
)
_ACCIDENTS: tuple[Callable[[random.Random, bytearray, Sequence[bytes]], None], ...] = (
    *(_flip, _flip, _cut, _splice, _length, _length, _digits, _repeat, _remove, _strange),
)

_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from((0, -1, 2**31, 2**63, 2**64, 10**30)),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(("", "..", "/etc/passwd", "\ud800", "\x1b[2J", "a\nb", "x" * 300, "\0", "1e3", "nan", "(a+)+$")),
)
_ANY = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def altered(draw: Callable[[Any], Any], tree: Any) -> Any:
    """A document whose values were changed in one to three places: replaced, left out, given twice, renamed."""
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(tree))
        tree = _changed(draw, tree, draw(st.sampled_from(places)))
    return tree


def _places(tree: Any, way: tuple[Any, ...] = ()) -> Any:
    """The way to each value of a document."""
    yield way
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, child in children:
        yield from _places(child, (*way, key))


def _changed(draw: Callable[[Any], Any], tree: Any, way: tuple[Any, ...]) -> Any:
    if len(way) > 1:
        copy = dict(tree) if isinstance(tree, dict) else list(tree)
        copy[way[0]] = _changed(draw, tree[way[0]], way[1:])
        return copy
    if not way:
        return draw(_ANY)
    copy, key = dict(tree) if isinstance(tree, dict) else list(tree), way[0]
    match draw(st.integers(0, 5)):
        case 0:
            del copy[key]
        case 1 if isinstance(copy, list):
            copy.insert(key, copy[key])
        case 1:
            copy[draw(st.text(max_size=5))] = copy.pop(key)
        case 2:
            copy[key] = [copy[key]]
        case _:
            copy[key] = draw(_ANY)
    return copy
