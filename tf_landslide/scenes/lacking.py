"""Why no pixel of a scene could be mapped: which bands lack, told when all has been read in vain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tf_landslide.scenes.grid import Window
from tf_landslide.scenes.scene import DEM, Scene

_SIDE = 1024  # pixels of what is read at a time
_LOOKED_AT = 64  # such pieces for a share


def what_lacks(scene: Scene, needed: Sequence[str], whole_paths: bool = True) -> str:
    """A clause that names the bands without a valid pixel; where each has some, how many each has.

    Args:
        scene: of which no pixel has all bands.
        needed: names of the bands that the model needs.
        whole_paths: name files as the caller did; else by their names alone.
    """
    pieces = list(scene.grid.blocks(_SIDE))
    empty = [name for name in needed if not any(_valid(scene, name, piece).any() for piece in pieces)]
    if empty:
        said = f"{' and '.join(_with_file(scene, name, whole_paths) for name in empty)} {_have(empty)} no valid pixel"
        bare = replace(scene, clouds=None, _masks={})
        hidden = scene.clouds is not None and any(_valid(bare, empty[0], piece).any() for piece in pieces)
        return f"{said}{', for the cloud mask hides all of them (--no-clouds maps them)' if hidden else ''}"
    some = pieces[:: -(-len(pieces) // _LOOKED_AT)]
    shares = {name: np.mean([_valid(scene, name, piece).mean() for piece in some]) for name in needed}
    return "each has valid pixels, but not the same: " + ", ".join(f"{n} {100 * s:.3g} %" for n, s in shares.items())


def _valid(scene: Scene, name: str, piece: Window) -> np.ndarray:
    return np.isfinite(scene.read(name, piece))


def _have(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"


def _with_file(scene: Scene, name: str, whole_paths: bool) -> str:
    band = scene.bands[name if name in scene.bands else DEM]
    source = band.sources[0]
    more = ", …" if len(band.parts) > 1 else ""
    return f"{name} ({source if whole_paths else source.id}{more})"
