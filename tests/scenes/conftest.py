"""A scene's probability, with holes, and the rasters written of it."""

import numpy as np
import pytest
from rasterio import Affine
from scipy import ndimage

from tests.scenes.test_sampler import UTM
from tf_landslide.scenes.grid import Grid
from tf_landslide.scenes.writer import write_rasters

GRID = Grid(Affine(10, 0, 569000, 0, -10, 4737000), UTM, (700, 620))


@pytest.fixture(scope="module")
def probability():
    rng = np.random.default_rng(0)
    field = ndimage.gaussian_filter(rng.normal(size=GRID.shape), 5)
    field = ((field - field.min()) / np.ptp(field)).astype(np.float32)
    field[:, 500:] = np.nan
    field[300:310, 200:260] = np.nan
    return field


@pytest.fixture(scope="module")
def written(probability, tmp_path_factory):
    rows = ((top, probability[top : top + 256]) for top in range(0, 700, 256))
    return write_rasters(tmp_path_factory.mktemp("map"), GRID, rows, 0.62, {"model": "m"})
