"""Pieces: connected groups of equal pixels, who borders on whom, and small ones absorbed by their neighbours.

Neighbours share an edge of a pixel (4-connectivity), here and wherever segments are spoken of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.measure import label


def connected(labels: np.ndarray) -> np.ndarray:
    """(H, W) int32: 0 where ``labels`` is, 1, 2, … on its connected pieces, in the order of their first pixels."""
    return label(labels, background=0, connectivity=1).astype(np.int32, copy=False)


@dataclass(frozen=True)
class Borders:
    """Who borders on whom: each pair of labels once.

    Attributes:
        a, b: (k,) labels, ``a < b``, sorted.
        length: (k,) edges of pixels that the two share.
    """

    a: np.ndarray
    b: np.ndarray
    length: np.ndarray

    @classmethod
    def of_pairs(cls, a: np.ndarray, b: np.ndarray, length: np.ndarray | None = None) -> Borders:
        """From pairs in any order, also repeated ones; those of equal labels and of label 0 are left out."""
        kept = (a != b) & (a > 0) & (b > 0)
        low, high = np.minimum(a, b)[kept].astype(np.int64), np.maximum(a, b)[kept].astype(np.int64)
        each = np.ones(len(low), np.int64) if length is None else length[kept]
        base = int(high.max(initial=0)) + 1
        pairs, which = np.unique(low * base + high, return_inverse=True)
        return cls(*np.divmod(pairs, base), np.bincount(which, each, len(pairs)).astype(np.int64))

    @classmethod
    def of(cls, labels: np.ndarray) -> Borders:
        """Between the labels of an image, (H, W)."""
        sides = ((labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:]))
        a, b = (np.concatenate([pair[i].ravel() for pair in sides]) for i in (0, 1))
        different = a != b  # first, for most are not
        return cls.of_pairs(a[different], b[different])

    @classmethod
    def merged(cls, parts: Sequence[Borders]) -> Borders:
        """Those of several parts of an image; a pair's lengths add up."""
        a, b, length = (np.concatenate([getattr(part, name) for part in parts]) for name in ("a", "b", "length"))
        return cls.of_pairs(a, b, length)

    def renamed(self, names: np.ndarray) -> Borders:
        """After each label became ``names[label]``."""
        return Borders.of_pairs(names[self.a], names[self.b], self.length)


def united(count: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(count + 1,) int32: names 1, 2, … of the labels 0..count when the pairs ``a``, ``b`` are one each; 0 keeps 0.

    Names follow the order of the smallest label of each group.
    """
    graph = coo_array((np.ones(len(a), bool), (a, b)), (count + 1, count + 1))
    _, group = connected_components(graph, directed=False)
    _, first, which = np.unique(group, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first))  # label 0 stands alone and first
    return order[which].astype(np.int32)


def absorbed(areas: np.ndarray, borders: Borders, least: int) -> np.ndarray:
    """Names after every piece of fewer than ``least`` pixels joined the neighbour that it shares most border with.

    Of equal neighbours it takes the one of the lowest label. All small pieces join at once, then those that are still
    small join again; so the result does not depend on any order. A small piece without neighbours stays.

    Args:
        areas: (count + 1,) pixels of each label, 0 first.
        borders: between them.
        least: pixels.

    Returns:
        (count + 1,) int32 new names of the labels, as ``united`` gives them.
    """
    names = np.arange(len(areas), dtype=np.int32)
    while True:
        count = len(areas) - 1
        both = np.concatenate([borders.a, borders.b]), np.concatenate([borders.b, borders.a])
        length = np.concatenate([borders.length, borders.length])
        small = areas[both[0]] < least
        if not small.any():
            return names
        piece, neighbour, length = both[0][small], both[1][small], length[small]
        order = np.lexsort((neighbour, -length, piece))
        piece, neighbour = piece[order], neighbour[order]
        first = np.r_[True, piece[1:] != piece[:-1]]
        new = united(count, piece[first], neighbour[first])
        areas = np.bincount(new, areas).astype(np.int64)
        borders = borders.renamed(new)
        names = new[names]
