"""``last/state.npz``: all that a stopped run goes on from, in one file that is whole or not there.

A run that is killed between two files would go on with the weights of one epoch and the number of another; here there
is one, written beside the last one and renamed. It is read without TensorFlow, and holds no pickle.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tf_landslide.core.errors import LandslideError, first_line
from tf_landslide.core.files import parse_json, replacing
from tf_landslide.core.safe_npz import read_npz
from tf_landslide.runs.history import Row

_FORMAT = 1
_BEFORE = "training_metadata.json"  # of the first release, which kept no state of random numbers


@dataclass(frozen=True)
class TrainingState:
    """A run after some epochs.

    Attributes:
        history: a row for each epoch; which was the best, and how long ago, follows from them.
        model: weights, statistics and the state of every random number generator, in the model's order.
        optimizer: the optimiser's variables, in its order.
    """

    history: list[Row]
    model: list[np.ndarray]
    optimizer: list[np.ndarray]

    def save(self, path: Path) -> None:
        """Write the file; until it is whole, the one before it stays."""
        about = json.dumps({"format": _FORMAT, "history": self.history})
        arrays: dict[str, Any] = {"about": np.frombuffer(about.encode(), np.uint8)}
        arrays |= {f"model/{i}": array for i, array in enumerate(self.model)}
        arrays |= {f"optimizer/{i}": array for i, array in enumerate(self.optimizer)}
        with replacing(path) as partial:
            np.savez(partial, **arrays)

    @classmethod
    def load(cls, path: Path) -> TrainingState | None:
        """The state in a file; None where there is none yet.

        Raises:
            LandslideError: it is damaged, or of the first release.
        """
        if not path.exists():
            if (path.parent / _BEFORE).exists():
                raise LandslideError(
                    f"{path.parent}: is of the first release, which kept too little to go on from; train in another "
                    "folder"
                )
            return None
        try:
            arrays = read_npz(path, at_most=path.stat().st_size)  # they are not packed
            about = parse_json(arrays.pop("about").tobytes(), "its text")
            if about["format"] != _FORMAT:
                raise ValueError(f"format {about['format']!r:.40} is not known here")
            parts: dict[str, list[np.ndarray]] = {"model": [], "optimizer": []}
            for name, array in arrays.items():
                parts[name.partition("/")[0]].append(array)
            return cls(about["history"], **parts)
        except (OSError, KeyError, ValueError, LandslideError) as error:
            raise LandslideError(
                f"{path}: is damaged ({first_line(error)}); put back a copy, or remove it to train from the first epoch"
            ) from None


def restore(variables: Sequence[Any], arrays: Sequence[np.ndarray], path: Path) -> None:
    """Assign arrays to variables of the same shapes.

    Args:
        variables: of a model or an optimiser.
        arrays: theirs, in order.
        path: where the arrays are from, for errors.

    Raises:
        LandslideError: they are of another model.
    """
    expected, found = [tuple(v.shape) for v in variables], [a.shape for a in arrays]
    if expected != found:
        raise LandslideError(f"{path}: is the state of another model ({len(found)} arrays, expected {len(expected)})")
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
