"""What a STAC item of a catalogue says of a scene of Sentinel-2: where its bands lie and what their numbers mean.

Catalogues differ, and contradict themselves: an offset that is said to be applied already and is stated all the same,
a baseline that adds one where none is stated. Nothing is guessed: what does not fit together is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import shapely
import shapely.affinity
from shapely.geometry import shape

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.safe_xml import Element
from tf_landslide.scenes import sentinel2
from tf_landslide.scenes.antimeridian import whole
from tf_landslide.scenes.product import stated_bands
from tf_landslide.scenes.source import HOSTS, href

Metadata = Callable[[str], Element]
"""Gets a product's own metadata from its address."""


@dataclass(frozen=True)
class Catalogue:
    """A STAC API.

    Attributes:
        url: of it.
        collections: of scenes, by level.
        terrain: collection of Copernicus' terrain model (GLO-30); None where another catalogue is asked for it.
    """

    url: str
    collections: Mapping[str, str]
    terrain: str | None = None


CATALOGUES = {
    "earth-search": Catalogue(
        "https://earth-search.aws.element84.com/v1", {"2A": "sentinel-2-c1-l2a"}, "cop-dem-glo-30"
    ),
    "planetary-computer": Catalogue(
        "https://planetarycomputer.microsoft.com/api/stac/v1", {"2A": "sentinel-2-l2a"}, "cop-dem-glo-30"
    ),
    "cdse": Catalogue("https://stac.dataspace.copernicus.eu/v1", {"1C": "sentinel-2-l1c", "2A": "sentinel-2-l2a"}),
}
_ASSETS = {  # Earth Search's names; the others take the band's code
    "coastal": "B01",
    "blue": "B02",
    "green": "B03",
    "red": "B04",
    "rededge1": "B05",
    "rededge2": "B06",
    "rededge3": "B07",
    "nir": "B08",
    "nir08": "B8A",
    "nir09": "B09",
    "cirrus": "B10",
    "swir16": "B11",
    "swir22": "B12",
    "scl": "SCL",
}
_KEY = re.compile(r"(?P<code>B\d\d|B8A|SCL)(?:_(?P<metres>\d\d)m)?")
_METADATA = ("product_metadata", "product-metadata")
_PUBLIC = {"s3://copernicus-dem-30m/": "https://copernicus-dem-30m.s3.amazonaws.com/"}  # anyone may read it so


@dataclass(frozen=True)
class Found:
    """A scene that a catalogue knows of.

    Attributes:
        item: as the catalogue gives it.
        level: of it.
        id: of the product.
        date: of the image, ``2018-09-19``.
        clouds: its share of clouds, in percent.
        covered: the share of the area that was asked for which it covers.
        part: of the area, which it covers.
    """

    item: Mapping[str, Any]
    level: str
    id: str
    date: str
    clouds: float
    covered: float
    part: shapely.Geometry

    @property
    def tile(self) -> str:
        """Of the grid of Sentinel-2's products, ``T54TWN``; the product's id where nobody names it."""
        properties, named = self.item["properties"], sentinel2.parsed_name(self.id)
        stated = str(properties.get("grid:code") or properties.get("s2:mgrs_tile") or "").removeprefix("MGRS-")
        if named:
            return f"T{named['tile']}"
        return f"T{stated}" if re.fullmatch(r"\d{1,2}[A-Z]{3}", stated) else re.sub(r"\W", "_", self.id)


def found(item: Any, level: str, area: shapely.Polygon) -> Found:
    """A scene by its STAC item, and what it covers of an area, which may go on beyond 180 degrees east.

    Raises:
        LandslideError: an item that lacks what every scene has.
    """
    name = str(item.get("id", ""))[:200] if isinstance(item, Mapping) else ""
    try:
        properties = item["properties"]
        clouds = float(properties["eo:cloud_cover"])
        part = _around_the_earth(shape(item["geometry"])).intersection(area)
        date = re.fullmatch(r"(\d{4}-\d\d-\d\d)T.*", properties["datetime"])
        if not (date and isinstance(item["assets"], Mapping) and math.isfinite(clouds)):
            raise ValueError
    except (KeyError, TypeError, ValueError, AttributeError, shapely.errors.ShapelyError):
        raise LandslideError(f"item {name!r} of the catalogue lacks date, clouds, outline or assets") from None
    product = str(properties.get("s2:product_uri") or name)[:200].removesuffix(".SAFE")
    return Found(item, level, product, date[1], clouds, round(part.area / area.area, 3), part)


def _around_the_earth(outline: shapely.Geometry) -> shapely.Geometry:
    """An outline, and again a turn further east and west; one that jumps from 180 to -180 is drawn over the line."""
    parts = map(whole, shapely.get_parts(outline))
    turns = [shapely.affinity.translate(part, turn) for part in parts for turn in (-360, 0, 360)]
    return shapely.union_all(turns)


def manifest_of(scene: Found, terrain: list[str], metadata: Metadata, hosts: frozenset[str] = HOSTS) -> dict[str, Any]:
    """What a manifest says of a scene, as plain values.

    Args:
        scene: of a catalogue.
        terrain: addresses of its terrain model.
        metadata: gets the product's own, asked where the catalogue states no offset.
        hosts: that addresses may name.

    Raises:
        LandslideError: a catalogue that contradicts itself, or says too little.
    """
    assets = _assets(scene)
    if not set(assets) & set(sentinel2.BANDS):
        raise LandslideError(f"{scene.id}: the catalogue names none of its bands")
    baseline = _baseline(scene)
    stated = {code: _scaling(scene, asset) for code, asset in assets.items() if code in sentinel2.BANDS}
    if any(values is None for values in stated.values()):
        stated = _by_metadata(scene, metadata, list(stated))
    bands = []
    for code, (scale, offset, nodata) in ((code, values) for code, values in stated.items() if values is not None):
        _refuse_contradiction(scene, code, baseline, offset)
        place = _address(assets[code], hosts)
        bands.append({"name": sentinel2.BANDS[code], "file": place, "scale": scale, "offset": offset, "nodata": nodata})
    values: dict[str, Any] = {"id": scene.id, "level": scene.level, "baseline": baseline, "date": scene.date}
    values |= {"bands": bands, "dem": [href(place, hosts).name for place in terrain]}
    if "SCL" in assets:
        values["clouds"] = {
            "file": _address(assets["SCL"], hosts),
            "values": [int(v) for v in sentinel2.CLOUDY_CLASSES],
        }
    return {key: value for key, value in values.items() if value is not None and value != []}


def terrain_address(item: Mapping[str, Any]) -> str:
    """Where a tile of Copernicus' terrain model lies. Raises ``LandslideError`` for an item without one."""
    asset = item.get("assets", {}).get("data") if isinstance(item.get("assets"), Mapping) else None
    place = str(asset.get("href", "")) if isinstance(asset, Mapping) else ""
    if not place:
        raise LandslideError(f"item {str(item.get('id'))[:100]!r} of the terrain model has no raster")
    for bucket, public in _PUBLIC.items():
        if place.startswith(bucket):
            return public + place.removeprefix(bucket)
    return place


def _assets(scene: Found) -> dict[str, Mapping[str, Any]]:
    """The assets of bands and of the classification by code, the finest of each."""
    finest: dict[str, tuple[int, Mapping[str, Any]]] = {}
    for key, asset in scene.item["assets"].items():
        match = _KEY.fullmatch(_ASSETS.get(key, key))
        if match and isinstance(asset, Mapping):
            metres = int(match["metres"] or 0)
            if match["code"] not in finest or metres < finest[match["code"]][0]:
                finest[match["code"]] = (metres, asset)
    return {code: asset for code, (_, asset) in finest.items()}


def _address(asset: Mapping[str, Any], hosts: frozenset[str]) -> str:
    return href(str(asset.get("href", "")), hosts).name


def _baseline(scene: Found) -> str | None:
    """The processing baseline, which item and product name must agree on."""
    properties = scene.item["properties"]
    stated = {str(properties[key]) for key in ("s2:processing_baseline", "processing:version") if properties.get(key)}
    by_name = {parts["baseline"] for parts in (sentinel2.parsed_name(scene.id),) if parts}
    if len(stated | by_name) > 1:
        raise LandslideError(
            f"{scene.id}: the catalogue states baselines {', '.join(sorted(stated | by_name))}; find out which is true"
        )
    return next(iter(stated | by_name), None)


def _scaling(scene: Found, asset: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """Scale, offset and no-data value that an asset states, in STAC 1.0's way or in 1.1's; None where it does not."""
    layers = [layers[0] for key in ("raster:bands", "bands") if isinstance(layers := asset.get(key), list) and layers]
    for values in (asset, *(layer for layer in layers if isinstance(layer, Mapping))):
        scale, offset = (
            values.get("raster:scale", values.get("scale")),
            values.get("raster:offset", values.get("offset")),
        )
        if scale is not None and offset is not None:
            nodata = values.get("nodata", asset.get("nodata"))
            stated = (scale, offset, sentinel2.NODATA if nodata is None else nodata)
            try:
                return float(stated[0]), float(stated[1]), float(stated[2])
            except (TypeError, ValueError, OverflowError):
                raise LandslideError(
                    f"{scene.id}: the catalogue states {stated!r:.80} for scale, offset and no data; expected numbers"
                ) from None
    return None


def _by_metadata(scene: Found, metadata: Metadata, codes: list[str]) -> dict[str, tuple[float, float, float] | None]:
    """Scale, offset and no-data value of bands as the product's own metadata state them."""
    asset = next((scene.item["assets"][key] for key in _METADATA if key in scene.item["assets"]), None)
    place = asset.get("href") if isinstance(asset, Mapping) else None
    if not place:
        raise LandslideError(
            f"{scene.id}: the catalogue states no offset and no product metadata, and a date does not tell it"
        )
    bands = stated_bands(metadata(str(place)), scene.level, str(place).partition("?")[0])
    chosen = {code: bands[sentinel2.BANDS[code]] for code in codes}
    return {code: (band.scale, band.offset, band.nodata or sentinel2.NODATA) for code, band in chosen.items()}


def _refuse_contradiction(scene: Found, code: str, baseline: str | None, offset: float) -> None:
    """Raise ``LandslideError`` where what a catalogue says of an offset does not fit together."""
    applied = scene.item["properties"].get("earthsearch:boa_offset_applied")
    said = f"{scene.id}: the catalogue states for {code} an offset of {offset:g}"
    if applied and offset:
        raise LandslideError(f"{said}, and that it is applied already (boa_offset_applied); only one can be true")
    if baseline and not applied and sentinel2.has_offsets(baseline) != bool(offset):
        rule = "states one" if sentinel2.has_offsets(baseline) else "states none"
        raise LandslideError(f"{said}, but baseline {baseline} {rule}; look into the product's own metadata")
