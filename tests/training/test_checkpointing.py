"""Gradient checkpointing: a step of the same gradients, statistics and random numbers, in less memory."""

import subprocess
import sys
from itertools import combinations, pairwise

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_landslide.jobs.train import train
from tf_landslide.models.build import build_model
from tf_landslide.predict.load import load_model
from tf_landslide.runs.config import load_config
from tf_landslide.runs.folder import Run
from tf_landslide.training import checkpointing, fit
from tf_landslide.training.checkpointing import Call, checkpoint_gradients

X = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
Y = np.random.default_rng(1).random((2, 64, 64, 1)).astype(np.float32)


def built(name):
    keras.utils.set_random_seed(1)
    match name:
        case "batch norm":
            return build_model("plain_unet", channels=3, width=4, depth=3, batch_norm=True)
        case "nested encoder":
            return build_model("smp_unet", "smp_resnet18", channels=3, filters=(16, 8, 8, 4, 4))
        case "random":
            return dropping()
        case "transformer":  # stochastic depth, dropout of the head, batch norm of the decoder
            return build_model("smp_unet", "smp_mit_b0", channels=3, filters=(16, 8, 8, 4, 4), head_dropout=0.3)
        case "half":
            return build_model("plain_unet", channels=3, width=4, depth=3, batch_norm=True, precision="mixed_bfloat16")


def dropping():
    """Convolutions, each behind a dropout."""
    x = inputs = keras.Input((None, None, 3))
    for _ in range(4):
        x = keras.layers.Dropout(0.5)(keras.layers.Conv2D(4, 3, padding="same", activation="relu")(x))
        x = keras.layers.MaxPooling2D()(x)
    return keras.Model(inputs, keras.layers.UpSampling2D(16)(keras.layers.Conv2D(1, 1)(x)))


def step(model):
    """Loss, gradients and what the step leaves in the variables, which are put back."""
    before = [v.numpy() for v in model.variables]

    @tf.function(jit_compile=False)
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = keras.ops.mean((model(x, training=True) - y) ** 2)
        return loss, tape.gradient(loss, model.trainable_variables)

    loss, gradients = step(X, Y)
    after = [v.numpy() for v in model.variables]
    for variable, value in zip(model.variables, before, strict=True):
        variable.assign(value)
    return float(loss), [g.numpy() for g in gradients], after


@pytest.mark.parametrize(
    "name", ["batch norm", "nested encoder", "random", pytest.param("transformer", marks=pytest.mark.long), "half"]
)
def test_a_step_is_the_ordinary_one(name):
    model = built(name)
    expected, prediction = step(model), model(X, training=False).numpy()
    segments = checkpoint_gradients(model)
    assert len(segments) > 1
    found = step(model)
    assert found[0] == pytest.approx(expected[0], rel=1e-6)
    for one, other in zip(found[1], expected[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * max(1e-3, np.abs(other).max()))
    for one, other in zip(found[2], expected[2], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
    assert any(not np.array_equal(a, v.numpy()) for a, v in zip(found[2], model.variables, strict=True))  # it has state
    np.testing.assert_array_equal(model(X, training=False).numpy(), prediction)


@pytest.mark.long
def test_what_is_frozen_stays():
    model = built("nested encoder")
    encoder = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    encoder.trainable = False
    expected = step(model)
    checkpoint_gradients(model)
    found = step(model)
    assert len(found[1]) == len(expected[1]) < len(model.weights)
    for one, other in zip(found[1], expected[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-7)
    for one, other in zip(found[2], expected[2], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


def test_layers_are_computed_again_but_for_the_last_segment(monkeypatch):
    """Traced once for the answer and once more for the gradient."""
    model, calls = built("batch norm"), []
    last = checkpoint_gradients(model)[-1]
    computed = keras.layers.Conv2D.call
    monkeypatch.setattr(keras.layers.Conv2D, "call", lambda self, x: (calls.append(self.name), computed(self, x))[1])
    step(model)
    once = {call.layer.name for call in last.calls}
    convolutions = [layer.name for layer in model.layers if type(layer) is keras.layers.Conv2D]
    assert convolutions and {name: calls.count(name) for name in convolutions} == {
        name: 1 if name in once else 2 for name in convolutions
    }


def kept(calls, cuts, result):
    """Bytes that are in memory at most, by looking at every tensor: handed on, and within the largest segment."""
    segment_of = {id(x): i for i, (a, b) in enumerate(pairwise(cuts)) for call in calls[a:b] for x in call.given}
    handed = {}
    for i, (a, b) in enumerate(pairwise(cuts)):
        for x in (x for call in calls[a:b] for x in call.taken if segment_of.get(id(x), i) != i):
            handed[id(x)] = x
    handed[id(result)] = result
    size = lambda x: int(np.prod(x.shape)) * 4  # noqa: E731
    return sum(map(size, handed.values())) + max(
        sum(size(x) for call in calls[a:b] for x in call.given) for a, b in pairwise(cuts)
    )


@pytest.mark.parametrize("seed", range(5))
def test_no_cuts_are_better(seed, monkeypatch):
    """Of small random graphs all cuts are tried, where a cut may be made."""
    monkeypatch.setattr(checkpointing, "_BUDGETS", 400)
    rng = np.random.default_rng(seed)
    tensors, calls = [keras.KerasTensor((1, 4))], []
    for _ in range(24):
        taken = [tensors[i] for i in {len(tensors) - 1, int(rng.integers(max(0, len(tensors) - 4), len(tensors)))}]
        tensors.append(keras.KerasTensor((1, int(rng.integers(1, 50)))))
        calls.append(Call(None, ((taken,), {}), [tensors[-1]]))
    last_use = checkpointing._last_use(calls, tensors[-1])
    places = checkpointing._narrow_places(calls, last_use)
    inner = places[1:-1]
    assert len(inner) > 2
    every = [[0, *some, len(calls)] for n in range(len(inner) + 1) for some in combinations(inner, n)]
    best = min(kept(calls, cuts, tensors[-1]) for cuts in every)
    assert kept(calls, checkpointing._cuts(calls, last_use), tensors[-1]) == best


LOSSES = ("loss", "val_loss")


@pytest.mark.slow
def test_a_run_of_it_is_the_ordinary_run(config_file, sample, run_folder, tmp_path, monkeypatch):
    """The same epochs, and a file of the same layers; ``run_folder`` is of the same config without it."""
    cut = []
    monkeypatch.setattr(fit, "checkpoint_gradients", lambda model: cut.append(checkpoint_gradients(model)))
    run = train(load_config(config_file, ["training.gradient_checkpointing=true"]), sample, tmp_path / "run")
    for found, expected in zip(run.history, Run.open(run_folder).history, strict=True):
        assert {key: found[key] for key in LOSSES} == pytest.approx({key: expected[key] for key in LOSSES}, rel=1e-3)
    assert load_model(run.path).count_params() == load_model(run_folder).count_params()
    assert len(cut) == 1 and len(cut[0]) > 1


@pytest.mark.long
def test_less_memory_is_needed():
    """Than three fifths of what a plain U-Net takes above its import, each in a process of its own."""
    used = {way: int(subprocess.check_output([sys.executable, "-c", MEMORY, way])) for way in ("kept", "again")}
    assert used["again"] < used["kept"] * 0.6, used


MEMORY = """
import resource, sys
import numpy as np
from tf_landslide.models.build import build_model
from tf_landslide.training.checkpointing import checkpoint_gradients
import tensorflow as tf
model = build_model("plain_unet", channels=3, width=16, depth=3, batch_norm=True)
if sys.argv[1] == "again":
    checkpoint_gradients(model)
model.compile(loss="mse", optimizer="sgd", jit_compile=False)
small = np.zeros((1, 32, 32, 3), np.float32)
model.train_on_batch(small, small[..., :1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
large = np.zeros((4, 512, 512, 3), np.float32)
model.train_on_batch(large, large[..., :1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
