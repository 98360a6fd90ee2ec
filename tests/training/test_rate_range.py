"""The learning-rate range test: what a sweep says, and that it is one."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError
from tf_landslide.training.rate_range import exponential, judged, sweep


def curve(rates, fall=1e-3, rise=0.1):
    """A loss that falls most at one rate, and blows up at another."""
    x = np.log10(rates)
    return 1 - 0.8 / (1 + np.exp(-6 * (x - np.log10(fall)))) + np.exp(8 * (x - np.log10(rise)))


def test_the_rules_find_the_rates_that_a_curve_was_made_of():
    rates = exponential(1e-6, 10, 400)
    np.testing.assert_allclose(np.diff(np.log(rates)), np.log(1e7) / 399)
    losses = curve(rates) + np.random.default_rng(0).normal(0, 0.003, 400)
    found = judged(rates, losses)
    assert found.steepest == pytest.approx(1e-3, rel=0.3)
    crossing = rates[np.flatnonzero((curve(rates) > 1) & (rates > 1e-2))[0]]  # above where it began
    assert found.diverges == pytest.approx(crossing, rel=0.2) and found.tenth == found.diverges / 10
    assert found.suggestion == found.steepest < found.tenth
    calm = judged(rates, curve(rates, rise=1e9))
    assert calm.diverges is None and calm.tenth == calm.lowest / 10
    steep = judged(rates, curve(rates, fall=0.02))
    assert steep.suggestion == steep.tenth < steep.steepest


def test_what_says_nothing_is_refused():
    rates = exponential(1e-6, 1, 50)
    for losses in (np.linspace(1, 2, 50), np.array([np.nan]), np.array([1.0])):
        with pytest.raises(LandslideError, match="the loss never fell"):
            judged(rates, losses)
    for low, high, steps in ((1e-3, 1e-3, 100), (1e-2, 1e-3, 100), (1e-6, 1, 19)):
        with pytest.raises(LandslideError, match="from a rate to a higher one in 20 steps"):
            exponential(low, high, steps)


def test_a_sweep_is_gradient_descent_at_growing_rates_until_it_blows_up():
    """Of w x by its square: by hand, w falls by 2 x² w a step and rate. Two epochs are drawn for three batches of 2."""
    x = np.arange(1.0, 7.0, dtype=np.float32)[:, None]
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.set_weights([np.array([[2.0]])])
    model.compile(keras.optimizers.SGD(1e-9), "mean_squared_error")
    rates = np.geomspace(1e-4, 1, 40)
    found = sweep(model, tf.data.Dataset.from_tensor_slices((x, 0 * x)).batch(2), rates)
    w, expected = 2.0, []
    for step in range(len(found)):
        square = np.mean(x[2 * (step % 3) : 2 * (step % 3) + 2] ** 2)
        expected.append(square * w**2)
        w -= rates[step] * 2 * square * w
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert 5 < len(found) < 40  # it blew up


@pytest.mark.slow
def test_a_rate_is_found_and_no_run_left_behind(sample, config_file, tmp_path, capsys):
    out = tmp_path / "rate"
    words = ["find-rate", str(config_file), "--data", str(sample), "--out", str(out), "--steps", "30"]
    assert main([*words, "--low", "1e-5", "--high", "10", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    kept = json.loads((out / "learning_rate.json").read_text())
    assert {key: kept[key] for key in told} == told and 1e-5 < told["suggestion"] < 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["learning_rate.json", "learning_rate.png", "rate"]
    assert main([*words, "training.learning_rate=-1"]) == 2 and "training.learning_rate" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*words, "--low", "0"])


def test_too_little_memory_is_one_line(sample, config_file, tmp_path, capsys, monkeypatch):
    def step(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "failed to allocate memory [Op:Conv2D]")

    monkeypatch.setattr(keras.Model, "train_on_batch", step)
    assert main(["find-rate", str(config_file), "--data", str(sample), "--out", str(tmp_path / "rate")]) == 2
    said = capsys.readouterr().err
    assert "error: no memory for a step of training.batch_size 4; set a smaller one, with training.accumulate" in said
    assert "training.gradient_checkpointing=true" in said and "Traceback" not in said and not list(tmp_path.iterdir())
