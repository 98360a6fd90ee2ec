"""What every command's file parses with."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from datetime import date
from typing import Any, NoReturn

from tf_landslide.core.errors import LandslideError

Arguments = argparse.Namespace
Commands = Any  # what ``add_subparsers`` gives; argparse does not name its type


class Parser(argparse.ArgumentParser):
    """argparse, with its errors in our one-line form; what begins like ``-0.4,0.7`` is a value, not an option."""

    def __init__(self, *arguments: Any, **named: Any):
        super().__init__(*arguments, **named)
        self._negative_number_matcher = re.compile(r"-\.?\d")  # argparse's own knows single numbers alone

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def add_command(
    commands: Commands,
    name: str,
    run: Callable[[Arguments], None],
    help: str,
    hint: Callable[[Arguments], str] = lambda _: "",
) -> argparse.ArgumentParser:
    """Add a command.

    Args:
        commands: to add it to.
        name: of the command.
        run: does it, given its arguments.
        help: one line.
        hint: says, given its arguments, what is told behind ``interrupted`` when it was.
    """
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
    parser.set_defaults(run=run, hint=hint)
    return parser


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Add ``--precision``, by which a model computes."""
    parser.add_argument(
        "--precision",
        metavar="NAME",
        help="float32, or bfloat16 or int8 where proven for the model, see prove (default: as it was published)",
    )


def day(text: str) -> date:
    """A day of the calendar, as an argument."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a day like 2018-09-06, got {text!r}") from None


def number(text: str) -> float:
    """A finite number, as an argument."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r}")
    return value


def two_numbers(text: str) -> tuple[float, float]:
    """Two finite numbers with a comma between them, as an argument."""
    first, comma, second = text.partition(",")
    if not comma:
        raise argparse.ArgumentTypeError(f"expected two numbers, e.g. 0.4,-0.7, got {text!r}")
    return number(first), number(second)


def number_above_0(text: str) -> float:
    """A finite number greater than 0, as an argument."""
    if (value := number(text)) <= 0:
        raise argparse.ArgumentTypeError(f"expected a number greater than 0, got {text!r}")
    return value


def number_from_0(text: str) -> float:
    """A finite number of 0 or more, as an argument."""
    if (value := number(text)) < 0:
        raise argparse.ArgumentTypeError(f"expected a number from 0 on, got {text!r}")
    return value


def seeds(text: str) -> tuple[int, ...]:
    """``3`` for the seeds 0, 1 and 2; ``0,7`` (or ``7,``) for those that are named."""
    try:
        named = tuple(int(part) for part in text.removesuffix(",").split(","))
    except ValueError:
        named = ()
    found = named if "," in text else tuple(range(*named[:1])) if named and named[0] <= 1000 else ()
    if not found or len({*found}) < len(found) or not all(0 <= seed < 2**32 for seed in found):
        raise argparse.ArgumentTypeError(f"expected a number of seeds, or different ones like 0,1,2, got {text!r}")
    return found


def positive_whole(text: str) -> int:
    """A whole number greater than 0, as an argument."""
    if not re.fullmatch(r"0*[1-9]\d{0,5}", text):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got {text!r}")
    return int(text)


def event_days(a: Arguments) -> tuple[str | None, str | None]:
    """``--event-from`` and ``--event-to`` as ``2018-09-06``. Raises ``LandslideError`` where they are not in order."""
    if a.event_from and a.event_to and a.event_from > a.event_to:
        raise LandslideError(f"--event-from {a.event_from}: comes after --event-to {a.event_to}")
    return a.event_from and a.event_from.isoformat(), a.event_to and a.event_to.isoformat()
