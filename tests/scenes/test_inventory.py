"""Inventories as their authors published them load and round-trip; broken and hostile files are a sentence."""

import json
import shutil
import sqlite3
import subprocess
import zipfile

import geopandas
import numpy as np
import pytest
import shapely
from shapely import MultiPolygon, Point, Polygon, box

from tf_landslide.core.errors import LandslideError
from tf_landslide.scenes.inventory import read_inventory
from tf_landslide.scenes.vectors import write_geojson, write_geopackage

BOW = Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])


def frame_of(*geometries, crs=32648):
    return geopandas.GeoDataFrame(
        {"name": [str(i) for i in range(len(geometries))]}, geometry=list(geometries), crs=crs
    )


def test_a_real_inventory_of_10335_polygons(real_data):
    path = real_data / "inventories" / "wenchuan.zip"
    found = read_inventory(path, "2009")
    raw = geopandas.read_file(f"/vsizip/{path}/China/2009.shp")
    assert len(raw) == len(found.frame) == 10_335 and found.invalid == (~raw.geometry.is_valid).sum() == 22
    assert found.several == (raw.geom_type == "MultiPolygon").sum() == 115 and found.dropped == 0
    assert found.frame.geometry.is_valid.all() and found.frame.crs == raw.crs
    whole = raw.geometry.is_valid.to_numpy()
    assert all(
        a.equals(b) for a, b in zip(found.frame.geometry[whole], shapely.force_2d(raw.geometry[whole]), strict=True)
    )
    mended = shapely.area(shapely.make_valid(raw.geometry[~whole].to_numpy()))
    np.testing.assert_allclose(found.frame.geometry[~whole].area, mended, rtol=1e-9)


@pytest.mark.slow
def test_a_real_inventory_round_trips(real_data, tmp_path):
    before = read_inventory(real_data / "inventories" / "wenchuan.zip", "2009").frame
    gpkg = read_inventory(write_geopackage(tmp_path / "a.gpkg", before)).frame
    assert len(gpkg) == 10_335 and gpkg.crs == before.crs and list(gpkg.columns) == list(before.columns)
    assert shapely.equals_exact(gpkg.geometry.array, _multi(before), 0).all()
    geojson = read_inventory(write_geojson(tmp_path / "a.geojson", before))
    assert len(geojson.frame) == 10_335
    back = geojson.frame.to_crs(before.crs)
    np.testing.assert_allclose(
        back.geometry.area, before.geometry.area, rtol=2e-3, atol=1.0
    )  # 7 decimals: a centimetre
    ogr = shutil.which("ogrinfo")
    if ogr:
        told = subprocess.run(
            [ogr, "-so", tmp_path / "a.gpkg", "landslides"], capture_output=True, text=True, check=True
        )
        assert "Feature Count: 10335" in told.stdout and "UTM zone 48N" in told.stdout


def _multi(frame):
    return np.array([MultiPolygon([g]) if isinstance(g, Polygon) else g for g in frame.geometry], dtype=object)


def test_another_real_inventory(real_data):
    found = read_inventory(real_data / "inventories" / "colombia.gpkg")
    assert (
        found.several == (geopandas.read_file(real_data / "inventories" / "colombia.gpkg").count_geometries() > 1).sum()
    )
    assert len(found.frame) == 838 and found.frame.crs.to_epsg() == 4326 and found.frame.geometry.is_valid.all()


@pytest.mark.parametrize("crs", ["+proj=eqc +R=3396190 +units=m", 'LOCAL_CS["room",UNIT["metre",1]]'])
def test_polygons_of_another_planet_or_a_room_are_one_line(tmp_path, crs):
    frame_of(box(20, 0, 30, 10), crs=crs).to_file(tmp_path / "a.gpkg")
    with pytest.raises(LandslideError, match=r"a\.gpkg: lies in .*, which is no system of the Earth"):
        read_inventory(tmp_path / "a.gpkg")


def test_what_is_not_valid_is_mended_and_what_has_no_area_left_out(tmp_path):
    line = Polygon([(0, 0), (1, 1), (0, 0)])
    frame_of(
        BOW, box(20, 0, 30, 10), Point(1, 1).buffer(0), line, MultiPolygon([box(0, 0, 1, 1), box(5, 5, 6, 6)])
    ).to_file(tmp_path / "a.gpkg")
    found = read_inventory(tmp_path / "a.gpkg")
    assert found.frame["name"].tolist() == ["0", "1", "4"] and found.dropped == 2 and found.several == 1
    assert found.invalid == 2 and found.frame.geometry[0].area == pytest.approx(50) and found.frame.is_valid.all()
    assert found.in_words == (
        "3 polygons, 1 of several parts, 2 were not valid and were mended, 2 features without area were left out"
    )


def test_corners_at_infinity_are_left_out(tmp_path):
    frame_of(box(0, 0, 1, 1), Polygon([(0, 0), (np.inf, 0), (1, 1)])).to_file(tmp_path / "a.gpkg")
    found = read_inventory(tmp_path / "a.gpkg")
    assert len(found.frame) == 1 and found.dropped == 1 and found.invalid == 0


def test_heights_are_left_out(tmp_path):
    frame_of(Polygon([(0, 0, 5), (1, 0, 5), (1, 1, 5)])).to_file(tmp_path / "a.gpkg")
    assert not read_inventory(tmp_path / "a.gpkg").frame.has_z.any()


def test_one_layer_of_several_is_asked_for(tmp_path):
    for name in ("before", "after"):
        frame_of(box(0, 0, 1, 1), box(3, 3, 4, 4)).to_file(tmp_path / "a.gpkg", layer=name)
    with pytest.raises(LandslideError, match="say which layer: before, after"):
        read_inventory(tmp_path / "a.gpkg")
    assert len(read_inventory(tmp_path / "a.gpkg", "after").frame) == 2
    with pytest.raises(LandslideError, match="unknown layer 'aftr'"):
        read_inventory(tmp_path / "a.gpkg", "aftr")


def zipped(tmp_path, *names):
    frame_of(box(0, 0, 1, 1)).to_file(tmp_path / "s.shp")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            for suffix in (".shp", ".shx", ".dbf", ".prj"):
                archive.write(tmp_path / f"s{suffix}", name + suffix)
    return tmp_path / "a.zip"


@pytest.mark.parametrize("name", ["a", "folder/with space/ä"])
def test_a_shapefile_in_an_archive(tmp_path, name):
    assert len(read_inventory(zipped(tmp_path, name)).frame) == 1


def vrt(path):
    source = "<SrcDataSource>/etc/passwd</SrcDataSource>"
    path.write_text(f"<OGRVRTDataSource><OGRVRTLayer name='l'>{source}</OGRVRTLayer></OGRVRTDataSource>")


def spatialite(path):
    with sqlite3.connect(path) as base:
        base.execute("create table t (a)")


HOSTILE = {
    "a driver that follows files": ("a.geojson", vrt, "is no GeoPackage"),
    "a database that is no GeoPackage": ("a.gpkg", spatialite, "is no GeoPackage"),
    "an empty file": ("a.shp", lambda path: path.touch(), "is no GeoPackage"),
    "a cut file": (
        "a.gpkg",
        lambda path: path.write_bytes(b"SQLite format 3\0" + b"\0" * 52 + b"GPKG" + b"x" * 40),
        "cannot be read",
    ),
    "a damaged archive": ("a.zip", lambda path: path.write_bytes(b"PK\x03\x04" + b"x" * 50), "damaged ZIP"),
    "JSON of another kind": ("a.json", lambda path: path.write_text('{"a": 1}'), "cannot be read"),
    "nothing inside": (
        "a.geojson",
        lambda path: path.write_text('{"type": "FeatureCollection", "features": []}'),
        "no ",
    ),
    "points": (
        "a.geojson",
        lambda path: path.write_text(json.dumps({"type": "Point", "coordinates": [1, 2]})),
        "holds no polygons",
    ),
    "a folder": ("a.gpkg", lambda path: path.mkdir(), "no regular file"),
    "nothing": ("a.gpkg", lambda _: None, "cannot be read"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_cannot_be_read_is_a_sentence(tmp_path, case):
    name, make, said = HOSTILE[case]
    make(tmp_path / name)
    with pytest.raises(LandslideError) as error:
        read_inventory(tmp_path / name)
    assert said in str(error.value) and name in str(error.value) and "\n" not in str(error.value)


def test_archives_are_not_unpacked_beyond_a_bound_nor_outside(tmp_path, monkeypatch):
    path = zipped(tmp_path, "../out")
    with pytest.raises(LandslideError, match="holds no shapefile"):
        read_inventory(path)
    path = zipped(tmp_path, "a")
    monkeypatch.setattr("tf_landslide.scenes.inventory.MOST_BYTES", path.stat().st_size)
    with pytest.raises(LandslideError, match="unpacks to more"):
        read_inventory(path)


def test_without_a_reference_system_it_is_refused(tmp_path):
    frame_of(box(0, 0, 1, 1)).to_file(tmp_path / "s.shp")
    (tmp_path / "s.prj").unlink()
    with pytest.raises(LandslideError, match=r"add its \.prj"):
        read_inventory(tmp_path / "s.shp")


def shapefile(path, **changed):
    """A shapefile in an archive, with some of its files changed."""
    frame_of(box(0, 0, 10, 10)).to_file(path.with_suffix(".shp"), engine="pyogrio")
    with zipfile.ZipFile(path, "w") as archive:
        for suffix in ("shp", "shx", "dbf", "prj"):
            content = path.with_suffix(f".{suffix}").read_bytes()
            archive.writestr(f"a.{suffix}", changed.get(suffix, lambda c: c)(content))
    return path


def test_shapefiles_that_libraries_do_not_expect_are_one_line(tmp_path):
    """Each raises something else within GDAL, GEOS, GeoPandas or zipfile."""
    unknown = shapefile(tmp_path / "unknown.zip")
    content = bytearray(unknown.read_bytes())
    at = content.find(b"PK\1\2")
    content[at + 6 : at + 8] = (250).to_bytes(2, "little")  # the version of ZIP that is needed
    unknown.write_bytes(content)
    system = shapefile(tmp_path / "system.zip", prj=lambda content: content[:20] + b"\xf2\x01" + content[20:])
    open_ring = shapefile(tmp_path / "ring.zip", shp=lambda content: content[:-8] + b"\0" * 7 + b"\x40")
    for path in (unknown, system, open_ring):
        try:
            assert len(read_inventory(path).frame) == 1
        except LandslideError as error:
            assert str(path) in str(error) and str(error).isprintable()
    with pytest.raises(LandslideError, match="is a damaged ZIP archive"):
        read_inventory(unknown)
