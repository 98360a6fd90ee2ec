"""What a map says of its landslides, read back by other programs; real inventories round-trip."""

import json
import shutil
import subprocess

import geopandas
import numpy as np
import pytest

from tests.scenes.conftest import GRID
from tf_landslide.scenes.attributes import describe
from tf_landslide.scenes.vectors import write_vectors

COMMON = {
    "det_method": "m",
    "event_date_from": "2018-09-06",
    "event_date_to": None,
    "source_ids": "S2A",
}


@pytest.fixture(scope="module")
def found(written, probability):
    rows = np.broadcast_to(np.linspace(0, 40, 700, dtype=np.float32)[:, None], GRID.shape)
    layers = {"probability": lambda w: probability[w.rows, w.columns], "slope": lambda w: rows[w.rows, w.columns]}
    return describe(written[1], GRID, layers, minimum_area=2000, common=COMMON)


def test_attributes_are_complete_and_the_largest_come_first(found):
    areas = [row.area_m2 for row in found.attributes]
    assert areas == sorted(areas, reverse=True) and areas[-1] >= 2000 and len(areas) > 10
    assert [row.id for row in found.attributes] == list(range(1, len(areas) + 1))
    for row in found.attributes:
        assert 0.62 <= row.probability_mean <= row.probability_max <= 1 and row.confidence in ("low", "medium", "high")
        assert 0 <= row.slope_mean <= row.slope_max <= 40 and row.ndvi_mean is None and row.elevation_min is None
        assert row.width_m <= row.length_m and row.review_status == "unreviewed" and row.event_date_from == "2018-09-06"
    assert any(row.truncated for row in found.attributes)


def test_files_are_read_by_others_with_their_coordinates(found, tmp_path):
    gpkg, geojson = write_vectors(tmp_path, GRID, found)
    read = geopandas.read_file(gpkg)
    assert read.crs.to_epsg() == 32654 and len(read) == len(found.geometries)
    np.testing.assert_allclose(read.geometry.area, [g.area for g in found.geometries])
    assert read["area_m2"].tolist() == [row.area_m2 for row in found.attributes]
    document = json.loads(geojson.read_text())
    assert "crs" not in document and document["type"] == "FeatureCollection"
    lonlat = geopandas.read_file(geojson)
    west, south, east, north = lonlat.total_bounds
    assert 141 < west < east < 143 and 42 < south < north < 43
    assert all(polygon.exterior.is_ccw for polygon in lonlat.geometry.explode())
    if shutil.which("ogrinfo"):
        told = subprocess.run(["ogrinfo", "-so", str(gpkg), "landslides"], capture_output=True, text=True, check=True)
        assert f"Feature Count: {len(read)}" in told.stdout and "area_m2: Real" in told.stdout


def test_a_map_without_landslides_is_a_file_without_features(found, tmp_path):
    empty = type(found)([], [])
    gpkg, geojson = write_vectors(tmp_path, GRID, empty)
    assert len(geopandas.read_file(gpkg)) == 0 and json.loads(geojson.read_text())["features"] == []


def test_real_inventories_are_measured_as_they_are(real_data):
    from pyproj import Geod

    from tf_landslide.scenes.grid import Grid
    from tf_landslide.scenes.polygons import measured

    inventory = geopandas.read_file(real_data / "inventories" / "colombia.gpkg")
    grid = Grid(GRID.transform, inventory.crs, (1, 1))
    lonlat = inventory.to_crs(4326)
    for own, moved in zip(inventory.geometry[:50], lonlat.geometry[:50], strict=True):
        assert measured(own, grid).area == pytest.approx(
            abs(Geod(ellps="WGS84").geometry_area_perimeter(moved)[0]), rel=1e-6
        )
