"""Groups of patches that belong together, by region or by source image: judged, and left out, as wholes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tf_landslide.core.errors import LandslideError, require_known
from tf_landslide.core.files import read_json
from tf_landslide.data.folders import Patch

if TYPE_CHECKING:
    from tf_landslide.data.source import PatchSource

_IMAGES = ("img", "images")  # folders that say nothing of a split


@dataclass(frozen=True)
class Groups:
    """How a patch's group is known.

    Attributes:
        pattern: whose one group, searched for in the text, is the name; None takes the whole text.
        texts: of patches, by the names that a file has for them; None takes the image's file name for the text.
        origin: where ``texts`` are from.
    """

    pattern: re.Pattern[str] | None = None
    texts: Mapping[str, str] | None = None
    origin: str = "data.groups"

    @classmethod
    def read(cls, file: str | Path | None, pattern: str | None, folder: str | Path = ".") -> Groups | None:
        """From a JSON file, a regular expression, or both; None where neither is given.

        Args:
            file: an object from a patch to its group: ``{"TrainData/image_1.h5": "north"}``, ``{"image_1": "north"}``
                or, a split at a time, ``{"TrainData": {"1": "north"}}``.
            pattern: a regular expression with one group, of the names in the file, or of the images' file names.
            folder: that the file's path is relative to.

        Raises:
            LandslideError: no such file, one of another kind, or a pattern that is none or has not one group.
        """
        if file is None and pattern is None:
            return None
        compiled = None if pattern is None else one_group(pattern)
        if file is None:
            return cls(compiled)
        path = Path(folder) / file
        return cls(compiled, dict(_texts(path)), str(path))

    def of(self, source: PatchSource) -> np.ndarray:
        """The group of each patch of a source, in its order.

        Returns:
            (n,) str.

        Raises:
            LandslideError: a patch without a group.
        """
        return self.of_patches(source.patches, source.data_dir)

    def of_patches(self, patches: Sequence[Patch], data_dir: str | Path) -> np.ndarray:
        """(n,) the group of each of some patches with images; nothing of them is read. Raises as ``of``."""
        return np.array([self._of_patch(patch, Path(data_dir)) for patch in patches], dtype=str)

    def _of_patch(self, patch: Patch, data_dir: Path) -> str:
        """The group of one patch with an image. Raises ``LandslideError`` where it has none."""
        assert patch.image  # as was checked
        text = patch.image.name if self.texts is None else self._text(patch, patch.image, data_dir)
        if self.pattern is None:
            return text
        match = self.pattern.search(text)
        if not match or not match[1]:
            where = f"{patch.image}:" if self.texts is None else f"{self.origin}: {text!r}, of {patch.image.name},"
            raise LandslideError(f"{where} has no group by data.groups.pattern {self.pattern.pattern!r}")
        return match[1]

    def _text(self, patch: Patch, image: Path, data_dir: Path) -> str:
        assert self.texts is not None
        names = list(_names(patch, image, data_dir))
        found = next((self.texts[name] for name in names if name in self.texts), None)
        if found is None:
            raise LandslideError(
                f"{self.origin}: has no group for {image}; expected a key {names[0]!r} or {image.stem!r}"
            )
        return found


def positions_of(groups: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Positions of the patches of some groups. Raises ``LandslideError`` for a name that no patch has."""
    for name in names:
        require_known(name, set(groups.tolist()), "group")
    return np.flatnonzero(np.isin(groups, names))


def drawn_groups(groups: np.ndarray, share: float, seed: int) -> list[str]:
    """Whole groups drawn by chance until they hold a share of the patches, or as near to it as the last one brings.

    Args:
        groups: (n,) the group of each patch.
        share: of the patches; one group is drawn and one is left whatever it says.
        seed: of the draw.

    Raises:
        LandslideError: there are fewer than two groups.
    """
    names, sizes = np.unique(groups, return_counts=True)
    if len(names) < 2:
        raise LandslideError("data.valid_share of whole groups needs two of them at least in train")
    order = np.random.default_rng(seed).permutation(len(names))
    drawn = sizes[order].cumsum()[:-1]
    count = int(np.abs(drawn - share * len(groups)).argmin()) + 1
    return sorted(names[order[:count]].tolist())


def balanced_folds(groups: np.ndarray, folds: int, seed: int) -> list[list[str]]:
    """Whole groups dealt to folds, the largest first and always to the fold of fewest patches; ties by chance.

    Args:
        groups: (n,) the group of each patch.
        folds: how many; as many as there are groups leave out one group each.
        seed: of the order of groups of one size.

    Returns:
        the names of each fold's groups, none empty.

    Raises:
        LandslideError: fewer than two folds, or fewer groups than folds.
    """
    names, sizes = np.unique(groups, return_counts=True)
    if not 2 <= folds <= len(names):
        raise LandslideError(
            f"{folds} folds of {len(names)} groups; expected 2 to {len(names)}, a group in one fold each"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    dealt: list[list[str]] = [[] for _ in range(folds)]
    patches = [0] * folds
    for i in order:
        fold = int(np.argmin(patches))
        dealt[fold].append(str(names[i]))
        patches[fold] += int(sizes[i])
    return [sorted(fold) for fold in dealt]


def one_group(pattern: str) -> re.Pattern[str]:
    """A regular expression with one group, compiled. Raises ``LandslideError`` for any other."""
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise LandslideError(f"data.groups.pattern {pattern!r}: is no regular expression ({error})") from None
    if compiled.groups != 1:
        raise LandslideError(
            f"data.groups.pattern {pattern!r}: has {compiled.groups} groups, expected one, e.g. '^(\\d+)_'"
        )
    return compiled


def _names(patch: Patch, image: Path, data_dir: Path) -> Iterator[str]:
    """What a file may call a patch, the split's folder with it first: the same number occurs in every split."""
    folder = "/".join(part for part in image.relative_to(data_dir).parts[:-1] if part not in _IMAGES)
    for name in (image.name, image.stem, str(patch.number)):
        yield f"{folder}/{name}"
    yield from (image.name, image.stem)


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise LandslideError(f"data.groups.file: {path}: no such file") from None
    for key, value in content.items():
        inner = {f"{key}/{number}": text for number, text in value.items()} if isinstance(value, dict) else {key: value}
        for name, text in inner.items():
            if isinstance(text, bool) or not isinstance(text, (str, int)) or text == "":
                raise LandslideError(f"{path}: {name!r}: expected the name of a group, found {text!r:.100}")
            yield name, str(text)
