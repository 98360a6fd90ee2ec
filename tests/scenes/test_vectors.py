"""Files of landslides: RFC 7946 to the letter, the schemas' field names, the antimeridian."""

import json

import geopandas
import numpy as np
import pyogrio
import pytest
import shapely
from pyproj import CRS
from rasterio import Affine
from shapely import box

from tests.scenes.conftest import GRID
from tests.scenes.looks import landslide
from tf_landslide.core.errors import LandslideError
from tf_landslide.scenes.antimeridian import cut_at_antimeridian
from tf_landslide.scenes.attributes import Found
from tf_landslide.scenes.grid import Grid
from tf_landslide.scenes.schemas import COOLR_FIELDS
from tf_landslide.scenes.vectors import write_vectors

EMS_FIELDS = ["event_type", "obj_desc", "det_method", "notation", "dmg_src_id", "area"]


@pytest.fixture
def found():
    polygons = [box(569100 + 500 * i, 4736000, 569300 + 500 * i, 4736200) for i in range(3)]
    polygons[0] = polygons[0] - box(569150, 4736050, 569200, 4736100)
    attributes = [landslide(i + 1, event_date_from="2018-09-06", event_date_to="2018-09-08") for i in range(3)]
    return Found(polygons, attributes)


def test_geojson_is_rfc_7946(found, tmp_path):
    _, path = write_vectors(tmp_path, GRID, found)
    document = json.loads(path.read_text())
    assert "crs" not in document and document["type"] == "FeatureCollection" and len(document["features"]) == 3
    assert document["name"] == "landslides"  # not that of the file it was written to first
    for feature in document["features"]:
        outer, *holes = feature["geometry"]["coordinates"]
        assert shapely.LinearRing(outer).is_ccw and not any(shapely.LinearRing(hole).is_ccw for hole in holes)
        assert outer[0] == outer[-1]
        for number in np.ravel(outer):
            assert round(float(number), 7) == number and len(repr(float(number)).split(".")[1]) <= 7
    assert len(document["features"][0]["geometry"]["coordinates"]) == 2  # the hole
    back = geopandas.read_file(path).to_crs(GRID.crs.to_wkt())
    for before, after in zip(found.geometries, back.geometry, strict=True):
        assert before.hausdorff_distance(after) < 0.02 and after.area == pytest.approx(before.area, rel=1e-4)


@pytest.mark.parametrize(("schema", "fields"), [("ems", EMS_FIELDS), ("coolr", list(COOLR_FIELDS))])
@pytest.mark.parametrize("count", [0, 3])
def test_other_peoples_field_names(found, tmp_path, schema, fields, count):
    few = Found(found.geometries[:count], found.attributes[:count])
    for path in write_vectors(tmp_path, GRID, few, schema):
        read = geopandas.read_file(path)
        assert len(read) == count
        if count or path.suffix == ".gpkg":
            assert [name for name in read.columns if name != "geometry"] == fields
    if count and schema == "ems":
        assert read["area"].tolist() == [4.0] * 3 and set(read["event_type"]) == {"6-Mass movement"}
    if count and schema == "coolr":
        assert read["event_date"].astype(str).str.startswith("2018-09-08").all()
        for polygon, row in zip(read.geometry, read.itertuples(), strict=True):
            assert polygon.contains(shapely.Point(row.longitude, row.latitude))


def test_an_unknown_schema_is_told(found, tmp_path):
    with pytest.raises(LandslideError, match="schema"):
        write_vectors(tmp_path, GRID, found, "emms")
    assert not list(tmp_path.iterdir())


def test_what_is_not_known_of_any_landslide_is_a_number_still(found, tmp_path):
    gpkg, _ = write_vectors(tmp_path, GRID, found)
    assert geopandas.read_file(gpkg)["slope_mean"].dtype == np.float64


@pytest.mark.parametrize("schema", ["plain", "ems", "coolr"])
def test_fields_have_the_same_types_whatever_a_map_holds(found, tmp_path, schema):
    """None, landslides without rules and of unknown days, and with rules."""
    unknown = [landslide(i + 1) for i in range(3)]
    ruled = [landslide(i + 1, rules_confidence=0.7, slope_mean=20.0, event_date_to="2018-09-08") for i in range(3)]
    types = []
    for i, attributes in enumerate(([], unknown, found.attributes, ruled)):
        few = Found(found.geometries[: len(attributes)], attributes)
        (tmp_path / str(i)).mkdir()
        gpkg, _ = write_vectors(tmp_path / str(i), GRID, few, schema, more={"change": [0.5] * len(attributes)})
        told = pyogrio.read_info(gpkg)
        kinds = zip(told["ogr_types"], told["ogr_subtypes"], strict=True)
        types.append(dict(zip(told["fields"].tolist(), kinds, strict=True)))
    assert types[0] == types[1] == types[2] == types[3] and types[0]["change"][0] == "OFTReal"
    if schema == "plain":
        assert types[0]["id"][0] == "OFTInteger64" and types[0]["truncated"] == ("OFTInteger", "OFSTBoolean")
        assert types[0]["rules_confidence"][0] == types[0]["area_m2"][0] == "OFTReal"
        assert types[0]["event_date_from"][0] == types[0]["confidence"][0] == "OFTString"


def test_a_polygon_across_the_antimeridian_is_cut(tmp_path):
    grid = Grid(Affine(10, 0, 0, 0, -10, 0), CRS.from_epsg(32660), (1, 1))  # UTM 60 N, whose eastern border is 180
    middle = geopandas.GeoSeries([shapely.Point(180, 65)], crs=4326).to_crs(32660)[0]
    polygon = middle.buffer(300, cap_style="square")
    gpkg, geojson = write_vectors(tmp_path, grid, Found([polygon], [landslide(1)]))
    (feature,) = json.loads(geojson.read_text())["features"]
    assert feature["geometry"]["type"] == "MultiPolygon" and len(feature["geometry"]["coordinates"]) == 2
    spans = []
    for (outer,) in feature["geometry"]["coordinates"]:
        longitudes = np.array(outer)[:, 0]
        spans.append((longitudes.min(), longitudes.max()))
        assert np.abs(longitudes).max() <= 180 and np.ptp(longitudes) < 1
    assert min(span[0] for span in spans) == -180 and max(span[1] for span in spans) == 180
    area = geopandas.read_file(geojson).to_crs(32660).geometry.make_valid().area.sum()
    assert area == pytest.approx(polygon.area, rel=1e-4)
    assert geopandas.read_file(gpkg).geometry[0].equals(polygon)


@pytest.mark.parametrize("west", [179.5, -180.5])
def test_longitudes_beyond_180_come_back(west):
    cut = cut_at_antimeridian(box(west, 0, west + 1, 1))
    assert cut.area == pytest.approx(1) and cut.bounds == (-180, 0, 180, 1) and cut.is_valid
    whole = box(10, 0, 11, 1)
    assert cut_at_antimeridian(whole).equals(whole)
    assert cut_at_antimeridian(box(359.5, 0, 360.5, 1)).equals(box(-0.5, 0, 0.5, 1))
