"""Pictures of patches and predictions as (H, W, 3) uint8 arrays, enlarged to be looked at, with what colours mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tf_landslide.bands.terrain import illumination
from tf_landslide.figures.pictures import overlay, rgb, stretched
from tf_landslide.page.legends import Scale, with_bar, with_swatches
from tf_landslide.page.uploads import Upload
from tf_landslide.predict.result import Result

SIDE = 512  # pixels, at least, of what is shown; small patches are enlarged without smoothing
RGB = ("red", "green", "blue")
PROBABILITY = Scale("plasma", (0, 0.5, 1))
NDVI = Scale("RdYlGn", (-0.2, 0.4, 1))
# From Okabe & Ito's palette, which people who are colour-blind tell apart: by lightness too, on a dark ground.
OUTCOMES = {"hit": (86, 180, 233), "miss": (213, 94, 0), "false alarm": (240, 228, 66)}
CHANGES = dict(zip(("kept", "taken away", "added"), OUTCOMES.values(), strict=True))
Pictures = list[tuple[np.ndarray, str]]


def enlarged(picture: np.ndarray) -> np.ndarray:
    """Each pixel repeated so often that the longer side has ``SIDE``."""
    factor = max(1, SIDE // max(picture.shape[:2]))
    return np.kron(picture, np.ones((factor, factor, 1), np.uint8)) if factor > 1 else picture


def natural(upload: Upload) -> np.ndarray:
    """Red, green and blue, or what stands in for them, each between its 2nd and 98th percentile."""
    if upload.layout is not None:
        return rgb(upload.image, upload.layout)
    return stretched(np.stack([upload.physical[name] for name in RGB], axis=-1))


def _coloured(upload: Upload) -> bool:
    return set(RGB) <= set(upload.physical)


def inputs(upload: Upload) -> Pictures:
    """Pictures of what goes into a model, each with its caption."""
    found = upload.physical
    first = "RGB" if _coloured(upload) or upload.layout is None else upload.layout.names[0]
    pictures = [(enlarged(natural(upload)), first)]
    if "ndvi" in found:
        pictures.append((_scaled(found["ndvi"], NDVI), "NDVI"))
    if "slope" in found:
        degrees = upload.unit("slope") == "degrees"
        scale = Scale("magma", (0, 20, 40, 60), "°") if degrees else Scale("magma", _round_ticks(found["slope"]))
        pictures.append((_scaled(found["slope"], scale), "slope" if degrees else f"slope ({upload.unit('slope')})"))
    if "dem" in found:
        relative = upload.unit("dem") != "metres"
        # A relative DEM has no metres: its relief is stretched to that of a hill.
        dem = np.nan_to_num(found["dem"] * (500 if relative else 1))
        light = illumination(dem, upload.pixel_size or 10.0, azimuth=315, altitude=45)
        caption = "hillshade" + (f" ({upload.unit('dem')} heights)" if relative else "")
        pictures.append((enlarged(Scale("gray", (0, 1)).picture(light)), caption))
    return pictures


def before_and_after(upload: Upload, mask: np.ndarray, opacity: float) -> tuple[np.ndarray, np.ndarray]:
    """The picture, and the same with the mask over it, outlined."""
    picture = natural(upload)
    return enlarged(picture), enlarged(overlay(picture, mask, opacity))


def overlays(upload: Upload, result: Result, opacity: float) -> tuple[np.ndarray, np.ndarray]:
    """What lies on either side of the line: the picture and its overlay; of a refined result both overlays."""
    if result.refined is None:
        return before_and_after(upload, result.mask(), opacity)
    picture = natural(upload)
    network, refined = (overlay(picture, mask, opacity) for mask in (result.network_mask(), result.refined))
    return enlarged(network), enlarged(refined)


def prediction(upload: Upload, result: Result) -> Pictures:
    """Probability in plasma and the mask; with a ground truth that too, and where the mask is right and wrong.

    Of a refined result where the two masks differ, then the network's and the refined one, and the outcomes of both.
    """
    masks = {"": result}
    pictures = [(_scaled(result.probability, PROBABILITY), "probability")]
    if result.refined is not None:
        masks = {"network": replace(result, refined=None), "refined": result}
        pictures.append((with_swatches(enlarged(changes(upload, result)), CHANGES), "what the rules changed"))
    pictures += [(_white(one.mask()), f"mask, {who}" if who else "mask") for who, one in masks.items()]
    if upload.mask is not None:
        pictures.append((_white(upload.mask), "ground truth"))
        for who, one in masks.items():
            caption = "hits {tp:,}, misses {fn:,}, false alarms {fp:,} pixels".format(**one.counts(upload.mask))
            picture = with_swatches(enlarged(outcomes(upload, one)), OUTCOMES)
            pictures.append((picture, f"{who}: {caption}" if who else caption))
    return pictures


def outcomes(upload: Upload, result: Result) -> np.ndarray:
    """Hits, misses and false alarms, each pixel in its colour of ``OUTCOMES``, over the picture in dark grey."""
    marked, true = result.mask(), np.asarray(upload.mask).astype(bool)
    pixels = {"hit": marked & true, "miss": ~marked & true, "false alarm": marked & ~true}
    return _coloured_over(upload, pixels, OUTCOMES)


def changes(upload: Upload, result: Result) -> np.ndarray:
    """What a refined result keeps of the network's mask, takes from it and adds, in the colours of ``CHANGES``."""
    network, refined = result.network_mask(), result.mask()
    pixels = {"kept": network & refined, "taken away": network & ~refined, "added": refined & ~network}
    return _coloured_over(upload, pixels, CHANGES)


def _coloured_over(
    upload: Upload, pixels: dict[str, np.ndarray], colours: dict[str, tuple[int, int, int]]
) -> np.ndarray:
    """The picture in dark grey, and pixels in their colours over it."""
    grey = (natural(upload).mean(axis=-1, keepdims=True) * 0.3).astype(np.uint8)
    picture = np.repeat(grey, 3, axis=-1)
    for name, which in pixels.items():
        picture[which] = colours[name]
    return picture


def comparison(upload: Upload, results: dict[str, Result], opacity: float) -> Pictures:
    """Each model's overlay, how many of them mark a pixel, and the mean of their probabilities."""
    picture = natural(upload)
    masks = {name: result.mask() for name, result in results.items()}
    refined = {name: ", refined" if result.refined is not None else "" for name, result in results.items()}
    pictures = [(enlarged(overlay(picture, mask, opacity)), name + refined[name]) for name, mask in masks.items()]
    marking = np.sum(list(masks.values()), axis=0)
    mean = np.mean([result.probability for result in results.values()], axis=0)
    agreement = Scale("viridis", tuple(np.unique(np.linspace(0, len(masks), 3).round())), f" of {len(masks)}")
    pictures.append((_scaled(marking, agreement), "models that mark it"))
    pictures.append((_scaled(mean, PROBABILITY), "mean probability"))
    return pictures


def _scaled(values: np.ndarray, scale: Scale) -> np.ndarray:
    return with_bar(enlarged(scale.picture(values)), scale)


def _round_ticks(values: np.ndarray) -> tuple[float, ...]:
    """0 to the next of 1, 2, 5, 10, … that no value is above."""
    top = float(values[np.isfinite(values)].max(initial=0)) or 1.0
    ten = 10.0 ** np.floor(np.log10(top))
    high = next(step * ten for step in (1, 2, 5, 10) if step * ten >= top * (1 - 1e-6))
    return (0, high / 2, high)


def _white(mask: np.ndarray) -> np.ndarray:
    return enlarged(np.repeat(mask[..., None].astype(np.uint8) * 255, 3, axis=-1))
