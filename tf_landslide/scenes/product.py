"""Sentinel-2 products as they are delivered: a ``.SAFE`` folder of Level-1C or Level-2A.

How digital numbers become reflectance is read from the product's own metadata, band by band, and from nowhere else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tf_landslide.bands.layouts import Band
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.safe_xml import Element, find_all, local_name, read_xml, text_of
from tf_landslide.scenes import sentinel2
from tf_landslide.scenes.clouds import Clouds, RasterClouds, read_polygons
from tf_landslide.scenes.grid import Grid
from tf_landslide.scenes.raster import RasterBand
from tf_landslide.scenes.scene import Origin

METADATA = {"1C": "MTD_MSIL1C.xml", "2A": "MTD_MSIL2A.xml"}
_OFFSETS = {"1C": "RADIO_ADD_OFFSET", "2A": "BOA_ADD_OFFSET"}
_QUANTIFICATION = {
    "1C": ("QUANTIFICATION_VALUE",),
    "2A": ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE"),  # the second before baseline 02.07
}
_RESOLUTION = re.compile(r"_(\d\d)m$")


@dataclass(frozen=True)
class Product:
    """What a product's metadata says.

    Attributes:
        folder: of the product.
        level: ``1C`` or ``2A``.
        baseline: of the processing, ``05.09``; None where it is not stated.
        name: of the product, as its metadata states it.
        date: of the image.
        bands: scale, offset and no-data value by the name of the band.
        saturated: the digital number of saturated pixels.
        images: names of the images, relative to the folder and without a suffix.
    """

    folder: Path
    level: str
    baseline: str | None
    name: str
    date: str | None
    bands: Mapping[str, Band]
    saturated: float
    images: tuple[str, ...]

    @property
    def origin(self) -> Origin:
        return Origin((self.name,), self.level, self.baseline, self.date)

    def open(self, name: str) -> RasterBand:
        """A band, from the finest of its images.

        Raises:
            LandslideError: a product of this level has no such band, or its image is not there.
        """
        code, found = sentinel2.CODES[name], self._images_of(name)
        if not found:
            why = ": Level-2A leaves B10 out" if code == "B10" and self.level == "2A" else ""
            raise LandslideError(f"{self.folder}: has no image of band {name} ({code}){why}")
        path = next((path for path in map(self._file, found) if path is not None), None)
        if path is None:
            raise LandslideError(f"{self.folder}: {found[0]}.jp2 is not there; is the download whole?")
        return RasterBand.open(path, 1, self.bands[name], missing=(self.saturated,))

    def has(self, name: str) -> bool:
        """Whether a band's image is there."""
        return any(self._file(image) for image in self._images_of(name))

    def _images_of(self, name: str) -> list[str]:
        """A band's images, the finest first."""
        ends = re.compile(rf"_{sentinel2.CODES[name]}(_\d\dm)?$")
        return sorted((image for image in self.images if ends.search(image)), key=_resolution)

    def clouds(self, grid: Grid) -> Clouds | None:
        """The product's own cloud mask on a grid, None where it brings none.

        Level-2A: cloud shadow, clouds and thin cirrus of the scene classification. Level-1C: opaque clouds and cirrus,
        from ``MSK_CLASSI_B00.jp2`` (since baseline 04.00), else from the polygons of ``MSK_CLOUDS_B00.gml``.
        """
        if self.level == "2A":
            images = sorted((image for image in self.images if re.search(r"_SCL_\d\dm$", image)), key=_resolution)
            path = next((path for path in map(self._file, images) if path is not None), None)
            classes = sentinel2.CLOUDY_CLASSES
            return None if path is None else RasterClouds.of(RasterBand.open(path, 1, _CLASS), classes, grid)
        if rasters := self._masks("MSK_CLASSI_B00.jp2"):
            opaque, cirrus = (RasterBand.open(rasters[0], index, _CLASS) for index in (1, 2))
            return RasterClouds(((opaque, ()), (cirrus, ())), grid)
        polygons = self._masks("*MSK_CLOUDS*.gml")
        return read_polygons(polygons[0], grid) if polygons else None

    def _masks(self, pattern: str) -> list[Path]:
        return [path for path in sorted(self.folder.glob(f"GRANULE/*/QI_DATA/{pattern}")) if self._is_inside(path)]

    def _file(self, image: str) -> Path | None:
        """The file of an image; metadata may name none outside of the product."""
        paths = (self.folder / f"{image}{suffix}" for suffix in (".jp2", ".tif", ".tiff"))
        return next((path for path in paths if path.is_file() and self._is_inside(path)), None)

    def _is_inside(self, path: Path) -> bool:
        if path.resolve().is_relative_to(self.folder.resolve()):
            return True
        raise LandslideError(f"{path}: lies outside of the product")


_CLASS = Band("class", unit="class")


def is_product(path: Path) -> bool:
    """Whether a path is meant to be a product: a folder, or its metadata file, or a zipped one."""
    return path.is_dir() or path.name in METADATA.values() or path.name.lower().endswith((".safe", ".zip"))


def read_product(path: Path) -> Product:
    """A product by its folder or its metadata file.

    Raises:
        LandslideError: no product, one that is zipped, or one whose parts contradict each other.
    """
    if path.name.lower().endswith(".zip"):
        raise LandslideError(f"{path}: is zipped; unzip it, then name the folder {path.name[:-4]}")
    folder = path.parent if path.name in METADATA.values() else path
    if not folder.is_dir():
        raise LandslideError(f"{path}: no such folder")
    levels = [level for level, name in METADATA.items() if (folder / name).is_file()]
    if not levels:
        old = " (one of the old format of before December 2016)" if list(folder.glob("S2?_OPER_MTD_*.xml")) else ""
        raise LandslideError(
            f"{folder}: is no product of Sentinel-2{old}: holds neither {METADATA['1C']} nor {METADATA['2A']}"
        )
    if len(levels) > 1:
        raise LandslideError(f"{folder}: holds both {METADATA['1C']} and {METADATA['2A']}; which level is it?")
    level = levels[0]
    file = folder / METADATA[level]
    root = read_xml(file)
    product = _product(folder, file, level, root)
    _refuse_contradictions(product, file, root)
    return product


def stated_bands(root: Element, level: str, where: object) -> dict[str, Band]:
    """Scale, offset and no-data value of every band, by its name, as a product's metadata states them.

    Raises:
        LandslideError: metadata of another level, or that leave the question open.
    """
    if local_name(root) != f"Level-{level}_User_Product":
        raise LandslideError(f"{where}: is a {local_name(root)[:60]}, expected a Level-{level}_User_Product")
    quantification = _the_number(where, root, _QUANTIFICATION[level])
    if quantification <= 0:
        raise LandslideError(f"{where}: states a quantification value of {quantification:g}")
    offsets = _offsets(where, root, _OFFSETS[level])
    baseline = text_of(root, "PROCESSING_BASELINE") or ""
    if not offsets and sentinel2.has_offsets(baseline):
        raise LandslideError(
            f"{where}: baseline {baseline} adds an offset to every band, but no {_OFFSETS[level]} is stated"
        )
    nodata = _special_values(where, root).get("NODATA", sentinel2.NODATA)
    return {
        name: Band(name, 1 / quantification, offsets.get(name, 0.0) / quantification, nodata)
        for name in sentinel2.CODES
    }


def _product(folder: Path, file: Path, level: str, root: Element) -> Product:
    start = text_of(root, "PRODUCT_START_TIME") or ""
    return Product(
        folder,
        level,
        text_of(root, "PROCESSING_BASELINE"),
        (text_of(root, "PRODUCT_URI") or folder.name).removesuffix(".SAFE"),
        start[:10] if re.match(r"\d{4}-\d\d-\d\dT", start) else None,
        stated_bands(root, level, file),
        _special_values(file, root).get("SATURATED", sentinel2.SATURATED),
        tuple((image.text or "").strip() for tag in ("IMAGE_FILE", "IMAGE_ID") for image in find_all(root, tag)),
    )


def _refuse_contradictions(product: Product, file: Path, root: Element) -> None:
    """Raise ``LandslideError`` where what a product says of itself does not fit together."""
    baseline = product.baseline or ""
    stated = text_of(root, "PROCESSING_LEVEL")
    if stated and not stated.startswith((f"Level-{product.level}", "Level-2Ap")):
        raise LandslideError(f"{file}: states {stated}, in a file of Level-{product.level}")
    tiles = set(_tiles(_granules(product, root)))
    if len(tiles) > 1:
        raise LandslideError(f"{product.folder}: holds tiles {', '.join(sorted(tiles))}; map each by itself")
    for name in (product.name, product.folder.name):
        parts = sentinel2.parsed_name(name)
        if parts is None:
            continue
        found = {"level": product.level, "baseline": baseline or None, "tile": next(iter(tiles), None)}
        if product.date:
            parts["date"], found["date"] = (
                "-".join((parts["start"][:4], parts["start"][4:6], parts["start"][6:8])),
                product.date,
            )
        for key, value in found.items():
            if value is not None and parts[key] != value:
                raise LandslideError(
                    f"{product.folder}: its name {name} says {key} {parts[key]}, its metadata {key} {value}; "
                    "find out which is true"
                )


def _granules(product: Product, root: Element) -> Iterable[str]:
    """The names of the granules that the metadata and the folder hold."""
    yield from (
        granule.get("granuleIdentifier", "") for tag in ("Granule", "Granules") for granule in find_all(root, tag)
    )
    yield from (path.name for path in product.folder.glob("GRANULE/*") if path.is_dir())


def _tiles(granules: Iterable[str]) -> Iterable[str]:
    return (match[1] for match in (re.search(r"_T(\w{5})_", granule) for granule in granules) if match)


def _special_values(where: object, root: Element) -> dict[str, float]:
    """``NODATA`` and ``SATURATED``: the digital numbers that stand for them."""
    found = {}
    for element in find_all(root, "Special_Values"):
        name = text_of(element, "SPECIAL_VALUE_TEXT")
        if name in ("NODATA", "SATURATED"):
            found[name] = _the_number(where, element, ("SPECIAL_VALUE_INDEX",))
    return found


def _offsets(where: object, root: Element, tag: str) -> dict[str, float]:
    """Offsets in digital numbers, by the name of the band; ``band_id`` counts the bands as the product lists them."""
    codes = list(sentinel2.BANDS)
    for element in find_all(root, "Spectral_Information"):
        number, code = element.get("bandId", ""), re.fullmatch(r"B(\d\d?A?)", element.get("physicalBand", ""))
        if code and number.isdecimal() and int(number) < len(codes) and codes[int(number)] != f"B{code[1]:0>2}":
            raise LandslideError(f"{where}: calls band {number} {code[0]}; in every product it is {codes[int(number)]}")
    found: dict[str, float] = {}
    for element in find_all(root, tag):
        number, value = element.get("band_id", ""), _number(element.text)
        if not number.isdecimal() or int(number) >= len(codes) or value is None:
            raise LandslideError(f"{where}: states an offset of {(element.text or '')[:20]!r} for band {number[:20]!r}")
        name = sentinel2.BANDS[codes[int(number)]]
        if found.setdefault(name, value) != value:
            raise LandslideError(f"{where}: states two offsets of band {name}: {found[name]:g} and {value:g}")
    missing = set(sentinel2.CODES) - set(found) - ({"cirrus"} if tag == _OFFSETS["2A"] else set())
    if found and missing:
        raise LandslideError(f"{where}: states {tag} of some bands only, not of {', '.join(sorted(missing))}")
    return found


def _the_number(where: object, root: Element, names: tuple[str, ...]) -> float:
    """The one number that elements of these names state."""
    texts = {(element.text or "").strip() for name in names for element in find_all(root, name)}
    numbers = {_number(text) for text in texts}
    if len(numbers) != 1 or None in numbers:
        found = ", ".join(sorted(text[:20] for text in texts)) or "nothing"
        raise LandslideError(f"{where}: expected one {names[0]}, found {found}")
    return float(numbers.pop() or 0.0)


def _number(text: str | None) -> float | None:
    try:
        value = float((text or "").strip())
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _resolution(image: str) -> int:
    match = _RESOLUTION.search(image)
    return int(match[1]) if match else 0
