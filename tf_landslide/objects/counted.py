"""Objects of patches reduced to a table and counts of pixels: rules are fitted and judged without any image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tf_landslide.metrics import IGNORED
from tf_landslide.objects.conditions import Marks, Table
from tf_landslide.objects.rules import Rules

ACCEPTED = (0.0, 0.25, 0.5, 0.75, 1.0)
REJECTED = (0.0, 0.25, 0.5, 0.75, 1.0)
"""What ``Marks`` may be fitted to."""


@dataclass(frozen=True)
class Seen:
    """A patch with its objects.

    Attributes:
        probability: (H, W) of the network.
        mask: (H, W) the truth: 0, 1 and ``IGNORED``.
        labels: (H, W) objects, 0 where there is none.
        table: of them.
    """

    probability: np.ndarray
    mask: np.ndarray
    labels: np.ndarray
    table: Table


@dataclass(frozen=True)
class Counted:
    """Objects of P patches.

    Attributes:
        table: (N,) columns.
        patch: (N,) which patch each is of.
        landslide, pixels: (N,) pixels of landslides, and all whose truth is known.
        accepted: (len(ACCEPTED), 2, N): pixels that are marked rightly and wrongly where the object is accepted, by
            ``Marks.accepted``.
        rejected: (len(REJECTED), 2, N): the same where it is not, by ``Marks.rejected``.
        outside: (P, 4) TP, FP, FN, TN of the pixels of no object.
        threshold: of the network.
    """

    table: Table
    patch: np.ndarray
    landslide: np.ndarray
    pixels: np.ndarray
    accepted: np.ndarray
    rejected: np.ndarray
    outside: np.ndarray
    threshold: float

    def __len__(self) -> int:
        """How many patches."""
        return len(self.outside)

    @classmethod
    def of(cls, patches: Iterable[Seen], threshold: float) -> Counted:
        """Count patches; tables may lack columns that others have."""
        tables, places, sums, outside = [], [], [], []
        for number, seen in enumerate(patches):
            count = int(seen.labels.max(initial=0))
            tables.append((count, seen.table))
            places.append(np.full(count, number))
            per_object, beyond = _counts(seen, count, threshold)
            sums.append(per_object)
            outside.append(beyond)
        names = dict.fromkeys(name for _, table in tables for name in table)
        table = {name: np.concatenate([t.get(name, np.full(count, np.nan)) for count, t in tables]) for name in names}
        stacked = np.concatenate(sums, axis=1)
        half = 2 * len(ACCEPTED)
        return cls(
            table=table,
            patch=np.concatenate(places),
            landslide=stacked[0],
            pixels=stacked[1],
            accepted=stacked[2 : 2 + half].reshape(len(ACCEPTED), 2, -1),
            rejected=stacked[2 + half :].reshape(len(REJECTED), 2, -1),
            outside=np.array(outside, np.int64),
            threshold=threshold,
        )

    def subset(self, patches: np.ndarray) -> Counted:
        """Some of the patches, in rising order."""
        patches = np.sort(patches)
        kept = np.isin(self.patch, patches)
        return Counted(
            table={name: values[kept] for name, values in self.table.items()},
            patch=np.searchsorted(patches, self.patch[kept]),
            landslide=self.landslide[kept],
            pixels=self.pixels[kept],
            accepted=self.accepted[..., kept],
            rejected=self.rejected[..., kept],
            outside=self.outside[patches],
            threshold=self.threshold,
        )

    def counts(self, rules: Rules) -> np.ndarray:
        """(P, 4) int64: TP, FP, FN, TN of each patch as refined by rules, whose marks lie on the grid."""
        return self.counts_of(rules.confidence(self.table) >= rules.accept, rules.marks)

    def network_counts(self) -> np.ndarray:
        """(P, 4) int64: TP, FP, FN, TN of each patch as the network marks it."""
        return self.counts_of(np.ones(len(self.patch), bool), Marks(accepted=1.0))

    def counts_of(self, is_accepted: np.ndarray, marks: Marks) -> np.ndarray:
        hits, alarms = np.where(is_accepted, self.accepted[on_grid(marks)[0]], self.rejected[on_grid(marks)[1]])
        columns = (hits, alarms, self.landslide - hits, self.pixels - self.landslide - alarms)
        sums = [np.bincount(self.patch, column, len(self)) for column in columns]
        return np.stack(sums, axis=1).astype(np.int64) + self.outside


def on_grid(marks: Marks) -> tuple[int, int]:
    """Places of marks in ``ACCEPTED`` and ``REJECTED``. Raises ``ValueError`` for marks between."""
    return ACCEPTED.index(marks.accepted), REJECTED.index(marks.rejected)


def _counts(seen: Seen, count: int, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """(2 + 2A + 2R, N) of the objects, and (4,) TP, FP, FN, TN of the pixels of none."""
    known, labels = seen.mask != IGNORED, seen.labels
    true = known & (seen.mask == 1)
    false = known & ~true

    def of_objects(chosen: np.ndarray) -> np.ndarray:
        return np.bincount(labels[chosen], minlength=count + 1)[1:]

    rows = [of_objects(true), of_objects(known)]
    for level in [Marks(accepted=share).levels(threshold)[0] for share in ACCEPTED] + [
        Marks(rejected=share).levels(threshold)[1] for share in REJECTED
    ]:
        marked = seen.probability >= np.float32(level)
        rows += [of_objects(true & marked), of_objects(false & marked)]
    alone = labels == 0
    marked = seen.probability >= np.float32(threshold)
    groups = (true & marked, false & marked, true & ~marked, false & ~marked)
    return np.stack(rows), np.array([np.count_nonzero(alone & group) for group in groups])
