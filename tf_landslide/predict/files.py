"""HDF5 patches in, predictions on disk out: ``STEM_probability.npy``, ``STEM_mask.png``, ``STEM_overlay.png``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from tf_landslide.bands.layouts import get_layout
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.progress import progress
from tf_landslide.core.threads import in_order
from tf_landslide.data.hdf5 import read_image
from tf_landslide.figures.pictures import rgb
from tf_landslide.predict.predictor import Predictor
from tf_landslide.predict.result import Result, channel_ranges, check_threshold

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

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def predict_files(
    predictor: Predictor,
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    threshold: float | None = None,
    allow_missing: bool = False,
) -> list[Prediction]:
    """Predict HDF5 patches of any size. Every input is read and checked before anything is written.

    Args:
        predictor: the model.
        inputs: files in the model's band layout.
        out: folder for the results.
        threshold: marks a pixel from this probability on; None takes the model's own.
        allow_missing: take NaN as a missing value rather than as a fault.

    Raises:
        LandslideError: a file that cannot be used, or two whose results would have one name.
    """
    paths, out = [Path(path) for path in inputs], Path(out)
    layout = get_layout(predictor.card.layout)
    threshold = check_threshold(predictor.card.threshold if threshold is None else threshold)
    _refuse_equal_stems(paths)

    def read(path: Path) -> np.ndarray:
        return read_image(path, layout, allow_missing=allow_missing)

    for _ in progress(in_order(read, paths), total=len(paths), label="checking"):
        pass
    if out.exists() and not out.is_dir():
        raise LandslideError(f"{out}: is a file; name a folder to write to")
    predictions = []
    images = zip(paths, in_order(read, paths), strict=True)
    for batch in _batches(progress(images, total=len(paths), label="predicting"), predictor.batch_size):
        channels, probability = predictor.from_bands(np.stack([image for _, image in batch]))
        for (path, image), x, y in zip(batch, channels, probability[..., 0], strict=True):
            missing = int((~np.isfinite(x)).sum())
            result = Result(path.name, predictor.card, y, threshold, layout.pixel_size, missing)
            written = result.write(out, path.stem, rgb(image, layout))
            predictions.append(
                Prediction(
                    input=str(path),
                    probability=str(written["probability"]),
                    mask=str(written["mask"]),
                    overlay=str(written["overlay"]),
                    **result.summary(),
                    channels=channel_ranges(x, predictor.card.channel_names),
                    missing=missing,
                )
            )
    return predictions


def _refuse_equal_stems(paths: list[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in paths:
        if path.stem in seen:
            raise LandslideError(f"{path}: its results would overwrite those of {seen[path.stem]}; predict them apart")
        seen[path.stem] = path


def _batches(items: Iterable[tuple[Path, np.ndarray]], size: int) -> Iterator[Images]:
    """Consecutive (path, image) of one shape, at most ``size`` at a time."""
    for _, group in groupby(items, key=lambda item: item[1].shape):
        batch: Images = []
        for item in group:
            batch.append(item)
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch
