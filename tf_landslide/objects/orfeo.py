"""Segments by Orfeo ToolBox, where its program is installed: Large-Scale Mean-Shift (Michel et al. 2015)."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.extras import extra
from tf_landslide.objects.segmenting import Segmenting

PROGRAM = "otbcli_LargeScaleMeanShift"
RANGE_RADIUS = 0.4
"""Of the mean shift, in spreads."""

_ABORTED = 128  # a shell's status above that tells a signal


def large_scale_mean_shift(planes: np.ndarray, settings: Segmenting) -> np.ndarray:
    """Segments of an image by Orfeo's mean shift.

    Args:
        planes: (H, W, C) float32 without gaps.
        settings: its ``size`` sets the radius in pixels, and ``least`` the smallest segment.

    Returns:
        (H, W) int32.

    Raises:
        LandslideError: the program is not installed, or fails.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise LandslideError(
            f"segments by lsms need Orfeo ToolBox, whose {PROGRAM} is not installed: apt-get install otb-bin, or "
            "choose slic, felzenszwalb or watershed"
        )
    with extra("map"):
        import rasterio  # optional: comes with the extra 'map'
    height, width, bands = planes.shape
    with tempfile.TemporaryDirectory(prefix="tf-landslide-") as name:
        image, labels = Path(name) / "image.tif", Path(name) / "labels.tif"
        profile = {"driver": "GTiff", "height": height, "width": width, "count": bands, "dtype": "float32"}
        with rasterio.open(image, "w", transform=rasterio.Affine(1, 0, 0, 0, -1, height), **profile) as file:
            file.write(np.moveaxis(planes, -1, 0))
        sizes = ["-tilesizex", str(width), "-tilesizey", str(height)]
        radii = ["-spatialr", str(max(1, settings.step // 2)), "-ranger", str(RANGE_RADIUS)]
        output = ["-minsize", str(settings.least), "-mode", "raster", "-mode.raster.out", str(labels), "uint32"]
        _run([program, "-in", str(image), *radii, *sizes, *output], folder=name)
        with rasterio.open(labels) as file:
            return 1 + file.read(1).astype(np.int32)


def _run(command: list[str], folder: str) -> None:
    """Run Orfeo's program; once more where it was aborted, as it is about once in a hundred runs, whatever it is given.

    On one thread: tiles run beside one another.
    """
    environment = os.environ | {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
        if 0 <= done.returncode <= _ABORTED:
            break
    if done.returncode:
        lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        said = next((line for line in lines if "FATAL" in line or "ERROR" in line), (lines or ["nothing"])[-1])
        raise LandslideError(f"{PROGRAM} failed with status {done.returncode} and says: {said}")
