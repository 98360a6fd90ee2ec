"""Starting TensorFlow without its noise."""

from __future__ import annotations

import logging
import os
import sys


def start_tensorflow(intra_op_threads: int = 0, inter_op_threads: int = 0) -> None:
    """Import TensorFlow and look for devices, without its start-up notes, which no setting of its own silences.

    What it logs afterwards is for its own developers (retracing, kernels that a CPU lacks; a real error is raised), and
    stays unsaid, unless the caller imported TensorFlow first or has set ``TF_CPP_MIN_LOG_LEVEL``.

    Memory of a GPU is taken as it is needed, unless ``TF_FORCE_GPU_ALLOW_GROWTH`` says otherwise: by itself TensorFlow
    takes nearly all of it at once, and a second process, as each of several trainings is, finds none.

    Args:
        intra_op_threads: threads of one operation; 0 for TensorFlow's choice.
        inter_op_threads: operations at a time; 0 for TensorFlow's choice.
    """
    ours = "tensorflow" not in sys.modules
    if ours:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    for kind, threads in (("INTRA", intra_op_threads), ("INTER", inter_op_threads)):
        if threads:
            os.environ[f"TF_NUM_{kind}OP_THREADS"] = str(threads)
    sys.stderr.flush()
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        import tensorflow as tf  # some five seconds

        if "TF_CONFIG" not in os.environ:  # a worker of several starts its devices with theirs
            tf.config.list_logical_devices()
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)
    for name in ("tensorflow", "absl") if ours else ():
        logging.getLogger(name).setLevel(logging.ERROR)
