"""The server and the page at four times what they can do, for ten minutes, on one machine: ``make soak``.

    python benchmarks/soak.py [--seconds 600] [--out DIR] [--report FILE] [server] [page]

First their capacity is measured: the number of callers where the rate no longer rises. Then four times as many ask, one
request after another: valid ones, invalid ones, and ones that are broken off. Then those of before ask again, until the
rate is what it was. What is lost or wrong, memory that grows by 5 % or more, a rate that does not come back in ten
seconds, or a queue that never was full, is said, and ends with status 1.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import psutil
import soak_callers as callers
from soak_callers import ANSWERED, MIXED, OUTCOMES, VALID, Ask
from soak_report import BACK, TIMES, Soak, picture, reported, table

ROOT = Path(__file__).parents[1]
COUNTS = (1, 2, 4, 8)  # callers, to find where the rate no longer rises
QUEUE = 8  # --max_queue of the server, so small that four times its callers fill it
SIDE, PATCHES = 64, 6


class Load:
    """Callers in threads; ``outcomes`` are (seconds since the beginning, outcome)."""

    def __init__(self, asks: Sequence[Ask], kinds: Sequence[str], seed: int = 0):
        self.began, self.outcomes, self._over = time.monotonic(), list[tuple[float, str]](), threading.Event()
        self._threads = [threading.Thread(target=self._go, args=(ask, kinds, seed + i)) for i, ask in enumerate(asks)]
        for thread in self._threads:
            thread.start()

    def _go(self, ask: Ask, kinds: Sequence[str], seed: int) -> None:
        rng = random.Random(seed)
        while not self._over.is_set():
            outcome = ask(rng, rng.choice(kinds))
            self.outcomes.append((time.monotonic() - self.began, outcome))
            callers.rests(outcome, rng)

    def end(self) -> list[tuple[float, str]]:
        """Ask no more; wait for the answers."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        return self.outcomes


def rate_of(asks: Sequence[Ask], seconds: float) -> float:
    """Answers a second of callers that ask nothing but valid requests."""
    load = Load(asks, [VALID])
    time.sleep(seconds)
    spent = time.monotonic() - load.began
    answered = sum(outcome == ANSWERED for when, outcome in load.outcomes if when <= spent)
    load.end()
    return answered / spent


def soaked(what: str, caller: Callable[[int], Ask], process: psutil.Process, seconds: float, most: int) -> Soak:
    """Measure, load, and watch it come back.

    Args:
        what: is asked.
        caller: makes the i-th one.
        process: that answers.
        seconds: of the load.
        most: callers that are needed to fill its queue, where four times the others do not.
    """
    seen = Soak(what, seconds, machine=f"{os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GB")
    each = max(3.0, seconds / 60)
    asks = [caller(i) for i in range(max(TIMES * COUNTS[-1], most))]
    rate_of(asks[: COUNTS[-1]], each)  # warms up
    rates = {count: rate_of(asks[:count], each) for count in COUNTS}
    print(f"{what}: answers/s by callers: { ({count: round(rate, 1) for count, rate in rates.items()}) }", flush=True)
    enough = next(count for count in COUNTS if rates[count] >= 0.95 * max(rates.values()))
    seen.callers, seen.capacity = (enough, max(TIMES * enough, most)), rates[enough]
    print(f"{what}: {seen.capacity:.1f} answers/s of {enough} callers; {seen.callers[1]} for {seconds:g} s", flush=True)

    load, began = Load(asks[: seen.callers[1]], MIXED, seed=100), time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        seen.memory.append((round(now, 2), process.memory_info().rss / 2**20, process.num_threads()))
        time.sleep(min(1.0, seconds / 100))
    outcomes = load.end()
    ended = time.monotonic() - began
    seen.outcomes = dict(Counter(outcome for _, outcome in outcomes))
    seen.growth = _growth(seen.memory, seconds)
    after = _come_back(asks[:enough], seen, ended)
    seen.rates = {name: _by_second([*outcomes, *after], name) for name in OUTCOMES}
    return seen


def _come_back(asks: Sequence[Ask], seen: Soak, ended: float) -> list[tuple[float, str]]:
    """Valid requests after the load, until the rate of a second is 0.9 of the capacity."""
    load = Load(asks, [VALID])
    while seen.back is None and time.monotonic() - load.began < BACK:
        time.sleep(0.1)
        now = time.monotonic() - load.began
        answered = sum(outcome == ANSWERED for when, outcome in list(load.outcomes) if when > now - 1)
        if now >= 1 and answered >= 0.9 * seen.capacity:
            seen.back = round(now, 1)
    time.sleep(2)
    return [(when + ended, outcome) for when, outcome in load.end()]


def _growth(memory: Sequence[tuple[float, float, int]], seconds: float) -> float:
    times, sizes = np.array([(when, size) for when, size, _ in memory if when >= seconds / 5]).T
    slope, level = np.polyfit(times, sizes, 1)
    return float(slope * (times[-1] - times[0]) / (level + slope * times[0]))


def _by_second(outcomes: Sequence[tuple[float, str]], name: str) -> list[int]:
    counts = Counter(int(when) for when, outcome in outcomes if outcome == name)
    return [counts[second] for second in range(int(max(when for when, _ in outcomes)) + 1)]


@contextmanager
def running(words: Sequence[str], until: str) -> Iterator[tuple[psutil.Process, str]]:
    """A program of ours, and the line by which it says that it is ready."""
    command = [sys.executable, "-u", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT) as process:
        try:
            line = next((line for line in process.stdout or () if until in line), None)
            if line is None:
                raise RuntimeError(f"{' '.join(words)} did not start")
            threading.Thread(target=lambda: [None for _ in process.stdout or ()], daemon=True).start()
            yield psutil.Process(process.pid), line
        finally:
            process.terminate()
            process.wait(30)


def questions(model: Any) -> list[callers.Question]:
    """Requests for windows of random channels, and what the model says to them in this process."""
    from serving.protos import ModelSpec, PredictRequest
    from serving.tensors import to_proto

    made = []
    for seed in range(PATCHES):
        channels = np.random.default_rng(seed).normal(size=(1, SIDE, SIDE, 6)).astype(np.float32)
        request = PredictRequest(model_spec=ModelSpec(name="unet"))
        request.inputs["channels"].CopyFrom(to_proto(channels))
        body = json.dumps({"inputs": channels.tolist()}).encode()
        answer = np.asarray(model(channels, training=False))[0, ..., 0]
        made.append(callers.Question(request.SerializeToString(), body, answer))
    return made


def soak_server(models: Path, model: Any, seconds: float) -> Soak:
    """Two callers of three over gRPC, the third over REST."""
    asked = questions(model)
    wrong = asked[0].message.replace(b"channels", b"chanells"), asked[0].message[: len(asked[0].message) // 2][:40]
    bodies = b'{"inputs": [[1', b"[]", b'{"inputs": {"channels": 1}}', b"\xff" * 1000
    words = ["-m", "tf_landslide", "serve", str(models), "--port=-1", "--rest_api_port=-1", f"--max_queue={QUEUE}"]
    with running(words, "embedded server ready") as (process, line):
        grpc_at = line.split("grpc://")[1].split(",")[0].split(";")[0].strip()
        rest_at = line.split("http://")[1].split("/")[0].split(",")[0].split(";")[0].strip()

        def caller(i: int) -> Ask:
            if i % 3 == 2:
                return callers.OverRest(rest_at, "unet", asked, bodies)
            return callers.OverGrpc(grpc_at, asked, wrong[:1])

        return soaked("server", caller, process, seconds, 2 * QUEUE + 8)


def soak_page(models: Path, folder: Path, seconds: float) -> Soak:
    """Tabs that run a model on a patch, more than the page's queue holds."""
    from tf_landslide.data.synthetic import write_sample
    from tf_landslide.page.app import WAITING  # Gradio
    from tf_landslide.predict.load import load_predictor

    write_sample(folder / "data", train=PATCHES, valid=1, test=1, seed=0)
    patches = sorted((folder / "data" / "TrainData" / "img").glob("*.h5"))
    broken = folder / "broken.h5"
    broken.write_bytes(patches[0].read_bytes()[:1000])
    answers: dict[str, Any] = {}
    with running(["gradio_app.py", "--models", str(models), "--port", "0"], "the page is at") as (process, line):
        address = line.split()[-1].rstrip("/")
        files = {path.name: callers.uploaded(address, path) for path in patches}
        bad = callers.uploaded(address, broken)

        def caller(_: int) -> Ask:
            return callers.OnPage(address, files, bad, "unet", answers)

        first, rng = caller(0), random.Random(0)
        while len(answers) < len(patches):
            first(rng, VALID)
        _check(answers, patches, load_predictor(models / "unet"))
        return soaked("page", caller, process, seconds, WAITING + 16)


def _check(answers: dict[str, Any], patches: Sequence[Path], predictor: Any) -> None:
    """The first answers are the predictor's, to the digits that the page shows; the others must equal them."""
    from tf_landslide.data.hdf5 import read_image

    for path in patches:
        mean = f"{predictor.from_bands(read_image(path)[None])[1].mean():.4f}"
        if mean not in answers[path.name]:
            raise RuntimeError(f"{path.name}: the page says {answers[path.name]}, the predictor {mean}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", help="server, page (default: both)")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--out", type=Path, default=ROOT / "soak", help="folder of the numbers and the figures")
    parser.add_argument("--report", type=Path, metavar="FILE", help="Markdown whose table of the soak is replaced")
    a = parser.parse_args()
    wanted = a.what or ["server", "page"]
    a.out.mkdir(parents=True, exist_ok=True)
    seen: list[Soak] = []
    with tempfile.TemporaryDirectory() as temporary:
        from server import export  # the benchmark of the server's speed

        folder = Path(temporary)
        model = export(folder / "models")
        soaks = {
            "server": lambda: soak_server(folder / "models", model, a.seconds),
            "page": lambda: soak_page(folder / "models", folder, a.seconds),
        }
        for what in wanted:
            seen.append(soaks[what]())
            (a.out / f"soak_{what}.json").write_text(json.dumps(asdict(seen[-1])) + "\n")
            picture(seen[-1], a.out / f"soak_{what}.png")
    print(table(seen))
    if a.report:  # with what an earlier soak of the other one left
        files = [a.out / f"soak_{what}.json" for what in soaks]
        known = [Soak(**json.loads(file.read_text())) for file in files if file.is_file()]
        a.report.write_text(reported(a.report.read_text(), known))
    for one in seen:
        for fault in one.faults:
            print(f"FAULT {one.what}: {fault}")
    return int(any(one.faults for one in seen))


if __name__ == "__main__":
    sys.exit(main())
