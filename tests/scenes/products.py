"""Tiny Sentinel-2 products, laid out as the delivered ones are and with the metadata that they have."""

import numpy as np
import rasterio
from rasterio import Affine

CODES = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"]
SIZES = {"B01": 60, "B09": 60, "B10": 60} | dict.fromkeys(["B05", "B06", "B07", "B8A", "B11", "B12"], 20)
TILE, WEST, NORTH, SIDE = "T54TWN", 569000.0, 4737000.0, 120  # pixels of 10 m
DAY = "20230601T012649"
HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n'


def write_jp2(path, bands, metres, crs="EPSG:32654", driver="JP2OpenJPEG", **options):
    bands = np.atleast_3d(bands.T).T if bands.ndim == 2 else bands
    lossless = {"QUALITY": "100", "REVERSIBLE": "YES"} if driver == "JP2OpenJPEG" else {}
    profile = {"count": len(bands), "dtype": bands.dtype, "height": bands.shape[1], "width": bands.shape[2]}
    path.parent.mkdir(parents=True, exist_ok=True)
    transform = Affine(metres, 0, WEST, 0, -metres, NORTH)
    with rasterio.open(
        path, "w", driver=driver, crs=crs, transform=transform, **profile, **lossless, **options
    ) as file:
        file.write(bands)
    return path


def numbers(code, seed=0):
    """The digital numbers of a band, with some of no data."""
    side = SIDE * 10 // SIZES.get(code, 10)
    rng = np.random.default_rng([seed, CODES.index(code)])
    found = rng.integers(1100, 4000, (side, side)).astype(np.uint16)
    found[:, : side // 10] = 0  # the swath's edge
    return found


def name_of(level, baseline="05.09", tile=TILE):
    return f"S2B_MSIL{level}_{DAY}_N{baseline.replace('.', '')}_R074_{tile}_20230601T115221"


def metadata(level, granule, images, baseline="05.09", offset=-1000, name=None, quantification="10000", offsets=None):
    """The part of ``MTD_MSIL….xml`` that matters here, in the structure of a real one."""
    tag = {"1C": "RADIO_ADD_OFFSET", "2A": "BOA_ADD_OFFSET"}[level]
    around = {"1C": "Radiometric_Offset_List", "2A": "BOA_ADD_OFFSET_VALUES_LIST"}[level]
    offsets = dict.fromkeys(range(13), offset) if offsets is None else offsets
    listed = "".join(f'<{tag} band_id="{i}">{value}</{tag}>' for i, value in offsets.items())
    listed = f"<{around}>{listed}</{around}>" if offset is not None else ""
    if level == "1C":
        values = f'<QUANTIFICATION_VALUE unit="none">{quantification}</QUANTIFICATION_VALUE>'
    else:
        values = (
            f'<QUANTIFICATION_VALUES_LIST><BOA_QUANTIFICATION_VALUE unit="none">{quantification}'
            '</BOA_QUANTIFICATION_VALUE><AOT_QUANTIFICATION_VALUE unit="none">1000.0</AOT_QUANTIFICATION_VALUE>'
            "</QUANTIFICATION_VALUES_LIST>"
        )
    special = "".join(
        f"<Special_Values><SPECIAL_VALUE_TEXT>{text}</SPECIAL_VALUE_TEXT>"
        f"<SPECIAL_VALUE_INDEX>{value}</SPECIAL_VALUE_INDEX></Special_Values>"
        for text, value in (("NODATA", 0), ("SATURATED", 65535))
    )
    spectral = "".join(
        f'<Spectral_Information bandId="{i}" physicalBand="B{code[1:].lstrip("0")}"/>' for i, code in enumerate(CODES)
    )
    files = "".join(f"<IMAGE_FILE>GRANULE/{granule}/IMG_DATA/{image}</IMAGE_FILE>" for image in images)
    root = f"n1:Level-{level}_User_Product"
    return (
        f'{HEAD}<{root} xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-{level}.xsd">'
        "<n1:General_Info><Product_Info><PRODUCT_START_TIME>2023-06-01T01:26:49.024Z</PRODUCT_START_TIME>"
        f"<PRODUCT_URI>{name or name_of(level, baseline)}.SAFE</PRODUCT_URI>"
        f"<PROCESSING_LEVEL>Level-{level}</PROCESSING_LEVEL><PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>"
        f'<Product_Organisation><Granule_List><Granule granuleIdentifier="S2B_OPER_MSI_L{level}_TL_2BPS_'
        f'20230601T115221_A032566_{TILE}_N{baseline}" imageFormat="JPEG2000">{files}</Granule></Granule_List>'
        "</Product_Organisation>"
        f"</Product_Info><Product_Image_Characteristics>{special}{values}{listed}"
        f"<Spectral_Information_List>{spectral}</Spectral_Information_List></Product_Image_Characteristics>"
        f"</n1:General_Info></{root}>\n"
    )


def make_product(folder, level="1C", codes=("B02", "B03", "B04", "B08", "B11", "B09"), clouds=None, **stated):
    """A product's folder; ``clouds`` are written as its mask. Returns the ``.SAFE`` folder."""
    safe = folder / f"{name_of(level, stated.get('baseline', '05.09'))}.SAFE"
    granule = f"L{level}_{TILE}_A032566_{DAY}"
    images = []
    for code in codes:
        size = SIZES.get(code, 10)
        image = f"{TILE}_{DAY}_{code}" if level == "1C" else f"R{size}m/{TILE}_{DAY}_{code}_{size}m"
        images.append(image)
        write_jp2(safe / "GRANULE" / granule / "IMG_DATA" / f"{image}.jp2", numbers(code), size)
    if level == "2A":
        images.append(f"R20m/{TILE}_{DAY}_SCL_20m")
        if clouds is not None:
            write_jp2(safe / "GRANULE" / granule / "IMG_DATA" / f"{images[-1]}.jp2", clouds, 20)
    elif isinstance(clouds, str):
        mask = safe / "GRANULE" / granule / "QI_DATA" / "MSK_CLOUDS_B00.gml"
        mask.parent.mkdir(parents=True)
        mask.write_text(clouds)
    elif clouds is not None:
        write_jp2(safe / "GRANULE" / granule / "QI_DATA" / "MSK_CLASSI_B00.jp2", clouds, 60)
    (safe / f"MTD_MSIL{level}.xml").write_text(metadata(level, granule, images, **stated))
    return safe


def cloud_polygons(rings, epsg=32654):
    """``MSK_CLOUDS_B00.gml`` of a product before baseline 04.00: kind, outline, holes."""
    features = ""
    for i, (kind, outline, *holes) in enumerate(rings):
        inside = "".join(f"<gml:interior>{_ring(hole)}</gml:interior>" for hole in holes)
        features += (
            f'<eop:MaskFeature gml:id="{kind}.{i}"><eop:maskType codeSpace="urn:gs2:S2PDGS:maskType">{kind}'
            "</eop:maskType>"
            f'<eop:extentOf><gml:Polygon gml:id="{kind}.{i}_Polygon"><gml:exterior>{_ring(outline)}</gml:exterior>'
            f"{inside}</gml:Polygon></eop:extentOf></eop:MaskFeature>"
        )
    return (
        f'{HEAD}<eop:Mask xmlns:eop="http://www.opengis.net/eop/2.0" xmlns:gml="http://www.opengis.net/gml/3.2">'
        f'<gml:boundedBy><gml:Envelope srsName="urn:ogc:def:crs:EPSG:8.7:{epsg}"/></gml:boundedBy>'
        f"<eop:maskMembers>{features}</eop:maskMembers></eop:Mask>"
    )


def _ring(places):
    text = " ".join(f"{x} {y}" for x, y in places)
    return f'<gml:LinearRing><gml:posList srsDimension="2">{text}</gml:posList></gml:LinearRing>'
