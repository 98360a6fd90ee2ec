"""The sample landscape: a SYNTHETIC dataset in exactly Landslide4Sense's released format.

Fractal terrain carries forest and grass, bare fields, river beds, cloud shadow, and landslide scars. Scars and fields
are the same bare soil on the same steep ground; a scar runs downslope, a field lies along the contour. So no threshold
on one band, and no classifier that sees one pixel at a time, can tell them apart: only shape and setting can.

Whatever is trained or scored on it says nothing about real landslides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from tf_landslide.bands.layouts import LANDSLIDE4SENSE_DIVISORS
from tf_landslide.bands.terrain import gradient, illumination, slope_degrees
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import beside, sweep, telling_a_full_disk
from tf_landslide.core.locks import locked
from tf_landslide.core.progress import progress
from tf_landslide.data.folders import SPLITS
from tf_landslide.data.writing import write_patch

SYNTHETIC_MARK = "SYNTHETIC.txt"  # a file in its folder, by which the sample landscape is told from real data

PATCH = 128
PIXEL_SIZE = 10.0
SCENE = 4 * PATCH  # a scene is one terrain; all its patches go to one split

# Top-of-atmosphere digital numbers (reflectance x 10,000), bands B1 B2 B3 B4 B5 B6 B7 B8 B9 B10 B11 B12: what the air
# adds, and what each ground adds to it under average sun.
_HAZE = np.array([860, 560, 345, 190, 190, 160, 150, 140, 90, 9, 45, 25], np.float64)
_FOREST = np.array([130, 160, 250, 165, 410, 1740, 2340, 2370, 870, 1, 1080, 420], np.float64)
_GRASS = np.array([210, 270, 390, 330, 640, 1760, 2160, 2200, 880, 2, 1600, 770], np.float64)
_SOIL = np.array([330, 430, 560, 760, 900, 1080, 1190, 1260, 560, 2, 1750, 1300], np.float64)
_GRAVEL = np.array([350, 460, 610, 770, 880, 1000, 1060, 1090, 480, 2, 1450, 1150], np.float64)


@dataclass(frozen=True)
class Scene:
    """One synthetic terrain and what lies on it.

    Attributes:
        original: (size, size, 14) int64: digital numbers, slope in whole degrees, DEM in whole metres.
        mask: (size, size) uint8, 1 on landslide scars.
    """

    original: np.ndarray
    mask: np.ndarray


def _noise(rng, size: int, beta: float, longest: float | None = None) -> np.ndarray:
    """Fractal noise of power spectrum ``k ** -beta``, mean 0, variance 1; no wave longer than ``longest`` px."""
    k = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    k[0, 0] = np.inf
    amplitude = k ** (-beta / 2)
    if longest:
        amplitude[k < 1 / longest] = 0
    phase = rng.uniform(0, 2 * np.pi, k.shape)
    field = np.fft.irfft2(amplitude * np.exp(1j * phase), s=(size, size))
    return (field - field.mean()) / field.std()


def _terrain(rng, scene: int) -> tuple[np.ndarray, np.ndarray]:
    """Elevation in metres, and each pixel's distance in pixels from the axis of the nearest river."""
    margin = scene // 2  # the noise is periodic; cut from a larger field, so that opposite edges differ
    size = scene + margin

    def cut(field):
        return field[:scene, :scene]

    ridges = -np.abs(cut(_noise(rng, size, 4.6)))
    detail = cut(_noise(rng, size, 3.7, longest=200))
    meander = gaussian_filter(cut(_noise(rng, size, 4.6)), 6, mode="nearest")
    distance = np.abs(meander) / np.maximum(np.hypot(*np.gradient(meander)), 1e-9)
    distance = gaussian_filter(np.minimum(distance, 400), 2)
    relief = rng.uniform(0.85, 1.25)
    hills = relief * (270 * ridges + 35 * detail + 370)
    valley = 1 - np.exp(-((distance / 28) ** 2))  # flat along the river, rising to full height some 400 m away
    dem = rng.uniform(750, 1750) + hills * valley + 0.5 * np.minimum(distance, 200)
    return gaussian_filter(dem, 1.2), distance


def _disc_union(shape, rows, columns, radii) -> np.ndarray:
    """Which pixels lie within any of the discs."""
    covered = np.zeros(shape, bool)
    for row, column, radius in zip(rows, columns, radii, strict=True):
        reach = int(np.ceil(radius))
        top, left = max(int(row) - reach, 0), max(int(column) - reach, 0)
        window = covered[top : int(row) + reach + 2, left : int(column) + reach + 2]
        y, x = np.ogrid[top : top + window.shape[0], left : left + window.shape[1]]
        window |= (y - row) ** 2 + (x - column) ** 2 <= radius**2
    return covered


def _scar(rng, start, downhill, slope, river_distance) -> np.ndarray | None:
    """A scar from a crown downslope: narrow at the crown, widest in the middle, until the ground is gentle."""
    length = rng.uniform(18, 52)
    row, column = start
    direction = np.array([downhill[0][start], downhill[1][start]])
    path: list[tuple[float, float]] = []
    while len(path) < length and 1 <= row < len(slope) - 2 and 1 <= column < len(slope) - 2:
        here = round(row), round(column)
        if river_distance[here] < 3 or (len(path) > 6 and slope[here] < 13):
            break
        path.append((row, column))
        pull = np.array([downhill[0][here], downhill[1][here]])
        direction = 0.6 * direction + 0.4 * pull + rng.normal(0, 0.06, 2)
        direction /= max(np.hypot(*direction), 1e-9)
        row, column = row + direction[0], column + direction[1]
    if len(path) < 12:
        return None
    along = np.linspace(0, 1, len(path))
    widest = rng.uniform(2.4, 4.6)
    radii = widest * (0.55 + 0.45 * np.sin(np.pi * along**0.8)) * (1 + rng.normal(0, 0.08, len(path)))
    rows, columns = np.array(path).T
    return _disc_union(slope.shape, rows, columns, np.maximum(radii, 1.1))


def _field(rng, centre, downhill, slope) -> np.ndarray:
    """A bare field: a rounded rectangle whose long side follows the contour."""
    half_long = rng.uniform(5, 13)
    half_short = half_long * rng.uniform(0.45, 0.8)
    angle = np.arctan2(downhill[0][centre], downhill[1][centre]) + rng.normal(0, 0.2)
    y, x = np.ogrid[: slope.shape[0], : slope.shape[1]]
    dy, dx = y - centre[0], x - centre[1]
    down = dx * np.cos(angle) + dy * np.sin(angle)
    across = -dx * np.sin(angle) + dy * np.cos(angle)
    wobble = 1 + 0.15 * np.sin(3 * np.arctan2(down, across) + rng.uniform(0, 2 * np.pi))
    return (np.abs(down) / half_short) ** 3 + (np.abs(across) / half_long) ** 3 <= wobble


def _place_objects(rng, dem, slope, river_distance) -> tuple[np.ndarray, np.ndarray]:
    """Masks of scars and of bare fields; both start on steep ground and keep clear of each other."""
    east, south = gradient(gaussian_filter(dem, 4), PIXEL_SIZE)
    steepness = np.maximum(np.hypot(east, south), 1e-9)
    downhill = -south / steepness, -east / steepness
    scars, fields = np.zeros(slope.shape, bool), np.zeros(slope.shape, bool)
    steep = gaussian_filter(slope, 2) > 20
    for top in range(0, len(slope), PATCH):
        for left in range(0, len(slope), PATCH):
            rows, columns = np.nonzero(steep[top : top + PATCH, left : left + PATCH])
            if not len(rows):
                continue
            wanted_scars = rng.integers(3, 7) if rng.random() < 0.56 else 0
            wanted_fields = rng.integers(3, 8)
            for make, wanted in ((_scar, wanted_scars), (_field, wanted_fields)):
                for _ in range(4 * wanted):  # tries
                    if wanted == 0:
                        break
                    pick = rng.integers(len(rows))
                    start = int(rows[pick]) + top, int(columns[pick]) + left
                    if make is _scar:
                        shape = _scar(rng, start, downhill, slope, river_distance)
                    else:
                        shape = _field(rng, start, downhill, slope)
                    if shape is None or (shape & _grown(scars | fields)).any():
                        continue
                    (scars if make is _scar else fields)[shape] = True
                    wanted -= 1
    return scars, fields


def _grown(mask: np.ndarray) -> np.ndarray:
    """The mask and a border of three pixels around it."""
    grown = mask.copy()
    for axis in (0, 1):
        for shift in (-3, -2, -1, 1, 2, 3):
            grown |= np.roll(mask, shift, axis)
    return grown


def make_scene(seed, size: int = SCENE) -> Scene:
    """One synthetic scene of ``size`` x ``size`` pixels; ``seed`` is whatever ``numpy.random.default_rng`` takes."""
    rng = np.random.default_rng(seed)
    dem, river_distance = _terrain(rng, size)
    dem = np.rint(dem)
    slope = slope_degrees(dem, PIXEL_SIZE)
    scars, fields = _place_objects(rng, dem, slope, river_distance)
    bed = river_distance < 1.2 + 1.6 * (1 + _noise(rng, size, 3.0, longest=120))

    cover = 1 / (1 + np.exp(-3 * _noise(rng, size, 2.6) - 1.2))  # share of forest, the rest is grass
    ground = cover[..., None] * _FOREST + (1 - cover[..., None]) * _GRASS
    # Bare ground keeps some plants; scars and fields draw from one distribution, so that no pixel betrays which it is.
    bare = gaussian_filter((scars | fields).astype(float), 0.6)
    bareness = bare * np.clip(0.78 + 0.16 * _noise(rng, size, 2.0, longest=60), 0.25, 1)
    soil = _SOIL * (1 + 0.12 * _noise(rng, size, 2.4, longest=80))[..., None]
    ground += bareness[..., None] * (soil - ground)
    gravel = gaussian_filter(bed.astype(float), 0.6)[..., None]
    ground += gravel * (_GRAVEL * (1 + 0.1 * _noise(rng, size, 2.0, longest=60))[..., None] - ground)

    sun_altitude = rng.uniform(38, 62)
    light = illumination(gaussian_filter(dem, 1), PIXEL_SIZE, rng.uniform(130, 165), sun_altitude)
    light = 0.3 + 0.7 * light / np.sin(np.radians(sun_altitude))
    clouds = _noise(rng, size, 3.6, longest=260)
    shadow = gaussian_filter((clouds > np.quantile(clouds, 1 - rng.uniform(0, 0.1))).astype(float), 2)
    light *= 1 - 0.5 * shadow
    grain = 1 + 0.035 * rng.standard_normal((size, size, 12))
    numbers = rng.uniform(0.93, 1.07) * _HAZE + light[..., None] * ground * grain
    numbers += rng.standard_normal(numbers.shape) * np.where(np.arange(12) == 9, 0.6, 6)
    original = np.concatenate([np.maximum(numbers, 1), slope[..., None], dem[..., None]], axis=-1)
    return Scene(np.rint(original).astype(np.int64), scars.astype(np.uint8))


def scene_patches(scene: Scene) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The scene's patches as stored: (128, 128, 14) float64 and (128, 128) uint8, row by row."""
    for top in range(0, SCENE, PATCH):
        for left in range(0, SCENE, PATCH):
            window = slice(top, top + PATCH), slice(left, left + PATCH)
            yield scene.original[window] / LANDSLIDE4SENSE_DIVISORS, scene.mask[window]


def write_sample(
    out: str | Path, *, train: int = 192, valid: int = 48, test: int = 64, seed: int = 0
) -> dict[str, int]:
    """Write the sample landscape.

    Args:
        out: a folder that does not exist yet, or is empty.
        train: number of training patches; the others likewise.
        valid: of validation patches.
        test: of test patches.
        seed: equal seeds give equal files.

    Returns:
        the number of patches written, by split.

    Raises:
        LandslideError: the folder holds something, or is in use by another process, a number is negative, there is
            nothing to write, or the disk is full.
    """
    out = Path(out)
    sizes = dict(zip(SPLITS, (train, valid, test), strict=True))
    if min(sizes.values()) < 0 or not any(sizes.values()):
        raise LandslideError(f"nothing to write: {', '.join(f'{k} {v}' for k, v in sizes.items())} patches")
    if seed < 0:
        raise LandslideError(f"the seed must not be negative, got {seed}")
    with locked(out):
        sweep(out)
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise LandslideError(f"{out}: already holds something; name an empty or new folder")
        made = not out.exists()
        try:
            with telling_a_full_disk(out), beside(out / "sample") as partial:
                _write_patches(partial, sizes, seed)
                for child in partial.iterdir():
                    child.rename(out / child.name)
        finally:
            if made and out.exists() and not any(out.iterdir()):
                out.rmdir()
    return sizes


def _write_patches(folder: Path, sizes: dict[str, int], seed: int) -> None:
    steps = progress(_numbered_patches(sizes, seed), total=sum(sizes.values()), label="sample landscape")
    for split, number, stored, mask in steps:
        write_patch(folder, split, number, stored, mask)
    (folder / SYNTHETIC_MARK).write_text(
        f"Synthetic sample landscape of tf_landslide, seed {seed}. Not measured anywhere on Earth.\n"
    )


def _numbered_patches(sizes: dict[str, int], seed: int):
    for i, split in enumerate(SPLITS):
        number = 0
        while number < sizes[split]:
            scene = make_scene([seed, i, number])
            for stored, mask in scene_patches(scene):
                number += 1
                yield split, number, stored, mask
                if number == sizes[split]:
                    break
