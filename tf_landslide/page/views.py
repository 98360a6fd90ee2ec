"""Pictures of patches and predictions as (H, W, 3) uint8 arrays, enlarged to be looked at."""

from __future__ import annotations

import matplotlib
import numpy as np

from tf_landslide.bands.terrain import illumination
from tf_landslide.figures.pictures import overlay, rgb, stretched
from tf_landslide.page.uploads import Upload
from tf_landslide.predict.result import Result

SIDE = 512  # pixels, at least, of what is shown; small patches are enlarged without smoothing


def enlarged(picture: np.ndarray) -> np.ndarray:
    """Each pixel repeated so often that the longer side has ``SIDE``."""
    factor = max(1, SIDE // max(picture.shape[:2]))
    return np.kron(picture, np.ones((factor, factor, 1), np.uint8)) if factor > 1 else picture


def coloured(values: np.ndarray, colours: str, low: float, high: float) -> np.ndarray:
    """Values in a colour map of Matplotlib; missing ones grey."""
    scaled = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    picture = (matplotlib.colormaps[colours](np.nan_to_num(scaled))[..., :3] * 255).round().astype(np.uint8)
    picture[~np.isfinite(values)] = 128
    return picture


def natural(upload: Upload) -> np.ndarray:
    """Red, green and blue, or what stands in for them, each between its 2nd and 98th percentile."""
    if upload.layout is not None:
        return rgb(upload.image, upload.layout)
    return stretched(np.stack([upload.physical[name] for name in ("red", "green", "blue")], axis=-1))


def inputs(upload: Upload) -> list[tuple[np.ndarray, str]]:
    """Pictures of what goes into a model, each with its caption."""
    found, pictures = upload.physical, [(natural(upload), "RGB")]
    if "ndvi" in found:
        pictures.append((coloured(found["ndvi"], "RdYlGn", -0.2, 0.9), "NDVI, −0.2 to 0.9"))
    if "slope" in found:
        top = 60 if upload.pixel_size or upload.layout is None else float(np.nanmax(found["slope"]))
        unit = "°" if top == 60 else ""
        pictures.append((coloured(found["slope"], "magma", 0, top), f"slope, 0 to {top:g}{unit}"))
    if "dem" in found:
        relative = upload.layout is not None and upload.pixel_size is None
        # A relative DEM has no metres: its relief is stretched to that of a hill.
        dem = np.nan_to_num(found["dem"] * (500 if relative else 1))
        light = illumination(dem, upload.pixel_size or 10.0, azimuth=315, altitude=45)
        pictures.append((coloured(light, "gray", 0, 1), "hillshade"))
    return [(enlarged(picture), caption) for picture, caption in pictures]


def before_and_after(upload: Upload, mask: np.ndarray, opacity: float) -> tuple[np.ndarray, np.ndarray]:
    """The picture, and the same with the mask over it, outlined."""
    picture = natural(upload)
    return enlarged(picture), enlarged(overlay(picture, mask, opacity))


def prediction(upload: Upload, result: Result) -> list[tuple[np.ndarray, str]]:
    """Probability in plasma, the mask, and the ground truth in viridis where there is one."""
    pictures = [(coloured(result.probability, "plasma", 0, 1), "probability"), (_white(result.mask()), "mask")]
    if upload.mask is not None:
        pictures.append((coloured(upload.mask.astype(float), "viridis", 0, 1), "ground truth"))
    return [(enlarged(picture), caption) for picture, caption in pictures]


def comparison(upload: Upload, results: dict[str, Result], opacity: float) -> list[tuple[np.ndarray, str]]:
    """Each model's overlay, how many of them mark a pixel, and the mean of their probabilities."""
    picture = natural(upload)
    masks = {name: result.mask() for name, result in results.items()}
    pictures = [(overlay(picture, mask, opacity), name) for name, mask in masks.items()]
    share = np.mean(list(masks.values()), axis=0)
    mean = np.mean([result.probability for result in results.values()], axis=0)
    pictures.append((coloured(share, "YlOrRd", 0, 1), "agreement: none to all"))
    pictures.append((coloured(mean, "plasma", 0, 1), "mean probability"))
    return [(enlarged(picture), caption) for picture, caption in pictures]


def _white(mask: np.ndarray) -> np.ndarray:
    return np.repeat(mask[..., None].astype(np.uint8) * 255, 3, axis=-1)
