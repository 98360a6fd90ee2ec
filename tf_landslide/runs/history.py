"""``history.csv``: what each epoch gave."""

from __future__ import annotations

import csv
import io
import json
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


def write_history(path: Path, rows: list[Row]) -> None:
    """Write all rows, in place of the file that was there."""
    with replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def epochs_backed_up(last: Path) -> int:
    """How many epochs the state in a run's ``last`` folder has behind it (written by ``BackupAndRestore``)."""
    path = last / "training_metadata.json"
    return int(json.loads(path.read_text())["epoch"]) if path.exists() else 0
