"""Patches of a labelled scene: which of them are kept, and how they are stored."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import geopandas
import numpy as np
import rasterio
import shapely

from tf_landslide.bands.layouts import LANDSLIDE4SENSE, TERRAIN_UNITS, Band, BandLayout
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import digest_of
from tf_landslide.core.progress import progress
from tf_landslide.data.writing import write_patch
from tf_landslide.objects.labelling import UNKNOWN, Checked, rasterised
from tf_landslide.objects.split import Cutting, Region, windows
from tf_landslide.scenes.grid import Grid, Window
from tf_landslide.scenes.scene import Scene

MOST_PATCHES = 200_000
UNTOLD, SURPLUS, TWIN = "mostly unknown", "no landslide, beyond --negatives", "same image as another"
"""Why a patch is left out."""
_RANGES = {"reflectance": "red", "degrees": "slope", "metres": "dem"}  # a band of Landslide4Sense's of that unit


@dataclass(frozen=True)
class Piece:
    """A patch of a scene.

    Attributes:
        split: that it belongs to.
        window: of the scene.
        known, landslide: pixels that are labelled, and that are landslide.
        left_out: why it is not kept; None for one that is.
        number: in its split, from 1; 0 until it is written.
    """

    split: str
    window: Window
    known: int
    landslide: int
    left_out: str | None = None
    number: int = 0


@dataclass
class Tally:
    """What patches hold.

    Attributes:
        missing: whether a band is missing anywhere in them.
        unknown: whether any pixel of them has no label.
        polygons: positions of the landslide polygons that reach into each split.
        digests: of the files, by their names within the folder.
    """

    missing: bool = False
    unknown: bool = False
    polygons: dict[str, set[int]] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)


def layout_of(scene: Scene, name: str, names: Sequence[str] = ()) -> BandLayout:
    """How a scene's patches are stored.

    Landslide4Sense's own layout where the scene has its fourteen bands and is not Level-2A; else one of the scene's
    bands in their units, as they are.

    Args:
        scene: that is cut.
        name: of a layout of its own.
        names: the bands to be stored; all where empty.

    Raises:
        LandslideError: a band that the scene lacks, or is listed twice.
    """
    for i, band in enumerate(names):
        if band not in scene.names or band in names[:i]:
            what = "is listed twice" if band in names[:i] else f"is not among its bands: {', '.join(scene.names)}"
            raise LandslideError(f"{scene.source_ids[0]}: band {band!r} {what}")
    own = set(LANDSLIDE4SENSE.names) <= set(scene.names) and scene.origin.level != "2A"
    if own and (not names or set(names) == set(LANDSLIDE4SENSE.names)):
        return LANDSLIDE4SENSE
    height, width = scene.grid.pixel_sizes(np.array([scene.grid.shape[0] // 2]))
    sources = ", ".join(scene.source_ids)
    return BandLayout(
        name=name,
        title=f"bands of {sources if len(sources) <= 200 else sources[:199] + '…'}",
        bands=tuple(_band(scene, band) for band in names or scene.names),
        pixel_size=round(float(np.sqrt(height[0] * width[0])), 3),
        reference="cut from a scene by tf-landslide patches; its README.md says from which",
    )


def _band(scene: Scene, name: str) -> Band:
    """A band in its unit, NaN where missing."""
    unit = TERRAIN_UNITS.get(name) or scene.bands[name].band.unit
    alike = _RANGES.get(unit) if name in TERRAIN_UNITS or unit == "reflectance" else None
    given = scene.bands[name].band.range if name in scene.bands else None
    usual = LANDSLIDE4SENSE.bands[LANDSLIDE4SENSE.index(alike)].range if alike else None
    return Band(name, unit=unit, range=given or usual)


def stored(scene: Scene, layout: BandLayout, window: Window) -> np.ndarray:
    """The bands of a window as a layout stores them: (H, W, B), NaN where missing.

    float64 in Landslide4Sense's layout, as released; float32 in one of the scene's own, whose values are the scene's.
    """
    values = np.stack([scene.read(name, window) for name in layout.names], axis=-1)
    if layout != LANDSLIDE4SENSE:
        return values
    return values.astype(np.float64) / [band.scale for band in layout.bands]


def bytes_of(layout: BandLayout, size: int) -> int:
    """Of a patch's two files."""
    number = 8 if layout == LANDSLIDE4SENSE else 4
    return size * size * (len(layout.bands) * number + 1) + 2 * 2048


def pieces(
    regions: Iterable[Region],
    cutting: Cutting,
    labels: rasterio.io.DatasetReader,
    negatives: float | None,
) -> list[Piece]:
    """All patches of all regions, with what each is left out for.

    Args:
        regions: of the splits.
        cutting: sizes, seed, and how much of a patch may be unknown.
        labels: as ``write_labels`` wrote them.
        negatives: how many patches of training without a landslide are kept for each with one; None for all.

    Raises:
        LandslideError: too many patches.
    """
    placed = [(region.split, window) for region in regions for window in windows(region, cutting)]
    if len(placed) > MOST_PATCHES:
        raise LandslideError(
            f"the scene gives {len(placed):,} patches, at most {MOST_PATCHES:,} are cut; take a larger --stride"
        )
    found = []
    for split, window in placed:
        values = labels.read(1, window=window.for_rasterio())
        known = int(np.count_nonzero(values != UNKNOWN))
        told = known > 0 and known >= (1 - cutting.missing) * values.size
        found.append(Piece(split, window, known, int(np.count_nonzero(values == 1)), None if told else UNTOLD))
    if negatives is None:
        return found
    kept = [i for i, piece in enumerate(found) if piece.split == "train" and piece.left_out is None]
    without = [i for i in kept if not found[i].landslide]
    surplus = len(without) - int(negatives * (len(kept) - len(without)))
    if surplus > 0:
        for i in np.random.default_rng(cutting.seed).permutation(without)[:surplus].tolist():
            found[i] = replace(found[i], left_out=SURPLUS)
    return found


def write_pieces(
    folder: Path,
    scene: Scene,
    layout: BandLayout,
    cut: Sequence[Piece],
    labels: rasterio.io.DatasetReader,
    checked: Checked,
    *,
    all_touched: bool = False,
) -> tuple[list[Piece], Tally]:
    """Write the patches that are kept, each as soon as it is read; of patches of one image only the first.

    Returns:
        the patches with their numbers, and what they hold.
    """
    tally, numbers, seen, written = Tally(), Counter[str](), set[bytes](), list[Piece]()
    tree = shapely.STRtree(checked.landslides)
    said = None if layout == LANDSLIDE4SENSE else layout.name
    for piece in _shown(cut):
        image = stored(scene, layout, piece.window) if piece.left_out is None else None
        twin = image is not None and (digest := hashlib.sha256(image.data).digest()) in seen
        if image is None or twin:
            written.append(replace(piece, left_out=piece.left_out or TWIN))
            continue
        seen.add(digest)
        numbers[piece.split] += 1
        mask = labels.read(1, window=piece.window.for_rasterio())
        files = write_patch(folder, piece.split, numbers[piece.split], image, mask, said)
        tally.digests |= {str(path.relative_to(folder)): digest_of(path) for path in files}
        tally.missing |= bool(np.isnan(image).any())
        tally.unknown |= piece.known < mask.size
        reached = tally.polygons.setdefault(piece.split, set())
        if piece.landslide:
            covering = rasterised(checked.landslides, scene.grid, piece.window, tree, all_touched=all_touched)
            reached.update((np.unique(covering[mask == 1]) - 1).tolist())
        written.append(replace(piece, number=numbers[piece.split]))
    return written, tally


def _shown(cut: Sequence[Piece]) -> Iterator[Piece]:
    return progress(cut, label="cutting", unit="patch")


def in_patches(cut: Sequence[Piece], labels: rasterio.io.DatasetReader, grid: Grid) -> tuple[int, int]:
    """Pixels of a scene that are labelled, and that are landslide, in any patch that is kept; each counted once."""
    boxes = np.array([shapely.box(*grid.of_window(piece.window).bounds) for piece in cut if piece.left_out is None])
    tree, known, landslide = shapely.STRtree(boxes), 0, 0
    rows, columns = grid.shape
    for row in range(0, rows, 512):
        window = Window(row, 0, min(512, rows - row), columns)
        values = labels.read(1, window=window.for_rasterio())[rasterised(boxes, grid, window, tree) > 0]
        known += int(np.count_nonzero(values != UNKNOWN))
        landslide += int(np.count_nonzero(values == 1))
    return known, landslide


def index_of(cut: Sequence[Piece], grid: Grid) -> geopandas.GeoDataFrame:
    """Where every patch lies and what became of it, as rectangles in the scene's coordinates."""
    columns = {
        "split": [piece.split for piece in cut],
        "number": [piece.number or None for piece in cut],
        "row": [piece.window.row for piece in cut],
        "column": [piece.window.column for piece in cut],
        "labelled_px": [piece.known for piece in cut],
        "landslide_px": [piece.landslide for piece in cut],
        "left_out": [piece.left_out for piece in cut],
    }
    boxes = [shapely.box(*grid.of_window(piece.window).bounds) for piece in cut]
    return geopandas.GeoDataFrame(columns, geometry=boxes, crs=grid.crs.to_wkt())
