"""Scenes mapped one after the other: the queue, cancelling, what is forgotten."""

import threading
import time
from pathlib import Path

import pytest

from tf_landslide.core.errors import LandslideError
from tf_landslide.page.scene_runs import GONE, KEPT, WAITING, SceneRun, SceneRuns
from tf_landslide.page.scenes import progress_bar


class Held:
    """Work that writes, then goes on block by block as it is let."""

    def __init__(self):
        self.begun, self.let = threading.Event(), threading.Semaphore(0)

    def __call__(self, out, tell):
        out.mkdir()
        (out / "half").write_text("half")
        self.begun.set()
        for done in range(3):
            tell("blocks", done, 2)
            assert self.let.acquire(timeout=20)
        return {"landslides": 1}


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def runs(tmp_path, clock):
    runs = SceneRuns(tmp_path, clock)
    yield runs
    runs.stop()


def until(true):
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_one_is_mapped_at_a_time_and_the_queue_is_told(runs, tmp_path):
    works = [Held() for _ in range(3)]
    keys = [runs.start(work) for work in works]
    assert works[0].begun.wait(10) and len(set(keys)) == 3 and min(map(len, keys)) >= 22
    assert [runs.ahead(key) for key in keys] == [0, 1, 2] and not works[1].begun.is_set()
    assert "2 maps before this one" in progress_bar(runs.get(keys[2]), 2)
    assert "1 map before this one" in progress_bar(runs.get(keys[1]), 1)
    runs.cancel(keys[1])
    assert runs.get(keys[1]).state == "cancelled" and runs.ahead(keys[2]) == 1
    works[0].let.release(3)
    assert works[2].begun.wait(10) and runs.get(keys[0]).state == "done"
    assert not works[1].begun.is_set() and runs.ahead(keys[2]) == 0
    works[2].let.release(3)
    until(lambda: runs.get(keys[2]).over)
    assert runs.get("other") is None and len(list(tmp_path.iterdir())) == 2


def test_blocks_done_and_time_left(runs, clock):
    work = Held()
    key = runs.start(work)
    assert work.begun.wait(10)
    clock.now = 30
    work.let.release()
    until(lambda: runs.get(key).done == 1)
    run = runs.get(key)
    assert (run.total, run.left) == (2, 30) and "1 of 2 blocks mapped, about 30 s left" in progress_bar(run, 0)
    work.let.release(2)


def test_the_objects_stage_is_told_by_its_tiles():
    run = SceneRun(lambda *_: {}, Path("map"), 0.0, "going", stage="objects", done=3, total=4)
    assert "objects found in 3 of 4 tiles" in progress_bar(run, 0) and "value='0.750'" in progress_bar(run, 0)
    run.done = 4
    assert "describing the objects" in progress_bar(run, 0) and "value" not in progress_bar(run, 0)


def test_a_cancelled_run_leaves_nothing(runs, tmp_path):
    work = Held()
    key = runs.start(work)
    assert work.begun.wait(10)
    until(lambda: list(tmp_path.iterdir()))
    runs.cancel(key)
    work.let.release()
    until(lambda: runs.get(key).over)
    assert runs.get(key).state == "cancelled" and not list(tmp_path.iterdir())


def test_a_new_run_takes_the_place_of_the_browsers_last(runs, tmp_path):
    first, second = Held(), Held()
    key = runs.start(first)
    first.let.release(3)
    until(lambda: runs.get(key).over)
    new = runs.start(second, instead_of=key)
    assert second.begun.wait(10) and runs.get(key) is None and len(list(tmp_path.iterdir())) == 1
    second.let.release(3)
    until(lambda: runs.get(new).over)


def test_a_fault_is_told_and_the_next_one_goes_on(runs, tmp_path):
    def broken(out, _):
        out.mkdir()
        raise ValueError("odd")

    key, work = runs.start(broken), Held()
    other = runs.start(work)
    assert work.begun.wait(10)
    assert runs.get(key).state == "failed" and runs.get(key).said == "ValueError: odd"
    assert len(list(tmp_path.iterdir())) == 1
    work.let.release(3)
    until(lambda: runs.get(other).over)


def test_who_does_not_ask_any_longer_has_gone(runs, clock, tmp_path):
    work, waiting = Held(), Held()
    keys = [runs.start(work), runs.start(waiting)]
    assert work.begun.wait(10)
    clock.now = GONE + 1
    work.let.release(3)
    until(lambda: runs.get(keys[0]).over)
    assert not list(tmp_path.iterdir())
    assert [runs.get(key).state for key in keys] == ["cancelled", "cancelled"] and not waiting.begun.is_set()


def test_a_map_is_kept_for_an_hour_after_it_was_last_looked_at(runs, clock, tmp_path):
    work = Held()
    key = runs.start(work)
    work.let.release(3)
    until(lambda: runs.get(key).over)
    clock.now = KEPT - 1
    assert runs.get(key)
    clock.now = 2 * KEPT - 2
    assert runs.get(key)
    clock.now = 3 * KEPT
    assert runs.get(key) is None and not list(tmp_path.iterdir())


def test_too_many_are_refused(runs):
    finished, work = Held(), Held()
    done = runs.start(finished)
    finished.let.release(3)
    until(lambda: runs.get(done).over)
    runs.start(work)
    assert work.begun.wait(10)
    last = [runs.start(Held()) for _ in range(WAITING)][-1]
    with pytest.raises(LandslideError, match="waiting already"):
        runs.start(Held(), instead_of=done)
    assert runs.get(done).state == "done" and runs.get(done).out.is_dir()  # what would have been replaced stays
    assert runs.get(runs.start(Held(), instead_of=last)).state == "waiting" and runs.get(last) is None
    for key in list(runs._runs):
        runs.cancel(key)
    work.let.release(3)
