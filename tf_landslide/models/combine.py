"""Several models as one: their answers averaged, over the symmetries of the image too, and calibrated."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers

from tf_landslide.core.errors import LandslideError
from tf_landslide.models.layers.combining import MeanOfVotes, Temperature, Turned, TurnedBack

SYMMETRIES = {"none": 1, "flips": 4, "eight": 8}
"""How many answers of a member are averaged: of the image, of its flips, of its flips and rotations."""
VOTES = "votes"
"""The layer of a combined model that holds all answers that are averaged."""
COPIES = 4
"""Images that ``Turned`` makes of one: as many times the memory of one image is taken."""


def combined(
    members: Sequence[keras.Model], symmetries: str = "none", temperature: float | None = None, name: str = "combined"
) -> keras.Model:
    """One model that answers with the mean of its members' probabilities.

    Args:
        members: models of the same channels; each is called for four images at a time where symmetries are asked for.
        symmetries: a key of ``SYMMETRIES``.
        temperature: that the logit of the mean is divided by; None leaves it as it is.
        name: of the model.

    Returns:
        a model from (N, H, W, C) channels to (N, H, W, 1) probabilities; its layer ``VOTES`` gives (N, H, W, V), the
        answers of the first member first, where there is more than one.
    """
    inputs = keras.Input(members[0].input_shape[1:], name="channels", dtype="float32")
    votes = []
    for i, member in enumerate(members):
        member.name = f"member{i}"
        votes += _answers(member, inputs, symmetries)
    if len(votes) == 1 and votes[0].shape[-1] == 1:
        x = votes[0]
    else:
        all_votes = layers.Concatenate(name=VOTES)(votes) if len(votes) > 1 else layers.Identity(name=VOTES)(votes[0])
        x = MeanOfVotes(name="mean_of_votes", dtype="float32")(all_votes)
    if temperature is not None:
        x = Temperature(float(temperature), name="temperature", dtype="float32")(x)
    return keras.Model(inputs, x, name=name)


def _answers(member: keras.Model, inputs: keras.KerasTensor, symmetries: str) -> list[keras.KerasTensor]:
    if symmetries == "none":
        return [member(inputs)]
    answers = []
    for transposed in (False, True)[: SYMMETRIES[symmetries] // 4]:
        kind = f"{member.name}_{'transposed' if transposed else 'upright'}"
        turned = Turned(transposed, name=f"{kind}_turned", dtype="float32")(inputs)
        answers.append(TurnedBack(transposed, name=f"{kind}_back", dtype="float32")(member(turned)))
    return answers


def votes_of(model: keras.Model) -> keras.Model | None:
    """The same model, ending with the answers (N, H, W, V) that it averages; None where it is not a combined one."""
    if not any(layer.name == VOTES for layer in model.layers):
        return None
    return keras.Model(model.inputs[0], model.get_layer(VOTES).output, name=model.name)


def average_weights(models: Sequence[keras.Model]) -> keras.Model:
    """The first of some models with the mean of all their weights.

    The means of batch norm's statistics are no statistics of the averaged network: recompute them.

    Raises:
        LandslideError: the models differ in a weight's name or shape.
    """
    first = models[0]
    for other in models[1:]:
        if [w.shape for w in other.weights] != [w.shape for w in first.weights]:
            raise LandslideError("weights can be averaged of one architecture only, with the same options and channels")
    means = [
        np.mean([np.asarray(w, np.float64) for w in of_each], 0) for of_each in zip(*_weights(models), strict=True)
    ]
    first.set_weights([mean.astype(w.dtype) for mean, w in zip(means, first.get_weights(), strict=True)])
    return first


def _weights(models: Sequence[keras.Model]) -> list[list[np.ndarray]]:
    return [model.get_weights() for model in models]
