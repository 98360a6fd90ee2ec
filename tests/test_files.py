"""Files that appear whole or not at all, whoever is killed, whoever else writes, and whatever the disk has left."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tf_landslide.cli.main import main
from tf_landslide.core import files
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import allocate, beside, read_json, replacing, sweep
from tf_landslide.core.locks import is_in_the_way, locked
from tf_landslide.core.processes import is_dead, this_process


@pytest.fixture
def started():
    """Runs code in a process of its own until it says ``ready``; killed in the end."""
    processes = []

    def start(code: str, *arguments: object) -> subprocess.Popen:
        words = [sys.executable, "-c", code, *map(str, arguments)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of four megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path, leave: int) -> None:
    """Leave so many bytes of it."""
    (disk / "ballast").write_bytes(b"\0" * (os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - leave))


def error_of(capsys) -> str:
    """The one line of an error, behind the lines of progress that a slow machine may have written."""
    *before, error = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ") and not [line for line in before if not line.endswith(" left")], (before, error)
    return error


HOLD = """
import sys, time
from tf_landslide.core.locks import locked
with locked(sys.argv[1]):
    print("ready", flush=True)
    time.sleep(60)
"""
LEAVE = """
import sys, time
from tf_landslide.core.files import beside
with beside(sys.argv[1]) as folder, beside(sys.argv[1] + ".json") as file:
    folder.mkdir(); (folder / "half").touch(); file.touch()
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_folder_in_use_is_refused_with_its_owner_and_free_when_that_is_killed(started, tmp_path):
    owner = started(HOLD, tmp_path / "run")
    said = rf"run: process {owner.pid} on \S+, since 20\d\d-.* writes to it; wait"
    with pytest.raises(LandslideError, match=said), locked(tmp_path / "run"):
        pass
    with locked(tmp_path / "another"):
        pass
    (tmp_path / "link").symlink_to(tmp_path / "run")
    for alias in (tmp_path / "another" / ".." / "run", tmp_path / "link"):
        with pytest.raises(LandslideError, match="writes to it"), locked(alias):
            pass
    (tmp_path / "link").unlink()
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    with locked(tmp_path / "run"):
        assert f"process {os.getpid()} on" in (tmp_path / ".run.lock").read_text()
    assert not list(tmp_path.iterdir())


def test_what_the_killed_left_in_a_folder_is_not_in_the_way(started, tmp_path):
    folder = tmp_path / "runs"
    folder.mkdir()
    owner = started(HOLD, folder / "seed_0")
    assert is_in_the_way(folder) and (folder / ".seed_0.lock").exists()
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert not is_in_the_way(folder) and not list(folder.iterdir()) and not is_in_the_way(tmp_path / "none")
    (folder / ".other.lock").write_text("another program's")
    (folder / ".empty.lock").touch()  # nobody says whose it is
    (folder / "seed_1/empty").mkdir(parents=True)
    assert is_in_the_way(folder) and not is_in_the_way(folder, strictly=False)
    (folder / "seed_1/empty/file").touch()
    assert is_in_the_way(folder, strictly=False) and is_in_the_way(folder / "seed_1/empty/file")
    assert (folder / ".other.lock").read_text() == "another program's" and (folder / ".empty.lock").exists()


@pytest.mark.parametrize("command", ["train", "resume", "synth", "demo"])
def test_a_second_writer_is_refused_and_changes_nothing(command, run_folder, sample, config_file, tmp_path, capsys):
    folder = tmp_path / "out"
    if command == "resume":
        shutil.copytree(run_folder, folder)
    before = sorted(folder.rglob("*"))
    data = ["--data", str(sample), "--out", str(folder)]
    words = {
        "train": ["train", str(config_file), *data],
        "resume": ["train", str(folder / "config.yaml"), *data, "--resume"],
        "synth": ["synth", str(folder)],
        "demo": ["demo", "--out", str(folder)],
    }
    with locked(folder):
        assert main(words[command]) == 2
    assert f"{folder}: process {os.getpid()} on" in error_of(capsys) and sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("words", [["combine", "RUN", "--tta", "eight"], ["adapt", "RUN"], ["evaluate", "RUN"],
                                   ["pseudo-label", "RUN"]], ids=lambda words: words[0])  # fmt: skip
def test_a_folder_that_cannot_be_made_is_told_before_any_work(words, run_folder, sample, tmp_path, monkeypatch, capsys):
    """As on a disk that may only be read; to root everything else may be written."""
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path and access(path, mode))
    for module in ("combine", "adapt"):
        monkeypatch.setattr(f"tf_landslide.jobs.{module}.load_model", lambda *_, **__: pytest.fail("worked"))
    for module in ("evaluate", "pseudo_label"):
        monkeypatch.setattr(f"tf_landslide.jobs.{module}.predictor_of", lambda *_, **__: pytest.fail("worked"))
    given = [str(run_folder) if word == "RUN" else word for word in words]
    assert main([*given, "--data", str(sample), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert f"error: {tmp_path}/out: cannot be written to: {tmp_path}, where it would be made," in error
    assert error.count("\n") == 1 and list(tmp_path.iterdir()) == []


def test_text_is_utf_8_in_any_locale(tmp_path):
    script = "import sys; from tf_landslide.core.files import write_text; write_text(sys.argv[1], '0.8\\u20130.9')"
    settings = os.environ | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    path = tmp_path / "report.md"
    subprocess.run([sys.executable, "-X", "utf8=0", "-c", script, str(path)], env=settings, check=True)
    assert path.read_bytes() == "0.8–0.9".encode()


@pytest.mark.parametrize("kind", ["link", "file", "folder", "pipe"])
def test_what_only_has_the_name_of_a_lock_is_left_as_it_is(tmp_path, kind):
    lock, other = tmp_path / ".run.lock", tmp_path / "other.txt"
    other.write_text("somebody's")
    {
        "link": lambda: lock.symlink_to(other),
        "file": lambda: lock.write_text("somebody's"),
        "folder": lock.mkdir,
        "pipe": lambda: os.mkfifo(lock),
    }[kind]()
    before = lock.lstat()
    with pytest.raises(LandslideError, match=r"run: .*\.run\.lock has the name of its lock"), locked(tmp_path / "run"):
        pass
    assert lock.lstat() == before and other.read_text() == "somebody's"


def test_a_lock_leaves_no_folders_behind(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "a" / "b" / "run"):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    with locked(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b").mkdir()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_only_what_the_dead_left_is_swept(started, tmp_path):
    killed, alive = started(LEAVE, tmp_path / "export"), started(LEAVE, tmp_path / "other")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    (tmp_path / ".mine.partial").touch()
    (tmp_path / ".export.00000000-1-0123abcd.partial").touch()  # of another machine: who knows
    assert len(list(tmp_path.iterdir())) == 6
    sweep(tmp_path)
    left = {path.name.split(".")[1] for path in tmp_path.iterdir()}
    assert left == {"other", "mine", "export"} and len(list(tmp_path.iterdir())) == 4
    assert alive.poll() is None


def test_a_process_that_has_ended_is_dead_whether_or_not_anyone_has_asked_how():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = f"{this_process().partition('-')[0]}-{process.pid}"
    assert not is_dead(name) and not is_dead(this_process())
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie
    assert is_dead(name)
    process.communicate()
    assert is_dead(name)


@pytest.mark.slow
def test_a_killed_synth_is_swept_and_done_again(tmp_path):
    words = [sys.executable, "-m", "tf_landslide", "synth", str(tmp_path / "s"), "--train", "64"]
    process = subprocess.Popen(words)
    until = time.monotonic() + 60
    while not list(tmp_path.glob("s/.*/TrainData/img/*.h5")):
        assert time.monotonic() < until
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert main(["synth", str(tmp_path / "s"), "--train", "1", "--valid", "0", "--test", "0"]) == 0
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["SYNTHETIC.txt", "TrainData"]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        OSError(122, "Disk quota exceeded"),
        OSError("400 requested and 100 written"),  # NumPy
        RuntimeError("Can't decrement id ref count (file write failed: errno = 28, 'No space left on device')"),  # HDF5
    ],
    ids=repr,
)
def test_a_full_disk_is_told_with_the_path_and_leaves_the_old_file(error, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("kept.json").write_text("old")
    said = r"^kept.json: no space left on the disk; make room"
    with pytest.raises(LandslideError, match=said), replacing("kept.json") as partial:
        partial.write_text("half")
        raise error
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("kept.json", "old")]


def test_another_error_names_the_file_that_was_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as caught, replacing("there.txt"):
        pass  # writes nothing
    assert caught.value.filename == "there.txt"


def test_a_mapped_file_has_its_place_before_it_is_written(small_disk):
    path = small_disk / "cache.npy"
    np.lib.format.open_memmap(path, "w+", np.float32, (500_000,))
    assert path.stat().st_blocks * 512 < 10_000  # holes, as it comes
    allocate(path)
    assert path.stat().st_blocks * 512 >= 2_000_000
    np.lib.format.open_memmap(small_disk / "large.npy", "w+", np.float32, (5_000_000,))
    with pytest.raises(OSError, match="No space left"):
        allocate(small_disk / "large.npy")


def hidden(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.name != ".tf_landslide_demo"]


def test_a_full_disk_ends_synth_in_one_line(small_disk, capsys):
    assert main(["synth", str(small_disk / "sample"), "--train", "3", "--valid", "0", "--test", "0"]) == 2
    assert f"{small_disk / 'sample'}: no space left on the disk" in error_of(capsys)
    assert not list(small_disk.iterdir())


def test_a_full_disk_ends_predict_in_one_line(small_disk, exported, sample, capsys):
    patch = next((sample / "TestData/img").glob("*.h5"))
    fill(small_disk, 30_000)
    assert main(["predict", str(exported), str(patch), "--out", str(small_disk / "out")]) == 2
    assert f"{small_disk / 'out'}/{patch.stem}_probability.npy: no space left on the disk" in error_of(capsys)
    assert not list((small_disk / "out").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("leave", [10_000, 100_000, 200_000])
def test_a_full_disk_ends_export_in_one_line(small_disk, run_folder, leave, capfd):
    fill(small_disk, leave)
    assert main(["export", str(run_folder), "--to", str(small_disk)]) == 2
    assert f"{small_disk / 'tiny'}: no space left on the disk" in error_of(capfd)
    assert not list((small_disk / "tiny").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("leave", [3_000_000, 100_000, 8_000])
@pytest.mark.parametrize("cache", ["disk", "memory"])
def test_a_full_disk_ends_train_in_one_line(small_disk, sample, config_file, cache, leave, capfd):
    fill(small_disk, leave)
    run = small_disk / "run"
    words = ["train", str(config_file), "--data", str(sample), "--out", str(run), f"data.cache={cache}"]
    status = main(words)
    if (cache, leave) == ("memory", 3_000_000):
        assert status == 0
        return
    error = capfd.readouterr().err.splitlines()[-1]
    assert status == 2 and error.startswith(f"error: {small_disk}") and "no space left on the disk" in error
    assert not hidden(small_disk) and {path.name for path in small_disk.iterdir()} <= {"ballast", "run"}
    assert not list(run.glob("*.keras")) or cache == "memory"


def test_json_that_nobody_vouches_for_is_refused_in_one_line(tmp_path):
    path = tmp_path / "card.json"
    refused = {
        b"[" * 100_000: "nested too deeply",
        b'{"a": ' * 100_000: "nested too deeply",
        b'{"a": ' + b"7" * 5000 + b"}": "not valid JSON",
        b"\xff\xfe": "not text",
        b"": "not valid JSON",
        b"[1]": "expected a JSON object, found list",
        b" " * (files.TEXT_BYTES + 1): "has more than",
    }
    for content, said in refused.items():
        path.write_bytes(content)
        with pytest.raises(LandslideError, match=f"card.json: .*{said}") as caught:
            read_json(path)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    path.write_text(json.dumps({"a": 1}))
    assert read_json(path) == {"a": 1}
    os.mkfifo(tmp_path / "pipe")
    for name in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(LandslideError, match="is not a regular file"):
            read_json(name)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "nowhere")


def test_beside_keeps_the_ending_and_removes_what_it_gave(tmp_path):
    with beside(tmp_path / "model.keras") as file, beside(tmp_path / "run") as folder:
        assert file.suffix == ".keras" and file.parent == tmp_path
        file.touch()
        folder.mkdir()
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(shutil.which("setpriv") is None and os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("folder", ["closed", "closed/new", "closed/a/b"])
def test_a_folder_that_is_not_to_be_written_to_is_told_by_its_own_name(tmp_path, folder):
    """As a user without root's powers."""
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    (tmp_path / "plain").touch()
    powerless = []
    if os.geteuid() == 0:
        os.chown(closed, 65534, 65534)
        powerless = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"]
    script = (
        "import sys\nfrom tf_landslide.core.locks import locked\nfrom tf_landslide.core.errors import LandslideError\n"
        "try:\n  with locked(sys.argv[1]): pass\nexcept LandslideError as error: print(error)"
    )
    done = subprocess.run(
        [*powerless, sys.executable, "-c", script, str(tmp_path / folder)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert done.stdout.startswith(f"{tmp_path / folder}: cannot be written to: ")
    assert "name another folder" in done.stdout and ".lock" not in done.stdout
    with pytest.raises(LandslideError, match="plain is a file; name a folder"), locked(tmp_path / "plain" / "map"):
        pass
