"""Post-training quantisation to int8 by NNCF: an optional package."""

from __future__ import annotations

import logging
import sys
from contextlib import redirect_stdout
from io import StringIO

import nncf
import numpy as np
import openvino

from tf_landslide.predict.backends.openvino_graph import normalisation_of, transposes_before_depthwise


def quantized(model: openvino.Model, channels: np.ndarray) -> openvino.Model:
    """A graph whose convolutions compute in int8, ranges taken from channels (N, H, W, C), an image at a time.

    What computes in physical units, the normalisation, stays float32: metres and reflectances share no range. So do the
    transposes before depthwise convolutions, whose channels have a range each: NNCF would take them before a transpose,
    of rows in place of channels, which OpenVINO refuses and an image of another height does not have.
    """
    nncf.set_log_level(logging.ERROR)
    images = nncf.Dataset([image[None] for image in channels])
    ignored = nncf.IgnoredScope(names=[*normalisation_of(model), *transposes_before_depthwise(model)])
    device = nncf.TargetDevice.CPU
    with redirect_stdout(sys.stderr if sys.stderr.isatty() else StringIO()):  # it draws bars
        return nncf.quantize(model, images, subset_size=len(channels), target_device=device, ignored_scope=ignored)
