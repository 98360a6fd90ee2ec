"""``judged/SPLIT.npz``: the counts of each patch that a split's scores come from, kept so that runs can be compared.

Integers only, without a pickle: of each patch its pixels by probability, landslide and other, and how many there are.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass as checked_dataclass

from tf_landslide.core.errors import LandslideError, first_line
from tf_landslide.core.files import parse_json, replacing
from tf_landslide.core.safe_npz import read_npz
from tf_landslide.metrics.counts import BINS, Histograms, threshold_bin
from tf_landslide.runs.checked import checked

_FORMAT = 1
_AT_MOST = 2**30  # bytes of a file's arrays
_ARRAYS = ("landslide", "other", "pixels", "ignored")


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class About:
    """What counts are of.

    Attributes:
        split: its name.
        threshold: that the scores are at.
        threshold_from: where it comes from, in words.
        model: SHA-256 of the model's file.
        data: the folder of patches.
        files: SHA-256 that tells the split's files from others, see ``provenance.split_fingerprint``.
        masks: SHA-256 of the masks as they were judged, in order.
        of_train: whether the split is a part of the training split.
        names: of the patches' images.
        groups: of each patch, where the run's config names groups.
    """

    split: str
    threshold: float
    threshold_from: str
    model: str
    data: str
    files: str
    masks: str
    names: list[str]
    of_train: bool = False
    groups: list[str] | None = None


@dataclass(frozen=True)
class Judged:
    """The counts of a split's patches.

    Attributes:
        about: what they are of.
        histograms: pixels of each patch by probability.
        pixels: (n,) int64 all pixels of each patch.
        ignored: (n,) int64 those that its mask leaves out.
    """

    about: About
    histograms: Histograms
    pixels: np.ndarray
    ignored: np.ndarray

    def check(self, origin: object) -> None:
        """Raise ``LandslideError`` where the counts of a patch do not sum to its pixels."""
        counted = self.histograms.landslide.sum(1) + self.histograms.other.sum(1)
        wrong = np.flatnonzero(counted != self.pixels - self.ignored)
        if len(wrong):
            first = wrong[0]
            raise LandslideError(
                f"{origin}: counts of {self.about.names[first]} sum to {counted[first]:,}, its pixels are "
                f"{self.pixels[first] - self.ignored[first]:,}; judge the run again (tf-landslide evaluate)"
            )

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        about = json.dumps({"format": _FORMAT, **asdict(self.about)})
        arrays = (self.histograms.landslide, self.histograms.other, self.pixels, self.ignored)
        with replacing(path) as partial:
            np.savez_compressed(
                partial,
                about=np.frombuffer(about.encode(), np.uint8),
                **{name: _smallest(array) for name, array in zip(_ARRAYS, arrays, strict=True)},  # type: ignore[arg-type]
            )

    @classmethod
    def load(cls, path: Path) -> Judged:
        """Read a file.

        Raises:
            FileNotFoundError: there is none.
            LandslideError: it is damaged, or its counts do not sum to the patches' pixels.
        """
        try:
            found = read_npz(path, _AT_MOST)
            values = parse_json(found["about"].tobytes(), "its text")
            arrays = [_counts(found[name]) for name in _ARRAYS]
            if values.pop("format") != _FORMAT:
                raise ValueError("its format is not known here")
            about = checked(TypeAdapter(About), values, path)
            threshold_bin(about.threshold)
            n = len(about.names)
            if [array.shape for array in arrays] != [(n, BINS + 1), (n, BINS + 1), (n,), (n,)]:
                raise ValueError("its arrays do not fit its patches")
            if about.groups is not None and len(about.groups) != n:
                raise ValueError("its groups do not fit its patches")
        except FileNotFoundError:
            raise
        except (OSError, KeyError, ValueError, LandslideError) as error:
            raise LandslideError(f"{path}: is damaged ({first_line(error)}); judge the run again") from None
        judged = cls(about, Histograms(arrays[0], arrays[1]), arrays[2], arrays[3])
        judged.check(path)
        return judged


def _smallest(counts: np.ndarray) -> np.ndarray:
    """The same numbers in the narrowest unsigned type."""
    return counts.astype(np.min_scalar_type(int(counts.max(initial=0))))


def _counts(array: Any) -> np.ndarray:
    if array.dtype.kind != "u":
        raise ValueError(f"expected counts, found {array.dtype}")
    return np.asarray(array, np.int64)
