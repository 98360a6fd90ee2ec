"""What is known of Sentinel-2: its bands by code, how files are named, and what a product calls cloud."""

from __future__ import annotations

import re
from pathlib import Path

BANDS = {
    "B01": "coastal_aerosol",
    "B02": "blue",
    "B03": "green",
    "B04": "red",
    "B05": "red_edge_1",
    "B06": "red_edge_2",
    "B07": "red_edge_3",
    "B08": "nir",
    "B8A": "narrow_nir",
    "B09": "water_vapour",
    "B10": "cirrus",
    "B11": "swir_1",
    "B12": "swir_2",
}
"""Band names by code, in the order of the product's ``band_id``."""
CODES = {name: code for code, name in BANDS.items()}

NODATA, SATURATED = 0.0, 65535.0
"""Digital numbers that mean nothing, where a product does not say so itself."""

CLOUDY_CLASSES = (3.0, 8.0, 9.0, 10.0)
"""Of Level-2A's scene classification: cloud shadow, cloud of medium and high probability, thin cirrus."""

_CODE = re.compile(r"(?:^|[_.\-])(B0[1-9]|B1[0-2]|B8A)(?=[_.\-]|$)", re.IGNORECASE)
_DESCRIPTION = re.compile(r"B0?([1-9]|1[0-2]|8A)", re.IGNORECASE)
_OTHER_SENSOR = re.compile(r"HLS\.L30|^L[COTEM]0\d_", re.IGNORECASE)  # Landsat's B05 is another band
_PRODUCT = re.compile(
    r"S2[A-D]_MSIL(?P<level>1C|2A)_(?P<start>\d{8}T\d{6})_N(?P<baseline>\d{4})_R\d{3}_T(?P<tile>\w{5})_\d{8}T\d{6}"
)


def band_of_file(path: str | Path) -> str | None:
    """The band that a file's name says it holds, ``red`` of ``T54TWN_20180919T012651_B04_10m.jp2``; None of another."""
    stem = Path(path).name.rpartition(".")[0]
    codes = {code.upper() for code in _CODE.findall(stem)}
    return BANDS[codes.pop()] if len(codes) == 1 and not _OTHER_SENSOR.search(stem) else None


def band_of_description(text: str) -> str:
    """The band that a description names: itself, or what its code stands for (``B4``, ``B04``)."""
    name = text.strip().lower()
    match = _DESCRIPTION.fullmatch(name)
    return BANDS[f"B{match[1].upper():0>2}"] if match else name


def has_offsets(baseline: str) -> bool:
    """Whether products of a processing baseline state offsets: all from 04.00 on do (ESA, January 2022)."""
    return bool(re.fullmatch(r"\d\d\.\d\d", baseline)) and float(baseline) >= 4


def parsed_name(name: str) -> dict[str, str] | None:
    """Level, start, baseline (``05.09``) and tile that a product's name states; None for a name of another form."""
    match = _PRODUCT.search(name)
    if not match:
        return None
    parts = match.groupdict()
    return parts | {"baseline": f"{parts['baseline'][:2]}.{parts['baseline'][2:]}"}
