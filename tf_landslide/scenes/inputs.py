"""Whatever a scene is given as: rasters, a product of Sentinel-2, a manifest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tf_landslide.bands.layouts import LEVEL_1C, TERRAIN_UNITS, BandLayout
from tf_landslide.bands.recipes import ChannelRecipe
from tf_landslide.core.errors import LandslideError, warn
from tf_landslide.scenes.manifest import Manifest, is_manifest, read_manifest
from tf_landslide.scenes.product import is_product, read_product
from tf_landslide.scenes.scene import Scene
from tf_landslide.scenes.sentinel2 import CODES, NODATA
from tf_landslide.scenes.source import HOSTS, file
from tf_landslide.scenes.stack import assemble, open_dem, open_scene
from tf_landslide.scenes.units import same_unit

_ALSO = ("red", "nir")  # describe polygons by their NDVI, and lie on a product's finest grid


@dataclass(frozen=True)
class Inputs:
    """What a user gives.

    Attributes:
        scene: rasters, ``NAME=FILE`` for a band each, a ``.SAFE`` folder, or a manifest.
        dem: a terrain model, or tiles of one.
        layout: a file that says what the bands of a raster are.
        bands, scale, offset: of rasters without a layout; see ``stack.open_scene``.
        nodata: of them too; None where nobody says, which is 0, NaN where there is none but the file's own.
        clouds: leave out what the scene's own cloud mask marks.
        hosts: that a manifest's addresses may ask besides the known catalogues'.
        outside: a manifest may name files outside of its folder.
    """

    scene: tuple[str, ...]
    dem: tuple[Path, ...] = ()
    layout: Path | None = None
    bands: Mapping[str, int] | None = None
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None
    clouds: bool = True
    hosts: tuple[str, ...] = ()
    outside: bool = False


def open_inputs(inputs: Inputs, recipe: ChannelRecipe | None) -> Scene:
    """The scene that a user gives, with the bands that a model needs, or with all that it has.

    Warns where a surface reflectance is given to a model that learned the top of the atmosphere's, or an optical band
    in another unit than it learned.

    Args:
        inputs: as the user gives them.
        recipe: of the model; None where there is none yet.

    Raises:
        LandslideError: as ``open_scene``, ``read_product`` and ``read_manifest``, or terrain in another unit than the
            model learned.
    """
    scene = _opened(inputs, recipe)
    if recipe is not None:
        _compare_units(scene, recipe, inputs.scene[0])
    return scene


def _opened(inputs: Inputs, recipe: ChannelRecipe | None) -> Scene:
    needed = None if recipe is None else tuple(band.name for band in recipe.bands)
    learned = None if recipe is None else recipe.layout
    first = Path(inputs.scene[0])
    special = is_manifest(first) or is_product(first)
    if special or inputs.layout:
        _refuse_unused(inputs, special)
    if inputs.layout:
        return _of_manifest(_manifest(inputs, inputs.layout), inputs, needed, learned, first)
    if is_manifest(first):
        return _of_manifest(_manifest(inputs, first), inputs, needed, learned)
    if is_product(first):
        return _of_product(first, inputs, needed, learned)
    return open_scene(
        inputs.scene,
        needed or (),
        bands=inputs.bands,
        dem=inputs.dem,
        scale=inputs.scale,
        offset=inputs.offset,
        nodata=_nodata(inputs.nodata),
    )


def _nodata(given: float | None) -> float | None:
    if given is None:
        return NODATA
    return None if math.isnan(given) else given


def _refuse_unused(inputs: Inputs, special: bool) -> None:
    """Raise ``LandslideError`` for what would be left unread."""
    name = inputs.layout or inputs.scene[0]
    if len(inputs.scene) > 1:
        raise LandslideError(f"{inputs.scene[1]}: {name} is a whole scene; map each by itself")
    if special and inputs.layout:
        raise LandslideError(f"{inputs.layout}: {inputs.scene[0]} says itself what its bands are; leave --layout out")
    if inputs.bands or any(value is not None for value in (inputs.scale, inputs.offset, inputs.nodata)):
        raise LandslideError(
            f"{name}: says itself what its bands are; leave --bands, --scale, --offset and --nodata out"
        )


def _manifest(inputs: Inputs, path: Path) -> Manifest:
    return read_manifest(path, HOSTS | {host.lower() for host in inputs.hosts}, inputs.outside)


def _of_manifest(
    manifest: Manifest,
    inputs: Inputs,
    needed: tuple[str, ...] | None,
    learned: BandLayout | None,
    stack: Path | None = None,
) -> Scene:
    default = None if stack is None else file(stack)
    asked = () if needed is None else (*needed, *_ALSO)
    wanted = [name for name in manifest.bands if name in asked] or list(manifest.bands)
    _warn_of_level(manifest.origin.level, learned, str(manifest.path))
    return assemble(
        {name: manifest.open(name, default) for name in wanted},
        needed or (),
        str(manifest.path),
        dem=open_dem([file(path) for path in inputs.dem]) if inputs.dem else manifest.terrain(),
        clouds=manifest.clouds if inputs.clouds else None,
        origin=manifest.origin,
    )


def _of_product(path: Path, inputs: Inputs, needed: tuple[str, ...] | None, learned: BandLayout | None) -> Scene:
    product = read_product(path)
    also = [name for name in (CODES if needed is None else _ALSO) if product.has(name)]
    wanted = [name for name in dict.fromkeys((*(needed or ()), *also)) if name in CODES]
    _warn_of_level(product.level, learned, str(path))
    scene = assemble(
        {name: product.open(name) for name in wanted},
        needed or (),
        str(path),
        dem=open_dem([file(path) for path in inputs.dem]),
        clouds=product.clouds if inputs.clouds else None,
        origin=product.origin,
    )
    if inputs.clouds and scene.clouds is None:
        warn(f"{path}: brings no cloud mask; clouds are mapped as if they were ground")
    return scene


def _warn_of_level(level: str | None, learned: BandLayout | None, where: str) -> None:
    if level == "2A" and learned is not None and learned.name in LEVEL_1C:
        warn(
            f"{where}: is Level-2A (surface reflectance), the model learned Level-1C (top of the "
            "atmosphere); expect worse"
        )


def _compare_units(scene: Scene, recipe: ChannelRecipe, where: str) -> None:
    """Refuse terrain in another unit than a model learned, and warn of other bands that are."""
    other = []
    for band in recipe.bands:
        given = scene.bands[band.name].band.unit if band.name in scene.bands else TERRAIN_UNITS[band.name]
        if same_unit(given, band.unit):
            continue
        if band.name in TERRAIN_UNITS:
            raise LandslideError(
                f"{where}: {band.name} is in {given}, but the model learned it in {band.unit[:40]}; take a model that "
                f"learned {given}, or none of {band.name}"
            )
        other.append(f"{band.name} in {given} ({band.unit[:40]})")
    if other:
        warn(f"{where}: gives {', '.join(other)}, in brackets what the model learned; expect worse")
