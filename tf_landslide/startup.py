"""Starting TensorFlow without its noise."""

from __future__ import annotations

import ctypes
import os
import sys

_M_TOP_PAD = -2  # glibc's number of it (malloc.h)


def start_tensorflow() -> None:
    """Import TensorFlow and look for devices, without its start-up notes, which no setting of its own silences."""
    _keep_freed_memory()
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


def _keep_freed_memory(size: int = 2**26) -> None:
    """Have glibc keep up to ``size`` bytes of freed memory for the next array, where it is the C library.

    By itself it gives an array's memory back to the system, and to get it again takes longer than to read a patch into
    it. Whoever runs the library from a script of their own gets the same from ``MALLOC_TOP_PAD_=67108864``.
    """
    try:
        ctypes.CDLL(None).mallopt(_M_TOP_PAD, size)
    except (OSError, AttributeError, TypeError):  # another system, another C library
        return
