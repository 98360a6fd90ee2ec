"""``make fuzz``: every reader under damaged and made-up files, led on by what they reach in its code (Atheris).

    python -m tests.fuzz.fuzz [--seconds 60] [--seed 0] [--out fuzz] [TARGET …]

Each target has a process of its own, since a fault may end it. Its time goes to damaged valid files, or half of it to
those and half to documents with other values (Hypothesis), where its files hold documents. A failing input is kept in
``OUT/TARGET``, beside what went wrong; ``python -m tests.fuzz.fuzz --again FILE`` reads it once more.
"""

from __future__ import annotations

import argparse
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fuzz.targets import Target
    from tests.fuzz.watching import Fault, Watch

HANG = 20  # seconds that one input may take before its process is ended
ADDRESSES = 12 * 2**30  # bytes of memory that a process may ask for at most
ENDS = {70: "hung", 71: "ran out of memory", 77: "crashed"}  # libFuzzer's: exit statuses


class Findings:
    """Failing inputs, one of each kind."""

    def __init__(self, folder: Path):
        self._folder, self._kinds = folder, set[str]()

    def take(self, fault: Fault, data: bytes) -> None:
        if fault.kind in self._kinds:
            return
        self._kinds.add(fault.kind)
        path = self._folder / re.sub(r"\W+", "-", fault.kind)[:100]
        path.write_bytes(data)
        path.with_suffix(".txt").write_text(fault.told, errors="backslashreplace")
        print(f"FAULT {fault.kind}: {path}", flush=True)


def prepared(name: str, folder: Path) -> tuple[Target, Watch, list[bytes]]:
    """A target, what watches it, and its valid inputs; in ``folder``."""
    from tests.fuzz.targets import TARGETS  # after Atheris has begun to look at what is imported
    from tests.fuzz.watching import Watch

    target, watch = TARGETS[name], Watch(folder)
    for other, make in target.beside.items():
        (watch.inside / other).write_bytes(make())
    return target, watch, target.seeds(folder)


def worked(name: str, documents: bool, seconds: float, seed: int, out: Path) -> None:
    """Fuzz a target in this process, which ends with it."""
    import atheris  # for Linux only

    with atheris.instrument_imports(include=["tf_landslide", "serving", "zipfile"]):
        folder = Path(tempfile.mkdtemp(prefix="fuzz_"))
        target, watch, valid = prepared(name, folder)
    findings = Findings(out / name)

    def one(data: bytes) -> None:
        fault = watch.check(target, data, target.file)
        if fault:
            findings.take(fault, data)

    corpus = folder / "corpus"
    corpus.mkdir()
    for i, data in enumerate(() if documents else valid):
        (corpus / str(i)).write_bytes(data)
    arguments = [f"-max_total_time={max(1, round(seconds))}", f"-seed={seed + 1}", f"-timeout={HANG}", "-verbosity=0"]
    arguments += [f"-artifact_prefix={out / name}/", "-rss_limit_mb=6000", "-max_len=262144", "-print_final_stats=1"]
    mutate = None if documents else _mutator(valid)
    test = _of_documents(target, one) if documents else one
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    (out / name).mkdir(parents=True, exist_ok=True)
    atheris.Setup([name, *arguments, str(corpus)], test, **({"custom_mutator": mutate} if mutate else {}))
    atheris.Fuzz()


def _mutator(valid: list[bytes]) -> Callable[[bytes, int, int], bytes]:
    """libFuzzer's own changes to what has led on, or an accident to a valid file."""
    import atheris

    from tests.fuzz.mutation import damaged

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)
        choice = rng.random()
        if choice < 0.3:
            return atheris.Mutate(data, most)
        return damaged(rng, data if choice < 0.7 else rng.choice(valid), valid)[:most]

    return mutate


def _of_documents(target: Target, one: Callable[[bytes], None]) -> Callable[[bytes], Any]:
    from hypothesis import HealthCheck, given, settings

    @settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(target.documents)
    def test(data: bytes) -> None:
        one(data)

    return test.hypothesis.fuzz_one_input


def fuzzed(name: str, documents: bool, seconds: float, seed: int, out: Path) -> tuple[int, set[str]]:
    """Run a target's process, and another where it was ended, until the time is over: inputs, and what it told of."""
    end, inputs, faults = time.monotonic() + seconds, 0, set[str]()
    while (left := end - time.monotonic()) > 1:
        words = [sys.executable, "-m", "tests.fuzz.fuzz", "--child", "--seconds", str(left), "--seed", str(seed)]
        words += ["--out", str(out), *(["--documents"] if documents else []), name]
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        told = [line for line in done.stdout.splitlines() if line.startswith("FAULT")]
        inputs += sum(int(line.split()[-1]) for line in done.stdout.splitlines() if "number_of_executed_units" in line)
        if done.returncode:
            told.append(f"FAULT {ENDS.get(done.returncode, 'ended')} ({done.returncode}): {out / name}")
            (out / name / f"log-{seed}.txt").write_text(done.stdout[-20_000:])
        for line in sorted(set(told) - faults):
            print(line, flush=True)
        faults |= set(told)
        if not done.returncode:
            break
        seed += 1
    return inputs, faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", help="default: all")
    parser.add_argument("--seconds", type=float, default=60, help="of each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("fuzz"), help="folder of failing inputs")
    parser.add_argument("--again", type=Path, metavar="FILE", help="read a failing input once more")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--documents", action="store_true", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.child:
        worked(a.targets[0], a.documents, a.seconds, a.seed, a.out.absolute())
    if a.again:
        with tempfile.TemporaryDirectory() as folder:
            target, watch, _ = prepared(a.again.absolute().parent.name, Path(folder))
            fault = watch.check(target, a.again.read_bytes(), target.file)
        print(fault.told if fault else "nothing is wrong with it")
        return int(fault is not None)
    from tests.fuzz.targets import TARGETS

    print(f"seed {a.seed}, {a.seconds:g} s a target, failing inputs to {a.out}", flush=True)
    total = 0
    for name in a.targets or TARGETS:
        halves = (False, True) if TARGETS[name].trees else (False,)
        counts = [fuzzed(name, half, a.seconds / len(halves), a.seed, a.out.absolute()) for half in halves]
        faults = len(set[str]().union(*(count[1] for count in counts)))
        print(f"{name}: {sum(count[0] for count in counts):,} inputs, {faults} faults", flush=True)
        total += faults
    return int(total > 0)


if __name__ == "__main__":
    sys.exit(main())
