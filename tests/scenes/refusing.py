"""Preloaded by a worker of Dask's: it takes itself for another version of the package. Run by ``test_workers.py``."""

import tf_landslide.scenes.identity


def dask_setup(_worker):
    tf_landslide.scenes.identity.__version__ = "9.9.9"
