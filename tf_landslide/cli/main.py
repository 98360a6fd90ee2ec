"""The command line: which commands there are, and how what goes wrong is told."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from serving.flags import spelt_out
from tf_landslide import __version__
from tf_landslide.cli import (
    adapt,
    annotate,
    combine,
    compare,
    convert,
    demo,
    download,
    evaluate,
    export,
    find_rate,
    inspect,
    map,
    models,
    objects,
    page,
    patches,
    predict,
    prove,
    pseudo_label,
    review,
    search,
    serve,
    synth,
    train,
)
from tf_landslide.cli.completion import SHELLS, PrintCompletion
from tf_landslide.cli.parsing import Arguments, Parser
from tf_landslide.core.errors import LandslideError, LandslideWarning
from tf_landslide.core.interrupts import interrupts_insist

COMMANDS = (
    synth,
    download,
    inspect,
    patches,
    find_rate,
    train,
    evaluate,
    compare,
    convert,
    combine,
    adapt,
    prove,
    objects,
    predict,
    pseudo_label,
    map,
    annotate,
    review,
    search,
    export,
    serve,
    page,
    models,
    demo,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0 when done, 2 after ``error: …`` on standard error for a user's mistake."""
    arguments = parse(sys.argv[1:] if argv is None else argv)
    try:
        with interrupts_insist(), _warnings_in_one_line():
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
        print(f"error: interrupted{arguments.hint(arguments)}", file=sys.stderr)
        return 130
    return 0


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """What Python says in two lines, with a place in the source, is told as errors are."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", LandslideWarning)
        warnings.filterwarnings("ignore", "Dataset has no geotransform")  # rasterio's; an error of ours says so
        warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
        yield


def _written(arguments: Arguments) -> str | None:
    """What a command writes to, where an error of the system does not name it."""
    given = vars(arguments)
    return next((given[name] for name in ("out", "to", "figure") if given.get(name)), None)


def _forget_output() -> None:
    """Keep Python from complaining at its end about what standard output could not take."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
    parser.add_argument(
        "--print-completion", action=PrintCompletion, choices=SHELLS, help="print the completion script of a shell"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for command in COMMANDS:
        command.add(commands)
    return parser
