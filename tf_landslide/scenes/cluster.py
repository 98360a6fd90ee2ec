"""Blocks predicted by workers: Dask's, on this machine or many.

A block is a future. Only so many are handed out as keep the workers busy, however many there are. A worker reads the
scene and loads the model itself, once, or asks a server; what comes back is the bytes of a part, so that workers write
nothing and may be lost at any moment: Dask hands their blocks to others.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from multiprocessing import resource_tracker
from pathlib import Path

from distributed import Client, Future, KilledWorker, LocalCluster, as_completed
from distributed.comm import CommClosedError

from tf_landslide.core.errors import LandslideError, first_line, warn
from tf_landslide.predict.load import is_server, load_predictor
from tf_landslide.predict.predictor import Predictor
from tf_landslide.scenes.blocks import Block, Tiling
from tf_landslide.scenes.identity import Identity, identity_of
from tf_landslide.scenes.mapper import Finished, Mapping, named
from tf_landslide.scenes.scene import Scene

EACH = 2  # blocks handed out for every thread of a worker: one is computed, the next one waits there
PATIENCE = 60  # seconds for a scheduler to answer, and for its first worker
TOLD_AFTER, GIVEN_UP_AFTER = 30, 600  # seconds without any worker in the midst of a map
_LOOK = 1.0  # second between two looks at whether workers are there, while none answers

_LOADING = threading.Lock()  # of the model, once, where a worker has several threads


@dataclass(frozen=True)
class Job:
    """All that a worker needs to know of a map; sent with each block, some kilobytes.

    Attributes:
        model: what ``load_predictor`` takes: a folder that workers find at the same place, or a server's address.
        scene: whose files workers find at the same places.
        tiling: of the scene.
        batch: windows handed to the model at a time.
        identity: of who asks; workers must be the same but for the CPU.
        unsure: map too how sure the model is.
        precision: to compute in; None for a server.
    """

    model: str
    scene: Scene
    tiling: Tiling
    batch: int
    identity: Identity
    unsure: bool = False
    precision: str | None = None


def job_of(model: str, mapping: Mapping, identity: Identity) -> Job:
    """What workers, who may stand in another folder, are told of a map."""
    place = model if is_server(model) else str(Path(model).absolute())
    scene = replace(mapping.scene, _samplers={}, _masks={})
    precision = None if is_server(model) else mapping.predictor.card.precision
    return Job(place, scene, mapping.tiling, mapping.batch, identity, mapping.unsure, precision)


@contextmanager
def predicted_by(job: Job, blocks: Sequence[Block], number: int | None, scheduler: str | None) -> Iterator[Finished]:
    """Have workers predict blocks; those that are under way when the context ends are cancelled.

    Args:
        job: what they are to do.
        blocks: to predict.
        number: of workers to start on this machine.
        scheduler: or the address of a scheduler that has workers of its own.

    The iterator that it gives raises ``LandslideError`` for a block that cannot be read or predicted, by its place, for
    a worker that would answer otherwise than this process would, and for a scheduler that is lost.
    """
    if not blocks:
        yield iter(())
        return
    with _client(number, scheduler) as client:
        under_way: dict[Block, Future] = {}
        try:
            yield _answers(client, job, blocks, under_way)
        finally:
            if client.status == "running":
                client.cancel(list(under_way.values()), force=True)


def _answers(client: Client, job: Job, blocks: Sequence[Block], under_way: dict[Block, Future]) -> Finished:
    waiting, cpus = iter(blocks), set[str]()
    answered = as_completed(loop=client.loop)

    def hand_out() -> None:
        room = EACH * max(1, sum(client.nthreads().values())) - len(under_way)
        for block in islice(waiting, max(0, room)):
            under_way[block] = future = client.submit(_answer, job, block, pure=False)
            answered.add(future)

    try:
        hand_out()
        while under_way:
            _wait(client, answered)
            future = next(answered)
            block = next(block for block, other in under_way.items() if other.key == future.key)
            with named(block):
                worker, content = _result(future)
            _warn_of_another(worker.cpu, cpus)
            under_way.pop(block).release()  # its worker keeps nothing of it
            hand_out()
            yield block, content
    except (OSError, TimeoutError, CancelledError) as error:
        raise LandslideError(
            f"the scheduler is lost ({first_line(error)}); the same command goes on where it stopped"
        ) from None


def _wait(client: Client, answered: as_completed) -> None:
    """Return when an answer is there.

    Raises:
        LandslideError: there have been no workers for ``GIVEN_UP_AFTER`` seconds; after ``TOLD_AFTER`` it is said.
    """
    looked = left = time.monotonic()
    told = False
    while not answered.has_ready():
        time.sleep(0.01)
        now = time.monotonic()
        if now - looked < _LOOK:
            continue
        looked = now
        if client.nthreads():
            left, told = now, False
        elif now - left >= GIVEN_UP_AFTER:
            raise LandslideError(
                f"all workers are lost, and for {GIVEN_UP_AFTER} seconds none has come; start some: the same command "
                "goes on where it stopped"
            )
        elif now - left >= TOLD_AFTER and not told:
            warn(f"all workers are lost; waiting up to {GIVEN_UP_AFTER} seconds for new ones")
            told = True


def _result(future: Future) -> tuple[Identity, bytes]:
    """What a worker answered. Raises ``LandslideError`` in place of what went wrong there, OSErrors too."""
    try:
        return future.result()
    except (LandslideError, CommClosedError, TimeoutError, CancelledError):
        raise
    except KilledWorker:
        raise LandslideError(
            "workers died while they computed it, one after the other; their logs say why (memory?)"
        ) from None
    except Exception as error:
        raise LandslideError(f"a worker failed ({type(error).__name__}: {first_line(error)})") from None


def _warn_of_another(cpu: str, seen: set[str]) -> None:
    if seen and cpu not in seen:
        warn(f"workers compute on different CPUs ({', '.join(sorted(seen))}; {cpu}): last digits may differ")
    seen.add(cpu)


@contextmanager
def _client(number: int | None, scheduler: str | None) -> Iterator[Client]:
    for name in ("distributed", "distributed.nanny", "tornado.application"):  # what goes wrong is told once, in a line
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if scheduler is None:
        with _local(number or 1) as client:
            yield client
        return
    try:
        client = Client(scheduler, timeout=PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise LandslideError(f"{scheduler}: no scheduler answers ({first_line(error)})") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            raise LandslideError(
                f"{scheduler}: has no workers; start some: dask worker {scheduler} --nthreads 1"
            ) from None
        yield client


@contextmanager
def _local(number: int) -> Iterator[Client]:
    """Worker processes on this machine, which share its cores."""
    threads = str(max(1, len(os.sched_getaffinity(0)) // number))
    with ExitStack() as begun:
        try:
            with _interrupts_held():  # also from the client, of which an interrupt would leave half
                cluster = LocalCluster(
                    n_workers=number,
                    threads_per_worker=1,
                    dashboard_address="127.0.0.1:0",  # None is port 8787 of every address, and a warning if taken
                    silence_logs=logging.CRITICAL,  # of the workers
                    memory_limit=0,  # Dask would end workers for what TensorFlow needs
                    env={"TF_NUM_INTRAOP_THREADS": threads, "OMP_NUM_THREADS": threads, "TF_CPP_MIN_LOG_LEVEL": "3"},
                )
                begun.enter_context(closing(cluster))
                client = begun.enter_context(Client(cluster, set_as_default=False))
        except (RuntimeError, OSError, TimeoutError) as error:
            raise LandslideError(
                f"{number} workers cannot be started on this machine ({first_line(error)}); try fewer, or leave "
                "--workers out (a script of your own needs if __name__ == '__main__')"
            ) from None
        yield client


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach: a terminal sends it to all, and this one alone should answer.

    What threads and processes that are started within block, so do those that they start later, as in place of a lost
    worker. This process hears of it when the block ends.
    """
    heard: list[int] = []
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number)) if in_main else None
    resource_tracker.ensure_running()  # which would unblock it where it starts
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        if in_main:
            signal.signal(signal.SIGINT, before)
    if heard:
        signal.raise_signal(signal.SIGINT)


# --- in the worker's process


def _answer(job: Job, block: Block) -> tuple[Identity, bytes]:
    """A block's part. Raises ``LandslideError`` where this worker would answer otherwise than who asks."""
    with _LOADING:
        predictor, identity = _loaded(job.model, job.precision, job.unsure, job.identity.weights)
    if differences := job.identity.differences(identity):
        raise LandslideError(f"the worker would answer otherwise: {differences}")
    return identity, Mapping(job.scene, predictor, job.tiling, job.batch, job.unsure).part(block)


@lru_cache(maxsize=1)
def _loaded(
    model: str,
    precision: str | None,
    unsure: bool,
    weights: str,  # noqa: ARG001 (other weights)
) -> tuple[Predictor, Identity]:
    predictor = load_predictor(model, precision=precision, unsure=unsure)
    return predictor, identity_of(predictor)
