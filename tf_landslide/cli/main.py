"""The command line: which commands there are, and how what goes wrong is told."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence

from serving.flags import spelt_out
from tf_landslide import __version__
from tf_landslide.cli import demo, download, evaluate, export, inspect, models, page, predict, serve, synth, train
from tf_landslide.cli.completion import SHELLS, PrintCompletion
from tf_landslide.cli.parsing import Arguments, Parser
from tf_landslide.core.errors import LandslideError

COMMANDS = (synth, download, inspect, train, evaluate, predict, export, serve, page, models, demo)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0 when done, 2 after ``error: …`` on standard error for a user's mistake."""
    arguments = parse(sys.argv[1:] if argv is None else argv)
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"  # where in the source says nothing here
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except LandslideError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        _forget_output()
        return 0
    except OSError as error:
        where = error.filename or _written(arguments) or "standard output"
        print(f"error: {where}: {error.strerror or error}", file=sys.stderr)
        if where == "standard output":
            _forget_output()
        return 2
    except KeyboardInterrupt:
        print(f"error: interrupted{arguments.hint}", file=sys.stderr)
        return 130
    return 0


def _written(arguments: Arguments) -> str | None:
    """What a command writes to, where an error of the system does not name it."""
    given = vars(arguments)
    return next((given[name] for name in ("out", "to", "figure") if given.get(name)), None)


def _forget_output() -> None:
    """Keep Python from complaining at its end about what standard output could not take."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def parse(words: Sequence[str]) -> Arguments:
    """Parse; ``train`` takes its ``key=value`` settings anywhere on the line, which argparse alone does not."""
    parser = build_parser()
    arguments, rest = parser.parse_known_args(spelt_out(words) if list(words[:1]) == ["serve"] else words)
    if rest and hasattr(arguments, "overrides") and not any(word.startswith("-") for word in rest):
        arguments.overrides += rest
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return arguments


def build_parser() -> Parser:
    """The parser of the whole command line."""
    parser = Parser(prog="tf-landslide", description="Landslide mapping with Keras and TensorFlow.")
    parser.add_argument("--version", action="version", version=f"tf-landslide {__version__}")
    parser.add_argument(
        "--print-completion", action=PrintCompletion, choices=SHELLS, help="print the completion script of a shell"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for command in COMMANDS:
        command.add(commands)
    return parser
