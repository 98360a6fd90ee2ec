"""What every command's file parses with."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

Arguments = argparse.Namespace
Commands = Any  # what ``add_subparsers`` gives; argparse does not name its type


class Parser(argparse.ArgumentParser):
    """argparse, with its errors in our one-line form."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def add_command(
    commands: Commands, name: str, run: Callable[[Arguments], None], help: str, hint: str = ""
) -> argparse.ArgumentParser:
    """Add a command.

    Args:
        commands: to add it to.
        name: of the command.
        run: does it, given its arguments.
        help: one line.
        hint: told when it is interrupted, behind ``interrupted``.
    """
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
    parser.set_defaults(run=run, hint=hint)
    return parser
