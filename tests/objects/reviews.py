"""A small review: a pair of pictures and some candidates, for the tests of what shows and keeps it."""

import geopandas
import numpy as np
from rasterio import Affine
from scipy import ndimage
from shapely import Polygon, box

from tests.scenes.test_sampler import UTM
from tf_landslide.objects.review.pictures import find_pictures, write_pictures
from tf_landslide.objects.review.polygons import Polygons
from tf_landslide.scenes.grid import Grid

GRID = Grid(Affine(10, 0, 569000, 0, -10, 4737000), UTM, (300, 400))
EVIL = "<img src=x onerror=\"document.title='run'\"></script><script>document.title='run'</script>"
CENTRES = [(60, 50), (200, 60), (330, 80), (80, 200), (220, 220), (340, 240)]  # column, row, in the order of the file


def at(column, row, width, height):
    """A rectangle of pixels."""
    x, y = GRID.transform @ (column, row)
    return box(x, y - 10 * height, x + 10 * width, y)


def candidates():
    shapes = [at(column - 10, row - 5, 20, 10) for column, row in CENTRES]
    shapes[4] = shapes[4] - at(215, 218, 6, 4)  # with a hole
    values = {
        "id": range(1, 7),
        "confidence": [0.9, 0.8, 0.7, 0.6, 0.5, 0.4],
        "slope_mean": [30.25] * 6,
        "note": [EVIL, *("plain",) * 5],
        "review_status": ["unreviewed"] * 6,
    }
    return geopandas.GeoDataFrame(values, geometry=shapes, crs=UTM)


def scene(seed):
    """(300, 400, 3) reflectance, its right end missing."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(*GRID.shape, 3)), (3, 3, 0))
    channels = (0.15 + noise / 5).astype(np.float32)
    channels[:, 380:] = np.nan
    return channels


def reader(channels):
    return lambda window: channels[window.rows, window.columns]


def flat(red, green, blue):
    """A scene of one colour, with what stretches it in its first rows."""
    channels = np.full((*GRID.shape, 3), (red, green, blue), np.float32)
    channels[:3], channels[3:6] = 0, 1
    return channels


def write_review(folder, pictures=True):
    folder.mkdir(exist_ok=True)
    candidates().to_file(folder / "candidates.gpkg", driver="GPKG", layer="candidates")
    if pictures:
        write_pictures(folder, reader(flat(0.1, 0.5, 0.1)), reader(flat(0.7, 0.2, 0.1)), GRID)
    return folder


def open_review(folder):
    pictures = find_pictures(folder)
    return Polygons.read(folder / "candidates.gpkg", GRID), pictures


def ring(*corners):
    """Corners in pixels, as coordinates."""
    return tuple(GRID.transform @ corner for corner in corners)


def polygon(*corners):
    return Polygon(ring(*corners))
