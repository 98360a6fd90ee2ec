"""What a scene is given as, for every command that takes one."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from tf_landslide.cli.parsing import Arguments, number, number_above_0
from tf_landslide.core.errors import LandslideError
from tf_landslide.jobs.map_options import named_bands

if TYPE_CHECKING:
    from tf_landslide.scenes.inputs import Inputs


def add_inputs(parser: argparse.ArgumentParser, terrain: bool = True) -> None:
    """Add the options that say what a scene is; its files are the command's own arguments.

    Args:
        parser: to add them to.
        terrain: whether the command asks for a terrain model.
    """
    group = parser.add_argument_group("what the scene is")
    if terrain:
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
        type=_number_or_nan,
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


def inputs_of(a: Arguments, files: list[str], terrain: bool = True) -> Inputs:
    """The scene that was given, with its terrain model unless ``terrain`` is False."""
    from tf_landslide.scenes.inputs import Inputs  # rasterio

    return Inputs(
        scene=tuple(files),
        dem=tuple(map(Path, a.dem)) if terrain else (),
        layout=Path(a.layout) if a.layout else None,
        bands=a.bands,
        scale=a.scale,
        offset=a.offset,
        nodata=a.nodata,
        clouds=a.clouds,
        hosts=tuple(a.allow_host),
        outside=a.allow_outside,
    )


def _bands(text: str) -> dict[str, int]:
    try:
        if found := named_bands(text):
            return found
        raise LandslideError("expected bands as NAME=N,…, e.g. red=3,green=2,blue=1")
    except LandslideError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _number_or_nan(text: str) -> float:
    """A stored value that means nothing; NaN always does, so that ``nan``, or ``none``, names no further one."""
    if text.lower() in ("none", "nan"):
        return math.nan
    try:
        return number(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"expected a number or none, got {text!r}") from None
