"""A random forest on objects' attributes, kept as plain arrays and evaluated by NumPy.

The arrays are those of scikit-learn's trees, and the probability is its ``predict_proba``: reading a forest runs
nothing that is in its file, and needs no particular version of scikit-learn.
"""

from __future__ import annotations

import hashlib
import io
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import replacing
from tf_landslide.core.safe_npz import DamagedError, read_npz

MOST_BYTES = 2**27
"""Of a forest's file, packed or not: 200 trees on 30,000 objects have some ten megabytes."""

_TYPES = {
    "attributes": "U",
    "fill": "f8",
    "roots": "i4",
    "feature": "i4",
    "threshold": "f8",
    "left": "i4",
    "right": "i4",
    "share": "f8",
}


@dataclass(frozen=True)
class Forest:
    """Trees, one behind the other; every node has a place in ``feature threshold left right share``.

    Attributes:
        attributes: (A,) names of the columns it looks at, in order.
        fill: (A,) what stands in for a value that is missing: the median of the objects it was grown on.
        roots: (T,) the first node of each tree.
        feature: (M,) column that a node asks for; -1 in a leaf.
        threshold: (M,) an object goes left where its value, as float32, is not above it.
        left, right: (M,) nodes that follow.
        share: (M,) of landslides among the objects it was grown on.
        digest: of the file it was read from.
    """

    attributes: np.ndarray
    fill: np.ndarray
    roots: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    share: np.ndarray
    digest: str = field(default="", compare=False)

    @classmethod
    def grown(
        cls,
        table: Mapping[str, np.ndarray],
        landslide: np.ndarray,
        weights: np.ndarray,
        *,
        trees: int = 100,
        smallest: int = 5,
        seed: int = 0,
    ) -> Forest:
        """Grow one by scikit-learn.

        Args:
            table: (N,) columns; those that no object has are left out.
            landslide: (N,) bool.
            weights: (N,) of the objects, as their pixels.
            trees: how many.
            smallest: objects of a leaf.
            seed: of the draws.

        Raises:
            LandslideError: there are no objects, or all are of one kind.
        """
        from sklearn.ensemble import RandomForestClassifier  # a second, which only fitting should take

        if len(np.unique(landslide)) < 2:
            raise LandslideError("a forest needs objects of both kinds to be fitted on, landslides and others")
        names = [name for name, values in table.items() if np.isfinite(values).any()]
        fill = np.array([np.median(table[name][np.isfinite(table[name])]) for name in names])
        forest = RandomForestClassifier(
            trees, min_samples_leaf=smallest, class_weight="balanced_subsample", n_jobs=-1, random_state=seed
        )
        forest.fit(_columns(table, names, fill), landslide, weights)
        return cls.of_sklearn(forest, names, fill)

    @classmethod
    def of_sklearn(cls, forest: Any, names: list[str], fill: np.ndarray) -> Forest:
        """The arrays of a fitted ``RandomForestClassifier`` of the classes false and true."""
        trees = [estimator.tree_ for estimator in forest.estimators_]
        roots = np.cumsum([0, *(tree.node_count for tree in trees)])[:-1].astype(np.int32)
        leaf = np.concatenate([tree.children_left < 0 for tree in trees])

        def children(name: str) -> np.ndarray:
            moved = [getattr(tree, name) + root for tree, root in zip(trees, roots, strict=True)]
            return np.where(leaf, -1, np.concatenate(moved)).astype(np.int32)

        values = np.concatenate([tree.value[:, 0, :] for tree in trees])
        return cls(
            attributes=np.array(names),
            fill=np.asarray(fill, np.float64),
            roots=roots,
            feature=np.where(leaf, -1, np.concatenate([tree.feature for tree in trees])).astype(np.int32),
            threshold=np.concatenate([tree.threshold for tree in trees]),
            left=children("children_left"),
            right=children("children_right"),
            share=values[:, 1] / values.sum(1),
        )

    def probability(self, table: Mapping[str, np.ndarray]) -> np.ndarray:
        """(N,) float64 in 0..1: the mean of the trees' shares. Columns that are missing take their ``fill``."""
        x = _columns(table, self.attributes.tolist(), self.fill)
        total = np.zeros(len(x))
        for root in self.roots:
            total += self.share[self._leaves(x, int(root))]
        return total / len(self.roots)

    def _leaves(self, x: np.ndarray, root: int) -> np.ndarray:
        """(N,) the leaf of each object in one tree."""
        node = np.full(len(x), root)
        while True:
            feature = self.feature[node]
            inner = np.flatnonzero(feature >= 0)
            if not len(inner):
                return node
            at = node[inner]
            goes_left = x[inner, feature[inner]] <= self.threshold[at]
            node[inner] = np.where(goes_left, self.left[at], self.right[at])

    def write(self, path: Path) -> None:
        """Write it as a ``.npz`` of plain arrays, whole or not at all."""
        arrays = {name: getattr(self, name) for name in _TYPES}
        with replacing(path) as partial:
            np.savez_compressed(partial, **arrays)

    @classmethod
    def beside(cls, folder: Path | None, name: Any) -> Forest:
        """The forest in a file that rules name; it must lie in their own folder.

        Raises:
            LandslideError: another place, no such file, or one that holds no forest.
        """
        if not isinstance(name, str) or name in ("", ".", "..") or Path(name).name != name or not name.endswith(".npz"):
            raise LandslideError(f"forest: expected the name of a .npz file beside the rules, found {name!r:.80}")
        return cls.read((folder or Path()) / name)

    @classmethod
    def read(cls, path: Path) -> Forest:
        """Raises ``LandslideError`` for anything that is no forest."""
        content = _content(path)
        try:
            arrays = read_npz(io.BytesIO(content), MOST_BYTES)
        except DamagedError as error:
            raise LandslideError(f"{path}: is no forest, a .npz of plain arrays ({error})") from None
        found = {name: arrays[name] for name in _TYPES if name in arrays}
        forest_faults = _faults(found)
        if forest_faults:
            raise LandslideError(f"{path}: is no forest: {forest_faults}")
        return cls(**found, digest=hashlib.sha256(content).hexdigest())


def _columns(table: Mapping[str, np.ndarray], names: list[str], fill: np.ndarray) -> np.ndarray:
    """(N, A) float32, as scikit-learn compares them; what is missing is filled."""
    rows = len(next(iter(table.values()), ()))
    x = np.empty((rows, len(names)), np.float32)
    for i, name in enumerate(names):
        values = np.asarray(table.get(name, np.full(rows, np.nan)), np.float64)
        x[:, i] = np.where(np.isfinite(values), values, fill[i])
    return x


def _content(path: Path) -> bytes:
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise LandslideError(f"{path}: is not a regular file")
        if found.st_size > MOST_BYTES:
            raise LandslideError(f"{path}: has more than the {MOST_BYTES:,} bytes that a forest may have")
        return path.read_bytes()
    except FileNotFoundError:
        raise LandslideError(f"{path}: no such forest; fit the rules again, or leave out 'forest'") from None
    except OSError as error:
        raise LandslideError(f"{path}: cannot be read ({error.strerror})") from None


def _faults(found: dict[str, np.ndarray]) -> str:
    """What keeps arrays from being a forest; nothing where they are one. Every walk through it must end in a leaf."""
    for name, kind in _TYPES.items():
        if name not in found:
            return f"{name!r} is missing"
        array = found[name]
        right = array.dtype.kind == "U" if kind == "U" else array.dtype == np.dtype(kind)
        if array.ndim != 1 or not right:
            return f"{name!r} has type {array.dtype} and {array.ndim} axes"
    nodes, columns = len(found["feature"]), len(found["attributes"])
    if any(len(found[name]) != nodes for name in ("threshold", "left", "right", "share")) or not nodes:
        return "its nodes are not whole"
    if len(found["fill"]) != columns or not np.isfinite(found["fill"]).all():
        return "'fill' does not fit its attributes"
    roots, inner, place = found["roots"], found["feature"] >= 0, np.arange(nodes)
    if not len(roots) or roots.min() < 0 or roots.max() >= nodes or found["feature"].max() >= columns:
        return "it points beyond its nodes"
    for name in ("left", "right"):
        after = found[name][inner]
        if (after <= place[inner]).any() or (after >= nodes).any():  # a node comes before those that follow it
            return "it points beyond its nodes"
    share = found["share"]
    return "" if ((share >= 0) & (share <= 1)).all() else "a share is not within 0..1"
