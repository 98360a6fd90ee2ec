"""The classes that Keras saves with our models, so that it finds them by name once this package is imported.

A stand-in is registered for each as soon as Keras is there. When a model that holds one is loaded, the stand-in imports
the class, which registers itself in its place. So neither ``import tf_landslide`` nor ``import keras`` costs more than
it did, and their order does not matter.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec

HOMES = {
    "Adam": "tf_landslide.training.optimizers",
    "AdaptivePooling": "tf_landslide.models.layers.resize",
    "AlignedUpsampling": "tf_landslide.models.layers.resize",
    "AtrousConv2D": "tf_landslide.models.layers.conv",
    "AtrousDepthwiseConv2D": "tf_landslide.models.layers.conv",
    "BCE": "tf_landslide.training.losses.cross_entropy",
    "BCEDice": "tf_landslide.training.losses.combined",
    "BatchNormalization": "tf_landslide.models.layers.norm",
    "BestF1": "tf_landslide.metrics.keras",
    "BilinearUpsampling": "tf_landslide.models.layers.resize",
    "Boundary": "tf_landslide.training.losses.boundary",
    "ByUpdates": "tf_landslide.training.optimizers",
    "Dice": "tf_landslide.training.losses.overlap",
    "EfficientAttention": "tf_landslide.models.encoders.mix_transformer",
    "F1": "tf_landslide.metrics.keras",
    "Features": "tf_landslide.bands.features",
    "Focal": "tf_landslide.training.losses.cross_entropy",
    "GroupedConv2D": "tf_landslide.models.layers.conv",
    "IoU": "tf_landslide.metrics.keras",
    "Lovasz": "tf_landslide.training.losses.lovasz",
    "MeanOfVotes": "tf_landslide.models.layers.combining",
    "Normalization": "tf_landslide.models.layers.norm",
    "Precision": "tf_landslide.metrics.keras",
    "Recall": "tf_landslide.metrics.keras",
    "ResizeLike": "tf_landslide.models.layers.resize",
    "SoftIoU": "tf_landslide.training.losses.overlap",
    "Spread": "tf_landslide.models.layers.combining",
    "Temperature": "tf_landslide.models.layers.combining",
    "Turned": "tf_landslide.models.layers.combining",
    "TurnedBack": "tf_landslide.models.layers.combining",
    "Tversky": "tf_landslide.training.losses.overlap",
    "WeightedSum": "tf_landslide.training.losses.combined",
}
"""The module of each class, by the name it is saved under."""


def announce() -> None:
    """Register the stand-ins: now where Keras is imported already, else as soon as it is."""
    if "keras" in sys.modules:
        _register(importlib.import_module("keras"))  # waits for a thread that is still importing it
    elif not any(isinstance(finder, _KerasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _KerasFinder())


def _register(keras: ModuleType) -> None:
    known = keras.saving.get_custom_objects()
    for name, home in HOMES.items():
        known.setdefault(f"tf_landslide>{name}", _stand_in(f"tf_landslide>{name}", home, known))


def _stand_in(name: str, home: str, known: dict[str, Any]) -> type:
    def from_config(_: type, config: dict[str, Any]) -> Any:
        importlib.import_module(home)
        return known[name].from_config(config)

    return type(name, (), {"from_config": classmethod(from_config), "__doc__": f"Stands for a class of {home}."})


class _KerasFinder:
    """Has the import of Keras, as the other finders find it, followed by the registration."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "keras":
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        if spec and spec.loader:
            spec.loader = cast("Loader", _ThenRegister(spec.loader, self))
        return spec


class _ThenRegister:
    """A loader that registers when the module is loaded."""

    def __init__(self, loader: Any, finder: _KerasFinder):
        self._loader, self._finder = loader, finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        _register(module)
