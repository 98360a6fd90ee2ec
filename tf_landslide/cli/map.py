"""``tf-landslide map``."""

from __future__ import annotations

import argparse
from pathlib import Path

from tf_landslide.cli.objects import read_rules
from tf_landslide.cli.parsing import Arguments, Commands, add_command, add_precision, day, event_days, number_from_0
from tf_landslide.cli.printing import heard, print_json
from tf_landslide.cli.scene_inputs import add_inputs, inputs_of
from tf_landslide.core.extras import extra
from tf_landslide.jobs.map_options import MapOptions


def add(commands: Commands) -> None:
    parser = add_command(commands, "map", run, "map a georeferenced scene: probability, mask and polygons")
    parser.add_argument("model", metavar="MODEL", help="a run, a SavedModel folder, or grpc://HOST:PORT/NAME")
    _add_inputs(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the map")
    parser.add_argument("--threshold", type=float, metavar="P", help="default: the model's own")
    add_precision(parser)
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
    parser.add_argument(
        "--uncertainty", action="store_true", help="also uncertainty.tif: how far apart answers are, or by dropout"
    )
    parser.add_argument("--objects", metavar="RULES", help="refine the mask by its objects: landslide, or a YAML file")
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
        help="rasters, NAME=FILE for a band each, a .SAFE folder, or a manifest (YAML, JSON)",
    )
    parser.set_defaults(anywhere="scene")
    add_inputs(parser)


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

    event_from, event_to = event_days(a)
    rules = read_rules(a.objects)
    predictor = load_predictor(a.model, precision=a.precision, unsure=a.uncertainty)
    with heard() as told:
        scene = open_inputs(inputs_of(a, a.scene), predictor.card.channel_recipe)
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
        unsure=a.uncertainty,
        rules=rules,
        model=a.model,
        warnings=tuple(told),
        event_date_from=event_from,
        event_date_to=event_to,
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


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, got {text!r}")
    return int(text)


def _address(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("expected the address of a scheduler, tcp://HOST:8786")
    return text
