"""Pictures of a dataset's patches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tf_landslide.bands.layouts import BandLayout, get_layout
from tf_landslide.core.errors import LandslideError
from tf_landslide.data.folders import available_splits, find_patches
from tf_landslide.data.readings import Reading, read_patches
from tf_landslide.figures.plots import all_bands


def draw_patches(
    data_dir: str | Path,
    layout: str | BandLayout,
    out: str | Path,
    patches: Sequence[str] | None = None,
    *,
    ignore: int | None = None,
) -> list[Path]:
    """Draw every band of some patches with the mask's outline in red, one picture ``SPLIT_N.png`` each.

    Args:
        data_dir: a folder in either published layout.
        layout: of its bands.
        out: folder for the pictures.
        patches: ``SPLIT/N`` each; None takes the first patch that holds a landslide, else the first.
        ignore: the masks' value of pixels that are left out.

    Returns:
        the pictures' paths.

    Raises:
        LandslideError: no such patch, or one whose image cannot be read.
    """
    data_dir, layout = Path(data_dir), get_layout(layout)
    named = [_named(data_dir, layout, name, ignore) for name in patches or ()]
    chosen = named or [_first(data_dir, layout, ignore)]
    pictures = []
    for split, reading in chosen:
        assert reading.image is not None  # only such are chosen
        number = reading.patch.number
        pictures.append(Path(out) / f"{split}_{number}.png")
        landslide = None if reading.mask is None else reading.mask == 1
        all_bands(pictures[-1], reading.image, landslide, layout, f"{layout.name} {split}/{number}")
    return pictures


def _named(data_dir: Path, layout: BandLayout, name: str, ignore: int | None) -> tuple[str, Reading]:
    split, _, number = name.partition("/")
    found = {str(patch.number): patch for patch in find_patches(data_dir, split)}
    if number not in found:
        raise LandslideError(f"{data_dir}: no patch {name!r}; expected SPLIT/N, e.g. {split}/{next(iter(found))}")
    reading = next(read_patches([found[number]], layout, allow_missing=True, ignore=ignore))
    if reading.image is None:
        raise reading.errors[0]
    return split, reading


def _first(data_dir: Path, layout: BandLayout, ignore: int | None) -> tuple[str, Reading]:
    first = None
    for split in available_splits(data_dir):
        for reading in read_patches(find_patches(data_dir, split), layout, allow_missing=True, ignore=ignore):
            if reading.image is not None:
                first = first or (split, reading)
                if reading.mask is not None and (reading.mask == 1).any():
                    return split, reading
    if first is None:
        raise LandslideError(f"{data_dir}: no image can be read")
    return first
