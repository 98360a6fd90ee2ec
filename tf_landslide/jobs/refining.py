"""A map refined by its objects: ``mask.tif`` is refined, the network's own is ``mask_pixels.tif``.

The network's mask is written under that name from the first, so that ``mask.tif`` is never anything but the mask that
was asked for: wherever a run is killed, there is that one, an earlier run's whole map, or none, and the same command
goes on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from tf_landslide.core.files import beside
from tf_landslide.jobs.map_options import Watch, unwatched
from tf_landslide.objects.refine import layer_units, refine_scene, scene_layers, strips
from tf_landslide.objects.rules import Rules
from tf_landslide.runs.card import ModelCard
from tf_landslide.scenes.layers import Layer
from tf_landslide.scenes.scene import Scene
from tf_landslide.scenes.writer import MASK, PROBABILITY, write_mask

NETWORK_MASK = "mask_pixels.tif"


@dataclass(frozen=True)
class Refinement:
    """What refined a map.

    Attributes:
        network_mask: the mask as the network marks it.
        confidence: of the rules, pixel by pixel.
        record: for ``summary.json``: ``rules``, ``by_forest``, ``accept``, ``fit``, ``objects`` and ``accepted`` (their
            numbers), ``left_out``, ``landslide_pixels_network``.
    """

    network_mask: Path
    confidence: Layer
    record: dict[str, Any]


def raster_names(rules: Rules | None) -> tuple[str, str]:
    """Names of the rasters that the network gives, the probability and its mask, where these rules refine it."""
    return PROBABILITY, MASK if rules is None else NETWORK_MASK


@contextmanager
def refined_mask(
    scene: Scene,
    card: ModelCard,
    rules: Rules | None,
    rasters: tuple[Path, Path],
    threshold: float,
    seconds: dict[str, float],
    watch: Watch = unwatched,
) -> Iterator[tuple[Path, Refinement | None]]:
    """Write ``mask.tif`` refined: its path, and by what; the network's own and None without rules.

    Objects are kept on disk for the block's time.

    Args:
        scene, card, threshold: as it was mapped.
        rules: to refine by.
        rasters: the probability and the network's mask, named as ``raster_names`` says.
        seconds: the time is added to, as ``objects``.
        watch: told after each tile of objects.

    Raises:
        LandslideError: rules that cannot be asked of this scene, or too little disk.
    """
    if rules is None:
        yield rasters[1], None
        return
    started = time.monotonic()
    own, mask = rasters[1], rasters[1].with_name(MASK)
    with beside(mask.with_name("objects")) as scratch, rasterio.open(rasters[0]) as raster:
        scratch.mkdir()
        refined = refine_scene(
            lambda window: raster.read(1, window=window.for_rasterio()),
            scene_layers(scene, card),
            rules,
            scene.grid,
            scratch,
            threshold=threshold,
            units=layer_units(card),
            watch=lambda done, total: watch("objects", done, total),
        )
        with rasterio.open(own) as network:
            tags = network.tags() | {"refined_by": rules.name}
            marked = _marked(network)
        write_mask(mask, scene.grid, strips(refined), tags)
        seconds["objects"] = round(time.monotonic() - started, 2)
        record = {
            "rules": rules.name,
            "by_forest": rules.forest is not None,
            "accept": rules.accept,
            "fit": dict(rules.fit),
            "objects": refined.segments.count,
            "accepted": int((refined.confidence >= rules.accept).sum()),
            "left_out": dict(refined.left_out),
            "landslide_pixels_network": marked,
        }
        yield mask, Refinement(own, refined.confidence_of, record)


def _marked(mask: rasterio.io.DatasetReader) -> int:
    """Pixels of landslides."""
    return sum(int(np.count_nonzero(mask.read(1, window=window) == 1)) for _, window in mask.block_windows(1))
