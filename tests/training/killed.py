"""Trains one run through, and another that is killed again and again; run by ``test_resume.py``.

    python killed.py DATA OUT

A kill at a random moment hits a writing of a few milliseconds hardly ever, so that some children kill themselves after
a random share of the state's bytes is written.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import keras
import numpy as np
from keras import layers

from tf_landslide.jobs.train import train
from tf_landslide.models.encoders import ENCODERS
from tf_landslide.models.encoders.contract import Encoder
from tf_landslide.runs.config import check_config

CONFIG = {
    "model": {"architecture": "segformer", "encoder": "dropping", "options": {"filters": 4, "dropout": 0.3}},
    "training": {"epochs": 4, "batch_size": 4, "deterministic": True, "ema": 0.9, "early_stopping": 3},
}


def dropping(channels):
    """The smallest encoder that draws random numbers: dropout of pixels, and of whole samples as in a MiT."""
    inputs = x = keras.Input((None, None, channels))
    maps = []
    for stage, stride in enumerate((4, 2, 2, 2)):
        x = layers.Conv2D(4, stride, strides=stride)(x)
        x = layers.Dropout(0.3, noise_shape=(None, 1, 1, 1) if stage % 2 else None)(x)
        x = layers.BatchNormalization()(x)
        maps.append(x)
    return keras.Model(inputs, maps)


def child(data: Path, out: Path, after: float | None) -> int:
    """Train in a child process. Returns its id; ``after`` is the share of a state's bytes behind which it dies."""
    if pid := os.fork():
        return pid
    try:
        if after is not None:
            _die_while_writing(after)
        train(check_config(CONFIG, "test"), data, out, resume=(out / "config.yaml").exists())
        os._exit(0)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def _die_while_writing(after: float) -> None:
    savez = np.savez

    def die(path, **arrays):
        savez(path, **arrays)
        os.truncate(path, int(after * Path(path).stat().st_size))
        os.kill(os.getpid(), signal.SIGKILL)

    np.savez = die


def main(data: Path, out: Path) -> None:
    ENCODERS["dropping"] = Encoder(dropping, "", "", (4, 8, 16, 32))
    draw, killed, killed_while_writing = random.Random(0), 0, 0
    started = time.monotonic()
    _, status = os.waitpid(child(data, out / "whole", None), 0)
    assert status == 0, status
    typical = time.monotonic() - started
    for attempt in range(100):
        after = draw.random() if attempt in (1, 3, 4) else None
        pid = child(data, out / "killed", after)
        if after is None and attempt < 8:
            time.sleep(draw.uniform(0.3, 0.8) * typical)
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if status == 0:
            break
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
        killed, killed_while_writing = killed + 1, killed_while_writing + (after is not None)
    print(json.dumps({"killed": killed, "killed_while_writing": killed_while_writing}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
