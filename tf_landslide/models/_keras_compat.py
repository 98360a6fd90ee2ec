"""Every private name of Keras that this package uses, each behind a function of ours.

A new Keras can break these and nothing else; ``tests/models/test_keras_compat.py`` says which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import keras

Class = TypeVar("Class", bound=type)


def saved_as(name: str) -> Callable[[Class], Class]:
    """Register a class under ``tf_landslide>NAME``, and have Keras write that name into the files it saves.

    Keras finds a class by its registered name, but finds a layer's weights in ``model.weights.h5`` by the ``__name__``
    of its class. A class that was renamed keeps both, so that models saved before keep loading.
    """

    def register(cls: Class) -> Class:
        cls.__name__ = name
        return keras.saving.register_keras_serializable(package="tf_landslide", name=name)(cls)

    return register


def producer(tensor: keras.KerasTensor) -> keras.Operation:
    """The layer that a symbolic tensor comes from."""
    return tensor._keras_history.operation


def walk(model: keras.Model, inputs: list[Any], visit: Callable[[Any], Callable[..., Any]]) -> Any:
    """Go through a functional model in order: ``visit(layer)`` is called with what the layer is called with.

    Returns:
        the model's output, of what those calls gave.
    """
    return model._run_through_graph(inputs, visit)


def takes_training(layer: keras.layers.Layer) -> bool:
    """Whether a layer is called with ``training``."""
    return bool(getattr(layer, "_call_has_training_arg", False))


def reseed(layer: keras.layers.Dropout, seed: int) -> None:
    """Begin a dropout's random numbers anew, from a seed."""
    layer.seed_generator.state.assign([seed, 0])


def sublayers(model: keras.Model) -> list[keras.layers.Layer]:
    """Every layer of a model, those inside other layers too."""
    return model._flatten_layers(include_self=False, recursive=True)


def trains_on_workers(model: keras.Model, strategy: Any) -> None:
    """Have ``fit`` train a model on several machines by ``tf.distribute.MultiWorkerMirroredStrategy``.

    Keras 3.15 fails there twice. It builds metrics on the mean of a batch over all workers, which TensorFlow does not
    take of a tuple: here on the worker's own part, of which only the shapes count. And it averages each number of the
    log along its first axis, which a number does not have: here over the workers.
    """
    import tensorflow as tf  # only where Keras runs on it
    from keras.src.backend.tensorflow import trainer

    def build(iterator: Any = None, data_batch: Any = None) -> None:
        if iterator is not None:
            batch = next(next(iter(iterator))[2])
            data_batch = tuple(strategy.experimental_local_results(part)[0] for part in batch)
        with strategy.scope():
            model._symbolic_build(data_batch=data_batch)

    def averaged(values: Any, strategy: Any, reduction: str) -> Any:
        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) and reduction != "concat":
            return keras.tree.map_structure(lambda value: strategy.reduce("MEAN", value, axis=None), values)
        return original(values, strategy, reduction)

    original = getattr(trainer.reduce_per_replica, "original", trainer.reduce_per_replica)
    averaged.original = original  # type: ignore[attr-defined]
    trainer.reduce_per_replica = averaged
    model._maybe_symbolic_build = build


def adam_moments(optimizer: keras.optimizers.Adam, variable: Any) -> tuple[Any, Any]:
    """The running means of a variable's gradient and of its square, as the optimiser keeps them."""
    index = variable_index(optimizer, variable)
    return optimizer._momentums[index], optimizer._velocities[index]


def calls_from_outputs(
    model: keras.Model,
) -> Iterator[tuple[keras.Operation, list[keras.KerasTensor], list[keras.KerasTensor]]]:
    """Each call of a layer in a functional model, with its inputs and outputs: what uses an output comes before it."""
    for _, nodes in sorted(model._nodes_by_depth.items()):
        for node in nodes:
            if not node.is_input:
                yield node.operation, list(node.input_tensors), list(node.outputs)


class PacedAdam(keras.optimizers.Adam):
    """Keras's Adam, where it knows no public way: for weight decay that a subclass applies itself, by variable, and for
    an average of the weights that moves when they do, not with every batch whose gradient is accumulated."""

    @property
    def decays_itself(self) -> bool:
        """Whether the subclass's ``update_step`` applies weight decay."""
        return False

    def decay_of(self, variable: Any) -> float:
        """The weight decay of a variable, to be multiplied by its rate; 0 for one that is left out of it."""
        return self.weight_decay if self.weight_decay and self._use_weight_decay(variable) else 0.0

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        if not self.decays_itself:
            super()._apply_weight_decay(variables)

    def _update_model_variables_moving_average(self, trainable_variables: Sequence[Any]) -> None:
        average = super()._update_model_variables_moving_average
        accumulated = self.gradient_accumulation_steps
        if not accumulated:
            average(trainable_variables)
            return
        moved = keras.ops.equal((self._iterations + 1) % accumulated, 0)
        keras.ops.cond(moved, lambda: average(trainable_variables), lambda: None)


def variable_index(optimizer: keras.optimizers.Optimizer, variable: Any) -> int:
    """The position of a variable among those that an optimiser was built with."""
    return optimizer._get_variable_index(variable)
