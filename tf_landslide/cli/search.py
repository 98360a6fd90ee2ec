"""``tf-landslide search``."""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path

from tf_landslide.cli.parsing import Arguments, Commands, add_command, day, number_from_0
from tf_landslide.cli.printing import print_json
from tf_landslide.core.extras import extra


def add(commands: Commands) -> None:
    parser = add_command(commands, "search", run, "find scenes in a catalogue and write a manifest that map reads")
    parser.add_argument(
        "bbox",
        type=_bbox,
        metavar="WEST,SOUTH,EAST,NORTH",
        help="area in degrees; over 180 its east is negative",
    )
    parser.add_argument("days", type=_days, metavar="DAY/DAY", help="first and last day, 2018-09-01/2018-10-15")
    parser.add_argument("--out", required=True, metavar="FILE.yaml", help="the manifest")
    parser.add_argument(
        "--catalogue", default="earth-search", metavar="NAME", help="earth-search (default), planetary-computer, cdse"
    )
    parser.add_argument(
        "--level", choices=("1C", "2A"), default="2A", help="of the products (default 2A; cdse has both)"
    )
    parser.add_argument(
        "--max-cloud", type=number_from_0, default=30.0, metavar="PERCENT", help="of a scene (default 30)"
    )
    parser.add_argument(
        "--event", type=day, metavar="DAY", help="write the best scene before it and the best one after"
    )
    parser.add_argument(
        "--all", action="store_true", help="a manifest for each tile of that day which the area needs, FILE_TILE.yaml"
    )
    parser.add_argument("--url", metavar="URL", help="of a STAC API, in place of the catalogue's own")
    parser.add_argument("--allow-host", action="append", default=[], metavar="HOST", help="that addresses may name")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")


def run(a: Arguments) -> None:
    with extra("search"):
        import pystac_client  # noqa: F401  # the extra
    with extra("map"):
        from tf_landslide.jobs.search import Search, search  # rasterio, pystac-client

    wanted = Search(a.bbox, a.days, a.catalogue, a.level, a.max_cloud, a.event, a.url, tuple(a.allow_host), a.all)
    told = search(wanted, Path(a.out))
    if a.json:
        print_json(told)
        return
    for scene in told:
        print(f"{scene['manifest']}: {scene['id']}, {scene['clouds']:.1f} % clouds, covers {scene['covered']:.0%}")


def _bbox(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 4:
        raise argparse.ArgumentTypeError(f"expected WEST,SOUTH,EAST,NORTH, e.g. 141.9,42.6,142.1,42.8, got {text!r}")
    return numbers


def _days(text: str) -> tuple[date, date]:
    first, _, last = text.partition("/")
    return day(first), day(last or first)
