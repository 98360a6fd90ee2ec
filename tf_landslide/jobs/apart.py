"""A training in a process of its own: all that TensorFlow keeps of a run goes with it, and a killed one is alone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from serving.startup import start_tensorflow
from tf_landslide.core.errors import LandslideError, LandslideWarning, warn
from tf_landslide.core.interrupts import interrupts_insist
from tf_landslide.runs import formats
from tf_landslide.runs.folder import Run
from tf_landslide.runs.sections import Config


def train_apart(config: Config, data_dir: str | Path, run_dir: str | Path, *, resume: bool = False) -> Run:
    """``jobs.train.train`` in a process of its own, which ends with this one, however that ends.

    What goes wrong there is raised here, what is warned of there is warned of here. On Ctrl-C that process ends as a
    training does, having told nothing, and then this one goes on with its ``KeyboardInterrupt``.

    Args:
        config: of the run.
        data_dir: HDF5 patches.
        run_dir: the run folder to make.
        resume: go on with the run that ``run_dir`` holds.

    Raises:
        LandslideError: as ``train``, or the process was killed.
    """
    spawn = multiprocessing.get_context("spawn")  # TensorFlow does not outlive a fork
    here, there = spawn.Pipe(duplex=False)
    child = spawn.Process(target=_train, args=(there, config, str(data_dir), str(run_dir), resume))
    with _deaf_to_ctrl_c():  # which the child inherits: it is ended by us, once
        child.start()
    there.close()
    try:
        error = _heard(here)
        child.join()
    except BaseException:
        child.terminate()
        child.join()
        raise
    finally:
        here.close()
    if error is not None:
        raise error
    if child.exitcode:
        how = f"was killed by signal {-child.exitcode}" if child.exitcode < 0 else f"ended with {child.exitcode}"
        raise LandslideError(f"{run_dir}: the process that trained it {how}{_remedy(Path(run_dir))}")
    return Run.open(run_dir)


def check_apart(config: Config, option: str) -> None:
    """Raise ``LandslideError`` for a config whose runs cannot be trained one after another, as an option asks for."""
    if config.training.strategy == "multi_worker":
        raise LandslideError(
            f"{option} trains its runs on this machine, one after another, and training.strategy is multi_worker; "
            f"train each of them by itself, without {option}, or set training.strategy to none or mirrored"
        )


def _remedy(run_dir: Path) -> str:
    if formats.is_run(run_dir):
        return "; go on with --resume"
    return " before it began; run the same command again, with --resume where others of its runs are finished"


def _heard(here: Connection) -> Exception | None:
    """Warn of what the child warns of until it is done; what it failed with, if it told."""
    while True:
        try:
            told = here.recv()
        except EOFError:
            return None
        if isinstance(told, Exception):
            return told
        warn(told)


def _train(there: Connection, config: Config, data_dir: str, run_dir: str, resume: bool) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    warnings.simplefilter("always", LandslideWarning)
    warnings.showwarning = lambda message, *_, **__: there.send(str(message))
    start_tensorflow()
    from tf_landslide.jobs.train import train  # TensorFlow

    try:
        with interrupts_insist(signal.SIGTERM, once=True):  # what is begun is cleared away in peace
            train(config, data_dir, run_dir, resume=resume)
    except (LandslideError, OSError) as error:
        there.send(error)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGTERM)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Have Ctrl-C ignored by this process, and by those that it starts meanwhile for good."""
    if threading.current_thread() is not threading.main_thread():  # which alone may say what a signal does
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
