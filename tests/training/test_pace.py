"""Accumulated and clipped gradients, rates of their own, an encoder that waits: against Adam written out in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_landslide.models.depth import distances_to_head, encoder_of
from tf_landslide.models.layers.norm import all_layers
from tf_landslide.runs.sections import TrainingConfig
from tf_landslide.training.callbacks import FreezeEncoder
from tf_landslide.training.fit import get_optimizer
from tf_landslide.training.optimizers import FusedAdam
from tf_landslide.training.pace import pace_of

SHAPES = (3, 4), (5,), (2, 2)
RATE, BATCHES = 0.1, 7


def gradients():
    rng = np.random.default_rng(0)
    return [[rng.normal(size=s) * 10.0 ** rng.integers(-2, 3) for s in SHAPES] for _ in range(BATCHES)]


def written_out(weights, accumulate=1, clip=None, decay=0.0, ema=0.0, factors=(1, 1, 1), firsts=(0, 0, 0)):
    """Adam (Kingma & Ba 2015, in the order of the end of their section 2), decoupled decay, in float64."""
    w, average = [x.copy() for x in weights], None
    m, v = ([np.zeros_like(x) for x in w] for _ in range(2))
    given = gradients()
    for update in range(BATCHES // accumulate):
        learning = [i for i in range(3) if update >= firsts[i]]
        some = given[update * accumulate : (update + 1) * accumulate]
        g = {i: np.mean([parts[i] for parts in some], 0) for i in learning}
        norm = np.sqrt(sum((x**2).sum() for x in g.values()))
        for i, x in g.items():
            x = x * min(1, clip / norm) if clip else x
            rate, t = RATE * factors[i], update + 1 - firsts[i]
            w[i] -= rate * decay * w[i]
            m[i], v[i] = 0.9 * m[i] + 0.1 * x, 0.999 * v[i] + 0.001 * x**2
            w[i] -= rate * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m[i] / (np.sqrt(v[i]) + 1e-7)
        average = [ema * a + (1 - ema) * x for a, x in zip(average or w, w, strict=True)]
    return w, average


@pytest.mark.parametrize(
    "asked",
    [
        {"accumulate": 3},
        {"clip": 0.5},
        {"factors": (0.25, 1, 3)},
        {"factors": (0.5, 1, 0.01), "decay": 0.3, "accumulate": 2},
        {"firsts": (3, 0, 2)},
        {"accumulate": 2, "clip": 0.5, "ema": 0.8},
        {"accumulate": 2, "clip": 150, "ema": 0.8, "decay": 0.2, "factors": (1, 0.5, 2), "firsts": (1, 0, 2)},
    ],
    ids=lambda asked: ", ".join(asked),
)
def test_the_optimiser_is_adam_written_out(asked):
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=shape) for shape in SHAPES]
    variables = [keras.Variable(x.astype(np.float32)) for x in weights]
    k, ema, firsts = asked.get("accumulate", 1), asked.get("ema"), asked.get("firsts", (0, 0, 0))
    optimizer = FusedAdam(
        RATE,
        weight_decay=asked.get("decay"),
        global_clipnorm=asked.get("clip"),
        gradient_accumulation_steps=k if k > 1 else None,
        rate_factors=asked.get("factors"),
        first_updates=asked.get("firsts"),
        use_ema=ema is not None,
        ema_momentum=ema or 0.99,
    )
    optimizer.build(variables)
    for batch, parts in enumerate(gradients()):
        learning = [i for i in range(3) if batch // k >= firsts[i]]
        optimizer.apply([tf.constant(parts[i], tf.float32) for i in learning], [variables[i] for i in learning])
    expected, average = written_out(weights, **asked)
    for found, wanted in zip(variables, expected, strict=True):
        np.testing.assert_allclose(found.numpy(), wanted, rtol=2e-4, atol=1e-5)
    if ema:
        for found, wanted in zip(optimizer._model_variables_moving_average, average, strict=True):
            np.testing.assert_allclose(found.numpy(), wanted, rtol=2e-4, atol=1e-5)
    if firsts[0]:
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
        assert type(again) is FusedAdam and again.get_config() == optimizer.get_config()


@pytest.mark.parametrize("schedule", ["cosine", "step"])
def test_some_batches_accumulated_are_one_of_them_all(schedule):
    """By a loss without sums over the batch; average, decay, clipping and the schedule's rate too."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, 6)).astype(np.float32)
    y = (x[:, :1] > 0).astype(np.float32)
    warm = {"warmup_epochs": 0.5} if schedule == "cosine" else {"step_epochs": 1}
    common = {"schedule": schedule, "epochs": 2, "learning_rate": 0.05, "ema": 0.9, "weight_decay": 0.1, **warm}
    found, all_rates = [], []
    for size, k in ((8, 1), (2, 4)):
        settings = TrainingConfig(batch_size=size, accumulate=k, clip_norm=0.3, **common)
        optimizer = get_optimizer(settings, len(x) // size)
        all_rates.append([float(optimizer._learning_rate(i)) for i in range(k - 1, 2 * len(x) // size, k)])
        if schedule == "step":
            continue
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1, "sigmoid")])
        model.set_weights([np.sin(np.arange(w.size).reshape(w.shape)) for w in model.get_weights()])
        model.compile(optimizer, keras.losses.BinaryCrossentropy())
        model.fit(x, y, batch_size=size, epochs=2, shuffle=False, verbose=0)
        found.append(model.get_weights())  # fit ends with the averaged ones
    assert len({*np.round(all_rates[0], 9)}) > 1
    np.testing.assert_allclose(all_rates[1], all_rates[0], rtol=1e-6)
    for ours, theirs in zip(*reversed(found), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-6)


def tiny(width=3):
    """An encoder of two maps, and a decoder that joins them: distances by hand."""
    inputs = keras.Input((8, 8, 2))
    a = keras.layers.BatchNormalization(name="bn_a")(keras.layers.Conv2D(width, 3, 2, "same", name="a")(inputs))
    b = keras.layers.BatchNormalization(name="bn_b")(keras.layers.Conv2D(width, 3, 2, "same", name="b")(a))
    unused = keras.layers.Conv2D(width, 1, name="unused")(b)
    encoder = keras.Model(inputs, [a, b, unused], name="encoder")
    outer = keras.Input((8, 8, 2))
    fine, coarse, _ = encoder(outer)
    up = keras.layers.UpSampling2D()(keras.layers.Conv2D(width, 1, name="up")(coarse))
    x = keras.layers.Conv2D(width, 1, name="joined")(keras.layers.Concatenate()([fine, up]))
    x = keras.layers.UpSampling2D()(keras.layers.BatchNormalization(name="bn_joined")(x))
    return keras.Model(outer, keras.layers.Conv2D(1, 1, activation="sigmoid", name="logits")(x))


def test_layers_are_ordered_by_the_kernels_on_the_longest_way_to_the_output():
    model = tiny()
    found = {layer.name: distance for layer, distance in distances_to_head(model).items()}
    by_hand = {"logits": 0, "bn_joined": 1, "joined": 1, "up": 2, "bn_b": 3, "b": 3, "bn_a": 4, "a": 4}
    assert {name: found[name] for name in by_hand} == by_hand and "unused" not in found
    assert encoder_of(model).name == "encoder" and encoder_of(keras.Sequential([keras.Input((2,))])) is None


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 8, 8, 2)).astype(np.float32)
    return x, (x[..., :1] > 0).astype(np.float32)


def values(model):
    return {v.path: v.numpy().copy() for v in model.variables}


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_the_first_step_of_each_layer_is_its_share_of_the_rate(data):
    """Adam's first step is the rate itself, whatever the gradient."""
    settings = TrainingConfig(learning_rate=1e-3, schedule="constant", layer_decay=0.5, encoder_learning_rate=0.2)
    model = tiny()
    model.compile(get_optimizer(settings, 4, model), "binary_crossentropy")
    before = values(model)
    model.train_on_batch(*data)
    learned = {layer.name: layer.trainable_variables for layer in all_layers(model)}
    moved = {name: max(np.abs(v.numpy() - before[v.path]).max() for v in vs) for name, vs in learned.items() if vs}
    shares = {"logits": 1, "joined": 0.5, "bn_joined": 0.5, "up": 0.25, "b": 0.2 / 8, "bn_b": 0.2 / 8, "a": 0.2 / 16}
    np.testing.assert_allclose([moved[name] for name in shares], [1e-3 * s for s in shares.values()], rtol=0.02)


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize(
    "more",
    [{}, pytest.param({"accumulate": 2, "precision": "mixed_float16"}, marks=pytest.mark.long)],
    ids=["plain", "accumulated"],
)
def test_a_frozen_encoder_does_not_move_nor_do_its_statistics_until_it_is_thawed(data, more):
    settings = TrainingConfig(learning_rate=0.01, schedule="constant", freeze_encoder=2, weight_decay=0.1, **more)
    model = tiny()
    optimizer = get_optimizer(settings, 2, model)
    model.compile(optimizer, "binary_crossentropy")
    optimizer.build(model.trainable_variables)
    seen = [values(model)]

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            assert all(layer.trainable for layer in all_layers(model))  # as it is saved
            seen.append(values(model))

    freeze = FreezeEncoder(encoder_of(model), 2)
    model.fit(*data, batch_size=4, epochs=3, verbose=0, shuffle=False, callbacks=[freeze, Look()])
    for path, first in seen[0].items():
        if path.startswith(("a/", "b/", "bn_a/", "bn_b/")):
            np.testing.assert_array_equal(seen[1][path], first)
            np.testing.assert_array_equal(seen[2][path], first)
            if path.endswith(("kernel", "moving_mean")):  # batch norm takes away what a bias before it adds
                assert np.abs(seen[3][path] - first).max() > 1e-4, path
        elif path.endswith(("kernel", "moving_mean")) and "unused" not in path:
            assert np.abs(seen[1][path] - first).max() > 1e-4, path


def test_what_changes_nothing_is_left_out():
    assert pace_of(tiny(), TrainingConfig(), 5) == {}
    pace = pace_of(tiny(), TrainingConfig(freeze_encoder=3, accumulate=2), 5)
    assert set(pace) == {"first_updates"} and set(pace["first_updates"]) == {0, 7}
