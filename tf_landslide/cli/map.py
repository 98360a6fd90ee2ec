"""``tf-landslide map``."""

from __future__ import annotations

import argparse
from pathlib import Path

from tf_landslide.cli.parsing import Arguments, Commands, add_command
from tf_landslide.cli.printing import heard, print_json
from tf_landslide.core.extras import extra


def add(commands: Commands) -> None:
    parser = add_command(commands, "map", run, "map a georeferenced scene: probability, mask and polygons")
    parser.add_argument("model", metavar="MODEL", help="a run, a SavedModel folder, or grpc://HOST:PORT/NAME")
    parser.add_argument("scene", nargs="+", metavar="SCENE.tif", help="a stack; the first file's grid is the map's")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the map")
    parser.add_argument("--dem", metavar="DEM.tif", help="terrain model in metres, in its own grid; gives slope too")
    parser.add_argument(
        "--bands", type=_bands, metavar="NAME=N,…", help="bands of the first file (default: by their descriptions)"
    )
    parser.add_argument("--scale", type=float, default=1e-4, metavar="S", help="physical = stored x S (default 0.0001)")
    parser.add_argument("--offset", type=float, default=0.0, metavar="O", help="… + O (default 0)")
    parser.add_argument("--nodata", type=_number_or_none, default=0.0, metavar="V", help="stored value (default 0)")
    parser.add_argument("--threshold", type=float, metavar="P", help="default: the model's own")
    parser.add_argument("--window", type=int, default=512, metavar="PX", help="side of a window (default 512)")
    parser.add_argument("--overlap", type=int, default=128, metavar="PX", help="of two windows (default 128)")
    _add_outputs(parser)
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    """What the map's polygons are, and what is said with them."""
    parser.add_argument("--min-area", type=float, default=500.0, metavar="M2", help="of a polygon (default 500)")
    parser.add_argument(
        "--fill-holes", type=float, default=0.0, metavar="M2", help="holes smaller than this (default 0)"
    )
    parser.add_argument("--smooth", action="store_true", help="cut the corners of polygons' pixels; areas stay")
    parser.add_argument(
        "--schema",
        default="plain",
        metavar="NAME",
        help="field names of the polygons: plain, ems (Copernicus EMS) or coolr (NASA COOLR); default plain",
    )
    parser.add_argument("--event-from", metavar="DATE", help="kept with every polygon")
    parser.add_argument("--event-to", metavar="DATE", help="kept with every polygon")


def run(a: Arguments) -> None:
    with extra("map"):
        from tf_landslide.scenes.stack import open_scene  # rasterio
    from tf_landslide.predict.load import load_predictor  # pydantic

    predictor = load_predictor(a.model)
    needed = tuple(band.name for band in predictor.card.channel_recipe.bands)
    with heard() as told:
        scene = open_scene(
            [Path(path) for path in a.scene],
            needed,
            bands=a.bands,
            dem=Path(a.dem) if a.dem else None,
            scale=a.scale,
            offset=a.offset,
            nodata=a.nodata,
        )
    from tf_landslide.jobs.map import MapOptions, map_scene  # rasterio, GeoPandas

    options = MapOptions(
        threshold=a.threshold,
        window=a.window,
        overlap=a.overlap,
        drop=a.overlap // 4,
        minimum_area=a.min_area,
        fill_holes=a.fill_holes,
        smooth=a.smooth,
        schema=a.schema,
        model=a.model,
        warnings=tuple(told),
        event_date_from=a.event_from,
        event_date_to=a.event_to,
    )
    summary = map_scene(scene, predictor, Path(a.out), options)
    if a.json:
        print_json(summary)
        return
    rows, columns = summary["shape"]
    print(f"{summary['landslides']} landslides, {summary['area_ha']:,.1f} ha, on {rows:,} x {columns:,} pixels")
    print(f"threshold {summary['threshold']:.3f}; map in {a.out}: {', '.join(summary['files'])}")
    for warning in summary["warnings"]:
        print(f"note: {warning}")


def _bands(text: str) -> dict[str, int]:
    try:
        pairs = [part.split("=") for part in text.split(",")]
        return {name.strip(): int(number) for name, number in pairs}
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected NAME=N,…, e.g. red=3,green=2,blue=1, got {text!r}") from None


def _number_or_none(text: str) -> float | None:
    return None if text.lower() == "none" else float(text)
