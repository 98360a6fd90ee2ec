"""Refining: a network's probability cut into objects, some of which are landslides; of a patch, of a scene."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from tf_landslide.bands.indices import INDICES
from tf_landslide.bands.recipes import available, channel
from tf_landslide.core.errors import LandslideError
from tf_landslide.objects.attributes import measure, measure_scene
from tf_landslide.objects.conditions import Table
from tf_landslide.objects.rules import Rules
from tf_landslide.objects.segments import segment
from tf_landslide.objects.tiled import Segments, Told, segment_scene, unwatched
from tf_landslide.runs.card import ModelCard
from tf_landslide.scenes.grid import Grid, Window
from tf_landslide.scenes.layers import Layer
from tf_landslide.scenes.scene import Scene
from tf_landslide.scenes.writer import NO_DATA

PROBABILITY = "probability"
_VISIBLE = ("red", "green", "blue")


@dataclass(frozen=True)
class Refined:
    """A patch, refined.

    Attributes:
        mask: (H, W) bool, true on landslides.
        labels: (H, W) int32, the objects; 0 where there is none, and the network's own word stands.
        table: attributes of the objects, (N,) each.
        confidence: (N,) of the rules.
        left_out: what the rules asks for and these data cannot tell: why, by attribute.
    """

    mask: np.ndarray
    labels: np.ndarray
    table: Table
    confidence: np.ndarray
    left_out: Mapping[str, str]


def layer_names(card: ModelCard) -> tuple[str, ...]:
    """The layers that objects are described by, beside the probability: a model's channels, and the indices of them."""
    layout, names = card.layout, card.channel_names
    bands = [name for name in names if available(name, layout)]
    indices = [name for name, index in INDICES.items() if {index.a, index.b} <= set(bands) and name not in bands]
    return (*bands, *indices)


def layer_units(card: ModelCard) -> dict[str, str]:
    """The unit of each layer: its band's, or ``index``. ``brightness`` is what the visible bands are in."""
    layout = card.layout
    units = {
        name: layout.bands[layout.index(name)].unit if name in layout.names else "index" for name in layer_names(card)
    }
    visible = [units[name] for name in _VISIBLE if name in units]
    return units | ({"brightness": visible[0]} if visible else {}) | {PROBABILITY: "share"}


def patch_layers(channels: np.ndarray, card: ModelCard) -> dict[str, np.ndarray]:
    """The layers of a patch: (H, W) float32 by name, of its channels (H, W, C)."""
    planes = {name: channels[..., i] for i, name in enumerate(card.channel_names) if available(name, card.layout)}
    with np.errstate(divide="ignore", invalid="ignore"):
        return {name: np.asarray(channel(planes, name), np.float32) for name in layer_names(card)}


def scene_layers(scene: Scene, card: ModelCard) -> dict[str, Layer]:
    """The layers of a scene, read window by window: those that ``patch_layers`` gives of a patch.

    A pixel is missing in all of them where any band that the model needs is: nothing was predicted there.
    """
    recipe = card.channel_recipe
    margin = recipe.margin

    @lru_cache(maxsize=1)  # layer after layer is asked for one window
    def read(window: Window) -> dict[str, np.ndarray]:
        around = window.padded(margin)
        bands = {band.name: scene.read(band.name, around) for band in recipe.bands}
        channels = recipe.of_physical(bands)
        channels[~np.logical_and.reduce([np.isfinite(band) for band in bands.values()])] = np.nan
        inner = channels[margin : margin + window.height, margin : margin + window.width]
        return patch_layers(inner, card)

    def layer(name: str) -> Layer:
        return lambda window: read(window)[name]

    return {name: layer(name) for name in layer_names(card)}


def usable(rules: Rules, layers: Mapping[str, Any], units: Mapping[str, str]) -> tuple[Rules, dict[str, str]]:
    """Rules as they can be asked of these layers, and what is left out of them, by attribute or layer: why.

    Raises:
        LandslideError: none of the layers that segments are cut by is there, or nothing that supports is left.
    """
    there = tuple(name for name in rules.segments.layers if name in layers)
    if not there:
        raise LandslideError(
            f"rules {rules.name!r}: segments need one of {', '.join(rules.segments.layers)}; the data have "
            f"{', '.join(layers)}"
        )
    told = {name: "not a layer of these data" for name in rules.segments.layers if name not in there}
    fitting, unfit = rules.for_units(units)
    return replace(fitting, segments=replace(rules.segments, layers=there)), told | unfit


def decided(
    labels: np.ndarray, probability: np.ndarray, confidence: np.ndarray, rules: Rules, threshold: float
) -> np.ndarray:
    """The refined mask.

    Args:
        labels: (H, W) objects, 1..N; pixels of none (0) keep the network's own word.
        probability: (H, W), NaN where nothing can be told.
        confidence: (N,) of the objects.
        rules: say from which confidence on an object is accepted, and which pixels are marked then.
        threshold: of the network.

    Returns:
        (H, W) bool.
    """
    low, high = rules.marks.levels(threshold)
    levels = np.where(confidence >= rules.accept, low, high)
    return probability >= np.concatenate([[threshold], levels]).astype(np.float32)[labels]


def refine(
    probability: np.ndarray,
    layers: Mapping[str, np.ndarray],
    rules: Rules,
    *,
    threshold: float,
    pixel_size: float | None = None,
    units: Mapping[str, str] | None = None,
    labels: np.ndarray | None = None,
) -> Refined:
    """Refine a patch.

    Args:
        probability: (H, W) float32 of the network.
        layers: (H, W) planes by name, as ``patch_layers`` gives them.
        rules: to refine by; what they ask for and is not there is left out.
        threshold: of the network.
        pixel_size: in metres, where it is known.
        units: of the layers, as ``layer_units`` gives them; any other is taken to be in the unit that is needed.
        labels: the objects, where an earlier call has found them by these layers and rules, at whatever threshold.

    Raises:
        LandslideError: as ``usable``, or shapes differ.
    """
    planes = {PROBABILITY: probability, **layers}
    fitting, left_out = usable(rules, planes, units or {})
    if labels is None:
        labels = segment(planes, fitting.segments)
    table = measure(labels, planes, pixel_size=pixel_size, threshold=threshold)
    confidence = fitting.confidence(table)
    mask = decided(labels, probability, confidence, fitting, threshold)
    return Refined(mask, labels, table, confidence, left_out | untold(fitting, table))


def untold(rules: Rules, table: Table) -> dict[str, str]:
    """Attributes that rules ask for and a table lacks; none of a table without objects."""
    there = any(len(column) for column in table.values())
    return dict.fromkeys(rules.left_out(table) if there else (), "cannot be told of these data")


@dataclass(frozen=True)
class RefinedScene:
    """A scene, refined; its pixels are read window by window.

    Attributes:
        segments: the objects.
        table: attributes of them, (N,) each.
        confidence: (N,) of the rules.
        rules: as they were asked.
        left_out: as of ``Refined``.
        probability: of the network.
        threshold: of the network.
    """

    segments: Segments
    table: Table
    confidence: np.ndarray
    rules: Rules
    left_out: Mapping[str, str]
    probability: Layer
    threshold: float

    def mask(self, window: Window) -> np.ndarray:
        """(H, W) bool, true on landslides."""
        labels, probability = self.segments.read(window), self.probability(window)
        return decided(labels, probability, self.confidence, self.rules, self.threshold)

    def confidence_of(self, window: Window) -> np.ndarray:
        """(H, W) float32 confidence of each pixel's object, NaN where there is none."""
        return np.concatenate([[np.nan], self.confidence]).astype(np.float32)[self.segments.read(window)]


def refine_scene(
    probability: Layer,
    layers: Mapping[str, Layer],
    rules: Rules,
    grid: Grid,
    folder: Path,
    *,
    threshold: float,
    units: Mapping[str, str] | None = None,
    watch: Told = unwatched,
) -> RefinedScene:
    """Refine a scene; what is held in memory is a strip of it and its objects' attributes.

    Args:
        probability: of the network, NaN where nothing can be told.
        layers: as ``scene_layers`` gives them.
        rules: to refine by.
        grid: of the scene.
        folder: for the objects' labels, 4 bytes a pixel; they are needed as long as the result is.
        threshold: of the network.
        units: of the layers.
        watch: told how many tiles are cut into objects, of how many; what it raises ends the work.

    Raises:
        LandslideError: as ``refine``, or the disk is full.
    """
    planes = {PROBABILITY: probability, **layers}
    fitting, left_out = usable(rules, planes, units or {})
    segments = segment_scene(planes, grid.shape, fitting.segments, folder, watch=watch)
    table = measure_scene(segments, planes, grid, threshold=threshold)
    left_out |= untold(fitting, table)
    return RefinedScene(segments, table, fitting.confidence(table), fitting, left_out, probability, threshold)


def strips(refined: RefinedScene, height: int = 512) -> Iterator[tuple[int, np.ndarray]]:
    """The refined mask from north to south: the first row of a strip, and (h, W) uint8: 0, 1, 255 where nothing can be
    told.
    """
    rows, columns = refined.segments.shape
    for top in range(0, rows, height):
        window = Window(top, 0, min(height, rows - top), columns)
        mask = refined.mask(window).astype(np.uint8)
        mask[np.isnan(refined.probability(window))] = NO_DATA
        yield top, mask
