"""Where a scene's own mask says that clouds hide the ground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import shapely
from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio.features import rasterize

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.safe_xml import Element, find_all, read_xml, text_of
from tf_landslide.scenes.grid import Grid, Window
from tf_landslide.scenes.raster import RasterBand
from tf_landslide.scenes.sampler import Sampler, sampler

MASK_BYTES = 2**25  # of an older Level-1C product's polygons; real ones have some megabytes


class Clouds(Protocol):
    """A cloud mask on the scene's grid."""

    def __call__(self, window: Window) -> np.ndarray:
        """(H, W) bool of a window of the scene, which may reach beyond it: hidden by clouds."""

    def fingerprint(self) -> object:
        """All that it depends on."""


@dataclass(frozen=True)
class RasterClouds:
    """Pixels that are cloudy where one of some rasters has one of its values, at the pixel that a centre lies in.

    Attributes:
        bands: and the stored values of each that mean cloud; none means any but 0.
        grid: of the scene.
    """

    bands: tuple[tuple[RasterBand, tuple[float, ...]], ...]
    grid: Grid
    _samplers: dict[Grid, Sampler] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, band: RasterBand, values: tuple[float, ...], grid: Grid) -> RasterClouds:
        """Of one raster; a value that means cloud does so too where the file calls it no data."""
        return cls(((replace(band, missing=tuple(v for v in band.missing if v not in values)), values),), grid)

    def __call__(self, window: Window) -> np.ndarray:
        hidden = np.zeros(window.shape, bool)
        for band, values in self.bands:
            if band.grid not in self._samplers:
                self._samplers[band.grid] = sampler(band.grid, self.grid)
            found = self._samplers[band.grid].nearest(window, band.read)
            for value in values:
                hidden |= found == value
            if not values:
                hidden |= np.nan_to_num(found) != 0
        return hidden

    def fingerprint(self) -> object:
        return [[band.fingerprint(), list(values)] for band, values in self.bands]


@dataclass(frozen=True)
class PolygonClouds:
    """Pixels whose centre lies in a polygon.

    Attributes:
        polygons: in the scene's coordinates.
        grid: of the scene.
        source: the file they are of.
    """

    polygons: tuple[shapely.Polygon, ...]
    grid: Grid
    source: Path
    _tree: list[shapely.STRtree] = field(default_factory=list, repr=False, compare=False)

    def __call__(self, window: Window) -> np.ndarray:
        if not self._tree:
            self._tree.append(shapely.STRtree(self.polygons))
        here = self.grid.of_window(window)
        touching = self._tree[0].query(shapely.box(*here.bounds))
        if not len(touching):
            return np.zeros(window.shape, bool)
        shapes = [self.polygons[i] for i in sorted(touching)]
        return rasterize(shapes, window.shape, transform=here.transform, dtype="uint8").astype(bool)

    def fingerprint(self) -> object:
        status = self.source.stat()
        return [str(self.source.absolute()), status.st_size, status.st_mtime_ns]


def read_polygons(path: Path, grid: Grid) -> PolygonClouds:
    """The clouds of a Level-1C product before baseline 04.00 (``MSK_CLOUDS_B00.gml``), opaque ones and cirrus.

    Raises:
        LandslideError: no such file, or polygons that are none or lie in another reference system.
    """
    root = read_xml(path, MASK_BYTES)
    for element in root.iter():
        name = element.get("srsName")
        if name and _system(name, path) != grid.crs:
            raise LandslideError(f"{path}: its polygons lie in {name[:80]}, the bands in {grid.crs.name}")
    polygons = []
    for feature in find_all(root, "MaskFeature"):
        if text_of(feature, "maskType") in ("OPAQUE", "CIRRUS"):
            polygons += [_polygon(polygon, path) for polygon in find_all(feature, "Polygon")]
    return PolygonClouds(tuple(polygons), grid, path)


def _system(name: str, path: Path) -> CRS:
    """The reference system of ``urn:ogc:def:crs:EPSG:8.7:32654``."""
    try:
        return CRS.from_user_input(f"EPSG:{name.rpartition(':')[2]}")
    except CRSError:
        raise LandslideError(f"{path}: names a reference system that is none, {name[:80]!r}") from None


def _polygon(element: Element, path: Path) -> shapely.Polygon:
    rings = [_ring(ring, path) for side in ("exterior", "interior") for ring in find_all(element, side)]
    if not rings:
        raise LandslideError(f"{path}: holds a polygon without an outline")
    return shapely.Polygon(rings[0], rings[1:])


def _ring(element: Element, path: Path) -> Sequence[Sequence[float]]:
    places = next(iter(find_all(element, "posList")), None)
    try:
        numbers = np.array((places.text or "").split() if places is not None else [], np.float64)
        ring = numbers.reshape(-1, int(places.get("srsDimension", 2)) if places is not None else 2)[:, :2]
        if len(ring) >= 4 and ring.shape[1] == 2 and np.isfinite(ring).all():
            return ring.tolist()
    except ValueError:
        pass
    raise LandslideError(f"{path}: holds an outline that is none")
