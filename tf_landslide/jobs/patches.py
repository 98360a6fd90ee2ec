"""A scene and checked polygons in, patches to train on out: a dataset with its card, its layout and its config."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
import yaml

from tf_landslide.bands.layouts import LANDSLIDE4SENSE, BandLayout
from tf_landslide.bands.recipes import RECIPES, available
from tf_landslide.core.errors import LandslideError, warn
from tf_landslide.core.files import beside, require_space, telling_a_full_disk
from tf_landslide.core.locks import is_in_the_way, locked
from tf_landslide.data.synthetic import SYNTHETIC_MARK
from tf_landslide.jobs.patch_card import PatchSet, write_card
from tf_landslide.jobs.rasters import GDAL_CACHE, MUCH
from tf_landslide.objects.labelling import (
    UNKNOWN,
    Checked,
    Labelled,
    checked_polygons,
    in_coordinates_of,
    write_labels,
)
from tf_landslide.objects.patches import (
    Piece,
    Tally,
    bytes_of,
    in_patches,
    index_of,
    layout_of,
    pieces,
    write_pieces,
)
from tf_landslide.objects.split import Cutting, divide
from tf_landslide.runs.config import load_config
from tf_landslide.scenes.grid import Grid
from tf_landslide.scenes.inventory import read_inventory
from tf_landslide.scenes.scene import Scene
from tf_landslide.scenes.synthetic import is_synthetic
from tf_landslide.scenes.vectors import write_geopackage

LABELS, INDEX, LAYOUT, CONFIG = "labels.tif", "patches.gpkg", "layout.yaml", "config.yaml"


@dataclass(frozen=True)
class PatchOptions:
    """How patches are cut.

    Attributes:
        polygons: file of the landslides.
        layer: of that file.
        area: file of polygons that were looked at; what lies beyond is unknown. None for the whole scene.
        unreviewed: take polygons that nobody has checked for landslides.
        all_touched: of the pixels, those that a polygon touches rather than those whose centre lies in it.
        size, stride, valid, test, seed: see ``split.Cutting``; None for a stride of the size.
        buffer: metres between the patches of two splits; None for half a patch.
        missing: the largest share of a patch's pixels that may have no label.
        negatives: patches of training without a landslide for each with one; None for all there are.
        bands: to be stored; all where empty.
        config: whose model and training ``config.yaml`` has; as ``load_config`` takes it.
        licence: of the patches, for the card.
        date: of the image, where the scene does not say it.
        warnings: that were told before, for the card.
    """

    polygons: Path
    layer: str | None = None
    area: Path | None = None
    unreviewed: bool = False
    all_touched: bool = False
    size: int = 128
    stride: int | None = None
    valid: float = 0.2
    test: float = 0.1
    buffer: float | None = None
    seed: int = 0
    missing: float = 0.5
    negatives: float | None = None
    bands: tuple[str, ...] = ()
    config: str = "unet_resnet34"
    licence: str | None = None
    date: str | None = None
    warnings: tuple[str, ...] = ()


def cut_patches(scene: Scene, out: Path, options: PatchOptions) -> dict[str, Any]:
    """Cut a scene into patches, in a folder that ``train`` takes.

    Args:
        scene: with all its bands.
        out: a folder that does not exist yet, or is empty.
        options: how it is cut.

    Returns:
        what ``card.json`` holds.

    Raises:
        LandslideError: options that cannot be, a file that cannot be read, no polygon on the scene, a scene too small
            to be shared out, too little disk, or a folder that holds something or is in use.
    """
    if options.negatives is not None and not 0 <= options.negatives < math.inf:
        raise LandslideError(f"--negatives: expected a number from 0 on, got {options.negatives:g}")
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", out.resolve().name)[:40] or "patches"
    layout = layout_of(scene, f"{name}_bands", options.bands)
    cutting, metres = _cutting(scene.grid, options)
    config = load_config(options.config)
    with locked(out), rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE):
        if is_in_the_way(out):
            raise LandslideError(f"{out}: already holds something; name an empty or new folder")
        checked = checked_polygons(options.polygons, scene.grid, layer=options.layer, unreviewed=options.unreviewed)
        area = None if options.area is None else in_coordinates_of(scene.grid, read_inventory(options.area))[0]
        told = [*options.warnings, *_told(checked, options)]
        made = not out.exists()
        try:
            with telling_a_full_disk(out), beside(out / "patches") as partial:
                partial.mkdir()
                result = _cut(partial, scene, layout, checked, area, cutting, options)
                _write_config(partial, config.model_dump(), name, result)
                if is_synthetic(scene):
                    (partial / SYNTHETIC_MARK).write_text(
                        "Cut from the synthetic sample landscape of tf_landslide.\n", encoding="utf-8"
                    )
                card = write_card(partial, name, result, asdict(options) | {"buffer": metres}, told)
                for child in partial.iterdir():
                    child.rename(out / child.name)
        finally:
            if made and out.exists() and not any(out.iterdir()):
                out.rmdir()
    return card


def _cutting(grid: Grid, options: PatchOptions) -> tuple[Cutting, float]:
    """How to cut, in pixels, and the buffer in metres; of a grid of degrees the narrowest pixels count."""
    heights, widths = grid.pixel_sizes(np.array([0, grid.shape[0] - 1]))
    height, width = float(heights.min()), float(widths.min())
    metres = options.size / 2 * min(height, width) if options.buffer is None else options.buffer
    stride = options.size if options.stride is None else options.stride
    buffer = metres / height, metres / width
    cutting = Cutting(options.size, stride, options.valid, options.test, buffer, options.missing, options.seed)
    return cutting, round(metres, 1)


def _told(checked: Checked, options: PatchOptions) -> list[str]:
    """What a user must know of the polygons, told."""
    told = []
    if options.area is None:
        told.append(
            f"{options.polygons}: all that lies in none of its polygons is taken for ground without landslides; "
            "--area POLYGONS says what was looked at"
        )
    if len(checked.undecided):
        told.append(
            f"{options.polygons}: {checked.found['unreviewed']:,} polygons are unreviewed; their pixels are "
            "left out of training (--unreviewed takes them for landslides)"
        )
    elif options.unreviewed and checked.found["unreviewed"]:
        told.append(
            f"{options.polygons}: {checked.found['unreviewed']:,} polygons that nobody has checked are taken for "
            "landslides"
        )
    for text in told:
        warn(text)
    return told


def _cut(
    folder: Path,
    scene: Scene,
    layout: BandLayout,
    checked: Checked,
    area: np.ndarray | None,
    cutting: Cutting,
    options: PatchOptions,
) -> PatchSet:
    """Write labels, patches and their index."""
    rows, columns = scene.grid.shape
    require_space(folder, rows * columns, "the raster of labels")
    path = folder / LABELS
    labelled = write_labels(path, scene, layout.names, checked, area, all_touched=options.all_touched)
    if not labelled.density.landslide.any():
        raise LandslideError(
            f"{options.polygons}: {_nowhere(scene.grid, checked, labelled)}; does it belong to {scene.source_ids[0]}?"
        )
    regions = divide(labelled.density, cutting)
    with rasterio.open(path) as labels:
        cut = pieces(regions, cutting, labels, options.negatives)
        _check_splits(cut, cutting, options.polygons)
        needed = bytes_of(layout, cutting.size) * sum(piece.left_out is None for piece in cut)
        require_space(folder, needed, "this dataset")
        if needed > MUCH:
            print(f"{sum(piece.left_out is None for piece in cut):,} patches, {needed / 1e9:.1f} GB of disk")
        cut, tally = write_pieces(folder, scene, layout, cut, labels, checked, all_touched=options.all_touched)
        covered = in_patches(cut, labels, scene.grid)
    write_geopackage(folder / INDEX, index_of(cut, scene.grid), "patches")
    totals = int(labelled.density.known.sum()), int(labelled.density.landslide.sum())
    outcomes = _outcomes(scene.grid, checked, labelled, tally)
    return PatchSet(scene, layout, channels_of(layout), checked, cut, tally, outcomes, totals, covered)


def _nowhere(grid: Grid, checked: Checked, labelled: Labelled) -> str:
    """Why no pixel is a landslide."""
    counts = _outcomes(grid, checked, labelled, Tally())
    return "no pixel of the scene is a landslide: " + ", ".join(f"{n} {what}" for what, n in counts.items() if n)


def _check_splits(cut: Sequence[Piece], cutting: Cutting, polygons: Path) -> None:
    """Raise ``LandslideError`` unless each split has patches, and those to train and validate on have landslides."""
    kept = [piece for piece in cut if piece.left_out is None]
    patches = Counter(piece.split for piece in kept)
    landslides = Counter(piece.split for piece in kept if piece.landslide)
    for split in cutting.shares:
        if not patches[split]:
            raise LandslideError(
                f"{polygons}: every patch of {split!r} is mostly unknown; take a smaller --size or --buffer, or a "
                "larger --missing"
            )
        if landslides[split]:
            continue
        text = f"{polygons}: no patch of {split!r} holds a landslide"
        if split != "test":
            raise LandslideError(f"{text}; take a smaller --size or --buffer, another --seed, or other shares")
        warn(f"{text}; its scores will say nothing")


def _outcomes(grid: Grid, checked: Checked, labelled: Labelled, tally: Tally) -> dict[str, int]:
    """What became of the landslide polygons; each is counted once."""
    scene = shapely.box(*grid.bounds)
    within = shapely.intersects(checked.landslides, scene)
    none = labelled.pixels == 0
    reached = np.zeros(len(checked.landslides), bool)
    reached[sorted(set().union(*tally.polygons.values()))] = True
    return {
        "outside of the scene": int((none & ~within).sum()),
        "smaller than a pixel, or under another": int((none & within).sum()),
        "where nothing is known": int((~none & (labelled.known == 0)).sum()),
        "in no patch": int(((labelled.known > 0) & ~reached).sum()),
        "in patches": int(reached.sum()),
    }


def channels_of(layout: BandLayout) -> tuple[str, ...]:
    """What a model gets of a layout: as much of the default recipe as it can give, else all its bands."""
    return tuple(name for name in RECIPES["six"] if available(name, layout)) or layout.names


def _write_config(folder: Path, config: dict[str, Any], name: str, result: PatchSet) -> None:
    """``config.yaml``, and the layout that it names where that is none of the shipped ones."""
    shipped = result.layout == LANDSLIDE4SENSE
    if not shipped:
        text = yaml.safe_dump(result.layout.as_dict(), sort_keys=False, allow_unicode=True)
        (folder / LAYOUT).write_text(text, encoding="utf-8")
    config |= {"name": name, "description": f"{config['model']['architecture']} on patches of {name}"}
    config["data"] |= {
        "layout": result.layout.name if shipped else LAYOUT,
        "channels": list(result.channels),
        "allow_missing": result.tally.missing,
        "ignore": UNKNOWN if result.tally.unknown else None,
    }
    head = (
        "# Channels may be any of these bands, and indices of them; the model normalises them by the training split:\n"
        f"# {', '.join(result.layout.names)}\n"
    )
    (folder / CONFIG).write_text(head + yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
