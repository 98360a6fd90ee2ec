"""A contest: contenders in processes of their own, asked in turn, on one machine.

A contender's process is given a task, sets itself up and prints its facts as one line of JSON. Then it repeats what
each line of its standard input names, ``{"variant": "16", "repeat": 3}``, and prints what that took. One that cannot
set itself up prints ``{"error": …}``, and the contest goes on without it. All are alive together; only one works at a
time.

Standard library only, since contenders live in environments that share nothing else.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

Calls = dict[str, Callable[[], object]]  # what a contender can repeat, by variant
Describe = Callable[[], dict]  # facts that are found out once it is warm


class NotApplicable(Exception):
    """A contender that has no place on this machine; its row is left out."""


class Failed(Exception):
    """A contender that could not set itself up, or stopped."""


# --- in the contender's process


def resident_mb() -> float:
    return _status_mb("VmRSS")


def peak_mb() -> float:
    """Highest resident memory since the process began; ``ru_maxrss``, the other count, starts at the parent's."""
    return _status_mb("VmHWM")


def _status_mb(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(round(int(line.split()[1]) / 1024, 1) for line in lines if line.startswith(key))


def cpu_seconds() -> float:
    """CPU time of this process and of those it started and saw end."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def versions(*packages: str) -> dict[str, str]:
    return {package: metadata.version(package) for package in packages}


def work(kinds: dict[str, Callable[..., tuple[Calls, Describe]]]) -> None:
    """Be the contender that the command line's task says: ``{"kind": …, "warmup": 2, …}``."""
    answer = _private_output()
    task = json.loads(sys.argv[1])
    warmup, only_first = task.pop("warmup", 2), task.pop("only_first", False)
    facts: dict = {}
    try:
        calls, describe = kinds[task.pop("kind")](facts, **task)
        facts["first_seconds"] = {variant: _seconds(call) for variant, call in calls.items()}
        if not only_first:
            for call in calls.values():
                for _ in range(warmup):
                    call()
            facts |= {"warm_mb": resident_mb(), "peak_mb": peak_mb(), **describe()}
    except Exception as error:
        name = "not_applicable" if isinstance(error, NotApplicable) else "error"
        answer({name: _one_line(error)})
        return
    answer(facts)
    for line in sys.stdin:
        order = json.loads(line)
        call, before = calls[order["variant"]], cpu_seconds()
        seconds = [_seconds(call) for _ in range(order["repeat"])]
        answer({"seconds": seconds, "cpu_seconds": round(cpu_seconds() - before, 6), "peak_mb": peak_mb()})


def _private_output() -> Callable[[dict], None]:
    """Standard output for answers alone; what libraries print goes to standard error."""
    kept = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return lambda value: print(json.dumps(value), file=kept, flush=True)


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return round(time.perf_counter() - started, 6)


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}"[:300] if lines else type(error).__name__


# --- in the driver's process


@dataclass(frozen=True)
class Contender:
    """What to start: an interpreter, one of this folder's scripts, and its task."""

    python: str
    script: str
    task: dict
    environment: dict = field(default_factory=dict)

    def __or__(self, task: dict) -> Contender:
        return Contender(self.python, self.script, self.task | task, self.environment)


class Worker:
    """A contender's process; leaving the context ends it and whatever it started.

    Attributes:
        facts: what it said of itself.
        started_seconds: from its start to that.

    Raises:
        Failed, NotApplicable: it could not set itself up.
    """

    def __init__(self, contender: Contender):
        command = [contender.python, str(Path(__file__).parent / contender.script), json.dumps(contender.task)]
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        started = time.perf_counter()
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                text=True,
                start_new_session=True,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **contender.environment},
            )
        except OSError as error:
            self.errors.close()
            raise Failed(f"{contender.python} cannot be run ({error.strerror})") from None
        try:
            self.facts = self._answer()
            self.started_seconds = time.perf_counter() - started
            if "not_applicable" in self.facts:
                raise NotApplicable(self.facts["not_applicable"])
            if "error" in self.facts:
                raise Failed(self.facts["error"])
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def repeat(self, variant: str, times: int) -> dict:
        try:
            self.process.stdin.write(json.dumps({"variant": variant, "repeat": times}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Failed(self._last_words()) from None
        return self._answer()

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            with suppress(BrokenPipeError):
                stream.close()

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise Failed(self._last_words())
        try:
            return json.loads(line)
        except ValueError:
            raise Failed(f"answered {line.strip()[:100]!r}") from None

    def _last_words(self) -> str:
        status = self.process.wait()
        self.errors.seek(0)
        lines = [line for line in self.errors.read().decode(errors="replace").splitlines() if line.strip()]
        return f"ended with status {status}{': ' + lines[-1][:300] if lines else ''}"


def once(contender: Contender) -> dict:
    """The facts of a contender that is asked for nothing else, with the seconds from its start to them."""
    with Worker(contender) as worker:
        return {**worker.facts, "started_seconds": worker.started_seconds}


def contest(contenders: dict[str, Contender], repeats: dict[str, int], rounds: int) -> dict[str, dict]:
    """Alternating rounds: every other one asks the contenders in reverse.

    Args:
        contenders: by name.
        repeats: how often a variant is repeated in a round, by variant.
        rounds: number of rounds.

    Returns:
        by contender ``{"facts": …, "rounds": {variant: [{"seconds": […], "cpu_seconds": …, "peak_mb": …}, …]}}``, or
        ``{"error": …}``; one that is not applicable here is left out.
    """
    results: dict[str, dict] = {}
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for name, contender in contenders.items():
            tell(f"  {name}: setting up")
            try:
                workers[name] = stack.enter_context(Worker(contender))
                results[name] = {"facts": workers[name].facts, "rounds": {variant: [] for variant in repeats}}
            except Failed as error:
                tell(f"  {name}: {error}")
                results[name] = {"error": str(error)}
            except NotApplicable as reason:
                tell(f"  {name}: left out, {reason}")
        for number in range(rounds):
            tell(f"  round {number + 1} of {rounds}")
            for variant, times in repeats.items():
                for name in list(workers)[:: -1 if number % 2 else 1]:
                    try:
                        results[name]["rounds"][variant].append(workers[name].repeat(variant, times))
                    except Failed as error:
                        tell(f"  {name}: {error}")
                        results[name] = {"error": str(error)}
                        workers.pop(name).close()
    return results


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# --- what the rounds say


def round_seconds(result: dict, variant: str) -> list[float]:
    """The median repetition of each round."""
    return [statistics.median(one["seconds"]) for one in result.get("rounds", {}).get(variant, [])]


def median_seconds(result: dict, variant: str) -> float | None:
    rounds = round_seconds(result, variant)
    return statistics.median(rounds) if rounds else None


def cpu_seconds_each(result: dict, variant: str) -> float | None:
    """CPU time of one repetition."""
    rounds = result.get("rounds", {}).get(variant, [])
    return statistics.median(one["cpu_seconds"] / len(one["seconds"]) for one in rounds) if rounds else None


def speed_ratio(ours: dict, theirs: dict, variant: str, other: str | None = None) -> tuple[float, float, float] | None:
    """How many times as fast ours is, round by round: the median, and its 95 % interval.

    Args:
        ours: a contender's result.
        theirs: another's, of the same contest.
        variant: of ours.
        other: variant of theirs, where it is another.
    """
    mine, peers = round_seconds(ours, variant), round_seconds(theirs, other or variant)
    return median_interval([b / a for a, b in zip(mine, peers, strict=True)]) if mine and peers else None


def median_interval(values: Iterable[float], draws: int = 4000) -> tuple[float, float, float]:
    """The median and its 95 % bootstrap interval (percentiles of resampled medians)."""
    values, rng = list(values), random.Random(0)
    medians = sorted(statistics.median(rng.choices(values, k=len(values))) for _ in range(draws))
    return statistics.median(values), medians[int(0.025 * draws)], medians[int(0.975 * draws) - 1]
