"""What a block's answer depends on besides the scene: the model's weights, what computes it, and on which CPU."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tf_landslide import __version__
from tf_landslide.core.cpu import cpu_name, instructions
from tf_landslide.predict.predictor import Predictor

_PACKAGES = {"tensorflow": ("tensorflow", "keras"), "openvino": ("openvino",)}
_READING = ("numpy", "rasterio", "pyproj")
_CODE = ("bands", "predict", "scenes")  # what a block's bytes are made by; the version alone stays while it is changed


@dataclass(frozen=True)
class Identity:
    """Of one who predicts blocks. Two that are equal give the same bytes.

    Attributes:
        weights: fingerprint of the model's.
        runtime: what computes: ``tensorflow``, ``openvino`` or ``server``.
        versions: of the packages that take part, with spaces between.
        cpu: its name, and those of its instructions that matter. Of another, the last digits may differ.
    """

    weights: str
    runtime: str
    versions: str
    cpu: str

    @property
    def settings(self) -> dict[str, Any]:
        """All but the CPU, on which a map may be gone on with."""
        return {key: value for key, value in asdict(self).items() if key != "cpu"}

    def differences(self, other: Identity) -> str:
        """Where another one is not the same, the CPU left aside; empty where it is."""
        mine, others = self.settings, other.settings
        return "; ".join(f"{key} {mine[key]} here, {others[key]} there" for key in mine if mine[key] != others[key])


def identity_of(predictor: Predictor) -> Identity:
    """Of this process with a predictor."""
    packages = (*_READING, *_PACKAGES.get(predictor.runtime, ()))
    own = f"tf-landslide {__version__} of code {code(Path(__file__).parents[1])}"
    versions = [own, *(f"{package} {version(package)}" for package in packages)]
    return Identity(predictor.backend.fingerprint(), predictor.runtime, ", ".join(versions), cpu())


@cache
def code(package: Path) -> str:
    """The start of a digest of the modules that make a block's bytes."""
    digest = hashlib.sha256()
    for path in sorted(path for folder in _CODE for path in (package / folder).rglob("*.py")):
        digest.update(f"{path.relative_to(package)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:8]


def cpu() -> str:
    """This machine's CPU by name, and its instruction sets that kernels are chosen by."""
    return " ".join([cpu_name(), *instructions()])
