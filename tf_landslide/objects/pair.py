"""Two images of the same ground, before and after, on the grid of the one after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from rasterio import Affine

from tf_landslide.core.errors import LandslideError
from tf_landslide.scenes.clouds import Clouds
from tf_landslide.scenes.grid import Grid, Window
from tf_landslide.scenes.sampler import Sampler, sampler
from tf_landslide.scenes.scene import Scene

VISIBLE = ("red", "green", "blue")
NIR = "nir"
_LOOKED_AT = 65  # rows in which it is asked whether two grids meet


@dataclass(frozen=True)
class Pair:
    """Two scenes whose windows show the same ground. Made by ``pair``.

    Attributes:
        before, after: each read on the grid after, moved by ``shift`` for the one before.
        bands: that both have, visible ones first.
        shift: rows and columns by which the image before was found to lie further on, undone here.
    """

    before: Scene
    after: Scene
    bands: tuple[str, ...]
    shift: tuple[float, float] = (0.0, 0.0)
    _read: dict[Window, Mapping[str, np.ndarray]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def grid(self) -> Grid:
        return self.after.grid

    def read(self, window: Window) -> Mapping[str, np.ndarray]:
        """Every band of both, ``red_before`` and ``red`` and so on, (H, W) float32; missing where any of them is.

        The last windows are kept, since layer after layer is computed of each.
        """
        found = self._read.get(window)
        if found is None:
            found = {name: self.after.read(name, window) for name in self.bands}
            found |= {f"{name}_before": self.before.read(name, window) for name in self.bands}
            missing = np.logical_or.reduce([np.isnan(plane) for plane in found.values()])
            for plane in found.values():
                plane[missing] = np.nan
            for old in list(self._read)[:-1]:
                self._read.pop(old, None)  # another thread may have been quicker
            self._read[window] = found
        return found

    def moved(self, shift: tuple[float, float]) -> Pair:
        """The pair with the image before taken from ``shift`` rows and columns further on."""
        return replace(self, before=_on_grid(self.before, _shifted(self.grid, shift)), shift=shift, _read={})


def pair(before: Scene, after: Scene) -> Pair:
    """Two scenes as a pair.

    Args:
        before, after: any scenes with red, green and blue; near infrared is used where both have it.

    Raises:
        LandslideError: a visible band is not there, or they do not show the same ground.
    """
    for scene in (before, after):
        require_visible(scene)
    bands = tuple(name for name in (*VISIBLE, NIR) if name in before.bands and name in after.bands)
    require_overlap(before, after)
    return Pair(_on_grid(before, after.grid), after, bands)


def require_visible(scene: Scene) -> None:
    """Raise ``LandslideError`` where a scene lacks red, green or blue."""
    if lacking := [name for name in VISIBLE if name not in scene.bands]:
        known = ", ".join(scene.names)
        raise LandslideError(
            f"{_name(scene)}: has no band {lacking[0]!r} (it has {known}); say which is which with --bands NAME=N, "
            "or give NAME=FILE"
        )


def require_overlap(before: Scene, after: Scene) -> None:
    """Raise ``LandslideError`` where two scenes show no common ground."""
    if not _meet(before.grid, after.grid):
        raise LandslideError(
            f"{_name(before)} and {_name(after)}: do not overlap; before lies at {_place(before.grid)}, "
            f"after at {_place(after.grid)}"
        )


def _on_grid(scene: Scene, grid: Grid) -> Scene:
    """A scene read on another grid: bilinear samples, and of its cloud mask the nearest pixel."""
    clouds = None if scene.clouds is None else _SampledClouds(scene.clouds, sampler(scene.grid, grid))
    return Scene(grid, scene.bands, clouds, scene.origin)


@dataclass(frozen=True)
class _SampledClouds:
    """A cloud mask on another grid, at the pixel which a centre lies in; nothing is hidden beyond its own."""

    clouds: Clouds
    at: Sampler

    def __call__(self, window: Window) -> np.ndarray:
        return np.nan_to_num(self.at.nearest(window, lambda part: self.clouds(part).astype(np.float32))) > 0

    def fingerprint(self) -> object:
        return [self.clouds.fingerprint(), str(self.at.target)]


def _shifted(grid: Grid, shift: tuple[float, float]) -> Grid:
    return Grid(grid.transform @ Affine.translation(shift[1], shift[0]), grid.crs, grid.shape)


def _meet(a: Grid, b: Grid) -> bool:
    """Whether some pixel of ``b``, of rows spread evenly over it, lies in ``a``."""
    at = sampler(a, b)
    for row in np.unique(np.linspace(0, b.shape[0] - 1, _LOOKED_AT).astype(int)).tolist():
        rows, columns = at.coordinates(Window(row, 0, 1, b.shape[1]))
        inside = (rows > -0.5) & (rows < a.shape[0] - 0.5) & (columns > -0.5) & (columns < a.shape[1] - 0.5)
        if inside.any():
            return True
    return False


def _name(scene: Scene) -> str:
    return scene.source_ids[0]


def _place(grid: Grid) -> str:
    west, south, east, north = grid.bounds
    return f"{west:.6g}..{east:.6g}, {south:.6g}..{north:.6g} ({grid.crs.to_string()[:20]})"
