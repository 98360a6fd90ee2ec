"""The command line: which commands there are, and how what goes wrong is told."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from serving.flags import spelt_out
from tf_landslide import __version__
from tf_landslide.cli import demo, download, evaluate, export, inspect, map, models, page, predict, serve, synth, train
from tf_landslide.cli.parsing import Arguments, Parser
from tf_landslide.core.errors import LandslideError, LandslideWarning

COMMANDS = (synth, download, inspect, train, evaluate, predict, map, export, serve, page, models, demo)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0 when done, 2 after ``error: …`` on standard error for a user's mistake."""
    arguments = parse(sys.argv[1:] if argv is None else argv)
    try:
        with _warnings_in_one_line():
            arguments.run(arguments)
        sys.stdout.flush()
    except LandslideError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"error: {error.filename or 'system'}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"error: interrupted{arguments.hint}", file=sys.stderr)
        return 130
    return 0


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """What Python says in two lines, with a place in our code, is told as errors are."""
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(message, category, *place):
            if issubclass(category, LandslideWarning):
                print(f"warning: {message}", file=sys.stderr)
            else:
                shown(message, category, *place)

        warnings.simplefilter("always", LandslideWarning)
        warnings.showwarning = show
        yield


def parse(words: Sequence[str]) -> Arguments:
    """Parse; the words that a command names by ``anywhere`` may stand anywhere on the line, for which argparse alone
    would have them all before the options or all behind.
    """
    parser = build_parser()
    arguments, rest = parser.parse_known_args(spelt_out(words) if list(words[:1]) == ["serve"] else words)
    if rest and hasattr(arguments, "anywhere") and not any(word.startswith("-") for word in rest):
        setattr(arguments, arguments.anywhere, [*getattr(arguments, arguments.anywhere), *rest])
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return arguments


def build_parser() -> Parser:
    """The parser of the whole command line."""
    parser = Parser(prog="tf-landslide", description="Landslide mapping with Keras and TensorFlow.")
    parser.add_argument("--version", action="version", version=f"tf-landslide {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for command in COMMANDS:
        command.add(commands)
    return parser
