"""What the page remembers: bounded in bytes and in time."""

import numpy as np
import pytest

from tf_landslide.page import store as store_module
from tf_landslide.page.analysis import Analysis
from tf_landslide.page.store import REPLACED, Store
from tf_landslide.page.uploads import Upload


@pytest.fixture
def clock():
    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    return Clock()


def analysis(side=64):
    return Analysis([Upload("x.h5", np.zeros((side, side, 6), np.float32), None)], [{}])


def test_an_analysis_is_found_by_its_key_alone(clock):
    store = Store(clock=clock)
    first, second = analysis(), analysis()
    keys = [store.put(first), store.put(second)]
    assert store.get(keys[0]) is first and store.get(keys[1]) is second
    assert store.get(None) is None and store.get("") is None and store.get("other") is None
    assert len(set(keys)) == 2 and min(map(len, keys)) >= 22  # 128 bits and more: no one guesses another's


def test_a_new_run_takes_the_place_of_the_last_some_minutes_later(clock):
    store = Store(seconds=3600, clock=clock)
    key = store.put(analysis())
    new = store.put(analysis(), instead_of=key)
    clock.now = REPLACED + 1
    assert store.get(key) is None and store.get(new) is not None


def test_another_tab_that_looks_at_what_was_replaced_keeps_it(clock):
    store = Store(seconds=3600, clock=clock)
    key = store.put(analysis())
    store.put(analysis(), instead_of=key)
    clock.now = REPLACED - 1
    assert store.get(key) is not None
    clock.now += 3599
    assert store.get(key) is not None


def test_what_was_replaced_goes_first_when_the_memory_is_full(clock):
    store = Store(all_=3 * analysis().nbytes, clock=clock)
    other, key = store.put(analysis()), store.put(analysis())
    for _ in range(20):  # somebody runs again and again
        key = store.put(analysis(), instead_of=key)
        assert store.nbytes <= 3 * analysis().nbytes
    assert store.get(other) is not None and store.get(key) is not None


def test_so_much_is_kept_of_what_was_replaced_and_no_more(clock, monkeypatch):
    size = analysis().nbytes
    monkeypatch.setattr(store_module, "SPARE", 3 * size)
    store, keys = Store(clock=clock), []
    for _ in range(20):  # of a page under load, which must not grow by them
        keys.append(store.put(analysis(), instead_of=keys[-1] if keys else None))
        assert store.nbytes <= 4 * size
    assert [store.get(key) is not None for key in keys] == [False] * 16 + [True] * 4


def test_what_was_replaced_hides_nothing_that_is_older(clock):
    store = Store(seconds=3600, clock=clock)
    store.put(analysis())
    clock.now = 3590
    store.put(analysis(), instead_of=store.put(analysis()))
    clock.now = 3601
    store.get(None)
    assert store.nbytes == 2 * analysis().nbytes


def test_the_least_recently_seen_go_when_the_memory_is_full(clock):
    size = analysis().nbytes
    assert size >= 64 * 64 * 6 * 4
    store = Store(all_=3 * size, clock=clock)
    keys = [store.put(analysis()) for _ in range(3)]
    store.get(keys[0])
    keys.append(store.put(analysis()))
    assert [store.get(key) is not None for key in keys] == [True, False, True, True] and store.nbytes == 3 * size
    for _ in range(20):
        store.put(analysis())
    assert store.nbytes <= 3 * size


def test_results_go_an_hour_after_they_were_last_looked_at(clock):
    store = Store(seconds=3600, clock=clock)
    seen, forgotten = store.put(analysis()), store.put(analysis())
    clock.now = 3000
    assert store.get(seen)
    clock.now = 3700
    assert store.get(seen) and store.get(forgotten) is None
    clock.now = 3000 + 3700 + 3601
    assert store.get(seen) is None and store.nbytes == 0
