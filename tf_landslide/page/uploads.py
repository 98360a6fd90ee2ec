"""Uploaded files: what they hold, said plainly, and the channels a model makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from tf_landslide.bands.layouts import BandLayout, known_band_counts
from tf_landslide.bands.recipes import RECIPES, available, channel_recipe
from tf_landslide.core.errors import LandslideError
from tf_landslide.data.hdf5 import image_layout, image_shape, read_image, read_mask
from tf_landslide.predict.predictor import Predictor

COMPUTED = RECIPES["six"]  # what a file without a layout may hold, in physical units
SHOWN = ("red", "green", "blue", "ndvi", "slope", "dem")
MAX_PIXELS = 2048 * 2048
MAX_BYTES = 4 * MAX_PIXELS * 16  # of one image: as many pixels of sixteen bands


@dataclass(frozen=True)
class Upload:
    """A patch that was uploaded.

    Attributes:
        name: of its file.
        image: (H, W, B) as stored, or already computed channels.
        layout: of the stored bands; None for computed channels.
        mask: (H, W) 0 and 1, or None.
    """

    name: str
    image: np.ndarray
    layout: BandLayout | None
    mask: np.ndarray | None = None

    @property
    def description(self) -> str:
        height, width, count = self.image.shape
        what = self.layout.title if self.layout else f"computed channels ({', '.join(COMPUTED)})"
        truth = "" if self.mask is None else "; with a mask"
        missing = int(np.isnan(self.image).sum())
        gaps = f"; {missing} missing values" if missing else ""
        return f"{self.name}: {what}, {count} bands, {height} × {width} pixels{gaps}{truth}"

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
        channels = channel_recipe(self.layout, names)(self.image[None])[0]
        return {name: channels[..., i] for i, name in enumerate(names)}

    def channels(self, predictor: Predictor) -> np.ndarray:
        """The model's channels, (1, H, W, C).

        Raises:
            LandslideError: a model for other bands.
        """
        card = predictor.card
        if self.layout is None:
            if card.channel_names != COMPUTED:
                raise LandslideError(
                    f"{self.name}: holds the channels {', '.join(COMPUTED)}; model {card.name!r} takes "
                    f"{', '.join(card.channel_names)}; upload the stored bands instead"
                )
            return self.image[None]
        if self.layout != card.layout:
            raise LandslideError(
                f"{self.name}: is in layout {self.layout.name!r}, model {card.name!r} was trained on "
                f"{card.layout.name!r}; choose a model of the same layout"
            )
        return predictor.channels(self.image[None])


def read_uploads(
    images: Sequence[str | Path], masks: Sequence[str | Path] = (), layouts: Sequence[BandLayout] = ()
) -> tuple[list[Upload], list[str]]:
    """The uploads that can be used, and a plain sentence for each file that cannot.

    A mask belongs to the image with the number in its name, or to the only image there is.

    Args:
        images: files.
        masks: files.
        layouts: that the models have; an image that does not say its own is in the first that has as many bands, or in
            a shipped one.
    """
    uploads, problems = [], []
    left = [Path(mask) for mask in masks]
    for path in map(Path, images):
        try:
            image, layout = _read(path, layouts)
            mask = None
            if file := _mask_for(path, left, alone=len(images) == 1):
                try:
                    mask = _read_mask(file, image)
                except LandslideError as error:
                    problems.append(_plain(error, file))
            uploads.append(Upload(path.name, image, layout, mask))
        except LandslideError as error:
            problems.append(_plain(error, path))
    unpaired = "belongs to none of the images; they are paired by the number in their names"
    return uploads, problems + [f"{path.name}: {unpaired}" for path in left]


def _read(path: Path, layouts: Sequence[BandLayout]) -> tuple[np.ndarray, BandLayout | None]:
    height, width = (*(image_shape(path) or ()), 0, 0)[:2]
    if height * width > MAX_PIXELS:
        raise LandslideError(f"{path}: is {height} × {width} pixels; the page takes {MAX_PIXELS:,} at most, cut it up")
    image = read_image(path, allow_missing=True, limit=MAX_BYTES)
    layout, count = image_layout(path, layouts), image.shape[-1]
    if layout is None and count != len(COMPUTED):
        raise LandslideError(
            f"{path}: 'img' has {count} bands; expected {known_band_counts()} or {len(COMPUTED)} computed channels "
            f"({', '.join(COMPUTED)})"
        )
    return image, layout


def _mask_for(image: Path, left: list[Path], alone: bool) -> Path | None:
    """The mask of an image, taken off the list."""
    number = _number(image)
    matching = [mask for mask in left if number and _number(mask) == number] or (left[:1] if alone else [])
    for mask in matching[:1]:
        left.remove(mask)
    return matching[0] if matching else None


def _number(path: Path) -> str:
    return "".join(c for c in path.stem if c.isdigit())


def _read_mask(path: Path, image: np.ndarray) -> np.ndarray:
    mask = read_mask(path, limit=MAX_BYTES)
    if mask.shape != image.shape[:2]:
        raise LandslideError(f"{path}: the mask is {mask.shape}, its image {image.shape[:2]}; sizes must be equal")
    return mask


def _plain(error: LandslideError, path: Path) -> str:
    """The error's sentence with the file's name in place of where the page keeps it."""
    return str(error).replace(str(path), path.name)
