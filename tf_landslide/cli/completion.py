"""``tf-landslide --print-completion SHELL``: what makes a shell complete commands, options and paths."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

SHELLS = ("bash", "zsh", "tcsh")
_FOLDERS = {"DIR", "RUN", "MODELS", "REPORT", "OUT"}
_FILES = {"INPUT.h5", "PEM", "CONFIG", "MODEL"}  # a model or a config may be a folder's name too


class PrintCompletion(argparse.Action):
    """Prints the script and ends."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: Any = None) -> None:
        import shtab  # for this option alone

        for action in _actions(parser):
            if action.metavar in _FOLDERS | _FILES:
                vars(action)["complete"] = shtab.DIRECTORY if action.metavar in _FOLDERS else shtab.FILE
        print(shtab.complete(parser, values))
        parser.exit(0)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
