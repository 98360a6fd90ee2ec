"""``tf-landslide map``."""

from __future__ import annotations

import argparse
from pathlib import Path

from tf_landslide.cli.parsing import Arguments, Commands, add_command, day, number, number_above_0, number_from_0
from tf_landslide.cli.printing import heard, print_json
<<<<<<< HEAD
from tf_landslide.cli.scenes import SCENE, add_scene_options, inputs_of
=======
from tf_landslide.core.errors import LandslideError
>>>>>>> main
from tf_landslide.core.extras import extra
from tf_landslide.jobs.map_options import MapOptions, named_bands


def add(commands: Commands) -> None:
    parser = add_command(commands, "map", run, "map a georeferenced scene: probability, mask and polygons")
    parser.add_argument("model", metavar="MODEL", help="a run, a SavedModel folder, or grpc://HOST:PORT/NAME")
    _add_inputs(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the map")
    parser.add_argument("--threshold", type=float, metavar="P", help="default: the model's own")
    parser.add_argument("--window", type=int, default=512, metavar="PX", help="side of a window (default 512)")
    parser.add_argument("--overlap", type=int, default=128, metavar="PX", help="of two windows (default 128)")
    _add_outputs(parser)
    _add_workers(parser)
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    """What the map's polygons are, and what is said with them."""
    parser.add_argument(
        "--min-area", type=number_from_0, default=500.0, metavar="M2", help="of a polygon (default 500)"
    )
    parser.add_argument(
        "--fill-holes", type=number_from_0, default=0.0, metavar="M2", help="holes smaller than this (default 0)"
    )
    parser.add_argument("--smooth", action="store_true", help="cut the corners of polygons' pixels; areas stay")
    parser.add_argument(
        "--schema",
        default="plain",
        metavar="NAME",
        help="field names of the polygons: plain, ems (Copernicus EMS) or coolr (NASA COOLR); default plain",
    )
    parser.add_argument("--event-from", type=day, metavar="DATE", help="kept with every polygon")
    parser.add_argument("--event-to", type=day, metavar="DATE", help="kept with every polygon")


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "scene",
        nargs="+",
        metavar="SCENE",
        help=SCENE,
    )
    parser.set_defaults(anywhere="scene")
<<<<<<< HEAD
    add_scene_options(parser)
=======
    group = parser.add_argument_group("what the scene is")
    group.add_argument(
        "--dem",
        action="append",
        default=[],
        metavar="DEM.tif",
        help="terrain model in metres, in its own grid; gives slope too (several tiles: --dem again)",
    )
    group.add_argument("--layout", metavar="LAYOUT.yaml", help="says what the bands of the scene are")
    group.add_argument(
        "--bands",
        type=_bands,
        metavar="NAME=N,…",
        help="bands of the first file (default: by their descriptions, or by file names like post_B04.tif)",
    )
    group.add_argument(
        "--scale", type=number_above_0, metavar="S", help="physical = stored x S (default: the file's own, else 0.0001)"
    )
    group.add_argument("--offset", type=number, metavar="O", help="… + O (default: the file's own, else 0)")
    group.add_argument(
        "--nodata",
        type=_number_or_none,
        default=0.0,
        metavar="V",
        help="stored value, besides the file's own (default 0)",
    )
    group.add_argument(
        "--clouds",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="leave out what the scene's own cloud mask marks (default: yes)",
    )
    group.add_argument(
        "--allow-host", action="append", default=[], metavar="HOST", help="that a manifest's addresses may ask"
    )
    group.add_argument(
        "--allow-outside", action="store_true", help="a manifest may name files outside of its own folder"
    )
>>>>>>> main


def _add_workers(parser: argparse.ArgumentParser) -> None:
    """Who predicts, where it is not this process."""
    group = parser.add_argument_group("workers (extra: scale)").add_mutually_exclusive_group()
    group.add_argument("--workers", type=_positive, metavar="N", help="processes on this machine that predict")
    group.add_argument(
        "--scheduler", type=_address, metavar="ADDRESS", help="of Dask, tcp://HOST:8786, whose workers predict"
    )


def run(a: Arguments) -> None:
    with extra("map"):
        from tf_landslide.scenes.inputs import open_inputs  # rasterio
    from tf_landslide.predict.load import load_predictor  # pydantic

    if a.event_from and a.event_to and a.event_from > a.event_to:
        raise LandslideError(f"--event-from {a.event_from}: comes after --event-to {a.event_to}")
    predictor = load_predictor(a.model)
    with heard() as told:
        scene = open_inputs(inputs_of(a, a.scene, a.dem), predictor.card.channel_recipe)
    from tf_landslide.jobs.map import map_scene  # rasterio, GeoPandas
    from tf_landslide.jobs.rasters import Workers

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
        event_date_from=a.event_from and a.event_from.isoformat(),
        event_date_to=a.event_to and a.event_to.isoformat(),
    )
    workers = Workers(a.model, a.workers, a.scheduler) if a.workers or a.scheduler else None
    summary = map_scene(scene, predictor, Path(a.out), options, workers)
    if a.json:
        print_json(summary)
        return
    rows, columns = summary["shape"]
    print(f"{summary['landslides']} landslides, {summary['area_ha']:,.1f} ha, on {rows:,} x {columns:,} pixels")
    print(f"threshold {summary['threshold']:.3f}; map in {a.out}: {', '.join(summary['files'])}")
    for warning in summary["warnings"]:
        print(f"note: {warning}")


<<<<<<< HEAD
=======
def _bands(text: str) -> dict[str, int]:
    try:
        if found := named_bands(text):
            return found
        raise LandslideError("expected bands as NAME=N,…, e.g. red=3,green=2,blue=1")
    except LandslideError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


>>>>>>> main
def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, got {text!r}")
    return int(text)
<<<<<<< HEAD
=======


def _address(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("expected the address of a scheduler, tcp://HOST:8786")
    return text


def _number_or_none(text: str) -> float | None:
    """A stored value that means nothing; NaN always does, so that ``nan`` names no further one."""
    if text.lower() in ("none", "nan"):
        return None
    try:
        return number(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"expected a number or none, got {text!r}") from None
>>>>>>> main
