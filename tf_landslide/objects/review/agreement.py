"""How far two reviewers agree: on what is a landslide, and on where it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import shapely
from scipy.optimize import linear_sum_assignment
from shapely.geometry.base import BaseGeometry

from tf_landslide.objects.review.export import shape_of
from tf_landslide.objects.review.journal import ACCEPTED, ADDED, LANDSLIDES, REDRAWN, REJECTED, Decision, Decisions
from tf_landslide.objects.review.polygons import Polygons

SAME = 0.5
"""Intersection over union from which on two added polygons are taken for the same landslide."""

_JUDGED = (ACCEPTED, REJECTED, REDRAWN)


@dataclass(frozen=True)
class Disagreement:
    """A polygon that two reviewers see differently.

    Attributes:
        polygon: its number; None of one that was added.
        a, b: what each says, its status.
        iou: intersection over union of the two shapes, where both take it for a landslide and one has redrawn it.
    """

    polygon: int | None
    a: str
    b: str
    iou: float | None = None


@dataclass(frozen=True)
class Agreement:
    """Of two reviewers, over the polygons that both have judged.

    Attributes:
        a, b: their names.
        both: polygons of the file that both have judged.
        same: those of equal status.
        kappa: Cohen's, of the status: accepted, rejected or redrawn. None where chance alone would agree wholly.
        kappa_landslide: Cohen's, of landslide (accepted or redrawn) or not.
        table: how many, by a's status, then b's.
        redrawn_iou: mean intersection over union of the shapes, over those that both take for landslides and that
            at least one has redrawn. None where there are none.
        redrawn: how many those are.
        added: how many polygons a and b have added, and how many of those are the same (``SAME``).
        disagreements: polygons of different status, and redrawn ones whose shapes are not the same (``SAME``).
    """

    a: str
    b: str
    both: int
    same: int
    kappa: float | None
    kappa_landslide: float | None
    table: dict[str, dict[str, int]]
    redrawn_iou: float | None
    redrawn: int
    added: tuple[int, int, int]
    disagreements: list[Disagreement]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def agreement(polygons: Polygons, a: str, of_a: Decisions, b: str, of_b: Decisions) -> Agreement:
    """Compare what two reviewers, of those names, have decided."""
    first, second = of_a.standing, of_b.standing
    judged = [
        (first[n], second[n])
        for n in sorted(first.keys() & second.keys())
        if n <= len(polygons) and first[n].status in _JUDGED and second[n].status in _JUDGED
    ]
    statuses = [(x.status, y.status) for x, y in judged]
    table = {x: {y: statuses.count((x, y)) for y in _JUDGED} for x in _JUDGED}
    redrawn = [
        (x, y, iou(shape_of(polygons, x), shape_of(polygons, y)))
        for x, y in judged
        if x.status in LANDSLIDES and y.status in LANDSLIDES and REDRAWN in (x.status, y.status)
    ]
    ious = {x.polygon: value for x, _, value in redrawn}
    disagreements = [
        Disagreement(x.polygon, x.status, y.status, ious.get(x.polygon))
        for x, y in judged
        if x.status != y.status or ious.get(x.polygon, 1.0) < SAME
    ]
    return Agreement(
        a=a,
        b=b,
        both=len(judged),
        same=sum(x == y for x, y in statuses),
        kappa=cohens_kappa([list(row.values()) for row in table.values()]),
        kappa_landslide=cohens_kappa(_as_landslides(statuses)),
        table=table,
        redrawn_iou=float(np.mean(list(ious.values()))) if ious else None,
        redrawn=len(redrawn),
        added=_added(list(first.values()), list(second.values())),
        disagreements=disagreements,
    )


def cohens_kappa(table: Sequence[Sequence[int]]) -> float | None:
    """Cohen's kappa (1960, doi 10.1177/001316446002000104) of a table of counts, by one rater's class and the other's.

    (observed - expected) / (1 - expected); None of an empty table, and where both give one class only, to all.
    """
    counts = np.array(table, np.float64)
    total = counts.sum()
    if not total:
        return None
    observed = np.trace(counts) / total
    expected = float(counts.sum(axis=0) @ counts.sum(axis=1)) / total**2
    return None if expected >= 1 else float((observed - expected) / (1 - expected))


def iou(a: BaseGeometry, b: BaseGeometry) -> float:
    """Intersection over union of two polygons."""
    union = shapely.union(a, b).area
    return float(shapely.intersection(a, b).area / union) if union else 0.0


def _as_landslides(statuses: list[tuple[str, str]]) -> list[list[int]]:
    found = [(x in LANDSLIDES, y in LANDSLIDES) for x, y in statuses]
    return [[found.count((x, y)) for y in (True, False)] for x in (True, False)]


def _added(first: list[Decision], second: list[Decision]) -> tuple[int, int, int]:
    """How many each has added, and how many are the same: as many pairs as can be made."""
    ours, theirs = (
        [shapely.Polygon(decision.ring) for decision in decisions if decision.status == ADDED]
        for decisions in (first, second)
    )
    same = np.array([[iou(x, y) >= SAME for y in theirs] for x in ours]).reshape(len(ours), len(theirs))
    return len(ours), len(theirs), int(same[linear_sum_assignment(same, maximize=True)].sum())
