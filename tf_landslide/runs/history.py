"""``history.csv``: what each epoch gave, and which was the best."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import read_text, replacing

Row = dict[str, float]


def read_history(path: Path) -> list[Row]:
    """The rows, one an epoch; empty where there is no such file yet.

    Raises:
        LandslideError: no text, or no table of numbers.
    """
    if not path.exists():
        return []
    rows = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        return [{key: float(value) for key, value in row.items()} for row in rows]
    except (ValueError, TypeError, csv.Error):  # a word, too few or too many values, a field without end
        raise LandslideError(f"{path}: line {rows.line_num} is no row of numbers under the header") from None


def write_history(path: Path, rows: Sequence[Row]) -> None:
    """Write all rows, in place of the file that was there."""
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def best_epoch(rows: Sequence[Row]) -> int:
    """The epoch of the highest validation F1 at its own best threshold; of equal ones that of the lowest loss.

    At a threshold of 0.5 a model that finds a rare class late scores 0 for many epochs, the untrained one among them.

    Args:
        rows: of one epoch at least.
    """

    def rank(row: Row) -> tuple[float, ...]:
        f1, better = row["val_best_f1"], -row["val_loss"]
        return tuple(value if math.isfinite(value) else -math.inf for value in (f1, better))

    return max(range(len(rows)), key=lambda epoch: rank(rows[epoch]))


def epochs_since_best(rows: Sequence[Row]) -> int:
    """How many epochs came after the best one; 0 before the first."""
    return len(rows) - 1 - best_epoch(rows) if rows else 0


def is_over(rows: Sequence[Row], epochs: int, patience: int | None) -> bool:
    """Whether training has nothing left to do: it has its epochs, or early stopping's patience has run out."""
    return len(rows) >= epochs or (patience is not None and epochs_since_best(rows) >= patience)
