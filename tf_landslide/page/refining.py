"""Results refined by rules: by which, what they make of each result at any threshold, and what must be said of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tf_landslide.core.errors import LandslideError, require_known
from tf_landslide.core.safe_yaml import read_yaml
from tf_landslide.objects.judging import Refiner, not_fitted
from tf_landslide.objects.rules import Rules
from tf_landslide.page.uploads import Upload
from tf_landslide.predict.result import Result

USUAL = "landslide"  # the shipped rules


def read_rules(file: str | None) -> Rules:
    """The rules of an uploaded file, or the shipped ones without one.

    Raises:
        LandslideError: a file that describes no rules, or that names a forest, which lies in a second file; by the
            file's own name.
    """
    if not file:
        return Rules.read(USUAL)
    path = Path(file)
    try:
        require_known(path.suffix.lower(), (".yaml", ".yml"), "ending of a file of rules")
        values = read_yaml(path, "rules")
        if isinstance(values, Mapping) and "forest" in values:
            raise LandslideError(f"{path}: names a forest, which the page does not take; the command line does")
        return Rules.read(path)
    except LandslideError as error:
        raise LandslideError(str(error).replace(str(path), path.name)) from None


@dataclass
class _Found:
    """What rules made of one result.

    Attributes:
        labels: its objects, whatever the threshold.
        left_out: why, by attribute.
        seconds: that finding them took.
        masks: by threshold: the model's own and the last other one.
    """

    labels: np.ndarray
    left_out: Mapping[str, str]
    seconds: float
    masks: dict[float, np.ndarray]


@dataclass
class Refining:
    """Rules, and what they made of results so far.

    Attributes:
        rules: to refine by.
        problems: what could not be refined, in a sentence each.
    """

    rules: Rules
    problems: list[str] = field(default_factory=list)
    _found: dict[tuple[str, str], _Found] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def nbytes(self) -> int:
        """Bytes of objects and masks."""
        return sum(
            found.labels.nbytes + sum(mask.nbytes for mask in found.masks.values()) for found in self._found.values()
        )

    def find(self, upload: Upload, result: Result) -> None:
        """Refine a result at its own threshold, so that ``refined`` has it from now on.

        Raises:
            LandslideError: the rules cannot be asked of these data.
        """
        started = time.perf_counter()
        refined = Refiner(result.card, self.rules, result.threshold)(
            upload.channels(result.card)[0], result.probability
        )
        found = _Found(refined.labels, refined.left_out, 0.0, {result.threshold: refined.mask})
        found.seconds = time.perf_counter() - started
        self._found[upload.name, result.card.name] = found

    def refined(self, upload: Upload, result: Result) -> Result:
        """A result as refined at its threshold; as it is, where ``find`` was not asked for it or failed."""
        found = self._found.get((upload.name, result.card.name))
        if found is None:
            return result
        with self._lock:
            mask = found.masks.get(result.threshold)
        if mask is None:
            refiner = Refiner(result.card, self.rules, result.threshold)
            mask = refiner(upload.channels(result.card)[0], result.probability, found.labels).mask
            with self._lock:
                own = next(iter(found.masks.items()))
                found.masks = dict([own, (result.threshold, mask)])
        seconds = None if result.seconds is None else result.seconds + found.seconds
        return replace(result, refined=mask, seconds=seconds)

    def said(self, upload: Upload, result: Result) -> list[str]:
        """What a reader of a refined result must know, in sentences."""
        found = self._found.get((upload.name, result.card.name))
        if found is None:
            return []
        sentences = [not_fitted(self.rules.name, self.rules.fit, result.card)]
        by_reason: dict[str, list[str]] = {}
        for name, why in found.left_out.items():
            by_reason.setdefault(why, []).append(name)
        sentences += [f"Left out of the rules: {', '.join(names)} ({why})." for why, names in by_reason.items()]
        return [sentence for sentence in sentences if sentence]
