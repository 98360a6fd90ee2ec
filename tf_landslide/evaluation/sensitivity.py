"""What a model loses to faults of its input that real scenes have: offsets, gains, another elevation model.

Bands are changed as they are stored, in physical units, before channels are made of them, so that an index follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tf_landslide.bands.kinds import kind_of
from tf_landslide.bands.layouts import BandLayout
from tf_landslide.bands.recipes import ChannelRecipe, holds_value
from tf_landslide.bands.sources import TERRAIN
from tf_landslide.bands.terrain import slope_degrees
from tf_landslide.core.progress import progress
from tf_landslide.data.hdf5 import read_image
from tf_landslide.data.source import PatchSource
from tf_landslide.metrics.calibration import calibration
from tf_landslide.metrics.counts import Histograms, scores
from tf_landslide.metrics.significance import paired_difference
from tf_landslide.predict.predictor import Predictor

BOA_OFFSET = 0.1  # 1,000 digital numbers of Sentinel-2's Level-2A, since processing baseline 04.00
Change = Callable[[dict[str, np.ndarray], np.random.Generator], dict[str, np.ndarray]]
"""Bands of a patch in physical units, (H, W) each by name, to those that it changes."""


@dataclass(frozen=True)
class Fault:
    """A fault of the input: what it is called, and what it does."""

    name: str
    change: Change


def faults_of(recipe: ChannelRecipe) -> list[Fault]:
    """The faults that a model can feel: those of bands that its channels are made of, where units allow them."""
    units = {band.name: band.unit for band in recipe.bands}
    optical = [band.name for band in recipe.bands if kind_of(band) == "optical"]
    reflectance = [name for name in optical if units[name] == "reflectance"]
    found = []
    if reflectance:
        found += [
            Fault("offset of Level-2A left in (+1,000 DN)", _light(reflectance, 1, BOA_OFFSET)),
            Fault("offset of Level-2A taken off wrongly (-1,000 DN)", _light(reflectance, 1, -BOA_OFFSET)),
            Fault("offset +0.01 reflectance", _light(reflectance, 1, 0.01)),
            Fault("offset -0.01 reflectance", _light(reflectance, 1, -0.01)),
        ]
    if optical:
        found += [Fault(f"gain {gain:g}, optical bands", _light(optical, gain, 0)) for gain in (0.9, 0.95, 1.05, 1.1)]
    if units.get("dem") == "metres":
        found += [Fault(f"elevation {bias:+d} m", _higher(bias)) for bias in (-30, 30)]
    if {"dem", "slope"} & set(units) and _knows_terrain(recipe.layout):
        found += [Fault(f"elevation noise of {sd} m, slope with it", _noise(sd, recipe.layout)) for sd in (2, 5)]
    return found


def sensitivity(
    predictor: Predictor,
    source: PatchSource,
    threshold: float,
    *,
    allow_missing: bool = False,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> dict[str, Any]:
    """F1 and ECE of a split with each fault of ``faults_of``, the threshold kept.

    Args:
        predictor: of the model.
        source: the split's patches.
        threshold: the model's own.
        allow_missing: as of the run's config.
        seed: of what is random.
        groups: (n,) of each patch, for intervals over groups.

    Returns:
        ``f1`` and ``ece`` as the bands are, ``seed``, and ``faults``, a row each: ``name``, ``f1``, ``ece``, ``change``
        (of F1) and its 95 % ``interval``, paired.
    """
    recipe = predictor.card.channel_recipe
    whole = _judged(predictor, source, recipe, None, allow_missing, seed)
    before, rows = whole.counts(threshold), []
    for fault in progress(faults_of(recipe), label="faults of the input", unit="fault"):
        histograms = _judged(predictor, source, recipe, fault, allow_missing, seed)
        counts = histograms.counts(threshold)
        told = paired_difference(before, counts, groups=groups)["f1"]
        rows.append(
            {"name": fault.name, **_told(histograms, counts), "change": told["value"], "interval": told["interval"]}
        )
    return {**_told(whole, before), "seed": seed, "faults": rows}


def _told(histograms: Histograms, counts: np.ndarray) -> dict[str, float | None]:
    return {"f1": float(scores(*counts.sum(0)[:3])["f1"]), "ece": calibration(histograms, resamples=1)["ece"]}


def _judged(
    predictor: Predictor,
    source: PatchSource,
    recipe: ChannelRecipe,
    fault: Fault | None,
    allow_missing: bool,
    seed: int,
) -> Histograms:
    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for position, patch in enumerate(source.patches):
            assert patch.image  # a source holds pairs
            stored = read_image(patch.image, recipe.layout, allow_missing=allow_missing)
            if fault:
                stored = with_fault(stored, recipe.layout, fault, np.random.default_rng([seed, position]))
            probability = predictor(predictor.channels(stored[None]))[0, ..., 0]
            yield probability, source.fetch(np.array([position]))[1][0, ..., 0]

    return Histograms.of(pairs())


def with_fault(stored: np.ndarray, layout: BandLayout, fault: Fault, rng: np.random.Generator) -> np.ndarray:
    """Stored bands (H, W, B) of a patch with a fault; what is missing stays missing."""
    physical = {b.name: stored[..., i].astype(np.float64) * b.scale + b.offset for i, b in enumerate(layout.bands)}
    changed, result = fault.change(physical, rng), stored.astype(np.float32)
    for i, band in enumerate(layout.bands):
        if band.name in changed:
            there = holds_value(stored[..., i], band)
            result[there, i] = ((changed[band.name] - band.offset) / band.scale)[there]
    return result


def _light(names: Sequence[str], gain: float, offset: float) -> Change:
    """A gain and an offset; what falls below 0 is 0, as in digital numbers."""
    return lambda physical, _: {name: np.maximum(physical[name] * gain + offset, 0) for name in names}


def _higher(bias: float) -> Change:
    return lambda physical, _: {"dem": physical["dem"] + bias}


def _noise(deviation: float, layout: BandLayout) -> Change:
    """White noise on the elevation in metres; the slope gets what the slope of the elevation gains by it."""
    size = layout.pixel_size
    assert size is not None  # as was asked

    def change(physical: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
        dem = physical["dem"]
        noisy = dem + rng.normal(0, deviation, dem.shape)
        steeper = slope_degrees(noisy, size) - slope_degrees(dem, size)
        return {"dem": noisy, "slope": np.clip(physical["slope"] + np.nan_to_num(steeper), 0, 90)}

    return change


def _knows_terrain(layout: BandLayout) -> bool:
    units = {band.name: band.unit for band in layout.bands}
    return layout.pixel_size is not None and [units.get(name) for name in TERRAIN] == ["degrees", "metres"]
