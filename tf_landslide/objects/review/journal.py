"""A reviewer's decisions, each appended to a file and on the disk before it counts.

The journal is a text file of a JSON object a line. The first says what is reviewed and by whom; each that follows is a
decision with all that it holds, or the undoing of the last one. What stands is what reading it from the top gives, so
that a process killed at any moment loses at most the line it was writing, of which nobody was told that it is saved.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import read_text

UNREVIEWED, ACCEPTED, REJECTED, REDRAWN, ADDED = "unreviewed", "accepted", "rejected", "redrawn", "added"
STATUSES = (UNREVIEWED, ACCEPTED, REJECTED, REDRAWN, ADDED)
LANDSLIDES = (ACCEPTED, REDRAWN, ADDED)
"""What a reviewer takes for a landslide."""

MOST_COMMENT = 2000
"""Characters."""
_MOST_BYTES = 2**28  # of a journal: half a million decisions
_NAME = re.compile(r"\w(?:[\w .'’-]{0,38}[\w-])?")
_FORMAT = 1


Ring = tuple[tuple[float, float], ...]
"""(x, y) of the corners of a polygon drawn by hand, in the coordinates of the file that is reviewed; not closed."""


@dataclass(frozen=True)
class Decision:
    """What a reviewer says of a polygon.

    Attributes:
        polygon: its number: from 1, as in the file; those added by the reviewer go on from there.
        status: one of ``STATUSES``.
        ring: drawn by the reviewer; of redrawn and added ones.
        comment: in the reviewer's words.
        time: when, UTC, ISO 8601.
    """

    polygon: int
    status: str
    ring: Ring | None = None
    comment: str = ""
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


class Decisions:
    """What stands, as read from a journal.

    Args:
        count: polygons of the file.
    """

    def __init__(self, count: int):
        self.count = count
        self.sequence = 0
        """Lines read or written: another one whenever something was decided."""
        self._history: dict[int, list[Decision]] = {}
        self._order: list[int] = []

    def of(self, polygon: int) -> Decision:
        """What stands of a polygon."""
        history = self._history.get(polygon)
        return history[-1] if history else Decision(polygon, UNREVIEWED, time="")

    @property
    def standing(self) -> dict[int, Decision]:
        """By polygon, all that something was said of; those added, then undone, are gone."""
        return {polygon: history[-1] for polygon, history in sorted(self._history.items()) if history}

    @property
    def next_added(self) -> int:
        """The number of the next polygon that is added; none is given twice."""
        return max(self.count, *self._history, 0) + 1

    def was_added(self, polygon: int) -> bool:
        return polygon > self.count

    def take(self, decision: Decision) -> None:
        """Let a decision stand."""
        self._history.setdefault(decision.polygon, []).append(decision)
        self._order.append(decision.polygon)
        self.sequence += 1

    def undo(self) -> int | None:
        """Let the last one no longer stand. Returns its polygon, None where there is none."""
        if not self._order:
            return None
        self.sequence += 1
        polygon = self._order.pop()
        self._history[polygon].pop()
        return polygon


class Journal:
    """A reviewer's journal, open for writing. The caller sees to it that it is the only one (``core.locks``).

    Args:
        path: of the file; it is made where there is none.
        reviewer: whose it is.
        fingerprint: of the polygons that are reviewed.
        count: how many there are.

    Raises:
        LandslideError: a journal of other polygons, or a damaged one.
    """

    def __init__(self, path: Path, reviewer: str, fingerprint: str, count: int):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        whole = _whole_lines(path)
        os.ftruncate(self._file, whole)  # what a killed process had begun to write
        if whole == 0:
            self._append({"review": _FORMAT, "reviewer": reviewer, "polygons": fingerprint, "count": count})
            _sync_folder(path.parent)
        self.decisions = read_journal(path, fingerprint)

    def decide(self, decision: Decision) -> None:
        """Write a decision to the disk; then it stands."""
        self._append({name: value for name, value in asdict(decision).items() if value not in (None, "")})
        self.decisions.take(decision)

    def undo(self) -> int | None:
        """Undo the last decision, on the disk too. Returns its polygon, None where there is none to undo."""
        if not self.decisions._order:
            return None
        self._append({"undo": True})
        return self.decisions.undo()

    def close(self) -> None:
        os.close(self._file)

    def _append(self, line: dict[str, Any]) -> None:
        text = json.dumps(line, allow_nan=False, separators=(",", ":")).encode() + b"\n"
        before = os.fstat(self._file).st_size
        try:
            if os.write(self._file, text) != len(text):
                raise OSError(28, "No space left on device", str(self.path))
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, before)  # half a line would make the next one unreadable
            raise LandslideError(f"{self.path}: the decision could not be saved ({error.strerror})") from None


def read_journal(path: Path, fingerprint: str) -> Decisions:
    """What stands by a journal, which its reviewer may be writing to.

    Raises:
        LandslideError: a journal of other polygons, or a damaged one.
    """
    lines = _lines(path)
    header = next(lines, None)
    if header is None or header.get("review") != _FORMAT or not isinstance(header.get("count"), int):
        raise LandslideError(f"{path}: is no journal of a review")
    if header.get("polygons") != fingerprint:
        raise LandslideError(
            f"{path}: holds decisions on other polygons than those there are now; move the folder {path.parent} away "
            "to begin anew, or put the polygons back that it was made on"
        )
    decisions = Decisions(header["count"])
    for number, line in enumerate(lines, 2):
        try:
            if line.get("undo") is True:
                decisions.undo()
            else:
                decisions.take(_decision(line, decisions.count))
        except (TypeError, ValueError, KeyError, OverflowError):
            raise LandslideError(f"{path}: line {number} is no decision; restore the file from a copy") from None
    return decisions


def check_name(reviewer: str) -> str:
    """A reviewer's name, which is a folder's too. Raises ``LandslideError`` for one that cannot be."""
    if not _NAME.fullmatch(reviewer):
        raise LandslideError(
            f"a reviewer's name has up to 40 letters, digits, blanks, dots, hyphens, apostrophes and underscores, "
            f"begins with a letter or digit and does not end in a dot or blank, got {reviewer[:60]!r}"
        )
    return reviewer


def plain(comment: str) -> str:
    """A comment as any file takes it: a browser cuts an emoji in half where a text gets too long."""
    return comment.encode("utf-8", "replace").decode().replace("\0", "")


def _decision(line: dict[str, Any], count: int) -> Decision:
    ring = line.get("ring")
    decision = Decision(
        polygon=int(line["polygon"]),
        status=str(line["status"]),
        ring=None if ring is None else tuple((float(x), float(y)) for x, y in ring),
        comment=plain(str(line.get("comment", ""))),
        time=str(line["time"]),
    )
    added = decision.polygon > count
    drawn = added or decision.status in (REDRAWN, ADDED)
    if decision.status not in STATUSES or decision.polygon < 1 or (drawn and not decision.ring):
        raise ValueError(decision)
    if decision.status == ADDED and not added:
        raise ValueError(decision)
    if decision.ring is not None and not (len(decision.ring) >= 3 and all(map(_is_finite, decision.ring))):
        raise ValueError(decision)
    return decision


def _is_finite(corner: tuple[float, float]) -> bool:
    return all(map(math.isfinite, corner))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        text = read_text(path, _MOST_BYTES)
    except FileNotFoundError:
        raise LandslideError(f"{path}: no such file") from None
    for number, line in enumerate(text.split("\n")[:-1], 1):  # what follows the last end of a line is not whole
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise LandslideError(f"{path}: line {number} is damaged; restore the file from a copy")
        yield value


def _whole_lines(path: Path) -> int:
    """Bytes up to the last end of a line."""
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    return content.rfind(b"\n") + 1


def _sync_folder(folder: Path) -> None:
    """Have the disk know a new file's name."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
