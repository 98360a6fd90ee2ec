"""How results are printed."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tf_landslide.core.tables import text_table
from tf_landslide.metrics import SCORES

_LEVEL = "0.3"  # from which on a found object is a true one
_FEW = 6


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


@contextmanager
def heard() -> Iterator[list[str]]:
    """Warnings that are told meanwhile, for a record; they are told as ever."""
    told: list[str] = []
    before = warnings.showwarning

    def show(message: Warning | str, *more: Any, **named: Any) -> None:
        told.append(str(message))
        before(message, *more, **named)

    warnings.showwarning = show
    try:
        yield told
    finally:
        warnings.showwarning = before


def scores_table(rows: dict[str, dict[str, Any]]) -> str:
    """F1, precision, recall and IoU of each row, and F1 of objects where any has that."""
    objects = [f"objects, IoU {_LEVEL}"] if any("objects" in row for row in rows.values()) else []
    header = ("", "F1", "precision", "recall", "IoU", *objects)
    of_train = {"share_of_train": " (a share of train)", "groups_of_train": " (groups of train)"}
    shares = {label: said for label, row in rows.items() for key, said in of_train.items() if key in row}
    return text_table(
        header,
        [
            (
                label + shares.get(label, ""),
                *(f"{row[name]:.4f}" for name in SCORES),
                *([_objects(row)] if objects else []),
            )
            for label, row in rows.items()
        ],
    )


def folds_table(judged: dict[str, Any]) -> str:
    """The scores of each fold and of all patches out of fold, as ``folds.json`` holds them."""
    rows = {f"{fold['run']} ({_groups(fold['groups'])})": fold for fold in judged["by_fold"]}
    low, high = judged["scores"]["interval_groups"]["f1"]
    return (
        f"{scores_table(rows | {'all, out of fold': judged['scores']})}\n"
        f"threshold {judged['threshold']:.3f}, chosen on all patches out of fold; F1 {low:.3f} to {high:.3f}, a 95 % "
        f"interval over {judged['scores']['groups']} groups"
    )


def _groups(names: list[str]) -> str:
    """A few groups by name, many by number."""
    return ", ".join(names) if len(names) <= _FEW else f"{len(names)} groups"


def change(difference: dict[str, Any]) -> str:
    """A paired difference in words."""
    low, high = difference["interval"]
    return f"{difference['value']:+.4f} ({low:+.4f} to {high:+.4f})"


def _objects(row: dict[str, Any]) -> str:
    return f"{row['objects']['at'][_LEVEL]['f1']:.4f}" if "objects" in row else ""
