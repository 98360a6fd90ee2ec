"""Landslides across 180 degrees: measured as in an equal-area plane there, drawn and labelled where they lie."""

import geopandas
import numpy as np
import pytest
import rasterio.features
import shapely
from pyproj import CRS, Transformer
from rasterio import Affine
from shapely import MultiPolygon, Polygon, box

from tests.scenes.looks import landslide
from tf_landslide.objects.labelling import in_coordinates_of
from tf_landslide.objects.review.polygons import Polygons
from tf_landslide.scenes.attributes import Found
from tf_landslide.scenes.grid import Grid
from tf_landslide.scenes.inventory import Inventory
from tf_landslide.scenes.polygons import geodesic_area, measured, without_small_holes
from tf_landslide.scenes.vectors import write_geojson, write_vectors

UTM60, POLAR, WGS84 = (CRS.from_epsg(code) for code in (32660, 3413, 4326))
PLANE = CRS.from_proj4("+proj=laea +lat_0=66 +lon_0=180 +ellps=WGS84")  # of equal areas, and true around its middle
DEGREES = Grid(Affine(1e-3, 0, 179.9, 0, -1e-3, 66.1), WGS84, (200, 200))  # goes on beyond 180


def moved(geometry, start, end):
    to = Transformer.from_crs(start, end, always_xy=True)
    return shapely.transform(geometry, lambda x: np.stack(to.transform(x[:, 0], x[:, 1]), axis=1))


def shapes():
    """Around the middle of the plane, in its metres: with a hole in the east, of two parts, and a bar."""
    return {
        "hole": box(-200, -100, 200, 100) - box(50, -50, 150, 50),
        "parts": MultiPolygon([box(-300, 0, -100, 400), box(-100, 400, 100, 600)]),
        "bar": box(-200, -50, 200, 50),
    }


@pytest.mark.parametrize("name", shapes())
@pytest.mark.parametrize("crs", [UTM60, POLAR, WGS84])
def test_what_lies_across_is_measured_as_in_a_plane(name, crs):
    flat = shapes()[name]
    grid = Grid(Affine(10, 0, 0, 0, -10, 0), crs, (1, 1))
    shape = measured(moved(flat, PLANE, crs), grid)
    assert shape.area == pytest.approx(flat.area, rel=1e-3)
    sides = np.diff(shapely.get_coordinates(flat.minimum_rotated_rectangle)[:3], axis=0)
    expected = sorted(np.hypot(*sides.T))
    assert [shape.width, shape.length] == pytest.approx(expected, rel=2e-3)
    assert shape.compactness == pytest.approx(4 * np.pi * flat.area / flat.length**2, rel=5e-3)


def test_small_holes_across_are_known_for_small():
    plane = box(-200, -100, 200, 100) - box(-50, -50, 50, 50)
    ring = moved(plane, PLANE, UTM60)
    grid = Grid(Affine(10, 0, 0, 0, -10, 0), UTM60, (1, 1))
    assert without_small_holes([ring], 9_000, grid)[0].equals(ring)
    assert not without_small_holes([ring], 11_000, grid)[0].interiors


def test_a_ring_around_the_pole_is_a_cap():
    angles = np.radians(np.arange(0, 360))
    cap = Polygon(np.stack([10_000 * np.cos(angles), 10_000 * np.sin(angles)], axis=1))
    stereographic = CRS.from_epsg(3995)
    equal = moved(cap.segmentize(100), stereographic, CRS.from_epsg(6931))
    assert geodesic_area(cap, Transformer.from_crs(stereographic, WGS84, always_xy=True)) == pytest.approx(
        equal.area, rel=1e-3
    )


@pytest.mark.parametrize("cut", [False, True])
def test_polygons_across_are_labelled_and_shown_where_they_lie(tmp_path, cut):
    """Of a file in UTM, and of a GeoJSON that cuts them at the line, on a grid of degrees that goes on beyond it."""
    flat = shapes()["bar"].buffer(2000)
    frame = geopandas.GeoDataFrame(geometry=[moved(flat, PLANE, UTM60)], crs=UTM60)
    path = tmp_path / "landslides.gpkg"
    if cut:
        path = write_geojson(tmp_path / "landslides.geojson", frame)
        frame = geopandas.read_file(path)
        assert frame.geometry[0].geom_type == "MultiPolygon" and np.ptp(frame.total_bounds[[0, 2]]) == 360
    else:
        frame.to_file(path)
    columns, rows = np.meshgrid(np.arange(200), np.arange(200))
    x, y = Transformer.from_crs(WGS84, PLANE, always_xy=True).transform(*DEGREES.centres(rows, columns))
    expected = shapely.contains_xy(flat, x, y)
    (laid,), lost = in_coordinates_of(DEGREES, Inventory(frame, 0, 0, 0))
    found = rasterio.features.rasterize([laid], DEGREES.shape, transform=DEGREES.transform)
    assert not lost and expected.sum() > 1000 and (found != expected).mean() < 1e-3
    shown = Polygons.read(path, DEGREES)
    drawn = [Polygon(np.reshape(ring, (-1, 2))) for ring in shown.outlines[0]]
    assert shapely.union_all(drawn).area == pytest.approx(expected.sum(), rel=0.02)
    assert shown.areas == pytest.approx([flat.area], rel=1e-3)
    alone = Polygons.read(path)  # without a picture the map is around them, not around the Earth
    assert alone.grid.shape[0] * alone.grid.pixel_sizes(np.zeros(1))[0][0] < 10_000


def test_longitudes_in_a_table_are_no_more_than_180(tmp_path):
    polygon = box(180.01, 66, 180.02, 66.01)
    found = Found([polygon], [landslide(1, event_date_to="2018-09-08")])
    for path in write_vectors(tmp_path, DEGREES, found, "coolr"):
        assert geopandas.read_file(path)["longitude"][0] == pytest.approx(-179.985, abs=0.005)
