"""Progress where there is no terminal: a line every ten seconds, nothing on work that is soon done."""

import pytest

from tf_landslide.core import progress as module
from tf_landslide.core.progress import meter, progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test turns."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def slowly(clock, items, seconds):
    for item in items:
        clock.now += seconds
        yield item


def test_a_line_every_ten_seconds_with_count_rate_and_time_left(clock, capsys):
    assert list(progress(slowly(clock, range(50), 0.5), total=50, label="reading train")) == list(range(50))
    said = capsys.readouterr()
    assert said.out == "" and said.err.splitlines() == [
        "reading train: 20 of 50 patches, 2 a second, 00:15 left",
        "reading train: 40 of 50 patches, 2 a second, 00:05 left",
    ]


def test_work_that_is_soon_done_is_silent(clock, capsys):
    list(progress(slowly(clock, range(9), 1), total=9, label="reading"))
    assert capsys.readouterr().err == ""


def test_a_download_counts_bytes_and_not_those_it_had(clock, capsys):
    shown = meter(total=4_000_000_000, label="TrainData.zip", unit="B", done=1_000_000_000)
    clock.now += 10
    shown.update(1_000_000_000)
    assert capsys.readouterr().err == "TrainData.zip: 2.00GB of 4.00GB, 100MB a second, 00:20 left\n"


def test_work_without_an_end_in_sight(clock, capsys):
    list(progress(slowly(clock, range(3), 11), label="steps", unit="step"))
    assert capsys.readouterr().err.splitlines()[0] == "steps: 1 steps, 0.0909 a second"


def test_a_long_epoch_says_how_far_it_is(clock, capsys):
    from tf_landslide.training.callbacks import EpochLines

    lines = EpochLines()
    lines.set_params({"epochs": 3, "steps": 4})
    lines.on_epoch_begin(1)
    for batch in range(4):
        clock.now += 6
        lines.on_train_batch_end(batch)
    lines.on_epoch_end(1, {"loss": 0.5})
    assert capsys.readouterr().err.splitlines() == [
        "epoch 2/3: 2 of 4 steps, 0.167 a second, 00:12 left",
        "epoch 2/3: 4 of 4 steps, 0.167 a second, 00:00 left",
        "epoch 2/3: loss 0.5000",
    ]
