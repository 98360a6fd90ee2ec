"""What is said of patches that were cut: ``card.json``, ``README.md``, checksums, and a picture of the splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from tf_landslide.bands.layouts import BandLayout
from tf_landslide.core.files import digest_of, write_json
from tf_landslide.core.tables import markdown_table
from tf_landslide.core.templates import render
from tf_landslide.data.folders import SPLITS
from tf_landslide.data.synthetic import SYNTHETIC_MARK
from tf_landslide.figures.splits import Box, SplitSheet, split_overview
from tf_landslide.objects.labelling import Checked
from tf_landslide.objects.patches import Piece, Tally
from tf_landslide.runs.provenance import version_of
from tf_landslide.scenes.polygons import grid_north, outlines
from tf_landslide.scenes.preview import picture
from tf_landslide.scenes.scene import Scene

CARD, README, SUMS, OVERVIEW = "card.json", "README.md", "SHA256SUMS", "overview.png"
_TEMPLATE = Path(__file__).with_name("patches.md.jinja")
_OUTLINED = 5000  # landslides drawn, the largest
_SIDE = 1500  # pixels of the picture's longer side


@dataclass(frozen=True)
class PatchSet:
    """Patches that were cut.

    Attributes:
        scene: they are of.
        layout: they are stored in.
        channels: of a model that learns from them.
        checked: the polygons.
        pieces: all patches, those that are left out too.
        tally: what the others hold.
        outcomes: what became of the landslide polygons.
        totals: pixels of the scene that are labelled, and that are landslide.
        covered: those of them that lie in a patch.
    """

    scene: Scene
    layout: BandLayout
    channels: tuple[str, ...]
    checked: Checked
    pieces: Sequence[Piece]
    tally: Tally
    outcomes: dict[str, int]
    totals: tuple[int, int]
    covered: tuple[int, int]


def write_card(
    folder: Path, name: str, result: PatchSet, options: dict[str, Any], warnings: Sequence[str]
) -> dict[str, Any]:
    """Write card, README, checksums and picture beside the patches.

    Args:
        folder: of the patches.
        name: of it, for people.
        result: what was cut.
        options: by what ``PatchOptions`` calls them, the buffer in metres.
        warnings: that were told.

    Returns:
        what ``card.json`` holds.
    """
    sums = "".join(f"{digest}  {path}\n" for path, digest in sorted(result.tally.digests.items()))
    (folder / SUMS).write_text(sums, encoding="utf-8")
    card = _card(name, result, options) | {
        "synthetic": (folder / SYNTHETIC_MARK).is_file(),
        "sha256": digest_of(folder / SUMS),
        "warnings": list(warnings),
    }
    write_json(folder / CARD, card)
    (folder / README).write_text(render(_TEMPLATE, card=card, splits=_table(card["splits"])), encoding="utf-8")
    split_overview(folder / OVERVIEW, _sheet(result, card))
    return card


def _card(name: str, result: PatchSet, options: dict[str, Any]) -> dict[str, Any]:
    reasons = Counter(piece.left_out for piece in result.pieces if piece.left_out is not None)
    (known, landslide), (covered, covered_landslide) = result.totals, result.covered
    polygons = result.tally.polygons
    return {
        "name": name,
        "version": version_of("tf-landslide"),
        "scene": _scene(result.scene, options["date"]),
        "layout": result.layout.name,
        "bands": list(result.layout.names),
        "channels": list(result.channels),
        "polygons": {
            "file": options["polygons"].name,
            "layer": options["layer"],
            "sha256": digest_of(options["polygons"]),
            "found": {**result.checked.found, **{f"landslides {what}": n for what, n in result.outcomes.items()}},
            "in_two_splits": sum(n > 1 for n in Counter(i for found in polygons.values() for i in found).values()),
        },
        "area": options["area"] and {"file": options["area"].name, "sha256": digest_of(options["area"])},
        "cutting": {
            **{key: options[key] for key in ("size", "valid", "test", "seed", "missing", "negatives", "all_touched")},
            "stride": options["stride"] or options["size"],
            "buffer_m": options["buffer"],
        },
        "splits": {split: _split(split, result) for split in SPLITS if split in polygons},
        "left_out": {
            **{f"patches: {reason}": count for reason, count in sorted(reasons.items())},
            "labelled pixels in no patch (buffers, ends)": known - covered,
            "of them landslide": landslide - covered_landslide,
        },
        "missing_values": result.tally.missing,
        "unknown_pixels": result.tally.unknown,
        "licence": options["licence"],
    }


def _scene(scene: Scene, date: str | None) -> dict[str, Any]:
    height, width = scene.grid.pixel_sizes(np.array([scene.grid.shape[0] // 2]))
    origin = scene.origin
    return {
        "sources": list(scene.source_ids),
        "bands": {name: [source.id for source in band.sources] for name, band in scene.bands.items()},
        "crs": ":".join(scene.grid.crs.to_authority() or ()) or scene.grid.crs.name,
        "bounds": list(scene.grid.bounds),
        "shape": list(scene.grid.shape),
        "pixel_size_m": [round(float(height[0]), 3), round(float(width[0]), 3)],
        "date": origin.date or date,
        "level": origin.level,
        "baseline": origin.baseline,
        "event_from": origin.event_from,
        "event_to": origin.event_to,
    }


def _split(split: str, result: PatchSet) -> dict[str, int]:
    kept = [piece for piece in result.pieces if piece.split == split and piece.left_out is None]
    return {
        "patches": len(kept),
        "with_landslides": sum(piece.landslide > 0 for piece in kept),
        "pixels": sum(piece.window.height * piece.window.width for piece in kept),
        "labelled_pixels": sum(piece.known for piece in kept),
        "landslide_pixels": sum(piece.landslide for piece in kept),
        "polygons": len(result.tally.polygons[split]),
    }


def _table(splits: dict[str, dict[str, int]]) -> str:
    header = ("split", "patches", "with landslides", "labelled pixels", "landslide pixels", "share", "polygons")
    rows = [
        (
            *(split, row["patches"], row["with_landslides"], f"{row['labelled_pixels']:,}"),
            *(f"{row['landslide_pixels']:,}", f"{row['landslide_pixels'] / row['labelled_pixels']:.2%}"),
            row["polygons"],
        )
        for split, row in splits.items()
    ]
    return markdown_table(header, rows)


def _sheet(result: PatchSet, card: dict[str, Any]) -> SplitSheet:
    shown = picture(result.scene, _SIDE)
    grid, k = shown.grid, shown.factor
    boxes = [
        Box(
            piece.split,
            *(piece.window.column / k, piece.window.row / k, piece.window.width / k, piece.window.height / k),
            piece.left_out is None,
        )
        for piece in result.pieces
    ]
    landslides = result.checked.landslides
    largest = landslides[np.argsort(-shapely.area(landslides))[:_OUTLINED]]
    height, width = grid.pixel_sizes(np.array([grid.shape[0] // 2]))
    middle = grid.transform @ (grid.shape[1] / 2, grid.shape[0] / 2)
    legend = {
        split: f"{split}: {row['patches']} patches, {row['landslide_pixels']:,} landslide pixels"
        for split, row in card["splits"].items()
    }
    notes = [
        f"{card['scene']['date'] or 'date not stated'}, {card['scene']['crs']}; patches of {card['cutting']['size']} "
        f"pixels, splits {card['cutting']['buffer_m']:g} m apart; seed {card['cutting']['seed']}",
        *(["SYNTHETIC"] if card["synthetic"] else []),
    ]
    return SplitSheet(
        picture=shown.colours,
        valid=shown.valid,
        boxes=boxes,
        outlines=outlines(list(largest), grid),
        pixel_size=(float(height[0]), float(width[0])),
        north=-grid_north(grid, *middle),
        title=f"Splits of {card['name']}",
        legend=legend,
        notes=notes,
    )
