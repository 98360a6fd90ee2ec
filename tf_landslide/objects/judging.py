"""Judging rules: a split as the network marks it beside the same split refined, and what lies between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tf_landslide.evaluation.tally import MasksDigest
from tf_landslide.metrics import IGNORED
from tf_landslide.metrics.counts import judged_counts
from tf_landslide.metrics.objects import ObjectCounts, object_scores, paired_objects
from tf_landslide.metrics.significance import paired_difference
from tf_landslide.objects.refine import Refined, layer_units, patch_layers, refine
from tf_landslide.objects.rules import Rules
from tf_landslide.runs.card import ModelCard


class Refiner:
    """Refines a model's patches.

    Args:
        card: of the model.
        rules: to refine by.
        threshold: of the network; None takes the model's own.
    """

    def __init__(self, card: ModelCard, rules: Rules, threshold: float | None = None):
        self.card, self.rules = card, rules
        self.threshold = card.threshold if threshold is None else threshold
        self._units = layer_units(card)

    def __call__(self, channels: np.ndarray, probability: np.ndarray, labels: np.ndarray | None = None) -> Refined:
        """A patch, by its channels (H, W, C) and the network's probability (H, W); ``labels`` as of ``refine``."""
        return refine(
            probability,
            patch_layers(channels, self.card),
            self.rules,
            threshold=self.threshold,
            pixel_size=self.card.layout.pixel_size,
            units=self._units,
            labels=labels,
        )


class Comparison:
    """Counts of patches as the network marks them, and refined; ``look`` is shown one patch after the other."""

    def __init__(self, refiner: Refiner):
        self._refiner, self._digest = refiner, MasksDigest()
        self._counts: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        self._objects: tuple[list[ObjectCounts], list[ObjectCounts]] = ([], [])
        self._left_out: dict[str, str] | None = None

    def look(self, channels: np.ndarray, probability: np.ndarray, mask: np.ndarray) -> None:
        refined = self._refiner(channels, probability)
        if len(refined.confidence):  # what no patch can tell
            known = refined.left_out if self._left_out is None else self._left_out
            self._left_out = {name: why for name, why in known.items() if name in refined.left_out}
        self._digest.add(mask)
        for marked, counts, objects in zip(
            (probability >= np.float32(self._refiner.threshold), refined.mask), self._counts, self._objects, strict=True
        ):
            counts.append(pixel_counts(marked, mask))
            objects.append(ObjectCounts.of([(marked, mask)]))

    def scores(self) -> dict[str, Any]:
        """What the refined map scores, as ``metrics.json`` holds it under ``refined``.

        Returns:
            the scores of the pixels and their ``objects``, as of the network's own map; ``difference`` from that, of
            each score and of the ``objects``' F1 by IoU, with a paired interval; ``rules``, ``left_out`` and
            ``caveat`` (None where there is none).
        """
        rules = self._refiner.rules
        return {**compared(self._counts, self._objects, self._refiner.threshold)} | {
            "rules": rules.name,
            "by_forest": rules.forest is not None,
            "left_out": self._left_out or {},
            "caveat": caveat(rules, self._digest.text),
        }


def compared(
    counts: Sequence[Sequence[np.ndarray]], objects: Sequence[Sequence[ObjectCounts]], threshold: float
) -> dict[str, Any]:
    """Scores of a refined map and their difference from the network's, of counts of each patch: (network, refined)."""
    network, refined = (np.array(part, np.int64) for part in counts)
    network_objects, refined_objects = (ObjectCounts.joined(list(part)) for part in objects)
    return {
        **judged_counts(refined),
        "threshold": threshold,
        "objects": object_scores(refined_objects),
        "difference": paired_difference(network, refined)
        | {"objects": paired_objects(network_objects, refined_objects)},
    }


def pixel_counts(marked: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(4,) TP, FP, FN, TN of a patch; what is ``IGNORED`` is left out."""
    known, true = mask != IGNORED, mask == 1
    groups = (marked & true, marked & ~true & known, ~marked & true, ~marked & ~true & known)
    return np.array([np.count_nonzero(group) for group in groups], np.int64)


def caveat(rules: Rules, masks_sha256: str) -> str | None:
    """What must be said of rules that are judged on the patches they were fitted on."""
    fit: Mapping[str, Any] = rules.fit
    if not fit or fit.get("masks_sha256") != masks_sha256:
        return None
    told, held_out = "", fit.get("held_out")
    if isinstance(held_out, Mapping) and {"f1_difference", "interval"} <= set(held_out):
        low, high = held_out["interval"]
        told = f"; on held-out folds F1 changed by {held_out['f1_difference']:+.4f} ({low:+.4f} to {high:+.4f})"
    return f"The rules were fitted on these very patches, so that their scores here flatter{told}."


def not_fitted(name: str, fit: Mapping[str, Any], card: ModelCard) -> str | None:
    """What must be said of rules that were not fitted to a model, by their name and ``fit``; None of those that were.

    A model may go by another name than when they were fitted, as on the page by its folder's: then its threshold, which
    validation chose, speaks for it, and the reader is told the name.
    """
    if not fit:
        return f"Rules {name} were not fitted to this model or any (tf-landslide objects fit): expect less of them."
    other, alike = str(fit.get("model"))[:60], fit.get("threshold") == card.threshold
    if other == card.name and alike:
        return None
    if alike:
        return f"Rules {name} were fitted to a model called {other}; if that is not this one, expect less of them."
    return f"Rules {name} were not fitted to this model, but to {other} as it was then: expect less of them."
