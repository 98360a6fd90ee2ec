"""What the embedded server costs: latency and throughput of U-Net/ResNet-34 beside the predictor in the process.

    python benchmarks/server.py [--rounds 10] [--seconds 3] [--before CHECKOUT]

With ``--before`` the server of another checkout is asked in the same rounds.

One process holds the predictor, one the server, one the callers; all share the machine, and only one of the two ways is
asked at a time, in alternating rounds. A request is one patch, 128 x 128 x 6.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from tf_landslide.core.tables import markdown_table

CALLERS = (1, 8, 32)
PATCH = (1, 128, 128, 6)


def ask(predict, callers: int, seconds: float) -> dict[str, float]:
    """Patches a second and latencies (ms) of so many callers who ask one after another."""
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    def call():
        x = np.random.default_rng(0).normal(size=PATCH).astype(np.float32)
        while time.perf_counter() < end:
            started = time.perf_counter()
            predict(x)
            latencies.append(time.perf_counter() - started)

    started = time.perf_counter()
    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    p50, p99 = np.quantile(latencies, (0.5, 0.99)) * 1e3
    return {"rate": len(latencies) / (time.perf_counter() - started), "p50": p50, "p99": p99}


def work(model: str) -> None:
    """Ask as each line of standard input says, ``CALLERS SECONDS``, and print what it took."""
    from serving.startup import start_tensorflow
    from tf_landslide.predict.load import is_server, load_predictor

    if not is_server(model):
        start_tensorflow()
    predict = load_predictor(model, runtime="auto" if is_server(model) else "tensorflow")  # as the server computes
    predict(np.zeros(PATCH, np.float32))
    print("ready", flush=True)
    for line in sys.stdin:
        callers, seconds = line.split()
        print(json.dumps(ask(predict, int(callers), float(seconds))), flush=True)


class Worker:
    """A process of its own that asks a model; leaving the context ends it."""

    def __init__(self, model: str):
        command = [sys.executable, __file__, "--work", model]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline().strip() != "ready":
            self.process.kill()
            raise RuntimeError(f"the process that asks {model} did not start")

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.wait()

    def __call__(self, callers: int, seconds: float) -> dict[str, float]:
        self.process.stdin.write(f"{callers} {seconds}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a process that asks ended with status {self.process.wait()}")
        return json.loads(line)


def export(folder: Path):
    """U-Net/ResNet-34 with random weights, as a server's folder of models; the model."""
    from serving.startup import start_tensorflow

    start_tensorflow()
    from tf_landslide.bands.recipes import RECIPES
    from tf_landslide.models.build import build_model
    from tf_landslide.predict.export import save_model
    from tf_landslide.runs.card import ModelCard

    model = build_model(
        "smp_unet", "smp_resnet34", channels=6, adapt_to=[np.random.default_rng(0).normal(size=(4, 64, 64, 6))]
    )
    logits = model.get_layer("logits")  # random ones are so large that rounding shows in the probabilities
    logits.set_weights([weight / 100 for weight in logits.get_weights()])
    card = ModelCard("unet", "smp_unet", "smp_resnet34", "landslide4sense", RECIPES["six"], 0.5)
    save_model(model, card, folder / "unet" / "1")
    return model


@contextmanager
def running_server(models: Path, checkout: Path | None = None) -> Iterator[str]:
    """The embedded server, of this or another checkout, on a free port; its address."""
    command = [sys.executable, "-m", "tf_landslide", "serve", str(models), "--port=-1", "--rest_api_port=0"]
    paths = {"PYTHONPATH": str(checkout.resolve())} if checkout else {}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **paths}) as process:
        try:
            ready = next((line for line in process.stderr if "embedded server ready" in line), None)
            if ready is None:
                raise RuntimeError("the server did not start")
            yield ready.split("grpc://")[1].split(";")[0].strip()
        finally:
            process.kill()


def encoding() -> dict[str, float]:
    """Milliseconds to write a request of sixteen patches and to read it again; medians of 51."""
    from serving.protos import PredictRequest
    from serving.tensors import to_array, to_proto

    x = np.random.default_rng(0).normal(size=(16, *PATCH[1:])).astype(np.float32)

    def write():
        request = PredictRequest()
        request.inputs["channels"].CopyFrom(to_proto(x))
        return request.SerializeToString()

    def read(message):
        return to_array(PredictRequest.FromString(message).inputs["channels"])

    def milliseconds(call):
        times = []
        for _ in range(51):
            started = time.perf_counter()
            call()
            times.append(time.perf_counter() - started)
        return 1e3 * statistics.median(times)

    message = write()
    assert np.array_equal(read(message), x)
    return {"write": milliseconds(write), "read": milliseconds(lambda: read(message))}


def measure(models: Path, rounds: int, seconds: float, before: Path | None = None) -> dict:
    """Ask all ways in alternating rounds; the first one warms up.

    Args:
        models: folder that holds ``unet/1``.
        rounds: number of rounds that count.
        seconds: of each asking.
        before: a checkout whose server is asked too.

    Returns:
        ``rounds`` and ``seconds`` as given; what ``ask`` said in each round, by way and callers; ``encoding``.

    Raises:
        RuntimeError: the server, or a process that asks, did not start.
    """
    asked: dict[str, dict[str, list[dict]]] = {}
    with ExitStack() as stack:
        addresses = {"in process": f"{models}/unet"}
        for way, checkout in {"server": None, **({"before": before} if before else {})}.items():
            addresses[way] = f"grpc://{stack.enter_context(running_server(models, checkout))}/unet"
        workers = {way: stack.enter_context(Worker(model)) for way, model in addresses.items()}
        for number in range(rounds + 1):
            for callers in CALLERS:
                for way in list(workers)[:: 1 if number % 2 else -1]:
                    measured = workers[way](callers, seconds)
                    if number:
                        asked.setdefault(way, {}).setdefault(str(callers), []).append(measured)
    return {"rounds": rounds, "seconds": seconds, "asked": asked, "encoding": encoding()}


def table(measured: dict) -> str:
    """What ``measure`` returned, as Markdown."""
    local = measured["asked"]["in process"]
    ways = [way for way in measured["asked"] if way != "in process"]
    rows = []
    for way, callers in [(way, callers) for way in ways for callers in local]:
        sides = local[callers], measured["asked"][way][callers]
        cells = []
        for side in sides:
            rate, p50, p99 = (statistics.median(round_[key] for round_ in side) for key in ("rate", "p50", "p99"))
            cells += [f"{rate:.1f}", f"{p50:.0f}, {p99:.0f}"]
        for key in ("rate", "p50"):
            cells.append(f"{statistics.median(r[key] / o[key] for o, r in zip(*sides, strict=True)):.2f}")
        rows.append([f"{callers}, {way}" if len(ways) > 1 else callers, *cells])
    took = measured["encoding"]
    one = ("patches/s", "p50, p99 ms")
    header = ("callers", f"in process: {one[0]}", one[1], f"server: {one[0]}", one[1], "rate ratio", "p50 ratio")
    return "\n\n".join(
        [
            f"Medians of {measured['rounds']} alternating rounds of {measured['seconds']:g} s.",
            markdown_table(header, rows),
            f"A request of 16 patches: {took['write']:.1f} ms to write, {took['read']:.1f} ms to read.",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="whose server is asked in the same rounds")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work)
        return
    with tempfile.TemporaryDirectory() as folder:
        export(Path(folder))
        try:
            measured = measure(Path(folder), arguments.rounds, arguments.seconds, arguments.before)
        except RuntimeError as error:
            raise SystemExit(f"error: {error}") from None
    print(f"{os.cpu_count()} cores. {table(measured)}")


if __name__ == "__main__":
    main()
