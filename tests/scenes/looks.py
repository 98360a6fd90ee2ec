"""A small map to look at, for the tests of what shows it."""

import numpy as np
from rasterio import Affine
from shapely import box
from shapely.affinity import rotate

from tests.scenes.test_sampler import UTM, WGS84
from tf_landslide.scenes.attributes import Attributes, Found
from tf_landslide.scenes.grid import Grid
from tf_landslide.scenes.preview import Preview

GRIDS = {
    "utm": Grid(Affine(10, 0, 569000, 0, -10, 4737000), UTM, (200, 300)),
    "degrees": Grid(Affine(1e-4, 0, 141.9, 0, -1e-4, 62.8), WGS84, (200, 300)),
}


def landslide(number, **changes):
    values = dict.fromkeys(Attributes.__dataclass_fields__)
    values |= {"id": number, "area_m2": 4e4, "area_ha": 4.0, "probability_mean": 0.9, "probability_max": 1.0}
    values |= {"length_m": 400.0, "width_m": 100.0, "orientation_deg": 12.0, "compactness": 0.5, "truncated": False}
    values |= {"confidence": "high", "det_method": "U-Net m", "source_ids": "a.tif", "review_status": "unreviewed"}
    return Attributes(**(values | changes))


def small_map(name="utm", factor=1):
    """A preview, its right end without data, and three landslides; one has a hole, one lies in it."""
    grid = GRIDS[name]
    rows, columns = grid.shape[0] // factor, grid.shape[1] // factor
    rng = np.random.default_rng(0)
    probability = rng.random((rows, columns)).astype(np.float32)
    probability[:, -columns // 10 :] = np.nan
    reduced = Grid(grid.transform @ Affine.scale(factor), grid.crs, (rows, columns))
    picture = rng.integers(0, 255, (rows, columns, 3), np.uint8)
    valid = np.isfinite(probability)
    shown = Preview(grid, factor, reduced, picture, valid, probability, np.where(valid, probability > 0.9, np.nan))
    t = grid.transform

    def at(column, row, width, height):
        x, y = t @ (column, row)
        return box(x, y + t.e * height, x + t.a * width, y)

    geometries = [at(40, 40, 60, 60) - at(55, 55, 30, 30), rotate(at(150, 100, 40, 12), 30), at(65, 65, 8, 8)]
    rows_of = [landslide(i + 1, area_ha=area) for i, area in enumerate((27.0, 4.8, 0.64))]
    return shown, Found(geometries, rows_of)
