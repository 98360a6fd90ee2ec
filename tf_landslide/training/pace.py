"""How fast each variable of a model learns, and from when on."""

from __future__ import annotations

from typing import Any

import keras

from tf_landslide.models.depth import distances_to_head, encoder_of
from tf_landslide.models.layers.norm import all_layers
from tf_landslide.runs.sections import TrainingConfig


def pace_of(model: keras.Model, settings: TrainingConfig, steps: int) -> dict[str, Any]:
    """``rate_factors`` and ``first_updates`` of ``FusedAdam``; what would change nothing is left out.

    Args:
        model: that is trained, nothing of it frozen.
        settings: of the config.
        steps: batches of an epoch.
    """
    encoder = encoder_of(model)
    in_encoder = {id(variable) for variable in encoder.trainable_variables} if encoder else set()
    pace: dict[str, Any] = {}
    if settings.layer_decay != 1 or settings.encoder_learning_rate != 1:
        decays = _decays(model, settings.layer_decay)
        own = {True: settings.encoder_learning_rate, False: 1.0}
        pace["rate_factors"] = [decays[id(v)] * own[id(v) in in_encoder] for v in model.trainable_variables]
    if settings.freeze_encoder:
        first = settings.freeze_encoder * steps // settings.accumulate
        pace["first_updates"] = [first if id(v) in in_encoder else 0 for v in model.trainable_variables]
    return pace


def _decays(model: keras.Model, decay: float) -> dict[int, float]:
    """``decay`` to the power of each variable's distance from the head, by the variable's ``id``."""
    distances = distances_to_head(model)
    factors = {layer: decay ** distances.get(layer, 0) for layer in all_layers(model)}  # some lead to no output
    return {id(variable): factor for layer, factor in factors.items() for variable in layer.trainable_variables}
