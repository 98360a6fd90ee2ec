"""``tf-landslide patches``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tf_landslide.cli.parsing import Arguments, Commands, add_command, day, number_from_0
from tf_landslide.cli.printing import heard, print_json
from tf_landslide.cli.scene_inputs import add_inputs, inputs_of
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.extras import extra
from tf_landslide.core.tables import text_table


def add(commands: Commands) -> None:
    what = "cut a scene and checked polygons of its landslides into patches to train on"
    parser = add_command(commands, "patches", run, what)
    parser.add_argument(
        "scene",
        nargs="+",
        metavar="SCENE",
        help="the scene, as map takes it, and last the landslides: GeoPackage, GeoJSON, shapefile (.shp, .zip)",
    )
    parser.usage = "tf-landslide patches SCENE [SCENE ...] POLYGONS --out DIR [options]"
    parser.set_defaults(anywhere="scene")
    parser.add_argument("--out", required=True, metavar="DIR", help="a new folder for the patches")
    add_inputs(parser)
    group = parser.add_argument_group("what the polygons are")
    group.add_argument("--layer", metavar="NAME", help="of a file with several")
    group.add_argument("--area", metavar="POLYGONS", help="what was looked at; beyond it nobody can say")
    group.add_argument("--unreviewed", action="store_true", help="take those that nobody has checked for landslides")
    group.add_argument("--all-touched", action="store_true", help="pixels they touch, not those whose centre they hold")
    group = parser.add_argument_group("how it is cut")
    group.add_argument("--size", type=int, default=128, metavar="PX", help="side of a patch (default 128)")
    group.add_argument("--stride", type=int, metavar="PX", help="between patches of training (default: their size)")
    group.add_argument("--valid", type=float, default=0.2, metavar="SHARE", help="of the scene (default 0.2)")
    group.add_argument("--test", type=float, default=0.1, metavar="SHARE", help="of the scene (default 0.1)")
    group.add_argument("--buffer", type=float, metavar="M", help="metres between two splits (default: half a patch)")
    group.add_argument("--seed", type=int, default=0, metavar="S", help="of the division (default 0)")
    group.add_argument(
        "--missing", type=float, default=0.5, metavar="SHARE", help="of a patch that may be unknown (default 0.5)"
    )
    group.add_argument(
        "--negatives",
        type=number_from_0,
        metavar="N",
        help="patches without landslides for each with, in training (default: all)",
    )
    group.add_argument("--store", metavar="NAME,…", help="bands to be stored (default: all)")
    group = parser.add_argument_group("what is said of it")
    group.add_argument("--config", default="unet_resnet34", metavar="CONFIG", help="whose model config.yaml has")
    group.add_argument("--licence", metavar="TEXT", help="of the patches")
    group.add_argument("--date", type=day, metavar="DATE", help="of the image, where the scene does not say it")
    parser.add_argument("--json", action="store_true", help="print the card as JSON")


def run(a: Arguments) -> None:
    *files, polygons = a.scene
    if not files:
        raise LandslideError("name the scene and, last, the file of its landslides")
    with extra("map"):
        from tf_landslide.jobs.patches import PatchOptions, cut_patches  # rasterio, GeoPandas
    from tf_landslide.scenes.inputs import open_inputs

    with heard() as told:
        scene = open_inputs(inputs_of(a, files), None)
    options = PatchOptions(
        polygons=Path(polygons),
        layer=a.layer,
        area=Path(a.area) if a.area else None,
        unreviewed=a.unreviewed,
        all_touched=a.all_touched,
        size=a.size,
        stride=a.stride,
        valid=a.valid,
        test=a.test,
        buffer=a.buffer,
        seed=a.seed,
        missing=a.missing,
        negatives=a.negatives,
        bands=tuple(name.strip() for name in a.store.split(",")) if a.store else (),
        config=a.config,
        licence=a.licence,
        date=a.date and a.date.isoformat(),
        warnings=tuple(told),
    )
    card = cut_patches(scene, Path(a.out), options)
    print_json(card) if a.json else print(_text(a.out, card))


def _text(out: str, card: dict[str, Any]) -> str:
    header = ("", "patches", "with landslides", "landslide pixels", "share", "polygons")
    rows = [
        (
            *(split, row["patches"], row["with_landslides"], f"{row['landslide_pixels']:,}"),
            *(f"{row['landslide_pixels'] / row['labelled_pixels']:.2%}", row["polygons"]),
        )
        for split, row in card["splits"].items()
    ]
    found = {what: count for what, count in card["polygons"]["found"].items() if count}
    left_out = {what: count for what, count in card["left_out"].items() if count}
    overlapping = card["cutting"]["stride"] < card["cutting"]["size"]
    twice = ["pixels in several overlapping patches of training count once for each"] if overlapping else []
    return "\n".join(
        [
            text_table(header, rows),
            *twice,
            f"polygons: {', '.join(f'{count:,} {what}' for what, count in found.items())}",
            f"left out: {', '.join(f'{what} {count:,}' for what, count in left_out.items()) or 'nothing'}",
            f"layout {card['layout']}; next: tf-landslide train {out}/config.yaml --data {out} --out RUN",
        ]
    )
