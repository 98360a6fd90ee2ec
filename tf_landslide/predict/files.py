"""HDF5 patches in, predictions on disk out: ``STEM_probability.npy``, ``STEM_mask.png``, ``STEM_overlay.png``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np

from tf_landslide.bands.layouts import BandLayout
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.progress import progress
from tf_landslide.core.threads import in_order
from tf_landslide.data.checks import tell_notes
from tf_landslide.data.folders import find_patches
from tf_landslide.data.hdf5 import noted_image, read_image
from tf_landslide.data.ranges import RangeCheck
from tf_landslide.figures.pictures import rgb
from tf_landslide.predict.predictor import Predictor
from tf_landslide.predict.result import Result, channel_ranges, check_threshold

Refine = Callable[[np.ndarray, np.ndarray, float], np.ndarray]
Images = list[tuple[Path, np.ndarray]]


@dataclass(frozen=True)
class Prediction:
    """What one patch gave.

    Attributes:
        input: the patch's file.
        probability: path of the (H, W) float32 array.
        mask: path of the PNG, 255 on landslide.
        overlay: path of the PNG.
        threshold: a pixel is a landslide from this probability on.
        mean_probability: over all pixels.
        landslide_fraction: share of pixels marked.
        landslide_area_m2: their area, where the layout states a pixel size, else None.
        channels: minimum, mean and maximum of each channel (missing values skipped), to check the input by.
        missing: number of missing channel values.
        mask_pixels: path of the network's own mask, where rules refined the other one.
        deviation, mutual_information: paths of the (H, W) float32 arrays that say how sure the model is, where they
            were asked for; see ``predict.predictor.Uncertain``.
    """

    input: str
    probability: str
    mask: str
    overlay: str
    threshold: float
    mean_probability: float
    landslide_fraction: float
    landslide_area_m2: float | None
    channels: dict[str, dict[str, float]]
    missing: int
    mask_pixels: str | None = None
    deviation: str | None = None
    mutual_information: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def predict_files(
    predictor: Predictor,
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    threshold: float | None = None,
    allow_missing: bool = False,
    strict: bool = False,
    refine: Refine | None = None,
    unsure: bool = False,
) -> list[Prediction]:
    """Predict HDF5 patches of any size. Every input is read and checked before anything is written.

    Args:
        predictor: the model.
        inputs: files in the model's band layout.
        out: folder for the results.
        threshold: marks a pixel from this probability on; None takes the model's own.
        allow_missing: take NaN as a missing value rather than as a fault.
        strict: refuse values that are not those of the layout, rather than warn.
        unsure: write how sure the model is of each pixel too.
        refine: gives the refined mask of a patch, of its channels (H, W, C), its probability (H, W) and the threshold.

    Raises:
        LandslideError: a file that cannot be used, or two whose results would have one name.
    """
    paths, out = [Path(path) for path in inputs], Path(out)
    layout = predictor.card.layout
    threshold = check_threshold(predictor.card.threshold if threshold is None else threshold)
    _refuse_equal_stems(paths)
    _check(paths, layout, allow_missing, strict)
    if out.exists() and not out.is_dir():
        raise LandslideError(f"{out}: is a file; name a folder to write to")
    predictions = []

    def read(path: Path) -> tuple[Path, np.ndarray]:
        return path, read_image(path, layout, allow_missing=allow_missing)

    images = progress(in_order(read, paths), total=len(paths), label="predicting")
    for batch in batches_of_a_shape(images, predictor):
        channels, probability, spread = _predicted(predictor, np.stack([image for _, image in batch]), unsure)
        for i, ((path, image), x, y) in enumerate(zip(batch, channels, probability[..., 0], strict=True)):
            missing = int((~np.isfinite(x)).sum())
            refined = refine(x, y, threshold) if refine else None
            result = Result(path.name, predictor.card, y, threshold, layout.pixel_size, missing, refined=refined)
            maps = {name: values[i, ..., 0] for name, values in spread.items()}
            written = result.write(out, path.stem, rgb(image, layout), maps)
            predictions.append(
                Prediction(
                    input=str(path),
                    probability=str(written["probability"]),
                    mask=str(written["mask"]),
                    overlay=str(written["overlay"]),
                    **result.summary(),
                    channels=channel_ranges(x, predictor.card.channel_names),
                    missing=missing,
                    mask_pixels=str(written["mask_pixels"]) if refine else None,
                    deviation=str(written["deviation"]) if unsure else None,
                    mutual_information=str(written["mutual_information"]) if unsure else None,
                )
            )
    return predictions


def _predicted(
    predictor: Predictor, bands: np.ndarray, unsure: bool
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Channels, probabilities (N, H, W, 1), and what says how sure the model is, where that is asked for."""
    if not unsure:
        return *predictor.from_bands(bands), {}
    channels = predictor.channels(bands)
    found = predictor.uncertainty(channels)
    return channels, found.probability, {"deviation": found.deviation, "mutual_information": found.mutual_information}


def _refuse_equal_stems(paths: list[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in paths:
        if path.stem in seen:
            raise LandslideError(f"{path}: its results would overwrite those of {seen[path.stem]}; predict them apart")
        seen[path.stem] = path


def batches_of_a_shape(items: Iterable[tuple[Path, np.ndarray]], predictor: Predictor) -> Iterator[Images]:
    """Consecutive (path, image) of one shape, so many at a time that neither bands nor channels are too many bytes."""
    for (height, width, bands), group in groupby(items, key=lambda item: item[1].shape):
        size = predictor.batch_of(4 * height * width * max(bands, len(predictor.card.channel_names)))
        while batch := list(islice(group, size)):
            yield batch


def split_images(data_dir: str | Path, split: str) -> list[Path]:
    """The images of a split, with or without masks. Raises ``LandslideError`` where there are none."""
    images = [patch.image for patch in find_patches(data_dir, split) if patch.image]
    if not images:
        raise LandslideError(f"{data_dir}: split {split!r} holds no images")
    return images


def _check(paths: list[Path], layout: BandLayout, allow_missing: bool, strict: bool) -> None:
    """Read every file once, so that nothing is written where one of them is broken."""
    ranges, notes = RangeCheck(layout), Counter[str]()

    def look(path: Path) -> tuple[str, ...]:
        if path.is_dir():
            raise LandslideError(f"{path}: is a folder, expected an HDF5 file; predict a dataset's with --data {path}")
        noted = noted_image(path, layout, allow_missing=allow_missing)
        ranges.add(noted.values)
        return noted.notes

    for found in progress(in_order(look, paths), total=len(paths), label="checking"):
        notes.update(found)
    where = paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    tell_notes(where, notes)
    ranges.report(where, strict=strict)
