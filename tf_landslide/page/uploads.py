"""Uploaded files: what they hold, said plainly, and the channels a model makes of them."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from tf_landslide.bands.layouts import LANDSLIDE4SENSE_REFLECTANCE, Band, BandLayout, known_band_counts
from tf_landslide.bands.recipes import RECIPES, available, channel_recipe
from tf_landslide.core.errors import LandslideError
from tf_landslide.data.hdf5 import image_layout, image_shape, noted_mask, read_image
from tf_landslide.data.ranges import RangeCheck
from tf_landslide.page.text import distinct, listed
from tf_landslide.runs.card import ModelCard

COMPUTED = RECIPES["six"]  # what a file without a layout may hold, in physical units
SHOWN = ("red", "green", "blue", "ndvi", "slope", "dem")
MAX_PIXELS = 2048 * 2048
MAX_BYTES = 4 * MAX_PIXELS * 16  # of one image: as many pixels of sixteen bands
_NDVI = Band("ndvi", unit="index", range=(-1.0, 1.0))
_AS_COMPUTED = replace(
    LANDSLIDE4SENSE_REFLECTANCE,
    name="computed channels",
    bands=tuple({b.name: b for b in (*LANDSLIDE4SENSE_REFLECTANCE.bands, _NDVI)}[name] for name in COMPUTED),
)
"""What is expected of computed channels: what the bands of Landslide4Sense are as physical values."""


@dataclass(frozen=True)
class Upload:
    """A patch that was uploaded.

    Attributes:
        name: of its file; with a number where an earlier one has that name.
        image: (H, W, B) as stored, or already computed channels.
        layout: of the stored bands; None for computed channels.
        mask: (H, W) 0 and 1, or None.
        mask_name: of the mask's file.
    """

    name: str
    image: np.ndarray
    layout: BandLayout | None
    mask: np.ndarray | None = None
    mask_name: str = ""

    @property
    def form(self) -> str:
        """What it is and how large, in words."""
        height, width, count = self.image.shape
        what = self.layout.title if self.layout else f"computed channels ({', '.join(COMPUTED)})"
        return f"{what}, {count} bands, {height} × {width} pixels"

    @property
    def missing(self) -> int:
        """Number of values that are not there."""
        return int(np.isnan(self.image).sum())

    @property
    def nbytes(self) -> int:
        """Of the bands, the channels that are shown, and the mask."""
        return _bytes(self.image.shape)

    @property
    def pixel_size(self) -> float | None:
        """Ground size of a pixel in metres, where the layout states one."""
        return self.layout.pixel_size if self.layout else None

    @cached_property
    def physical(self) -> dict[str, np.ndarray]:
        """Of red, green, blue, NDVI, slope and DEM those that there are, (H, W) each."""
        if self.layout is None:
            return {name: self.image[..., i] for i, name in enumerate(COMPUTED)}
        names = [name for name in SHOWN if available(name, self.layout)]
        if not names:
            return {}
        channels = channel_recipe(self.layout, names)(self.image[None])[0]
        return {name: channels[..., i] for i, name in enumerate(names)}

    def unit(self, name: str) -> str:
        """Of a band or channel."""
        layout = self.layout if self.layout and name in self.layout.names else _AS_COMPUTED
        return layout.bands[layout.index(name)].unit

    @cached_property
    def doubt(self) -> str | None:
        """What does not fit the layout, and what the values look like; None where nothing is odd."""
        check = RangeCheck(self.layout or _AS_COMPUTED)
        check.add(self.image)
        return check.warning()

    def misfit(self, card: ModelCard) -> str | None:
        """What a model takes instead of this patch; None where it takes this."""
        if self.layout is None:
            return None if card.channel_names == COMPUTED else f"the channels {', '.join(card.channel_names)}"
        return None if self.layout == card.layout else f"layout {card.layout.name!r}"

    @property
    def holds(self) -> str:
        """What a model must take to be run on this patch."""
        return f"layout {self.layout.name!r}" if self.layout else f"the channels {', '.join(COMPUTED)}"

    def channels(self, card: ModelCard) -> np.ndarray:
        """The channels, (1, H, W, C), of a model that this fits (``misfit``)."""
        return self.image[None] if self.layout is None else card.channel_recipe(self.image[None])


def read_uploads(
    images: Sequence[str | Path],
    masks: Sequence[str | Path] = (),
    layouts: Sequence[BandLayout] = (),
    most_bytes: float = math.inf,
    models: int = 1,
) -> tuple[list[Upload], list[str]]:
    """The uploads that can be used, and a plain sentence for each file that cannot, or that is taken for another.

    A mask belongs to the image with the numbers in its name; one without a number to the only image there is.

    Args:
        images, masks: HDF5 files.
        layouts: that the models have; an image that does not say its own is in the first that has as many bands, or in
            a shipped one.
        most_bytes: that the uploads and their results may have together; no file is read that would need more.
        models: that are to be run on each, at most; their results can be refined at any time.
    """
    paths, mask_paths = [Path(path) for path in images], [Path(mask) for mask in masks]
    pairs, problems = _paired(paths, mask_paths)
    uploads: list[Upload] = []
    left_out = []
    notes: dict[str, list[str]] = defaultdict(list)
    needed = 0
    for path, mask in zip(paths, pairs, strict=True):
        try:
            shape = image_shape(path) or ()
            if needed + _bytes(shape, models) > most_bytes:
                left_out.append(path.name)
                continue
            upload = _read(path, distinct(path.name, {other.name.casefold() for other in uploads}), layouts)
        except Exception as error:
            problems.append(_sentence(error, path))
            continue
        needed += _bytes(shape, models)
        if mask is not None:
            try:
                upload, said = _with_mask(upload, mask)
                for note in said:
                    notes[note].append(mask.name)
            except Exception as error:
                problems.append(_sentence(error, mask))
        uploads.append(upload)
    problems += [f"{listed(names)}: {note}" for note, names in notes.items()]
    if left_out:
        most = f"{most_bytes / 2**20:,.0f} MB"
        what = "bands and results" if models == 1 else f"bands and results of {models} models"
        problems.append(f"{listed(left_out)}: left out, since one run keeps {most} of {what} at most")
    return uploads, problems


def _bytes(shape: Sequence[int], models: int = 0) -> int:
    """Of float32 bands, the channels that are shown, a mask, and the results of models, for an image's shape.

    A result is a probability (float32), and refined the numbers of its objects (int32) and masks at two thresholds.
    """
    if len(shape) != 3:
        return 0
    height, width, bands = shape
    return height * width * (4 * bands + 4 * len(SHOWN) + 1 + models * (4 + 4 + 2))


def _read(path: Path, name: str, layouts: Sequence[BandLayout]) -> Upload:
    shape = image_shape(path)  # by the header alone: a small file can declare gigabytes
    if shape and len(shape) == 3 and shape[0] * shape[1] > MAX_PIXELS:
        said = f"is {shape[0]} × {shape[1]} pixels; the page takes {MAX_PIXELS:,} at most, cut it up"
        raise LandslideError(f"{path}: {said}")
    layout = image_layout(path, layouts)
    if layout is None and shape and len(shape) == 3 and shape[2] != len(COMPUTED):
        raise LandslideError(
            f"{path}: 'img' has {shape[2]} bands; expected {known_band_counts()} or {len(COMPUTED)} computed channels "
            f"({', '.join(COMPUTED)})"
        )
    image = read_image(path, allow_missing=True, limit=MAX_BYTES)
    if not np.isfinite(image).any():
        raise LandslideError(f"{path}: every value is missing (NaN); there is nothing to see in it")
    return Upload(name, image, layout)


def _with_mask(upload: Upload, path: Path) -> tuple[Upload, tuple[str, ...]]:
    """An upload with its mask, and what was taken for what to read it."""
    noted = noted_mask(path, limit=MAX_BYTES)
    mask = noted.values
    if mask.shape != upload.image.shape[:2]:
        expected = f"{upload.image.shape[:2]}; sizes must be equal"
        raise LandslideError(f"{path}: the mask is {mask.shape}, its image {expected}")
    return replace(upload, mask=mask, mask_name=path.name), noted.notes


def _paired(images: list[Path], masks: list[Path]) -> tuple[list[Path | None], list[str]]:
    """The mask of each image, and what must be said: masks that are nobody's, and numbers that several have."""
    alone = _numbers(images[0]) if len(images) == 1 else None  # whose mask one without a number is
    waiting: dict[tuple[int, ...] | None, list[Path]] = defaultdict(list)
    for mask in sorted(masks, key=lambda mask: not _numbers(mask)):
        waiting[_numbers(mask) or alone].append(mask)
    pairs = [waiting[_numbers(image)].pop(0) if waiting[_numbers(image)] else None for image in images]
    nobodys = [mask.name for mask in masks if mask not in pairs]
    problems = [
        f"{name}: belongs to none of the images; they are paired by the number in their names" for name in nobodys
    ]
    often = Counter(_numbers(image) for image, mask in zip(images, pairs, strict=True) if mask)
    for numbers in (numbers for numbers, count in often.items() if count > 1):
        which = listed([image.name for image in images if _numbers(image) == numbers])
        problems.append(f"{which}: have one number; their masks were paired in the order of the files")
    return pairs, problems


def _numbers(path: Path) -> tuple[int, ...]:
    """The numbers in a file's name: (3, 12) for ``scene3_patch12.h5``."""
    return tuple(map(int, re.findall(r"\d+", path.stem)))


def _sentence(error: Exception, path: Path) -> str:
    """What is wrong with a file, with its name in place of where the page keeps it.

    A stranger's file can raise anything from anywhere; it costs itself, never the files beside it.
    """
    if isinstance(error, LandslideError):
        return str(error).replace(str(path), path.name)
    if isinstance(error, MemoryError):
        return f"{path.name}: needs more memory than there is; cut it up"
    return f"{path.name}: cannot be read ({type(error).__name__}); fetch or write it again"
