"""Slope, aspect, curvature and illumination from an elevation grid."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import correlate, correlate1d

_HORN_X = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
_HORN_Y = _HORN_X.T


PixelSize = float | tuple[np.ndarray, np.ndarray]
"""Ground size of a pixel in metres; or its height and width in each row, (H,) each, on a grid of degrees."""


def gradient(dem: np.ndarray, pixel_size: PixelSize) -> tuple[np.ndarray, np.ndarray]:
    """Rise per metre along columns and along rows (Horn 1981, 3 x 3; edges repeat the outermost row and column).

    Args:
        dem: (H, W) elevation in metres, NaN where missing: then so are its neighbours' gradients.
        pixel_size: ground size of a pixel.

    Returns:
        two (H, W) float64 arrays: towards higher column and towards higher row numbers.
    """
    dem = np.asarray(dem, np.float64)
    height, width = (pixel_size, pixel_size) if isinstance(pixel_size, (int, float)) else pixel_size
    along = [correlate(dem, kernel, mode="nearest") for kernel in (_HORN_X, _HORN_Y)]
    return along[0] / np.reshape(width, (-1, 1)), along[1] / np.reshape(height, (-1, 1))


def slope_degrees(dem: np.ndarray, pixel_size: PixelSize) -> np.ndarray:
    """Slope in degrees, (H, W) float64, by Horn's method (as GDAL's ``gdaldem slope``)."""
    return np.degrees(np.arctan(np.hypot(*gradient(dem, pixel_size))))


def downhill(dem: np.ndarray, pixel_size: PixelSize) -> tuple[np.ndarray, np.ndarray]:
    """The unit vector down the slope, east and north, (H, W) float64 each; NaN on flat ground. Row 0 lies in the north.

    Its mean over an area points along the circular mean of the aspect there.
    """
    east, south = gradient(dem, pixel_size)
    with np.errstate(divide="ignore", invalid="ignore"):
        steepness = np.hypot(east, south)
        return -east / steepness, south / steepness


def curvature(dem: np.ndarray, pixel_size: PixelSize) -> np.ndarray:
    """Curvature of the surface in 1/100 m, (H, W) float64: above 0 where it is convex (ridges), below in hollows.

    The negative Laplacian, -2 (D + E) of Zevenbergen and Thorne 1987 (doi 10.1002/esp.3290120107), by a hundred as GIS
    programs give it; the outermost rows and columns repeat.
    """
    dem = np.asarray(dem, np.float64)
    height, width = (pixel_size, pixel_size) if isinstance(pixel_size, (int, float)) else pixel_size
    along = [correlate1d(dem, [1.0, -2.0, 1.0], axis, mode="nearest") for axis in (1, 0)]
    return -100 * (along[0] / np.reshape(width, (-1, 1)) ** 2 + along[1] / np.reshape(height, (-1, 1)) ** 2)


def between_axes(a: np.ndarray | float, b: np.ndarray | float) -> np.ndarray:
    """The angle between directions whose sense does not matter, 0..90 degrees."""
    apart = np.abs(np.asarray(a) - b) % 180
    return np.minimum(apart, 180 - apart)


def illumination(dem: np.ndarray, pixel_size: float, azimuth: float, altitude: float) -> np.ndarray:
    """Cosine of the sun's angle to the surface normal, 0..1, (H, W) float64; 0 in self-shadow.

    Args:
        dem: (H, W) elevation in metres, row 0 in the north.
        pixel_size: in metres.
        azimuth: of the sun, degrees clockwise from north.
        altitude: of the sun, degrees above the horizon.
    """
    east, south = gradient(dem, pixel_size)
    azimuth, altitude = np.radians(azimuth), np.radians(altitude)
    sun = np.sin(azimuth) * np.cos(altitude), -np.cos(azimuth) * np.cos(altitude), np.sin(altitude)
    cosine = (-east * sun[0] - south * sun[1] + sun[2]) / np.sqrt(1 + east**2 + south**2)
    return np.clip(cosine, 0, 1)
