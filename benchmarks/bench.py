"""Ours beside its peers, in one run on one machine; writes docs/performance.md and the raw rounds beside it.

    make bench                                             all, half an hour and more on two cores
    python benchmarks/bench.py --only inference,start      some groups; the others keep what they were
    python benchmarks/bench.py --quick                     whether it works: few rounds, to build/performance.md

Contenders are processes of their own, asked in alternating rounds. What is compared, and with what, is in `report.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

import report
import server
from contest import Contender, Failed, contest, once, tell
from report import COMPILED, KERAS_SM, OURS, OURS_AUTO, OURS_TF, OURS_XLA, SMP

from tf_landslide.bands.layouts import LANDSLIDE4SENSE
from tf_landslide.core.files import write_text
from tf_landslide.data.synthetic import write_sample

REPOSITORY = Path(__file__).resolve().parent.parent
MISSING_PEERS = "make bench builds it from benchmarks/requirements.txt"


@dataclass
class Bench:
    """How much to measure, and what the groups share.

    Attributes:
        peers: interpreter of the peers' environment.
        folder: for what is made and thrown away.
        quick: only show that it works.
        wanted_rounds: instead of each group's own number.
    """

    peers: str
    folder: Path
    quick: bool = False
    wanted_rounds: int | None = None

    def rounds(self, usual: int) -> int:
        return self.wanted_rounds or (1 if self.quick else usual)

    def ours(self, kind: str, **task) -> Contender:
        return Contender(sys.executable, "ours.py", self._task(kind, task))

    def peer(self, kind: str, **task) -> Contender:
        cache = {"TORCHINDUCTOR_CACHE_DIR": str(self.folder / "inductor")}  # else a first step is an earlier run's
        return Contender(self.peers, "peers.py", self._task(kind, task), cache)

    def _task(self, kind: str, task: dict) -> dict:
        return {"kind": kind, "warmup": 0 if self.quick else 2, **task}

    @cached_property
    def models(self) -> dict[str, int]:
        """Multiply-adds of our exported model (``models/unet/1``) and of the peers' (``unet.pt``, ``unet.onnx``)."""
        tell("  exporting the models")
        sides = {"ours": self.ours("export", folder=str(self.folder / "models"))}
        sides["peers"] = self.peer("export", folder=str(self.folder))
        return {side: once(contender)["multiply_adds"] for side, contender in sides.items()}

    def file(self, name: str) -> str:
        """Path of an exported model."""
        assert self.models
        return str(self.folder / name)


def training(bench: Bench) -> dict:
    """A step of U-Net/ResNet-34."""
    task = {"network": "unet_resnet34", "batch": 2 if bench.quick else 16}
    contenders = {
        OURS: bench.ours("training", jit=False, **task),
        OURS_XLA: bench.ours("training", jit=True, **task),
        SMP: bench.peer("training", compiled=False, **task),
        SMP + COMPILED: bench.peer("training", compiled=True, **task),
        report.TRAINED_BFLOAT16: bench.ours("training", jit=False, precision="mixed_bfloat16", **task),
        report.SMP_BFLOAT16: bench.peer("training", compiled=False, bfloat16=True, **task),
        report.SMP_BFLOAT16 + COMPILED: bench.peer("training", compiled=True, bfloat16=True, **task),
        KERAS_SM: bench.ours("keras_training", batch=task["batch"]),
    }
    return {"batch": task["batch"], "contenders": contest(contenders, {str(task["batch"]): 2}, bench.rounds(10))}


def training_plain(bench: Bench) -> dict:
    """A step of the plain U-Net."""
    task = {"network": "plain_unet", "batch": 2 if bench.quick else 16}
    contenders = {
        OURS: bench.ours("training", jit=False, **task),
        OURS_XLA: bench.ours("training", jit=True, **task),
        report.PLAIN_TORCH: bench.peer("training", compiled=False, **task),
        report.PLAIN_TORCH + COMPILED: bench.peer("training", compiled=True, **task),
    }
    return {"batch": task["batch"], "contenders": contest(contenders, {str(task["batch"]): 1}, bench.rounds(5))}


def training_windows(bench: Bench) -> dict:
    """A step of U-Net/ResNet-34 on large windows, whose activations fill the memory."""
    size, batch = (128, 2) if bench.quick else (512, 4)
    task = {"network": "unet_resnet34", "batch": batch, "size": size}
    contenders = {
        OURS: bench.ours("training", jit=False, **task),
        report.CHECKPOINTED: bench.ours("training", jit=False, checkpointing=True, **task),
        report.CHECKPOINTED + ", mixed_bfloat16": bench.ours(
            "training", jit=False, checkpointing=True, precision="mixed_bfloat16", **task
        ),
        SMP: bench.peer("training", compiled=False, **task),
    }
    return {"batch": batch, "size": size, "contenders": contest(contenders, {str(batch): 1}, bench.rounds(5))}


def inference(bench: Bench) -> dict:
    """U-Net/ResNet-34 by batch size, and what the machine could do at most."""
    repeats = {"1": 2, "16": 1} if bench.quick else {"1": 10, "16": 2, "64": 1}
    batches = [int(batch) for batch in repeats]
    saved_model = bench.file("models/unet/1")
    state = {"path": bench.file("unet.pt"), "batches": batches}
    onnx = {"path": bench.file("unet.onnx"), "batches": batches}
    contenders = {
        OURS_TF: bench.ours("inference", path=saved_model, runtime="tensorflow", batches=batches),
        OURS_AUTO: bench.ours("inference", path=saved_model, runtime="auto", batches=batches),
        report.OURS_BFLOAT16: bench.ours("short", path=saved_model, precision="bfloat16", batches=batches),
        report.OURS_INT8: bench.ours("short", path=saved_model, precision="int8", batches=batches),
        report.TORCH: bench.peer("torch_inference", channels_last=False, **state),
        report.TORCH_LAST: bench.peer("torch_inference", channels_last=True, **state),
        report.ONNX: bench.peer("onnx_inference", **onnx),
        report.OPENVINO: bench.peer("openvino_inference", **onnx),
        report.OPENVINO_OURS: bench.peer("openvino_inference", path=saved_model, batches=batches, channels_last=True),
        report.OPENVINO_DEFAULT: bench.peer("openvino_inference", precision=None, **onnx),
    }
    return {
        "multiply_adds": bench.models,
        "peak_flops": peak_flops(bench),
        "contenders": contest(contenders, repeats, bench.rounds(10)),
    }


def peak_flops(bench: Bench) -> float | None:
    """Best float32 matrix multiplication of TensorFlow's and PyTorch's, in operations a second."""
    sides = [2048] if bench.quick else [2048, 3072, 4096]
    contenders = {"TensorFlow": bench.ours("peak", sides=sides), "PyTorch": bench.peer("peak", sides=sides)}
    results = contest(contenders, {str(side): 5 for side in sides}, bench.rounds(6))
    timed = [
        2 * int(side) ** 3 / min(one["seconds"])
        for result in results.values()
        for side, rounds in result.get("rounds", {}).items()
        for one in rounds
    ]
    return max(timed, default=None)


def loading(bench: Bench) -> dict:
    """From files to batches."""
    patches, folder = 32 if bench.quick else 960, bench.folder / "patches"
    write_sample(folder, train=patches, valid=0, test=0)
    task = {"folder": str(folder), "scales": [band.scale for band in LANDSLIDE4SENSE.bands]}
    contenders = {
        OURS: bench.ours("loading", folder=str(folder)),
        report.OURS_UNCACHED: bench.ours("loading", folder=str(folder), cache="none"),
        report.GENERATOR: bench.ours("plain_loading", cache=False, **task),
        report.GENERATOR_CACHED: bench.ours("plain_loading", cache=True, **task),
        report.LOADER: bench.peer("loading", **task),
    }
    repeats = {"first": 1, "later": 1, "turned": 1}
    return {"patches": patches, "contenders": contest(contenders, repeats, bench.rounds(5))}


def start(bench: Bench) -> dict:
    """Seconds from the start of a process to something done."""
    only = {"only_first": True}
    saved_model, batch = bench.file("models/unet/1"), 2 if bench.quick else 16
    step, answer = {"network": "unet_resnet34", "batch": batch} | only, {"batches": [1]} | only
    processes = {
        ("first_step", OURS): bench.ours("training", jit=False, **step),
        ("first_step", SMP): bench.peer("training", compiled=False, **step),
        ("first_answer", OURS_TF): bench.ours("inference", path=saved_model, runtime="tensorflow", **answer),
        ("first_answer", OURS_AUTO): bench.ours("inference", path=saved_model, runtime="auto", **answer),
        ("first_answer", report.TORCH): bench.peer(
            "torch_inference", path=bench.file("unet.pt"), channels_last=False, **answer
        ),
        ("first_answer", report.ONNX): bench.peer("onnx_inference", path=bench.file("unet.onnx"), **answer),
    }
    timed: dict[tuple[str, str], Callable[[], float]] = {
        key: lambda contender=contender: once(contender)["started_seconds"] for key, contender in processes.items()
    }
    commands = ("--help", "models")
    timed |= {("command", command): lambda command=command: command_seconds(command) for command in commands}
    results: dict[str, dict] = {"command": {}, "first_step": {}, "first_answer": {}}
    for number in range(bench.rounds(5)):
        tell(f"  round {number + 1}")
        for group, name in list(timed)[:: -1 if number % 2 else 1]:
            entry = results[group].setdefault(name, {"seconds": []})
            try:
                entry["seconds"].append(timed[group, name]())
            except Failed as error:
                entry["error"] = str(error)
    for command in commands:
        results["command"][command]["imports_tensorflow"] = imports_tensorflow(command)
    return {"batch": batch, **results}


def command_seconds(command: str) -> float:
    program = Path(sys.executable).with_name("tf-landslide")
    started = time.perf_counter()
    subprocess.run([program, command], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def imports_tensorflow(command: str) -> bool:
    script = (
        "import sys\nfrom tf_landslide.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "sys.exit(77 if 'tensorflow' in sys.modules else 0)"
    )
    status = subprocess.run([sys.executable, "-c", script, command], stdout=subprocess.DEVNULL).returncode
    if status not in (0, 77):
        raise Failed(f"tf-landslide {command} ended with status {status}")
    return status == 77


def serving(bench: Bench) -> dict:
    """The embedded server beside the predictor in the process."""
    models = Path(bench.file("models"))
    return server.measure(models, bench.rounds(10), 0.3 if bench.quick else 2.0)


def growth(bench: Bench) -> dict:
    """What patches, pixels and callers cost as they grow fourfold, and memory as epochs pass."""
    path = bench.file("models/unet/1")
    counts, sizes, callers = (64, 256, 1024), (128, 256, 512), (1, 4, 16)
    if bench.quick:
        counts, sizes, callers = (16, 64), (64, 128), (1, 4)
    kinds = {
        "patches": {n: {"patches": n} for n in counts},
        "pixels": {size * size: {"patches": 4, "size": size} for size in sizes},
        "callers": {n: {"patches": 2 if bench.quick else 8, "callers": n} for n in callers},
    }
    results: dict[str, dict] = {}
    for kind, points in kinds.items():
        tell(f"  {kind}")
        contenders = {str(n): bench.ours("growth", path=path, **task) | {"warmup": 0} for n, task in points.items()}
        results[kind] = contest(contenders, {"all": 1}, bench.rounds(5))
    tell("  epochs")
    try:
        results["epochs"] = once(bench.ours("epochs", count=3 if bench.quick else 10, before=1 if bench.quick else 5))
    except Failed as error:
        results["epochs"] = {"error": str(error)}
    return results


GROUPS: dict[str, Callable[[Bench], dict]] = {
    "training": training,
    "inference": inference,
    "input": loading,
    "start": start,
    "growth": growth,
    "serving": serving,
    "training_plain": training_plain,
    "training_windows": training_windows,
}


def circumstances(quick: bool) -> dict:
    """Where and when a group was measured."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    return {
        "date": date.today().isoformat(),
        "revision": described.stdout.strip() or "unknown",
        "machine": machine(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
        "quick": quick,
    }


def machine() -> str:
    """Processor, cores and memory."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), platform.machine())
    flags = next((line.split(":")[1].split() for line in info if line.startswith("flags")), [])
    wide = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_tile") if flag in flags]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model} ({', '.join(wide)}), {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB"


def measure(bench: Bench, names: list[str], out: Path) -> bool:
    """Measure the groups, writing after each; whether all went well."""
    raw = out.with_suffix(".json")
    results = json.loads(raw.read_text()) if raw.is_file() else {}
    well = True
    for name in names:
        tell(f"{name}:")
        about, started = circumstances(bench.quick), time.perf_counter()
        if about["load"] > 1:
            tell(f"  warning: load average {about['load']}; something else is at work on this machine")
        try:
            results[name] = {"about": about, **GROUPS[name](bench)}
        except (Failed, RuntimeError, OSError, subprocess.SubprocessError) as error:
            tell(f"error: {name}: {error}")
            well = False
            continue
        about["minutes"] = round((time.perf_counter() - started) / 60, 1)
        write_text(raw, _json({key: results[key] for key in GROUPS if key in results}) + "\n")
        report.write(out, results)
    return well


def _json(value: object, indent: str = "") -> str:
    """JSON with a line for each key, but one for a list or a short object: a measurement is a few lines of a diff."""
    short = json.dumps(value)
    if not isinstance(value, dict) or len(indent + short) <= 120:
        return short
    rows = [f"{indent} {json.dumps(key)}: {_json(inner, indent + ' ')}" for key, inner in value.items()]
    return "{\n" + ",\n".join(rows) + f"\n{indent}}}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAME,…", default=",".join(GROUPS), help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--quick", action="store_true", help="few rounds of little work; its numbers mean nothing")
    parser.add_argument("--rounds", type=int, metavar="N", help="instead of each group's own number")
    default = REPOSITORY / ".venv-bench/bin/python"
    parser.add_argument("--peers", default=str(default), metavar="PYTHON", help="interpreter of the peers' environment")
    parser.add_argument("--out", type=Path, metavar="FILE.md", help="default: docs/performance.md")
    parser.add_argument("--render", action="store_true", help="only write the Markdown anew")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    unknown = [name for name in names if name not in GROUPS]
    out = arguments.out or REPOSITORY / ("build" if arguments.quick else "docs") / "performance.md"
    refused = f"unknown group {unknown[0]!r}; known: {', '.join(GROUPS)}" if unknown else None
    if arguments.render and not out.with_suffix(".json").is_file():
        refused = f"{out.with_suffix('.json')}: no such file; measure first"
    elif not arguments.render and not os.access(arguments.peers, os.X_OK):
        refused = f"{arguments.peers}: no such interpreter; {MISSING_PEERS}"
    if refused:
        print(f"error: {refused}", file=sys.stderr)
        return 2
    if arguments.render:
        report.write(out, json.loads(out.with_suffix(".json").read_text()))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no contender outlives the bench
    try:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(arguments.peers, Path(folder), arguments.quick, arguments.rounds)
            well = measure(bench, names, out)
    except KeyboardInterrupt:
        print("error: interrupted; the groups that were finished are written", file=sys.stderr)
        return 130
    print(out)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
