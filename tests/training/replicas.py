"""Loss, gradients and training on one CPU and on two that are mirrored; run by ``test_strategy.py`` as

python replicas.py DATA
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

from tests.training.test_pace import tiny
from tf_landslide.bands.recipes import channel_recipe
from tf_landslide.data.pipeline import as_dataset
from tf_landslide.data.source import PatchSource
from tf_landslide.models.build import build_model
from tf_landslide.models.depth import encoder_of
from tf_landslide.models.layers.norm import all_layers
from tf_landslide.runs.sections import TrainingConfig
from tf_landslide.training.callbacks import DrawEpoch, FreezeEncoder
from tf_landslide.training.fit import get_optimizer
from tf_landslide.training.losses import LOSSES, BCEDice, get_loss
from tf_landslide.training.mining import PatchErrors
from tf_landslide.training.optimizers import FusedAdam


def outcome(strategy, loss, batches):
    """Loss of the whole batch, and its gradients summed over replicas, as Keras's training step has them."""
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = build_model("plain_unet", channels=3, width=2, depth=1)
    replicas = strategy.num_replicas_in_sync
    parts = [np.concatenate(part) for part in zip(*batches, strict=True)] if replicas == 1 else None

    def per_replica(arrays):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(arrays[context.replica_id_in_sync_group])
        )

    columns = [[part] for part in parts] if parts else list(zip(*batches, strict=True))

    def step(x, y, *weight):
        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=True), *weight)  # scaled by Keras to 1 / replicas
        context = tf.distribute.get_replica_context()
        gradients = tape.gradient(value, [v.value for v in model.trainable_variables])
        return context.all_reduce("SUM", value), [context.all_reduce("SUM", g) for g in gradients]

    value, gradients = strategy.run(tf.function(step), args=tuple(map(per_replica, columns)))

    def first(x):
        return strategy.experimental_local_results(x)[0].numpy().tolist()

    return {"loss": first(value), "gradients": [first(g) for g in gradients]}


def training(strategy, source):
    keras.utils.set_random_seed(0)
    dataset = as_dataset(source, 4, shuffle=True, augment=True, hard_share=0.5, seed=1)
    with strategy.scope():
        model = build_model("plain_unet", channels=6, width=2, depth=1)
        model.compile(FusedAdam(1e-3), BCEDice(0.5, 2.0), jit_compile=False)
    model.get_layer("normalization").adapt([source.fetch(np.arange(len(source)))[0]])
    drawing = DrawEpoch(dataset.epochs, PatchErrors(model, as_dataset(source, 4)), after=1)
    history = model.fit(dataset, epochs=3, verbose=0, callbacks=[drawing], shuffle=False)
    return {"losses": history.history["loss"], "weights": [w.tolist() for w in model.get_weights()]}


def paced(strategy):
    """Weights after two epochs with a frozen encoder and two with a thawed one, at rates of their own."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 8, 8, 2)).astype(np.float32)
    settings = TrainingConfig(
        schedule="constant", freeze_encoder=2, weight_decay=0.1, layer_decay=0.8, encoder_learning_rate=0.5
    )
    with strategy.scope():
        model = tiny()
        for layer in all_layers(model):
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
        optimizer = get_optimizer(settings, 2, model)
        model.compile(optimizer, "binary_crossentropy")
        optimizer.build(model.trainable_variables)
    dataset = tf.data.Dataset.from_tensor_slices((x, (x[..., :1] > 0).astype(np.float32))).batch(4)
    model.fit(dataset, epochs=4, verbose=0, shuffle=False, callbacks=[FreezeEncoder(encoder_of(model), 2)])
    # a bias before batch norm has no gradient but noise, which Adam makes steps of
    return [w.numpy().tolist() for w in model.weights if not w.path.endswith("bias")]


def main(data):
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    one, two = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    rng = np.random.default_rng(0)

    def batches(*sizes, weighted=False):
        made = []
        for n in sizes:
            x = rng.normal(size=(n, 8, 8, 3)).astype(np.float32)
            y = (x[..., :1] > 1).astype(np.float32)
            made.append((x, y, rng.uniform(0, 2, (n, 8, 8)).astype(np.float32)) if weighted else (x, y))
        return made

    whole = get_loss("sum", terms=[{"name": name} for name in LOSSES if name != "sum"])
    cases = {"even": (whole, batches(2, 2)), "uneven": (whole, batches(3, 1, weighted=True))}
    cases["bce_dice"] = BCEDice(0.4, 3.0), batches(2, 2, weighted=True)
    cases["lovasz"] = get_loss("lovasz"), batches(3, 1, weighted=True)
    told = {name: [outcome(s, loss, parts) for s in (one, two)] for name, (loss, parts) in cases.items()}
    source = PatchSource.open(data, "train", channel_recipe())
    told["paced"] = [paced(s) for s in (one, two)]
    told["fit"] = [training(s, source) for s in (one, two)]
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1])
