"""From the command line to the end: what is found, what is offered, what is left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tf_landslide.cli import page as command
from tf_landslide.core.errors import LandslideError
from tf_landslide.page.making import Making


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_what_ends_the_page_removes_its_folder(ending, tmp_path):
    """Started with nothing: it comes up."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "gradio_app.py"), "--port", "0"],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert "the page is at http://127.0.0.1:" in process.stdout.readline()
        assert list(tmp_path.glob("tf_landslide_page_*"))
        process.send_signal(ending)
        assert process.wait(30) == 0
    finally:
        process.kill()
    assert not list(tmp_path.glob("tf_landslide_page_*"))


@pytest.fixture
def launched(monkeypatch, tmp_path):
    """What the command would show, in an empty folder."""
    import tf_landslide.page.app as app

    monkeypatch.chdir(tmp_path)
    shown = []
    monkeypatch.setattr(app, "launch", lambda library, *_, **options: shown.append((library, options)))

    def run(*words):
        from tf_landslide.cli.main import main

        assert main(["page", *words]) == 0
        return shown[-1]

    return run


def test_models_are_found_where_they_usually_are(launched, two_models, run_folder, tmp_path):
    library, options = launched()
    assert library.names == [] and options["make"] is command.make_demo
    (tmp_path / "models").mkdir()  # empty: nothing to find, and no fault
    assert launched()[0].names == []
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "models").symlink_to(two_models)
    assert launched()[0].names == ["tiny", "twin"]
    (tmp_path / "models" / "mine").symlink_to(run_folder)
    assert launched()[0].names == ["mine", "tiny", "twin"]
    library, options = launched("--models", str(two_models / "twin"), "--allowed-hosts", "a", "--allowed-hosts", "b")
    assert library.names == ["twin"] and options["make"] is None and options["allowed_hosts"] == ["a", "b"]


def told_by(tmp_path, monkeypatch, script):
    """What ``make_demo`` tells of a process that is ``script`` in place of the demo."""
    (tmp_path / "fake").write_text(f"#!{sys.executable}\n{script}")
    (tmp_path / "fake").chmod(0o755)
    monkeypatch.setattr(command.sys, "executable", str(tmp_path / "fake"))
    return []


def test_the_demo_is_told_as_it_goes(tmp_path, monkeypatch):
    script = """
import sys, time
for line in ("[   0 s] writing", "[  23 s] training a small U-Net", "epoch 5/10: f1 0.2", "[ 155 s] judging"):
    print(line, file=sys.stderr, flush=True); time.sleep(0.7)
assert sys.argv[1:] == ["-u", "-m", "tf_landslide", "demo", "--no-page", "--out", "demo"], sys.argv
"""
    told = told_by(tmp_path, monkeypatch, script)
    assert command.make_demo(lambda share, said: told.append((share, said))) == Path("demo/models")
    shares = [share for share, _ in told]
    assert shares == sorted(shares) and {said for _, said in told} >= {
        "[  23 s] training a small U-Net",
        "[ 155 s] judging",
    }
    assert 0.4 < next(share for share, said in told if said.startswith("epoch 5/10")) < 0.6


def test_a_demo_that_fails_is_a_sentence(tmp_path, monkeypatch):
    told_by(tmp_path, monkeypatch, "import sys; print('error: demo: holds something', file=sys.stderr); sys.exit(2)")
    with pytest.raises(LandslideError, match=r"^the demo's model could not be made: demo: holds something$"):
        command.make_demo(lambda *_: None)


def test_a_page_that_ends_ends_the_demo(tmp_path, monkeypatch):
    told_by(
        tmp_path,
        monkeypatch,
        f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)",
    )
    making = Making(command.make_demo, lambda _: None)
    making.start()
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.05)
    started = time.monotonic()
    making.stop()
    assert time.monotonic() - started < 5 and not making.state.going
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_one_model_is_made_at_a_time_and_a_failure_is_told():
    going, calls = threading.Event(), []

    def make(told):
        calls.append(1)
        told(0.5, "half")
        assert going.wait(10)
        raise LandslideError("no room")

    making = Making(make, lambda _: None)
    making.start()
    making.start()
    while making.state.said != "half":
        time.sleep(0.01)
    going.set()
    making._thread.join()
    assert len(calls) == 1 and making.state.failed and making.state.said == "no room"
