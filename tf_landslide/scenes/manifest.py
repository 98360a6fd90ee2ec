"""A scene that a file describes: where each band lies and how its stored values become physical ones.

The same file is a layout (for rasters that are at hand) and a manifest (of what a catalogue knows of): YAML or JSON, of
a bounded size. It may come from anybody: its files must lie in its own folder, its hosts must be on the list.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tf_landslide.bands.layouts import REFLECTANCE_SCALE, TERRAIN_UNITS, Band, parse_band
from tf_landslide.core.errors import LandslideError, require_known
from tf_landslide.core.safe_yaml import read_yaml
from tf_landslide.scenes import sentinel2
from tf_landslide.scenes.clouds import Clouds, RasterClouds
from tf_landslide.scenes.footprint import require_cover
from tf_landslide.scenes.grid import Grid
from tf_landslide.scenes.raster import RasterBand
from tf_landslide.scenes.scene import Origin
from tf_landslide.scenes.source import HOSTS, Source, file, href
from tf_landslide.scenes.stack import open_dem

MOST_FILES = 1000
_KEYS = ("id", "level", "baseline", "date", "event_from", "event_to", "bands", "dem", "clouds")
_OF_BAND = ("file", "index", *(field.name for field in fields(Band)))


@dataclass(frozen=True)
class Place:
    """Where a manifest's files may lie.

    Attributes:
        folder: of the manifest; paths start from it.
        hosts: that may be asked.
        outside: files outside of the folder are read too.
    """

    folder: Path
    hosts: Collection[str] = HOSTS
    outside: bool = False

    def source(self, value: object, where: str) -> Source:
        """The raster that a text names. Raises ``LandslideError`` for one that is not to be read."""
        if not isinstance(value, str) or not value.strip():
            raise LandslideError(f"{where}: file: expected a path or an https address")
        parts = urlsplit(value)
        if value.startswith("/vsi"):
            return file(value)  # says why not
        if "://" in value and parts.scheme != "file":
            return href(value, self.hosts)
        path = self.folder / (unquote(parts.path) if parts.scheme == "file" else value)
        try:
            whole = path.resolve()
        except (OSError, ValueError, RuntimeError):  # zeros, halves of characters, links that lead to themselves
            raise LandslideError(f"{where}: file: {value!r:.80} is no path") from None
        if not self.outside and not whole.is_relative_to(self.folder.resolve()):
            raise LandslideError(
                f"{where}: {value} lies outside of {self.folder}; --allow-outside reads it all the same"
            )
        return file(path)


@dataclass(frozen=True)
class Manifest:
    """What a file says of a scene.

    Attributes:
        path: of the file.
        bands: values of each by name, as the file gives them.
        dem: the terrain model's files.
        cloudy: values of the cloud mask, as the file gives them.
        origin: of the scene.
        place: of its files.
    """

    path: Path
    bands: Mapping[str, Mapping[str, Any]]
    dem: tuple[Source, ...]
    cloudy: Mapping[str, Any] | None
    origin: Origin
    place: Place

    def open(self, name: str, default: Source | None = None) -> RasterBand:
        """A band; ``default`` is the raster of a band that names no file."""
        where, values = f"{self.path}: band {name!r}", self.bands[name]
        source = default if "file" not in values and default else self.place.source(values.get("file"), where)
        index = _whole(values.get("index", 1), f"{where}: index")
        own = {key: value for key, value in values.items() if key not in ("file", "index")}
        band = parse_band(own, where)
        if name in TERRAIN_UNITS and band.unit != TERRAIN_UNITS[name]:
            raise LandslideError(
                f"{where}: unit: expected {TERRAIN_UNITS[name]}, found {band.unit[:40]!r}; leave unit out, and say by "
                f"which scale its values become {TERRAIN_UNITS[name]}"
            )
        reflectance = band.unit == "reflectance"
        if reflectance and "nodata" not in values:
            band = replace(band, nodata=sentinel2.NODATA)
        if reflectance and "scale" not in values:
            band = replace(band, scale=REFLECTANCE_SCALE)
        usual = reflectance or name in TERRAIN_UNITS  # of another unit nobody but the manifest knows the scale
        said = {"scale", "offset"} & values.keys() if usual else {"scale", "offset"}
        opened = RasterBand.open(source, index, band, said=said)
        if reflectance and "offset" not in values and not opened.band.offset:
            self._refuse_without_offset(where)
        return opened

    def _refuse_without_offset(self, where: str) -> None:
        """Raise ``LandslideError`` for a band that nobody states an offset of, where its baseline has one."""
        baseline = self.origin.baseline or ""
        if sentinel2.has_offsets(baseline):
            raise LandslideError(
                f"{where}: baseline {baseline} adds an offset to every band, but none is stated; say offset: -0.1, or "
                "offset: 0 where it is taken off already"
            )

    def terrain(self) -> RasterBand | None:
        """The terrain model, where the file names one."""
        return open_dem(self.dem)

    def clouds(self, grid: Grid) -> Clouds | None:
        """The cloud mask on a grid, where the file names one."""
        if self.cloudy is None:
            return None
        where = f"{self.path}: clouds"
        values = self.cloudy.get("values", [])
        if not isinstance(values, list) or not all(isinstance(v, (int, float)) for v in values):
            raise LandslideError(f"{where}: values: expected a list of numbers")
        source = self.place.source(self.cloudy.get("file"), where)
        band = RasterBand.open(
            source, _whole(self.cloudy.get("index", 1), f"{where}: index"), Band("class", unit="class")
        )
        require_cover("the cloud mask", band, grid, str(self.path), "the rest is taken for clear")
        return RasterClouds.of(band, tuple(float(value) for value in values), grid)


def is_manifest(path: Path) -> bool:
    """Whether a path is that of a manifest, by its suffix."""
    return path.suffix.lower() in (".yaml", ".yml", ".json")


def read_manifest(path: Path, hosts: Collection[str] = HOSTS, outside: bool = False) -> Manifest:
    """What a YAML or JSON file says of a scene; nothing it names is opened yet.

    Raises:
        LandslideError: no such file, an unknown key, or a value that makes no sense.
    """
    values = read_yaml(path, "manifest")
    if not isinstance(values, Mapping):
        raise LandslideError(f"{path}: expected keys and values: {', '.join(_KEYS)}")
    for key in values:
        require_known(key, _KEYS, f"key in {path}:")
    place = Place(path.parent, hosts, outside)
    dem = values.get("dem") or []
    dem = dem if isinstance(dem, list) else [dem]
    if len(dem) > MOST_FILES:
        raise LandslideError(f"{path}: dem: names {len(dem):,} files")
    cloudy = values.get("clouds")
    if cloudy is not None:
        _check_mapping(cloudy, ("file", "index", "values"), f"{path}: clouds")
    return Manifest(
        path,
        _bands(values.get("bands"), path),
        tuple(place.source(name, f"{path}: dem") for name in dem),
        cloudy,
        _origin(values, path),
        place,
    )


def _bands(values: Any, path: Path) -> dict[str, Mapping[str, Any]]:
    if not isinstance(values, list) or not values or len(values) > MOST_FILES:
        raise LandslideError(f"{path}: bands: expected a list of bands, each with name and file or index")
    found: dict[str, Mapping[str, Any]] = {}
    for i, band in enumerate(values):
        where = f"{path}: band {i}"
        _check_mapping(band, _OF_BAND, where)
        name = parse_band({"name": band.get("name")}, where).name
        if name in found:
            raise LandslideError(f"{path}: band {name!r} is listed twice")
        if "file" not in band and "index" not in band:
            raise LandslideError(f"{where}: expected its file, or its index in the scene")
        found[name] = band
    return found


def _origin(values: Mapping[str, Any], path: Path) -> Origin:
    level = values.get("level")
    text = None if level is None else str(level).upper().removeprefix("LEVEL-").removeprefix("L")
    if text not in (None, "1C", "2A"):
        raise LandslideError(f"{path}: level: expected 1C or 2A, found {str(level)[:20]!r}")
    baseline = values.get("baseline")
    if baseline is not None and not re.fullmatch(r"\d\d\.\d\d", str(baseline)):
        raise LandslideError(f"{path}: baseline: expected it in quotes, like '05.09', found {str(baseline)[:20]!r}")
    name = values.get("id")
    if name is not None and not (isinstance(name, str) and name.strip() and name.isprintable() and len(name) <= 200):
        raise LandslideError(f"{path}: id: expected the name of a product, at most 200 printable characters")
    day, first, last = (_day(values.get(key), f"{path}: {key}") for key in ("date", "event_from", "event_to"))
    if first and last and first > last:
        raise LandslideError(f"{path}: event_from: {first} comes after event_to, {last}")
    return Origin((name,) if name else (), text, None if baseline is None else str(baseline), day, first, last)


def _day(value: Any, where: str) -> str | None:
    if value is None:
        return None
    try:
        return (value if isinstance(value, date) else date.fromisoformat(str(value)[:10])).isoformat()[:10]
    except ValueError:
        raise LandslideError(f"{where}: expected a day like 2018-09-06, found {str(value)[:20]!r}") from None


def _check_mapping(values: Any, keys: Sequence[str], where: str) -> None:
    if not isinstance(values, Mapping):
        raise LandslideError(f"{where}: expected keys and values: {', '.join(keys)}")
    for key in values:
        require_known(key, keys, f"key in {where}:")


def _whole(value: Any, where: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535:
        return value
    raise LandslideError(f"{where}: expected a whole number from 1, found {str(value)[:20]!r}")
