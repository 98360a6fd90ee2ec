"""Landslide losses, with Keras's sample weights: of samples, or of pixels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tf_landslide.core.errors import LandslideError, lookup, require_known
from tf_landslide.training.losses.base import PixelLoss
from tf_landslide.training.losses.boundary import Boundary
from tf_landslide.training.losses.combined import BCEDice, WeightedSum
from tf_landslide.training.losses.cross_entropy import BCE, Focal
from tf_landslide.training.losses.lovasz import Lovasz
from tf_landslide.training.losses.overlap import Dice, SoftIoU, Tversky

LOSSES: dict[str, type[PixelLoss]] = {
    "bce": BCE,
    "dice": Dice,
    "bce_dice": BCEDice,
    "tversky": Tversky,
    "focal": Focal,
    "soft_iou": SoftIoU,
    "lovasz": Lovasz,
    "boundary": Boundary,
    "sum": WeightedSum,
}
"""By name; ``runs.sections.loss`` says what a config may say of each."""


def get_loss(name: str, **settings: Any) -> PixelLoss:
    """A loss by name, with the settings of its class.

    Args:
        name: one of ``LOSSES``.
        settings: its own; of ``sum`` the ``terms``, each a mapping of ``name``, ``weight`` (1) and settings.

    Raises:
        LandslideError: another name, a setting that the loss does not have, or one out of range.

    Example:
        >>> get_loss("sum", terms=[{"name": "focal", "weight": 0.7, "gamma": 2.0}, {"name": "lovasz", "weight": 0.3}])
    """
    loss = lookup(LOSSES, name, "loss")
    if loss is WeightedSum:
        _require_settings(name, settings, ("terms",))
        return _sum(**settings)
    _require_settings(name, settings, loss.settings)
    return loss(**settings)


def _require_settings(name: str, settings: Mapping[str, Any], known: Sequence[str]) -> None:
    for setting in settings:
        if not known:
            raise LandslideError(f"loss {name!r} has no settings, got {setting!r}; leave it out")
        require_known(setting, known, f"setting of loss {name!r}")


def _sum(terms: Iterable[Mapping[str, Any]] = ()) -> WeightedSum:
    terms = list(terms)
    losses = [get_loss(**{key: value for key, value in term.items() if key != "weight"}) for term in terms]
    return WeightedSum(losses, [term.get("weight", 1.0) for term in terms])


__all__ = [
    *("BCE", "BCEDice", "Boundary", "Dice", "Focal", "Lovasz", "PixelLoss", "SoftIoU", "Tversky", "WeightedSum"),
    *("LOSSES", "get_loss"),
]
