"""``tf-landslide annotate``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tf_landslide.cli.parsing import Arguments, Commands, add_command, day, event_days, number_from_0, two_numbers
from tf_landslide.cli.printing import heard, print_json
from tf_landslide.cli.scene_inputs import add_inputs, inputs_of
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.extras import extra


def add(commands: Commands) -> None:
    parser = add_command(commands, "annotate", run, "find landslide candidates from an image before and one after")
    parser.add_argument(
        "scenes", nargs="*", metavar="SCENE", help="BEFORE and AFTER: a raster, a .SAFE folder or a manifest each"
    )
    parser.set_defaults(anywhere="scenes")
    parser.add_argument(
        "--before",
        nargs="+",
        default=[],
        metavar="FILE",
        help="instead: the rasters of a scene, NAME=FILE for a band each",
    )
    parser.add_argument("--after", nargs="+", default=[], metavar="FILE", help="likewise; its grid is kept")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the candidates")
    parser.add_argument(
        "--shift",
        type=_shift,
        metavar="auto|ROWS,COLS",
        help="undo that the image before lies off: as estimated, or by so many pixels (default: only warn)",
    )
    parser.add_argument(
        "--rules", metavar="RULES", help="name or YAML file (default: change; change_visible without near infrared)"
    )
    parser.add_argument("--form-rules", default="change_form", metavar="RULES", help="for groups of accepted segments")
    parser.add_argument(
        "--min-area", type=number_from_0, default=500.0, metavar="M2", help="of a polygon (default 500)"
    )
    parser.add_argument(
        "--fill-holes", type=number_from_0, default=0.0, metavar="M2", help="holes smaller than this (default 0)"
    )
    parser.add_argument("--smooth", action="store_true", help="cut the corners of polygons' pixels; areas stay")
    parser.add_argument(
        "--event-from", type=day, metavar="DATE", help="kept with every polygon (default: the image before's)"
    )
    parser.add_argument(
        "--event-to", type=day, metavar="DATE", help="kept with every polygon (default: the image after's)"
    )
    add_inputs(parser)
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(a: Arguments) -> None:
    before, after = _scenes(a)
    event_from, event_to = event_days(a)
    with extra("map"):
        from tf_landslide.scenes.inputs import open_inputs  # rasterio
    from tf_landslide.jobs.annotate import AnnotateOptions, annotate  # scikit-image, GeoPandas

    with heard() as told:
        first = open_inputs(inputs_of(a, before, terrain=False), None)
        second = open_inputs(inputs_of(a, after), None)
    options = AnnotateOptions(
        rules=a.rules,
        form=a.form_rules,
        shift=a.shift,
        minimum_area=a.min_area,
        fill_holes=a.fill_holes,
        smooth=a.smooth,
        event_date_from=event_from,
        event_date_to=event_to,
        warnings=tuple(told),
    )
    summary = annotate(first, second, Path(a.out), options)
    if a.json:
        print_json(summary)
        return
    rows, columns = summary["shape"]
    print(f"{summary['candidates']} candidates, {summary['area_ha']:,.1f} ha, on {rows:,} x {columns:,} pixels")
    print(f"confidence: {', '.join(f'{count:,} {word}' for word, count in summary['by_confidence'].items())}")
    print(f"the image before lies off: {_shift_told(summary['shift'])}")
    print(f"in {a.out}: {', '.join(summary['files'])}; next: tf-landslide review {a.out} --reviewer NAME")
    for warning in summary["warnings"]:
        print(f"note: {warning}")


def _shift_told(shift: dict[str, Any]) -> str:
    agree = f"{shift['agreeing']} of {shift['windows']} windows agree"
    undone = "undone: {:+.2f}, {:+.2f}".format(*shift["undone"]) if any(shift["undone"]) else "nothing undone"
    if shift["rows"] is None:
        return f"not known, {agree}; {undone}"
    return f"{shift['rows']:+.2f} rows, {shift['columns']:+.2f} columns ({agree}); {undone}"


def _scenes(a: Arguments) -> tuple[list[str], list[str]]:
    """The files before and after."""
    if bool(a.before) != bool(a.after) or bool(a.before) == bool(a.scenes):
        raise LandslideError("name two scenes, BEFORE and AFTER; or the files of each with --before and --after")
    if a.before:
        return a.before, a.after
    if len(a.scenes) != 2:
        raise LandslideError(
            f"expected two scenes, BEFORE and AFTER, got {len(a.scenes)}; bands that lie in files of their own go with "
            "--before and --after"
        )
    return [a.scenes[0]], [a.scenes[1]]


def _shift(text: str) -> tuple[float, float] | str:
    if text == "auto":
        return text
    try:
        return two_numbers(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"expected auto, or ROWS,COLS in pixels, got {text!r}") from None
