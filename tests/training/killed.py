"""Trains one run through, and another that is killed again and again; run by ``test_resume.py``.

    python killed.py DATA OUT

Half of the children die a random moment after a random batch of the epoch they begin with or the next. A kill there
hits a writing of a few milliseconds hardly ever, so that the others die when a random share of a state's bytes is
written. No child gets further than one epoch, whatever else the machine does.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Thread

import keras
import numpy as np
from keras import layers

from tf_landslide.jobs.train import train
from tf_landslide.models.encoders import ENCODERS
from tf_landslide.models.encoders.contract import Encoder
from tf_landslide.runs.config import check_config
from tf_landslide.training.callbacks import RefuseNaN

CONFIG = {
    "model": {"architecture": "segformer", "encoder": "dropping", "options": {"filters": 4, "dropout": 0.3}},
    "data": {
        "mining": {"share": 0.5, "after_epochs": 1},
        "augmentation": {
            part: {"probability": 0.5} for part in ("scale", "elastic", "shadow", "haze", "optical", "mixup", "dropout")
        },
    },
    "training": {"epochs": 4, "batch_size": 4, "deterministic": True, "ema": 0.9, "early_stopping": 3}
    | {"accumulate": 3, "clip_norm": 0.5}  # epochs of two batches: what is accumulated lives on over their ends
    | {"freeze_encoder": 2, "encoder_learning_rate": 0.3, "layer_decay": 0.9, "learning_rate": 0.01},
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


def child(data: Path, out: Path, die: Callable[[], None] | None = None) -> int:
    """Train in a child process, which arranges first how it will die. Returns how it ended."""
    if not (pid := os.fork()):
        try:
            if die:
                die()
            train(check_config(CONFIG, "test"), data, out, resume=(out / "config.yaml").exists())
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
    return os.waitpid(pid, 0)[1]


def die_while_writing(share: float) -> None:
    savez = np.savez

    def die(path, **arrays):
        savez(path, **arrays)
        os.truncate(path, int(share * Path(path).stat().st_size))
        os.kill(os.getpid(), signal.SIGKILL)

    np.savez = die


def die_after(batches: int, seconds: float) -> None:
    ended = RefuseNaN.on_train_batch_end
    left = iter(range(batches - 1, -1, -1))

    def count(self, batch, logs=None):
        ended(self, batch, logs)
        if next(left, None) == 0:
            Thread(target=lambda: (time.sleep(seconds), os.kill(os.getpid(), signal.SIGKILL)), daemon=True).start()

    RefuseNaN.on_train_batch_end = count


def main(data: Path, out: Path) -> None:
    ENCODERS["dropping"] = Encoder(dropping, "", "", (4, 8, 16, 32))
    draw = random.Random(0)
    assert child(data, out / "whole") == 0
    batches = -(-len(list((data / "TrainData/img").glob("*.h5"))) // CONFIG["training"]["batch_size"])
    for attempt in range(6):
        if attempt % 2:
            status = child(data, out / "killed", partial(die_while_writing, draw.random()))
        else:
            when = draw.randint(1, batches * 3 // 2), draw.uniform(0, 0.02)
            status = child(data, out / "killed", partial(die_after, *when))
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, (attempt, status)
    assert child(data, out / "killed") == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
