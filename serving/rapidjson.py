"""JSON as TensorFlow Serving's RapidJSON reads it: what passes there passes here; what does not, in its words.

Beyond Python's reader it takes ``Inf``, ``-NaN``, bytes that are no UTF-8 (kept by ``surrogateescape``), any depth and
anything behind the value; it refuses half a surrogate pair and numbers that no double holds, and of two members of one
name takes the first. Python's reader does the work where it agrees; the exact one is for the rest, and
for so many values only, since it takes microseconds for each.
"""

from __future__ import annotations

import json
import re
from typing import Any

from serving.status import Code, ServingError

_SPACE = re.compile(r"[ \n\r\t]*")
_DISAGREED = re.compile(
    rb"\\u[dD][89a-fA-F]|(?<![0-9])[0-9]{300}|[eE]\+?[0-9]{3}"
)  # what Python's reader may take otherwise
# Strings stay, to the end where one is not closed (else each of its quotes would be tried); the rest Python spells so.
_RESPELLED = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|-NaN|Inf(?!inity)', re.DOTALL)
_MOST_VALUES = 2**18  # and escapes, that the exact reader reads: a second or two
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_DIGITS = re.compile(r"[0-9]*")
_HEX = re.compile(r"[0-9a-fA-F]{4}")
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_LITERALS = {"null": None, "true": True, "false": False}

EMPTY = "The document is empty."
VALUE = "Invalid value."
NAME = "Missing a name for object member."
COLON = "Missing a colon after a name of object member."
BRACE = "Missing a comma or } after an object member."
BRACKET = "Missing a comma or ] after an array element."
HEX = "Incorrect hex digit after \\u escape in string."
SURROGATE = "The surrogate pair in string is invalid."
ESCAPE = "Invalid escape character in string."
QUOTE = "Missing a closing quotation mark in string."
TOO_MANY = f"More than {_MOST_VALUES:,} values and escapes, which are read from plain JSON without errors only,"
ENCODING = "Invalid encoding in string."
TOO_BIG = "Number too big to be stored in double."
FRACTION = "Miss fraction part in number."
EXPONENT = "Miss exponent in number."


class JsonError(Exception):
    """What is wrong, and at which character."""


def parse(body: bytes | bytearray) -> Any:
    """The first value in a body; strings hold bytes that are no UTF-8 as ``surrogateescape`` does.

    Raises:
        ServingError: with RapidJSON's text.
    """
    if not body:
        raise ServingError(Code.INVALID_ARGUMENT, "JSON Parse error: The document is empty")
    text = body.decode("utf-8", "surrogateescape")
    begin = 1 if text.startswith("\ufeff") else 0
    begin = _skip(text, begin)
    if text[begin : begin + 1] in ("{", "[") and not _DISAGREED.search(body):
        try:
            plain = _RESPELLED.sub(_respelled, text) if b"-NaN" in body or b"Inf" in body else text
            return _PYTHON.raw_decode(plain, begin)[0]
        except (ValueError, RecursionError):
            pass
    try:
        return _Reader(text, begin).document()
    except JsonError as error:
        said, at = error.args
        offset = len(text[:at].encode("utf-8", "surrogateescape"))
        raise ServingError(Code.INVALID_ARGUMENT, f"JSON Parse error: {said} at offset: {offset}") from None


def _respelled(token: re.Match[str]) -> str:
    return {"-NaN": "NaN", "Inf": "Infinity"}.get(token[0], token[0])


def _first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    members = {}
    for name, value in pairs:
        members.setdefault(name, value)
    return members


_PYTHON = json.JSONDecoder(object_pairs_hook=_first_of_each)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None
    return match.end()


class _Reader:
    """Reads one value, with a stack of its own: no nesting is too deep."""

    def __init__(self, text: str, at: int):
        self._text, self._at, self._read = text, at, 0

    def document(self) -> Any:
        """The value, and nothing behind it."""
        if self._peek() in ("", "\0", "]", "}", ",", ":"):
            raise JsonError(EMPTY, self._at)
        open_: list[tuple[Any, str]] = []  # what is open, and the name that waits for a value there
        while True:
            self._count()
            value, opened = self._value()
            while True:
                if opened and (name := self._first(value)) is not None:
                    open_.append((value, name))
                    break
                if not open_:
                    return value
                parent, name = open_.pop()
                if isinstance(parent, list):
                    parent.append(value)
                else:
                    parent.setdefault(name, value)
                following = self._next(parent)
                if following is not None:
                    open_.append((parent, following))
                    break
                value, opened = parent, False

    def _count(self) -> None:
        self._read += 1
        if self._read > _MOST_VALUES:
            raise JsonError(TOO_MANY, self._at)

    def _peek(self) -> str:
        self._at = _skip(self._text, self._at)
        return self._text[self._at : self._at + 1]

    def _value(self) -> tuple[Any, bool]:
        """A value, and whether it is one that has just been opened."""
        head = self._peek()
        if head in ("", "\0", "]", "}", ",", ":"):
            raise JsonError(VALUE, self._at)
        if head in "[{":
            self._at += 1
            return ([] if head == "[" else {}), True
        if head == '"':
            return self._string(), False
        for word, value in _LITERALS.items():
            if head == word[0]:
                self._word(word)
                return value, False
        return self._number(), False

    def _first(self, opened: Any) -> str | None:
        """The name that the first value of an array (none: empty) or object goes by; None where it closes at once."""
        head = self._peek()
        if head == ("]" if isinstance(opened, list) else "}"):
            self._at += 1
            return None
        return "" if isinstance(opened, list) else self._name()

    def _next(self, parent: Any) -> str | None:
        """The same of the next value; None where there is none."""
        closing, said = ("]", BRACKET) if isinstance(parent, list) else ("}", BRACE)
        head = self._peek()
        if head == closing:
            self._at += 1
            return None
        if head != ",":
            raise JsonError(said, self._at)
        self._at += 1
        return "" if isinstance(parent, list) else self._name()

    def _name(self) -> str:
        if self._peek() != '"':
            raise JsonError(NAME, self._at)
        name = self._string()
        if self._peek() != ":":
            raise JsonError(COLON, self._at)
        self._at += 1
        return name

    def _word(self, word: str) -> None:
        for letter in word:
            if self._text[self._at : self._at + 1] != letter:
                raise JsonError(VALUE, self._at)
            self._at += 1

    def _string(self) -> str:
        parts = []
        self._at += 1
        while True:
            match = _PLAIN.match(self._text, self._at)
            assert match is not None
            parts.append(match[0])
            self._at = match.end()
            head = self._text[self._at : self._at + 1]
            if head == '"':
                self._at += 1
                return "".join(parts)
            if head != "\\":
                raise JsonError(QUOTE if head in ("", "\0") else ENCODING, self._at)
            self._count()
            parts.append(self._escape())

    def _escape(self) -> str:
        at = self._at
        kind = self._text[at + 1 : at + 2]
        self._at += 2
        if kind != "u":
            if kind not in _ESCAPES:
                raise JsonError(ESCAPE, at)
            return _ESCAPES[kind]
        code = self._hex(at)
        if not 0xD800 <= code <= 0xDFFF:
            return chr(code)
        if code > 0xDBFF or self._text[self._at : self._at + 2] != "\\u":
            raise JsonError(SURROGATE, at)
        self._at += 2
        low = self._hex(at)
        if not 0xDC00 <= low <= 0xDFFF:
            raise JsonError(SURROGATE, at)
        return chr(0x10000 + ((code - 0xD800) << 10) + low - 0xDC00)

    def _hex(self, escape: int) -> int:
        match = _HEX.match(self._text, self._at)
        if match is None:
            raise JsonError(HEX, escape)
        self._at = match.end()
        return int(match[0], 16)

    def _digits(self) -> str:
        match = _DIGITS.match(self._text, self._at)
        assert match is not None
        self._at = match.end()
        return match[0]

    def _number(self) -> int | float:
        start = self._at
        minus = self._takes("-")
        if self._text[self._at : self._at + 1] in ("I", "N"):
            return self._no_number(minus)
        whole = "0" if self._takes("0") else self._digits()
        if not whole:
            raise JsonError(VALUE, self._at)
        fraction = exponent = ""
        if point := self._takes("."):
            fraction = self._digits()
            if not fraction:
                raise JsonError(FRACTION, self._at)
        power = self._takes("e") or self._takes("E")
        if power:
            negative = self._takes("-")
            if not negative:
                self._takes("+")
            exponent = self._digits()
            if not exponent:
                raise JsonError(EXPONENT, self._at)
            digits = exponent.lstrip("0") or "0"  # Python refuses to read thousands of digits
            if not negative and (len(digits) > 6 or int(digits) > 308 + len(fraction)):
                raise JsonError(TOO_BIG, start)
        number = float(self._text[start : self._at])
        if not power and number in (float("inf"), -float("inf")):
            raise JsonError(TOO_BIG, start)
        if point or power or len(whole) > 20:
            return number
        exact = int(self._text[start : self._at])
        return exact if -(2**63) <= exact < 2**64 else number

    def _takes(self, letter: str) -> bool:
        found = self._text.startswith(letter, self._at)
        self._at += found
        return found

    def _no_number(self, minus: bool) -> float:
        if self._text[self._at] == "N":
            self._word("NaN")
            return float("nan")
        self._word("Inf")
        if self._text.startswith("i", self._at):
            self._word("inity")
        return float("-inf" if minus else "inf")
