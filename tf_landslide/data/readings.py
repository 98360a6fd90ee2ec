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
from tf_landslide.data.folders import Patch
from tf_landslide.data.hdf5 import image_shape, read_image, read_mask


@dataclass
class Reading:
    """What reading one patch gave: arrays where they could be read, and the error of each file that could not."""

    patch: Patch
    image: np.ndarray | None = None  # (H, W, B) float32, as stored
    mask: np.ndarray | None = None  # (H, W) uint8, 0 or 1
    errors: tuple[LandslideError, ...] = ()


def read_patch(patch: Patch, layout: BandLayout | None = None, *, allow_missing: bool = False) -> Reading:
    """Read both files of a patch; what is wrong with either is kept in the reading, not raised."""
    reading = Reading(patch)
    errors = []
    if patch.image is None:
        errors.append(LandslideError(f"{patch.mask}: has no image_{patch.number}.h5 to go with it"))
    else:
        try:
            reading.image = read_image(patch.image, layout, allow_missing=allow_missing)
        except LandslideError as error:
            errors.append(error)
    if patch.mask is None:
        errors.append(LandslideError(f"{patch.image}: has no mask_{patch.number}.h5 to go with it"))
    else:
        try:
            reading.mask = read_mask(patch.mask)
        except LandslideError as error:
            errors.append(error)
    if reading.image is not None and reading.mask is not None and reading.image.shape[:2] != reading.mask.shape:
        errors.append(
            LandslideError(
                f"{patch.mask}: is {reading.mask.shape}, its image is {reading.image.shape[:2]}; sizes must be equal"
            )
        )
        reading.mask = None
    reading.errors = tuple(errors)
    return reading


def read_patches(
    patches: Sequence[Patch],
    layout: BandLayout | None = None,
    *,
    allow_missing: bool = False,
    then: Callable[[int, Reading], None] | None = None,
) -> Iterator[Reading]:
    """Read many patches on a few threads, in order; each thread reads several at a time, as handing over costs time.

    Args:
        patches: to read.
        layout: that their images must have; None accepts any number of bands.
        allow_missing: take NaN as a missing value rather than as a fault.
        then: called with each patch's position and reading by the thread that read it, in no order.
    """

    def read(positions: range) -> list[Reading]:
        readings = []
        for position in positions:
            readings.append(read_patch(patches[position], layout, allow_missing=allow_missing))
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
