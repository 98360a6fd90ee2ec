"""The fused Adam takes the steps that Keras's takes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_landslide.runs.sections import TrainingConfig
from tf_landslide.training.fit import get_optimizer
from tf_landslide.training.optimizers import FusedAdam


def _steps(optimizer, count=6):
    """Weights, and the optimiser's own variables, after some steps with gradients of very different sizes."""
    rng = np.random.default_rng(0)
    variables = [keras.Variable(rng.normal(size=shape), dtype="float32") for shape in ((3, 4), (5,))]
    optimizer.build(variables)

    @tf.function
    def step(gradients):
        optimizer.apply(gradients)

    for _ in range(count):
        step([tf.constant(rng.normal(size=v.shape) * 10.0 ** rng.integers(-4, 4), tf.float32) for v in variables])
    return [v.numpy() for v in (*variables, *optimizer.variables)]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"learning_rate": keras.optimizers.schedules.CosineDecay(0.1, 5)},
        {"weight_decay": 0.1},
        {"use_ema": True, "ema_momentum": 0.9},
        {"clipnorm": 1.0},
        {"amsgrad": True},
    ],
    ids=lambda settings: ", ".join(settings) or "plain",
)
def test_equals_keras(settings):
    settings = {"learning_rate": 0.1, **settings}
    for found, expected in zip(_steps(FusedAdam(**settings)), _steps(keras.optimizers.Adam(**settings)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)


def test_sparse_gradients_go_keras_s_way():
    table = keras.Variable(np.ones((4, 2), "float32"))
    optimizer = FusedAdam(0.1)
    optimizer.build([table])
    optimizer.apply([tf.IndexedSlices(tf.ones((1, 2)), tf.constant([1]), tf.constant([4, 2]))])
    assert np.flatnonzero((table.numpy() != 1).any(1)).tolist() == [1]


def test_the_config_s_schedule():
    optimizer = get_optimizer(TrainingConfig(epochs=10, learning_rate=0.01, warmup_epochs=1), steps=5)
    rates = [float(optimizer._learning_rate(step)) for step in (0, 5, 50)]
    np.testing.assert_allclose(rates, (0, 0.01, 0), atol=1e-9)
    assert float(get_optimizer(TrainingConfig(schedule="constant"), 5).learning_rate) == pytest.approx(1e-3)


def test_the_step_schedule_is_pytorch_s_step_lr():
    """``StepLR(Adam(lr=1e-3), step_size=30, gamma=0.1)``: the rate that each epoch's steps are taken with."""
    steps, settings = 7, TrainingConfig(epochs=100, schedule="step", learning_rate=1e-3)
    optimizer = get_optimizer(settings, steps)
    optimizer.build([keras.Variable(np.zeros(1, "float32"))])
    said = {0: 1e-3, 29: 1e-3, 30: 1e-4, 59: 1e-4, 60: 1e-5, 89: 1e-5, 90: 1e-6, 99: 1e-6}  # of PyTorch
    for epoch, rate in said.items():
        for step in (0, steps - 1):
            optimizer.iterations.assign(epoch * steps + step)
            assert float(optimizer.learning_rate) == pytest.approx(rate, rel=1e-5), (epoch, step)


def test_a_run_that_ends_before_the_first_step_keeps_its_rate():
    settings = TrainingConfig(epochs=30, schedule="step", learning_rate=0.01)
    assert float(get_optimizer(settings, 5).learning_rate) == pytest.approx(0.01)
    settings = TrainingConfig(epochs=5, schedule="step", step_epochs=2, step_factor=0.5, learning_rate=0.01)
    optimizer = get_optimizer(settings, 3)
    optimizer.build([keras.Variable(np.zeros(1, "float32"))])
    rates = []
    for iteration in range(15):
        optimizer.iterations.assign(iteration)
        rates.append(float(optimizer.learning_rate))
    np.testing.assert_allclose(rates, np.repeat([0.01, 0.01, 0.005, 0.005, 0.0025], 3), rtol=1e-5)
