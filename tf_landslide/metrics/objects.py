"""Accuracy of objects beside that of pixels: landslides found, missed and invented, by number and by area.

An object is a group of marked pixels that touch, corners included. A found object and a true one are a pair where the
intersection over union (IoU) reaches a level; of all one-to-one pairings the one of the highest summed IoU counts.
Everything is an integer that adds up over patches, so that totals and bootstrap samples are sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tf_landslide.core.errors import LandslideError
from tf_landslide.metrics import IGNORED
from tf_landslide.metrics.resampling import bootstrap, interval

IOU_LEVELS = (0.1, 0.3, 0.5)
SIZE_CLASSES = (1, 10, 100, 1000)
"""The smallest number of pixels of each class of size."""

_TOUCHING = np.ones((3, 3), int)
_MOST = 0.5  # of an object's pixels, for it to be a piece of another


def label_objects(mask: np.ndarray) -> np.ndarray:
    """(H, W) int32: 0 outside, 1, 2, … on the objects of a mask; 8-connected."""
    labels, _ = ndimage.label(np.asarray(mask).astype(bool), _TOUCHING)
    return labels.astype(np.int32, copy=False)


@dataclass(frozen=True)
class Overlaps:
    """True and found objects of one image, and where they meet.

    Attributes:
        truth, found: (n,), (m,) pixels of each object.
        pairs: (k, 2) positions of a true and a found object that share pixels.
        shared: (k,) pixels that each pair shares.
    """

    truth: np.ndarray
    found: np.ndarray
    pairs: np.ndarray
    shared: np.ndarray

    @classmethod
    def of(cls, truth: np.ndarray, found: np.ndarray) -> Overlaps:
        """From labels of one shape, 0 outside.

        Raises:
            LandslideError: shapes differ.
        """
        _check_shapes(truth, found)
        sizes = [np.bincount(labels.ravel(), minlength=1)[1:] for labels in (truth, found)]
        both = (truth > 0) & (found > 0)
        codes = (truth[both].astype(np.int64) - 1) * max(len(sizes[1]), 1) + found[both] - 1
        unique, shared = np.unique(codes, return_counts=True)
        pairs = np.stack(np.divmod(unique, max(len(sizes[1]), 1)), axis=1)
        return cls(sizes[0], sizes[1], pairs, shared)

    @property
    def iou(self) -> np.ndarray:
        """(k,) intersection over union of each pair."""
        return self.shared / (self.truth[self.pairs[:, 0]] + self.found[self.pairs[:, 1]] - self.shared)

    def matched(self, level: float) -> np.ndarray:
        """(k,) bool: the pairs that are matched one to one, none below an IoU of ``level``."""
        iou = self.iou
        chosen = np.zeros(len(iou), bool)
        possible = np.flatnonzero(iou >= level)
        if level > 0.5 or not len(possible):  # then no object has two partners
            chosen[possible] = True
            return chosen
        rows, columns = self.pairs[possible].T
        n, m = len(self.truth), len(self.found)
        graph = coo_array((np.ones(len(rows), bool), (rows, n + columns)), (n + m, n + m))
        _, group = connected_components(graph, directed=False)
        for members in _groups(group[rows]):
            edges = possible[members]
            chosen[edges[_assigned(self.pairs[edges], iou[edges])]] = True
        return chosen

    def pieces(self) -> tuple[np.ndarray, np.ndarray]:
        """(n,) true objects that were split and (m,) found ones that merge, bool.

        Split: at least two found objects lie mostly in it. Merging: at least two true objects lie mostly in it.
        """
        inside_truth = self.shared > _MOST * self.found[self.pairs[:, 1]]
        inside_found = self.shared > _MOST * self.truth[self.pairs[:, 0]]
        split = np.bincount(self.pairs[inside_truth, 0], minlength=len(self.truth)) > 1
        merging = np.bincount(self.pairs[inside_found, 1], minlength=len(self.found)) > 1
        return split, merging


def _check_shapes(truth: np.ndarray, found: np.ndarray) -> None:
    if truth.shape != found.shape:
        raise LandslideError(f"true objects have shape {truth.shape}, found ones {found.shape}; they must be equal")


def _groups(labels: np.ndarray) -> list[np.ndarray]:
    """Positions of each label."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)


def _assigned(pairs: np.ndarray, iou: np.ndarray) -> np.ndarray:
    """Positions of the pairs of the best one-to-one pairing."""
    if len(pairs) == 1:
        return np.array([0])
    rows, row = np.unique(pairs[:, 0], return_inverse=True)
    columns, column = np.unique(pairs[:, 1], return_inverse=True)
    gain = np.zeros((len(rows), len(columns)))
    gain[row, column] = iou
    position = np.full(gain.shape, -1)
    position[row, column] = np.arange(len(pairs))
    taken = position[linear_sum_assignment(gain, maximize=True)]
    return taken[taken >= 0]


@dataclass(frozen=True)
class ObjectCounts:
    """Objects of each patch, by class of size; int64 each.

    Attributes:
        truth, found: (n, S) objects.
        truth_area, found_area: (n, S) their pixels.
        truth_matched, found_matched: (n, L, S) objects that have a partner, by IoU level.
        truth_matched_area, found_matched_area: (n, L, S) their pixels.
        split, merging: (n, S) see ``Overlaps.pieces``.
    """

    truth: np.ndarray
    found: np.ndarray
    truth_area: np.ndarray
    found_area: np.ndarray
    truth_matched: np.ndarray
    found_matched: np.ndarray
    truth_matched_area: np.ndarray
    found_matched_area: np.ndarray
    split: np.ndarray
    merging: np.ndarray

    def __len__(self) -> int:
        return len(self.truth)

    @classmethod
    def of(cls, pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> ObjectCounts:
        """From (marked, mask) pairs of (H, W) images, one patch each; pixels that are ``IGNORED`` are in no object."""
        rows = []
        for marked, mask in pairs:
            mask, marked = np.asarray(mask), np.asarray(marked)
            _check_shapes(mask, marked)
            found = marked.astype(bool) & (mask != IGNORED)
            rows.append(_counted(Overlaps.of(label_objects(mask == 1), label_objects(found))))
        return cls(*(np.array(column, np.int64) for column in zip(*rows, strict=True)))

    @classmethod
    def joined(cls, parts: Sequence[ObjectCounts]) -> ObjectCounts:
        """The patches of several, one after another."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


def _counted(overlaps: Overlaps) -> list[np.ndarray]:
    sides = (overlaps.truth, overlaps.found)
    matched = [overlaps.pairs[overlaps.matched(level)] for level in IOU_LEVELS]
    objects = [_by_class(sizes) for sizes in sides]
    areas = [_by_class(sizes, sizes) for sizes in sides]
    partners = [np.stack([_by_class(sizes[m[:, i]]) for m in matched]) for i, sizes in enumerate(sides)]
    partner_areas = [
        np.stack([_by_class(sizes[m[:, i]], sizes[m[:, i]]) for m in matched]) for i, sizes in enumerate(sides)
    ]
    pieces = [_by_class(sizes[odd]) for sizes, odd in zip(sides, overlaps.pieces(), strict=True)]
    return [*objects, *areas, *partners, *partner_areas, *pieces]


def _by_class(sizes: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """How many objects, or how much of ``weights``, each class of size holds."""
    classes = np.searchsorted(SIZE_CLASSES, sizes, side="right") - 1
    return np.bincount(classes, weights, len(SIZE_CLASSES)).astype(np.int64)


def object_scores(counts: ObjectCounts, *, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Scores of a split's objects.

    Args:
        counts: of its patches.
        resamples: bootstrap samples of whole patches, for the intervals.
        seed: of the bootstrap.

    Returns:
        ``truth found split merging`` (numbers of objects), ``area_error`` ((found - true area) / true area; None
        without any), ``at`` by IoU level: ``f1``, its 95 % ``interval``, ``commission``, ``omission`` (shares of the
        found, the true objects without a partner; None without any), ``commission_area``, ``omission_area`` (the same
        by area), and ``classes``, a row for each class of size: ``pixels`` (the smallest), ``truth``, ``found``,
        ``commission`` and ``omission`` by level.
    """
    draws = bootstrap(len(counts), resamples, seed)
    truth, found = counts.truth.sum(), counts.found.sum()
    truth_area, found_area = counts.truth_area.sum(), counts.found_area.sum()
    at = {}
    for k, level in enumerate(IOU_LEVELS):
        pairs = counts.truth_matched[:, k].sum(1)
        sampled = _f1(draws @ pairs, draws @ counts.truth.sum(1), draws @ counts.found.sum(1), np.nan)
        at[f"{level:g}"] = {
            "f1": float(_f1(pairs.sum(), truth, found)),
            "interval": interval(sampled),
            "commission": _without(counts.found_matched[:, k].sum(), found),
            "omission": _without(counts.truth_matched[:, k].sum(), truth),
            "commission_area": _without(counts.found_matched_area[:, k].sum(), found_area),
            "omission_area": _without(counts.truth_matched_area[:, k].sum(), truth_area),
        }
    return {
        "truth": int(truth),
        "found": int(found),
        "split": int(counts.split.sum()),
        "merging": int(counts.merging.sum()),
        "area_error": float((found_area - truth_area) / truth_area) if truth_area else None,
        "at": at,
        "classes": [_of_class(counts, i) for i in range(len(SIZE_CLASSES))],
    }


def paired_objects(
    before: ObjectCounts, after: ObjectCounts, *, resamples: int = 1000, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """How much the objects' F1 of the same patches differs, by IoU level: ``value`` and its 95 % ``interval``.

    A bootstrap sample in which either has no object at all says nothing, and is left out.
    """
    draws = bootstrap(len(before), resamples, seed)

    def f1(counts: ObjectCounts, k: int, draws: np.ndarray, empty: float) -> np.ndarray:
        pairs, truth, found = counts.truth_matched[:, k].sum(1), counts.truth.sum(1), counts.found.sum(1)
        return _f1(draws @ pairs, draws @ truth, draws @ found, empty)

    once = np.ones((1, len(before)), np.int64)
    return {
        f"{level:g}": {
            "value": float((f1(after, k, once, 0.0) - f1(before, k, once, 0.0))[0]),
            "interval": interval(f1(after, k, draws, np.nan) - f1(before, k, draws, np.nan)),
        }
        for k, level in enumerate(IOU_LEVELS)
    }


def _of_class(counts: ObjectCounts, i: int) -> dict[str, Any]:
    truth, found = counts.truth[:, i].sum(), counts.found[:, i].sum()
    levels = [(f"{level:g}", k) for k, level in enumerate(IOU_LEVELS)]
    return {
        "pixels": SIZE_CLASSES[i],
        "truth": int(truth),
        "found": int(found),
        "commission": {name: _without(counts.found_matched[:, k, i].sum(), found) for name, k in levels},
        "omission": {name: _without(counts.truth_matched[:, k, i].sum(), truth) for name, k in levels},
    }


def _f1(pairs: Any, truth: Any, found: Any, empty: float = 0.0) -> np.ndarray:
    """2 pairs / (true + found); ``empty`` where there is nothing."""
    total = np.asarray(truth + found, np.float64)
    return np.divide(2 * pairs, total, out=np.full(total.shape, empty), where=total > 0)


def _without(matched: Any, of: Any) -> float | None:
    return float(1 - matched / of) if of else None
