"""A little of ``make fuzz``, the same inputs each time; and that the watch sees what it is there for."""

import random
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from serving.status import ServingError, UsageError
from tests.conftest import ROOT
from tests.fuzz import watching
from tests.fuzz.mutation import damaged
from tests.fuzz.targets import TARGETS
from tests.fuzz.watching import Watch
from tf_landslide.core.errors import LandslideError

INPUTS, DOCUMENTS = 40, 20
few = settings(
    max_examples=DOCUMENTS, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def watch(tmp_path_factory):
    """One for all: Python lets nobody stop listening to what it opens."""
    return Watch(tmp_path_factory.mktemp("fuzz"))


@pytest.fixture
def prepared(watch, request, tmp_path):
    target = TARGETS[request.param]
    for name, make in target.beside.items():
        (watch.inside / name).write_bytes(make())
    (tmp_path / "outside").symlink_to(watch.outside)
    return target, target.seeds(tmp_path)


@pytest.mark.parametrize("prepared", TARGETS, indirect=True)
def test_damaged_files_are_values_or_one_line(watch, prepared):
    target, seeds = prepared
    rng = random.Random(19)
    for data in (*seeds, *(damaged(rng, rng.choice(seeds), seeds) for _ in range(INPUTS))):
        fault = watch.check(target, data, target.file)
        assert fault is None, f"{fault.told}\n{data[:2000]!r}"


@pytest.mark.parametrize("prepared", [name for name in TARGETS if TARGETS[name].trees], indirect=True)
def test_documents_of_other_values_are_values_or_one_line(watch, prepared):
    target, _ = prepared

    @few
    @given(target.documents)
    def each(data):
        fault = watch.check(target, data, target.file)
        assert fault is None, fault.told

    each()


@pytest.mark.long
def test_make_fuzz_runs_both_halves_of_a_target(tmp_path):
    pytest.importorskip("atheris", reason="Atheris exists for Linux and Python up to 3.13")
    words = [
        sys.executable,
        "-m",
        "tests.fuzz.fuzz",
        "--seconds",
        "4",
        "--seed",
        "3",
        "--out",
        tmp_path,
        "history",
        "card",
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, cwd=ROOT)
    first, *rest = done.stdout.splitlines()
    assert first == f"seed 3, 4 s a target, failing inputs to {tmp_path}" and done.returncode == 0, done.stdout
    counts = [int(line.split()[1].replace(",", "")) for line in rest]
    assert len(counts) == 2 and min(counts) > 20


def _raises(error):
    def read(_):
        raise error

    return read


def _takes_memory(_):
    np.ones(50_000_000)


def _takes_long(_):
    end = time.process_time() + watching.SECONDS + 0.1
    while time.process_time() < end:
        pass


@pytest.mark.parametrize(
    ("read", "kind"),
    [
        (lambda path: path.read_bytes(), None),
        (_raises(LandslideError("file: is not one")), None),
        (_raises(ServingError("INVALID_ARGUMENT", "no")), None),
        (lambda _: warnings.warn("only a warning", stacklevel=1), None),
        (_raises(KeyError("a")), "KeyError"),
        (_raises(UsageError("two\nlines")), "unprintable UsageError"),
        (_raises(LandslideError("x" * 4000)), "long LandslideError"),
        (_takes_memory, "too much memory"),
        (_takes_long, "too slow"),
        (lambda path: (path.parent / "../outside/secret").read_bytes(), "touched"),
        (lambda path: (path.parent / "../outside/new").touch(), "touched"),
        (lambda _: open("/etc/passwd").close(), "touched open"),  # noqa: PTH123
    ],
)
def test_the_watch_sees(watch, monkeypatch, read, kind):
    if read is _takes_long:
        monkeypatch.setattr(watching, "SECONDS", 0.1)
    fault = watch.check(read, b"data", "file")
    assert (fault is None) if kind is None else (fault and fault.kind.startswith(kind))
