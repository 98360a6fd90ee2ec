"""``tf-landslide review``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tf_landslide.cli.parsing import Arguments, Commands, add_command
from tf_landslide.cli.printing import print_json
from tf_landslide.cli.scene_inputs import add_inputs, inputs_of
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.extras import extra

if TYPE_CHECKING:
    from tf_landslide.objects.review.agreement import Agreement


def add(commands: Commands) -> None:
    parser = add_command(commands, "review", run, "judge polygons one by one on a page: accept, reject, redraw, add")
    parser.add_argument("dir", metavar="DIR", help="a folder of annotate or map, or any to keep the review in")
    parser.add_argument(
        "--reviewer", action="append", default=[], metavar="NAME", help="who judges (to compare: who is, repeatable)"
    )
    parser.add_argument(
        "--polygons",
        metavar="FILE",
        help="a GeoPackage, shapefile or GeoJSON (default: candidates.gpkg or landslides.gpkg of DIR)",
    )
    parser.add_argument("--before", nargs="+", default=[], metavar="SCENE", help="make the picture of before from it")
    parser.add_argument("--after", nargs="+", default=[], metavar="SCENE", help="make the picture of after from it")
    parser.add_argument("--export", action="store_true", help="write what is decided as files, and show no page")
    parser.add_argument("--agreement", action="store_true", help="tell how reviewers agree, and show no page")
    parser.add_argument("--json", action="store_true", help="print what --export or --agreement found as JSON")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=7861, help="default 7861; 0 for a free one")
    add_inputs(parser, terrain=False)
    parser.add_argument(
        "--allowed-hosts",
        action="append",
        default=[],
        metavar="NAME",
        help="a name that the page may be reached by beside localhost and addresses in digits, repeatable; '*' for any",
    )


def run(a: Arguments) -> None:
    shows = not (a.export or a.agreement)
    if shows and len(a.reviewer) != 1:
        raise LandslideError("say who reviews: --reviewer NAME, once")
    with extra("map"):
        import geopandas  # noqa: F401  # the extra
    with extra("page"):
        from tf_landslide.jobs.review import (  # rasterio, uvicorn
            agreements,
            export_reviews,
            make_pictures,
            open_polygons,
            review_page,
        )
        from tf_landslide.scenes.inputs import Inputs  # rasterio
    folder = Path(a.dir)
    before, after = (inputs_of(a, files, terrain=False) if files else None for files in (a.before, a.after))
    if not (before or after) and inputs_of(a, [], terrain=False) != Inputs(scene=()):
        raise LandslideError("what says how a scene is read (--bands, --scale, …) is for --before or --after: name one")
    for picture in make_pictures(folder, before, after):
        print(f"written: {picture}", file=sys.stderr)
    polygons = open_polygons(folder, a.polygons)
    told: dict[str, object] = {}
    if a.export:
        told["reviewers"] = exported = export_reviews(folder, polygons, a.reviewer)
        if not a.json:
            for name, found in exported.items():
                print(f"{name}: {found['counts']}; {found['files']}")
    if a.agreement:
        compared = agreements(folder, polygons, a.reviewer)
        told["agreement"] = [found.as_dict() for found in compared]
        if not a.json:
            print("\n\n".join(_text(found) for found in compared))
    if not shows and a.json:
        print_json(told)
    if shows:
        review_page(folder, polygons, a.reviewer[0], a.host, a.port, a.allowed_hosts)


def _text(found: Agreement) -> str:
    def number(value: float | None) -> str:
        return "not defined" if value is None else f"{value:.4f}"

    lines = [
        f"{found.a} and {found.b}: {found.both} polygons judged by both, {found.same} alike",
        f"Cohen's kappa: {number(found.kappa)} of the status, {number(found.kappa_landslide)} of landslide or not",
        f"redrawn: {found.redrawn} shapes, mean intersection over union {number(found.redrawn_iou)}",
        f"added: {found.added[0]} by {found.a}, {found.added[1]} by {found.b}, {found.added[2]} the same",
    ]
    for one in found.disagreements:
        shapes = "" if one.iou is None else f", shapes' intersection over union {one.iou:.2f}"
        lines.append(f"  polygon {one.polygon}: {found.a} {one.a}, {found.b} {one.b}{shapes}")
    return "\n".join(lines)
