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
    parser.add_argument("--layout", help="band layout: a name, or a YAML file (default: as the files say)")
    parser.add_argument("--allow-missing", action="store_true", help="take NaN as a missing value, not as a fault")
    parser.add_argument("--ignore", type=int, metavar="N", help="value of mask pixels that are left out, e.g. 255")
    parser.add_argument("--strict", action="store_true", help="values that are not those of the layout are a problem")
    parser.add_argument("--figure", metavar="OUT", help="folder for pictures of every band, the mask outlined in red")
    parser.add_argument(
        "--patch", nargs="+", metavar="SPLIT/N", help="patches to draw (default: the first with a landslide)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(a: Arguments) -> None:
    from tf_landslide.bands.layouts import get_layout  # YAML
    from tf_landslide.data.checks import detect_layout  # HDF5
    from tf_landslide.data.statistics import inspect_data
    from tf_landslide.jobs.inspect import draw_patches  # Matplotlib

    if a.patch and not a.figure:
        raise LandslideError("--patch chooses what to draw; say where with --figure OUT")
    layout = get_layout(a.layout) if a.layout else detect_layout(a.dir)
    found = inspect_data(a.dir, layout, allow_missing=a.allow_missing, strict=a.strict, ignore=a.ignore)
    if a.json:
        print_json(found.as_dict())
    else:
        print(_text(found))
    if a.figure:
        for picture in draw_patches(a.dir, layout, a.figure, a.patch, ignore=a.ignore):
            print(f"drawn: {picture}", file=sys.stderr)
    if found.problems:
        raise LandslideError(f"{a.dir}: {len(found.problems)} problems, listed above")


def _text(found: Inspection) -> str:
    lines = [f"{found.data_dir}: layout {found.layout}"]
    for split, summary in found.splits.items():
        lines += _split_lines(split, summary)
    lines += ["", *(f"note: {note}" for note in found.notes), *(f"warning: {warning}" for warning in found.warnings)]
    lines += [f"problem: {problem}" for problem in found.problems] or ["no problems"]
    return "\n".join(lines)


def _split_lines(split: str, s: SplitSummary) -> list[str]:
    shape = " x ".join(map(str, s.shape or ()))
    header = ("  band", "unit", "mean", "std", "min", "max", "stored mean", "missing")
    rows = [
        (f"  {b.name}", b.unit, *map(_number, (b.mean, b.std, b.minimum, b.maximum, b.stored_mean)), b.missing)
        for b in s.bands
    ]
    hidden = f", {s.hidden} hidden files skipped" if s.hidden else ""
    if s.landslide_fraction is None:
        head = [f"{split}: {s.images} images, {shape}, no masks: can be predicted, not judged{hidden}"]
    else:
        share = s.landslide_patches / s.pairs if s.pairs else 0
        head = [
            f"{split}: {s.images} images, {s.masks} masks, {s.pairs} sound pairs, {shape}{hidden}",
            f"  landslide: {s.landslide_fraction:.2%} of the pixels, {s.landslide_patches} patches ({share:.0%})",
        ]
    return ["", *head, "", text_table(header, rows)]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
