"""Reading patches: image and mask together, many on a few threads, what is wrong kept beside what is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from tf_landslide.bands.layouts import BandLayout
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.threads import in_order
from tf_landslide.data.folders import Patch, is_labelled
from tf_landslide.data.hdf5 import image_shape, noted_image, noted_mask


@dataclass
class Reading:
    """What reading one patch gave: arrays where they could be read, and the error of each file that could not."""

    patch: Patch
    image: np.ndarray | None = None  # (H, W, B) float32, as stored
    mask: np.ndarray | None = None  # (H, W) uint8, 0, 1 or IGNORED
    errors: tuple[LandslideError, ...] = ()
    notes: tuple[str, ...] = ()  # what was taken for what


def read_patch(
    patch: Patch,
    layout: BandLayout | None = None,
    *,
    allow_missing: bool = False,
    labelled: bool = True,
    ignore: int | None = None,
) -> Reading:
    """Read both files of a patch; what is wrong with either is kept in the reading, not raised.

    Args:
        patch: to read.
        layout: that its image must have; None accepts any number of bands.
        allow_missing: take NaN as a missing value rather than as a fault.
        labelled: whether its split has masks, so that a missing one is a fault.
        ignore: the mask's value of pixels that are left out.
    """
    reading = Reading(patch)
    notes: list[str] = []
    errors = []
    if patch.image is None:
        errors.append(LandslideError(f"{patch.mask}: has no image_{patch.number}.h5 to go with it"))
    else:
        try:
            noted = noted_image(patch.image, layout, allow_missing=allow_missing)
            reading.image = noted.values
            notes += noted.notes
        except LandslideError as error:
            errors.append(error)
    if patch.mask is None:
        if labelled:
            errors.append(LandslideError(f"{patch.image}: has no mask_{patch.number}.h5 to go with it"))
    else:
        try:
            noted = noted_mask(patch.mask, ignore=ignore)
            reading.mask = noted.values
            notes += noted.notes
        except LandslideError as error:
            errors.append(error)
    if reading.image is not None and reading.mask is not None and reading.image.shape[:2] != reading.mask.shape:
        errors.append(
            LandslideError(
                f"{patch.mask}: is {reading.mask.shape}, its image is {reading.image.shape[:2]}; sizes must be equal"
            )
        )
        reading.mask = None
    reading.errors, reading.notes = tuple(errors), tuple(notes)
    return reading


def read_patches(
    patches: Sequence[Patch],
    layout: BandLayout | None = None,
    *,
    allow_missing: bool = False,
    ignore: int | None = None,
    then: Callable[[int, Reading], None] | None = None,
) -> Iterator[Reading]:
    """Read many patches on a few threads, in order; each thread reads several at a time, as handing over costs time.

    Args:
        patches: to read, of one split; a missing mask is a fault where others have one.
        layout: that their images must have; None accepts any number of bands.
        allow_missing: take NaN as a missing value rather than as a fault.
        ignore: the masks' value of pixels that are left out.
        then: called with each patch's position and reading by the thread that read it, in no order.
    """

    labelled = is_labelled(patches)

    def read(positions: range) -> list[Reading]:
        readings = []
        for position in positions:
            patch = patches[position]
            readings.append(read_patch(patch, layout, allow_missing=allow_missing, labelled=labelled, ignore=ignore))
            if then:
                then(position, readings[-1])
        return readings

    size, every = _at_once(patches), range(len(patches))
    return chain.from_iterable(in_order(read, (every[i : i + size] for i in every[::size])))


def _at_once(patches: Sequence[Patch]) -> int:
    """How many patches to read before they are handed over: 16, or as many as make 16 MB."""
    image = next((patch.image for patch in patches if patch.image), None)
    shape = image_shape(image) if image else None
    return max(1, min(16, 2**22 // max(1, math.prod(shape)))) if shape else 16
