"""Landslide inventories: polygon files as people publish them, read with care, checked and mended.

GeoPackages, shapefiles (also within a ZIP archive) and GeoJSON. What a file is, its first bytes say, not its name; no
other driver opens it, since some follow what is written in a file to other files and hosts.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import geopandas
import numpy as np
import pyogrio
import shapely
from shapely.geometry.base import BaseGeometry

from tf_landslide.core.errors import LandslideError, first_line, unknown
from tf_landslide.scenes.grid import require_earth
from tf_landslide.scenes.polygons import areal

MOST_BYTES = 2**31
"""Of a file, and of what an archive unpacks to."""
MOST_POLYGONS = 2_000_000
_DRIVERS = {"GPKG": "GPKG", "shapefile": "ESRI Shapefile", "GeoJSON": "GeoJSON"}


@dataclass(frozen=True)
class Inventory:
    """Polygons of landslides and what was found on reading them.

    Attributes:
        frame: valid polygons and multipolygons in the file's coordinates, with the file's own attributes.
        invalid: polygons that were not valid, and were mended.
        several: those of several parts, as they are in the file.
        dropped: features without any area: points, lines, what has corners at infinity, what mending left nothing of.
    """

    frame: geopandas.GeoDataFrame
    invalid: int
    several: int
    dropped: int

    @property
    def in_words(self) -> str:
        """A sentence."""
        told = [f"{len(self.frame):,} polygons", f"{self.several:,} of several parts"]
        told += [f"{self.invalid:,} were not valid and were mended"] if self.invalid else []
        told += [f"{self.dropped:,} features without area were left out"] if self.dropped else []
        return ", ".join(told)


def read_inventory(path: str | Path, layer: str | None = None) -> Inventory:
    """The polygons of a file.

    Args:
        path: a ``.gpkg``, ``.shp``, ``.geojson`` or ``.json`` file, or a ``.zip`` of shapefiles.
        layer: which of a GeoPackage's layers or an archive's shapefiles; not needed where there is one.

    Raises:
        LandslideError: no such file, none of these formats, damaged, too large, without a reference system of
            the Earth or polygons; or several layers, by name.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise LandslideError(f"{path}: cannot be read ({error.strerror})") from None
    if not path.is_file() or size > MOST_BYTES:
        raise LandslideError(f"{path}: is no regular file of at most {MOST_BYTES:,} bytes")
    kind, source = _recognised(path, layer)
    try:
        layers = [str(name) for name, _ in pyogrio.list_layers(source)]
        chosen = layers[0] if kind != "GPKG" else _one_of(path, layers, layer, "layer")
        info = pyogrio.read_info(source, layer=chosen)
        if info["driver"] != _DRIVERS[kind]:
            raise LandslideError(f"{path}: is read as {info['driver']}, expected {_DRIVERS[kind]}")
        if info["features"] > MOST_POLYGONS:
            raise LandslideError(f"{path}: has {info['features']:,} features, at most {MOST_POLYGONS:,} are read")
        frame = geopandas.read_file(source, layer=chosen, engine="pyogrio")
    except LandslideError:
        raise
    except Exception as error:  # GDAL, GEOS and GeoPandas each have their own for a damaged file, some none
        raise LandslideError(f"{path}: cannot be read as {_DRIVERS[kind]} ({first_line(error)})") from None
    if not isinstance(frame, geopandas.GeoDataFrame):
        raise LandslideError(f"{path}: has no geometry")
    if frame.crs is None:
        raise LandslideError(f"{path}: has no coordinate reference system; add its .prj or set one")
    require_earth(path, frame.crs)
    return _mended(path, frame)


def _recognised(path: Path, layer: str | None) -> tuple[str, str]:
    """What a file is by its first bytes, and how GDAL is told to open it."""
    with path.open("rb") as file:
        head = file.read(100)
    if head.startswith(b"PK\x03\x04"):
        return "shapefile", f"/vsizip/{{{path.absolute()}}}/{_in_archive(path, layer)}"
    if head.startswith(b"SQLite format 3\0") and head[68:72] in (b"GPKG", b"GP10", b"GP11"):
        return "GPKG", str(path)
    if head.startswith(b"\x00\x00\x27\x0a") and path.suffix.lower() == ".shp":
        return "shapefile", str(path)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return "GeoJSON", str(path)
    raise LandslideError(f"{path}: is no GeoPackage, shapefile (.shp, or in a .zip) or GeoJSON")


def _in_archive(path: Path, layer: str | None) -> str:
    """The shapefile of an archive that a layer names."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception as error:  # zipfile raises almost anything
        raise LandslideError(f"{path}: is a damaged ZIP archive ({first_line(error)})") from None
    if sum(member.file_size for member in members) > MOST_BYTES:
        raise LandslideError(f"{path}: unpacks to more than {MOST_BYTES:,} bytes")
    shapes = {PurePosixPath(member.filename).stem: member.filename for member in members if _is_shapefile(member)}
    if not shapes:
        raise LandslideError(f"{path}: holds no shapefile")
    return shapes[_one_of(path, list(shapes), layer, "shapefile")]


def _is_shapefile(member: zipfile.ZipInfo) -> bool:
    name = PurePosixPath(member.filename)
    return name.suffix.lower() == ".shp" and not name.is_absolute() and ".." not in name.parts


def _one_of(path: Path, names: list[str], wanted: str | None, what: str) -> str:
    if wanted is not None and wanted in names:
        return wanted
    if wanted is not None:
        raise LandslideError(f"{path}: {unknown(wanted, names, what)}")
    if len(names) > 1:
        raise LandslideError(f"{path}: holds several, say which {what}: {', '.join(names)}")
    return names[0]


def _is_finite(geometries: np.ndarray) -> np.ndarray:
    """(N,) bool: no corner lies at infinity, or nowhere."""
    corners, of = shapely.get_coordinates(geometries, return_index=True)
    finite = np.ones(len(geometries), bool)
    finite[of[~np.isfinite(corners).all(axis=1)]] = False
    return finite


def _mended(path: Path, frame: geopandas.GeoDataFrame) -> Inventory:
    geometries = frame.geometry.to_numpy()
    flat = shapely.force_2d(geometries)
    types = shapely.get_type_id(flat)
    polygons = ((types == 3) | (types == 6)) & _is_finite(flat)
    invalid = polygons & ~shapely.is_valid(flat)
    mended: list[BaseGeometry | None] = list(flat)
    for i in invalid.nonzero()[0].tolist():
        mended[i] = areal(shapely.make_valid(flat[i]))
    kept = [
        bool(whole) and geometry is not None and not geometry.is_empty and geometry.area > 0
        for whole, geometry in zip(polygons, mended, strict=True)
    ]
    if not any(kept):
        raise LandslideError(f"{path}: holds no polygons")
    result = frame.set_geometry(geopandas.GeoSeries(mended, index=frame.index, crs=frame.crs))[kept]
    several = int((shapely.get_num_geometries(flat)[kept] > 1).sum())
    return Inventory(result.reset_index(drop=True), int(invalid.sum()), several, len(frame) - len(result))
