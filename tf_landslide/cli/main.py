"""The command line: which commands there are, and how what goes wrong is told."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from serving.flags import spelt_out
from tf_landslide import __version__
from tf_landslide.cli import demo, download, evaluate, export, inspect, map, models, page, predict, serve, synth, train
from tf_landslide.cli.parsing import Arguments, Parser
from tf_landslide.core.errors import LandslideError

COMMANDS = (synth, download, inspect, train, evaluate, predict, map, export, serve, page, models, demo)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0 when done, 2 after ``error: …`` on standard error for a user's mistake."""
    arguments = parse(sys.argv[1:] if argv is None else argv)
    try:
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
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for command in COMMANDS:
        command.add(commands)
    return parser
