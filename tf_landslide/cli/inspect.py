"""``tf-landslide inspect``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tf_landslide.cli.parsing import Arguments, Commands, add_command
from tf_landslide.cli.printing import print_json
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.tables import text_table

if TYPE_CHECKING:
    from tf_landslide.data.statistics import Inspection, SplitSummary


def add(commands: Commands) -> None:
    what = "count, check and describe a dataset; status 2 where anything is broken"
    parser = add_command(commands, "inspect", run, what)
    parser.add_argument("dir", metavar="DIR", help="a folder of HDF5 patches")
    parser.add_argument("--layout", help="band layout (default: by the number of bands)")
    parser.add_argument("--allow-missing", action="store_true", help="take NaN as a missing value, not as a fault")
    parser.add_argument("--figure", metavar="OUT", help="folder for pictures of every band, the mask outlined in red")
    parser.add_argument(
        "--patch", nargs="+", metavar="SPLIT/N", help="patches to draw (default: the first with a landslide)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(a: Arguments) -> None:
    from tf_landslide.data.statistics import inspect_data  # HDF5
    from tf_landslide.jobs.inspect import draw_patches  # Matplotlib

    if a.patch and not a.figure:
        raise LandslideError("--patch chooses what to draw; say where with --figure OUT")
    found = inspect_data(a.dir, a.layout, allow_missing=a.allow_missing)
    if a.json:
        print_json(found.as_dict())
    else:
        print(_text(found))
    if a.figure:
        for picture in draw_patches(a.dir, found.layout, a.figure, a.patch):
            print(f"drawn: {picture}", file=sys.stderr)
    if found.problems:
        raise LandslideError(f"{a.dir}: {len(found.problems)} problems, listed above")


def _text(found: Inspection) -> str:
    lines = [f"{found.data_dir}: layout {found.layout}"]
    for split, summary in found.splits.items():
        lines += _split_lines(split, summary)
    lines += ["", *(f"problem: {problem}" for problem in found.problems)] if found.problems else ["", "no problems"]
    return "\n".join(lines)


def _split_lines(split: str, s: SplitSummary) -> list[str]:
    shape = " x ".join(map(str, s.shape or ()))
    share = s.landslide_patches / s.pairs if s.pairs else 0
    header = ("  band", "unit", "mean", "std", "min", "max", "stored mean", "missing")
    rows = [
        (f"  {b.name}", b.unit, *map(_number, (b.mean, b.std, b.minimum, b.maximum, b.stored_mean)), b.missing)
        for b in s.bands
    ]
    return [
        "",
        f"{split}: {s.images} images, {s.masks} masks, {s.pairs} sound pairs, {shape}",
        f"  landslide: {s.landslide_fraction:.2%} of the pixels, {s.landslide_patches} patches ({share:.0%})",
        "",
        text_table(header, rows),
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
