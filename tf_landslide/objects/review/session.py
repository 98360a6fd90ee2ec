"""A review that is under way: polygons, pictures and one reviewer's journal, as the page asks and tells it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.locks import locked
from tf_landslide.objects.review.agreement import Agreement, agreement
from tf_landslide.objects.review.export import export
from tf_landslide.objects.review.journal import (
    ADDED,
    LANDSLIDES,
    MOST_COMMENT,
    REDRAWN,
    REJECTED,
    STATUSES,
    UNREVIEWED,
    Decision,
    Decisions,
    Journal,
    Ring,
    check_name,
    plain,
    read_journal,
)
from tf_landslide.objects.review.pictures import Picture
from tf_landslide.objects.review.polygons import Polygons
from tf_landslide.scenes.canvas import map_geometry

JOURNAL = "decisions.jsonl"


class Stale(Exception):
    """What was decided in the meantime, in another window, has to be seen first."""


def review_folder(folder: Path, reviewer: str) -> Path:
    """Where a reviewer's decisions and exports lie."""
    return folder / "review" / check_name(reviewer)


def reviewers(folder: Path) -> list[str]:
    """Who has decided anything in a folder, by name."""
    return sorted(path.parent.name for path in (folder / "review").glob(f"*/{JOURNAL}") if _says_something(path))


def _says_something(journal: Path) -> bool:
    """Whether there is anything behind the head of a journal."""
    with journal.open("rb") as file:
        file.readline()
        return bool(file.read(1))


def decisions_of(folder: Path, reviewer: str, polygons: Polygons) -> Decisions:
    """What a reviewer has decided. Raises ``LandslideError`` where there is no such journal, or it is damaged."""
    return read_journal(review_folder(folder, reviewer) / JOURNAL, polygons.fingerprint)


def compare(folder: Path, polygons: Polygons, a: str, b: str) -> Agreement:
    """How two reviewers agree. Raises ``LandslideError`` as ``decisions_of``."""
    return agreement(polygons, a, decisions_of(folder, a, polygons), b, decisions_of(folder, b, polygons))


@dataclass
class Session:
    """One reviewer at work. Its methods may be called by several threads.

    Attributes:
        folder: of the review.
        polygons: that are reviewed.
        pictures: by ``before`` and ``after``, as far as there are any.
        reviewer: whose decisions they are.
        journal: where they are kept.
    """

    folder: Path
    polygons: Polygons
    pictures: dict[str, Picture]
    reviewer: str
    journal: Journal

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        _ = self.polygons.outlines, self.polygons.areas  # seconds of work, before anybody waits for the page

    def state(self) -> dict[str, Any]:
        """All that the page shows at first."""
        with self._lock:
            decided = self.journal.decisions
            return {
                "reviewer": self.reviewer,
                "map": map_geometry(self.polygons.grid),
                "pictures": {when: [p.levels, p.version] for when, p in self.pictures.items()},
                "polygons": [
                    {"id": number, "rings": rings, "area": area, "confidence": confidence}
                    for number, (rings, area, confidence) in enumerate(
                        zip(self.polygons.outlines, self.polygons.areas, self.polygons.confidences, strict=True), 1
                    )
                ],
                "decisions": [self._shown(polygon) for polygon in decided.standing],
                "sequence": decided.sequence,
                "others": [name for name in reviewers(self.folder) if name != self.reviewer],
            }

    def details(self, polygon: int) -> list[tuple[str, str]]:
        """The file's attributes of a polygon; none of an added one. Raises ``LandslideError`` for no such polygon."""
        with self._lock:
            self._require(polygon)
        return [] if polygon > len(self.polygons) else self.polygons.attributes(polygon)

    def decide(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Take a decision, and save it.

        Args:
            wanted: ``polygon`` (None for a new one), ``status`` (None for the one it has), ``corners`` in the map's
                pixels where it is drawn, ``comment`` (None for the one it has), ``sequence`` as the page knows it.

        Returns:
            the ``decision`` as it stands, and the ``sequence``.

        Raises:
            LandslideError: what cannot be, in a sentence.
            Stale: something was decided that the page does not know of.
        """
        with self._lock:
            self._require_current(wanted)
            decision = self._decision(wanted)
            self.journal.decide(decision)
            return {"decision": self._shown(decision.polygon), "sequence": self.journal.decisions.sequence}

    def undo(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Undo the last decision. Returns and raises as ``decide``; ``decision`` is None where there was none."""
        with self._lock:
            self._require_current(wanted)
            polygon = self.journal.undo()
            shown = None if polygon is None else self._shown(polygon)
            return {"decision": shown, "sequence": self.journal.decisions.sequence}

    def export(self) -> list[Path]:
        """Write what stands as files for others; see ``export.export``."""
        with self._lock:
            return export(self.journal.path.parent, self.polygons, self.journal.decisions, self.reviewer)

    def agreements(self) -> list[Agreement]:
        """With each of the others."""
        others = (name for name in reviewers(self.folder) if name != self.reviewer)
        return [compare(self.folder, self.polygons, self.reviewer, other) for other in others]

    def counts(self) -> Counter[str]:
        """How many polygons have which status."""
        return count(self.polygons, self.journal.decisions)

    def _require(self, polygon: int) -> None:
        standing = self.journal.decisions.standing
        if not (1 <= polygon <= len(self.polygons) or polygon in standing):
            raise LandslideError(f"there is no polygon {polygon}")

    def _require_current(self, wanted: dict[str, Any]) -> None:
        if wanted.get("sequence") != self.journal.decisions.sequence:
            raise Stale

    def _decision(self, wanted: dict[str, Any]) -> Decision:
        corners, comment = wanted.get("corners"), wanted.get("comment")
        if comment is not None and (not isinstance(comment, str) or len(comment) > MOST_COMMENT):
            raise LandslideError(f"a comment has at most {MOST_COMMENT:,} characters")
        comment = None if comment is None else plain(comment)
        ring = None if corners is None else self.polygons.drawn(_pairs(corners))
        polygon = wanted.get("polygon")
        if polygon is None:
            if ring is None:
                raise LandslideError("a new polygon has to be drawn")
            return Decision(self.journal.decisions.next_added, ADDED, ring, comment or "")
        if not isinstance(polygon, int) or isinstance(polygon, bool):
            raise LandslideError("the polygon has to be named by its number")
        self._require(polygon)
        before = self.journal.decisions.of(polygon)
        status = wanted.get("status") or (REDRAWN if ring else before.status)
        return _settled(before, status, ring, before.comment if comment is None else comment, len(self.polygons))

    def _shown(self, polygon: int) -> dict[str, Any]:
        """A decision as the page takes it; of status None where an added polygon is gone."""
        decisions = self.journal.decisions
        decision = decisions.of(polygon)
        gone = decisions.was_added(polygon) and decision.status == UNREVIEWED
        return {
            "polygon": polygon,
            "status": None if gone else decision.status,
            "rings": self.polygons.outline_of(decision.ring) if decision.ring else None,
            "area": self.polygons.area_of(decision.ring) if decision.ring else None,
            "comment": decision.comment,
            "time": decision.time,
        }


def count(polygons: Polygons, decisions: Decisions) -> Counter[str]:
    """How many polygons have which status; those of the file that nobody has looked at among them."""
    counted = Counter(decision.status for decision in decisions.standing.values())
    added = sum(decisions.was_added(polygon) for polygon in decisions.standing)
    counted[UNREVIEWED] += len(polygons) - (len(decisions.standing) - added)
    return Counter({status: counted[status] for status in STATUSES})


def _settled(before: Decision, status: Any, ring: Ring | None, comment: str, count: int) -> Decision:
    """The decision that a wish comes to.

    Who accepts a polygon takes the file's shape, whatever was drawn before; one that was added keeps its drawn shape,
    and is accepted by being added.
    """
    if status not in STATUSES:
        raise LandslideError(f"a polygon is {', '.join(STATUSES[:-1])} or {STATUSES[-1]}, not {str(status)[:40]!r}")
    if before.polygon > count:
        status = ADDED if status in LANDSLIDES else REJECTED
        return Decision(before.polygon, status, ring or before.ring, comment)
    if status == ADDED or (status == REDRAWN and not (ring or before.ring)):
        raise LandslideError(f"polygon {before.polygon} has not been drawn")
    if status == REDRAWN:
        return Decision(before.polygon, REDRAWN, ring or before.ring, comment)
    if ring:
        raise LandslideError(f"a polygon that is {status} is not drawn")
    return Decision(before.polygon, status, None, comment)


def _pairs(corners: Any) -> list[list[float]]:
    """What a page sends as corners, if it is that."""
    good = isinstance(corners, list) and all(
        isinstance(c, list) and len(c) == 2 and all(type(v) in (int, float) for v in c) for c in corners
    )
    if not good:
        raise LandslideError("the outline is not a list of corners")
    return corners


@contextmanager
def session(folder: Path, polygons: Polygons, pictures: dict[str, Picture], reviewer: str) -> Iterator[Session]:
    """A review, kept from other processes of the same reviewer meanwhile.

    Raises:
        LandslideError: another process reviews there by the same name; a journal of other polygons, or a damaged one.
    """
    own = review_folder(folder, reviewer)
    with locked(own):
        journal = Journal(own / JOURNAL, reviewer, polygons.fingerprint, len(polygons))
        try:
            yield Session(folder, polygons, pictures, reviewer, journal)
        finally:
            journal.close()
