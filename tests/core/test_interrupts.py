"""Ctrl-C where Python throws it away."""

import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from tf_landslide.core.interrupts import interrupts_insist

BEGIN = """
import gc, os, signal, sys, time
from tf_landslide.core.interrupts import interrupts_insist


class Lost:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)


class Asked:
    def __getattr__(self, name):
        signal.raise_signal(signal.SIGINT)


def collected(phase, _):
    gc.callbacks.clear()
    signal.raise_signal(signal.SIGINT)


def work(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.01)
"""
WAYS = {
    "a destructor": "Lost()",
    "the garbage collector": "gc.callbacks.append(collected); gc.collect()",
    "who takes all exceptions": """
        try:
            signal.raise_signal(signal.SIGINT)
        except BaseException:
            pass
    """,
    "nothing": "signal.raise_signal(signal.SIGINT)",
}


def said_by(script: str) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, "-c", BEGIN + textwrap.dedent(script)], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("way", WAYS)
def test_an_interrupt_that_is_swallowed_comes_again(way):
    swallowed = textwrap.indent(textwrap.dedent(WAYS[way]).strip(), " " * 8)
    script = f"""
try:
    with interrupts_insist():
{swallowed}
        work(20)
        print("went on")
except KeyboardInterrupt:
    print("interrupted")
"""
    assert said_by(script) == (0, "interrupted\n", "")


@pytest.mark.parametrize("within", ["finally", "a context", "another error"])
def test_what_clears_away_is_left_in_peace(within):
    ways = {
        "finally": """
try:
    with interrupts_insist():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            work(1.4)
            print("cleared")
except KeyboardInterrupt:
    print("interrupted")
""",
        "a context": """
from contextlib import contextmanager

@contextmanager
def clearing():
    try:
        yield
    finally:
        work(1.4)
        print("cleared")

try:
    with interrupts_insist(), clearing():
        signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
""",
        "another error": """
try:
    with interrupts_insist():
        try:
            try:
                signal.raise_signal(signal.SIGINT)
            finally:
                raise ValueError
        finally:
            work(1.4)
            print("cleared")
except ValueError:
    print("interrupted")
""",
    }
    after = "work(1.2)\nprint('at peace')\n"
    assert said_by(ways[within] + after) == (0, "cleared\ninterrupted\nat peace\n", "")


def test_a_second_one_ends_what_clears_away_unless_one_is_enough():
    script = """
try:
    with interrupts_insist(NUMBER):
        try:
            os.kill(os.getpid(), NUMBER)
        finally:
            os.kill(os.getpid(), NUMBER)
            print("cleared")
except KeyboardInterrupt:
    print("interrupted")
"""
    twice = script.replace("NUMBER", "signal.SIGINT", 1).replace("NUMBER", "signal.SIGINT")
    assert said_by(twice) == (0, "interrupted\n", "")
    once = script.replace("NUMBER", "signal.SIGTERM, once=True", 1).replace("NUMBER", "signal.SIGTERM")
    assert said_by(once) == (0, "cleared\ninterrupted\n", "")


def test_where_it_is_ignored_it_stays_so_and_handlers_are_given_back():
    script = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
with interrupts_insist():
    signal.raise_signal(signal.SIGINT)
    print("went on", signal.getsignal(signal.SIGINT) == signal.SIG_IGN)
"""
    assert said_by(script) == (0, "went on True\n", "")
    asked = (signal.SIGINT, signal.SIGALRM)
    before = [signal.getsignal(number) for number in asked], sys.unraisablehook
    with pytest.raises(KeyboardInterrupt), interrupts_insist():
        signal.raise_signal(signal.SIGINT)
    assert before == ([signal.getsignal(number) for number in asked], sys.unraisablehook)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_another_thread_changes_nothing():
    seen = []

    def work():
        with interrupts_insist():
            seen.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_command_is_interrupted_though_python_threw_it_away():
    script = """
import tf_landslide.cli.synth as synth
from tf_landslide.cli.main import main

def run(_):
    Lost()
    work(20)

synth.run = run
sys.exit(main(["synth", "there"]))
"""
    began = time.monotonic()
    assert said_by(script) == (130, "", "error: interrupted\n")
    assert time.monotonic() - began < 15
