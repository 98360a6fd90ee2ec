"""HDF5 patches in, predictions on disk out: ``STEM_probability.npy``, ``STEM_mask.png``, ``STEM_overlay.png``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from PIL import Image

from tf_landslide.bands import BandLayout, get_layout
from tf_landslide.data.patches import in_order, read_image
from tf_landslide.errors import LandslideError
from tf_landslide.evaluation.figures import overlay, rgb
from tf_landslide.files import replacing
from tf_landslide.predictor import Predictor
from tf_landslide.progress import progress


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

    def as_dict(self) -> dict:
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
    threshold = predictor.card.threshold if threshold is None else threshold
    if not 0 <= threshold <= 1:
        raise LandslideError(f"the threshold must lie in 0..1, got {threshold}")
    _refuse_equal_stems(paths)

    def read(path: Path) -> np.ndarray:
        return read_image(path, layout, allow_missing=allow_missing)

    for _ in progress(in_order(read, paths), total=len(paths), label="checking"):
        pass
    if out.exists() and not out.is_dir():
        raise LandslideError(f"{out}: is a file; name a folder to write to")
    results = []
    images = zip(paths, in_order(read, paths), strict=True)
    for batch in _batches(progress(images, total=len(paths), label="predicting"), predictor.batch_size):
        stored = np.stack([image for _, image in batch])
        channels, probability = predictor.from_bands(stored)
        for i, (path, image) in enumerate(batch):
            results.append(_write(path, image, channels[i], probability[i, ..., 0], out, threshold, layout, predictor))
    return results


def _refuse_equal_stems(paths: list[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in paths:
        if path.stem in seen:
            raise LandslideError(f"{path}: its results would overwrite those of {seen[path.stem]}; predict them apart")
        seen[path.stem] = path


def _batches(items: Iterable, size: int) -> Iterator[list]:
    """Consecutive (path, image) of one shape, at most ``size`` at a time."""
    for _, group in groupby(items, key=lambda item: item[1].shape):
        batch = []
        for item in group:
            batch.append(item)
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch


def _write(path, image, channels, probability, out, threshold, layout: BandLayout, predictor) -> Prediction:
    mask = probability >= np.float32(threshold)
    targets = {kind: out / f"{path.stem}_{kind}" for kind in ("probability.npy", "mask.png", "overlay.png")}
    with replacing(targets["probability.npy"]) as partial:
        np.save(partial, probability.astype(np.float32))
    for kind, pixels in (
        ("mask.png", mask.astype(np.uint8) * 255),
        ("overlay.png", overlay(rgb(image, layout), mask)),
    ):
        with replacing(targets[kind]) as partial:
            Image.fromarray(pixels).save(partial)
    return Prediction(
        input=str(path),
        probability=str(targets["probability.npy"]),
        mask=str(targets["mask.png"]),
        overlay=str(targets["overlay.png"]),
        threshold=threshold,
        mean_probability=float(probability.mean()),
        landslide_fraction=float(mask.mean()),
        landslide_area_m2=float(mask.sum() * layout.pixel_size**2) if layout.pixel_size else None,
        channels=channel_ranges(channels, predictor.card.channels),
        missing=int((~np.isfinite(channels)).sum()),
    )


def channel_ranges(channels: np.ndarray, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Minimum, mean and maximum of each channel of (H, W, C), missing values skipped; empty where all are missing."""
    ranges = {}
    for i, name in enumerate(names):
        values = channels[..., i][np.isfinite(channels[..., i])]
        ranges[name] = (
            {"min": float(values.min()), "mean": float(values.mean()), "max": float(values.max())}
            if values.size
            else {}
        )
    return ranges
