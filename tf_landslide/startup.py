"""Starting TensorFlow without its noise."""

from __future__ import annotations

import os
import sys


def start_tensorflow() -> None:
    """Import TensorFlow and look for devices, without its start-up notes, which no setting of its own silences."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        import tensorflow as tf

        tf.config.list_logical_devices()
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)
