"""Landslides as files: GeoPackage in the scene's coordinates, GeoJSON in longitude and latitude (RFC 7946)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import geopandas
import numpy as np
import shapely
from shapely import Point

from tf_landslide.core.files import replacing
from tf_landslide.scenes.antimeridian import cut_at_antimeridian
from tf_landslide.scenes.attributes import Found
from tf_landslide.scenes.grid import Grid
from tf_landslide.scenes.schemas import as_columns

VECTORS = ("landslides.gpkg", "landslides.geojson")


def write_vectors(
    folder: Path,
    grid: Grid,
    found: Found,
    schema: str = "plain",
    *,
    names: tuple[str, str] = VECTORS,
    more: Mapping[str, Sequence[float]] | None = None,
) -> tuple[Path, Path]:
    """Write a GeoPackage and a GeoJSON; a map without landslides gives files without features.

    Args:
        folder: to write to.
        grid: of the scene.
        found: the landslides.
        schema: whose field names, one of ``schemas.SCHEMAS``.
        names: of the files.
        more: numbers of each landslide, by name of the field; NaN where one is not known.
    """
    geometry = geopandas.GeoSeries(found.geometries, crs=grid.crs.to_wkt())
    places = geometry.representative_point().to_crs(4326)
    places = [Point(x - 360 * round(x / 360), y) for x, y in zip(places.x, places.y, strict=True)]
    columns = as_columns(found.attributes, places, schema) | {
        name: np.array(values, float) for name, values in (more or {}).items()
    }
    frame = geopandas.GeoDataFrame(columns, geometry=geometry)
    paths = folder / names[0], folder / names[1]
    return write_geopackage(paths[0], frame, paths[0].stem), write_geojson(paths[1], frame)


def write_geopackage(path: Path, frame: geopandas.GeoDataFrame, layer: str = "landslides") -> Path:
    """Write polygons as one layer of a GeoPackage, in their own coordinates."""
    several = (frame.geom_type == "MultiPolygon").any()
    with replacing(path) as partial:
        frame.to_file(
            partial,
            driver="GPKG",
            layer=layer,
            engine="pyogrio",
            geometry_type="MultiPolygon" if several else "Polygon",
            promote_to_multi=bool(several),
        )
    return path


def write_geojson(path: Path, frame: geopandas.GeoDataFrame) -> Path:
    """Write polygons as GeoJSON by RFC 7946.

    WGS 84 and no ``crs`` member, seven decimals, outer rings counter-clockwise, polygons cut at the antimeridian.
    """
    lonlat = frame.to_crs(4326)
    shapes = lonlat.geometry.to_numpy(copy=True)
    west, _, east, _ = shapely.bounds(shapes).reshape(-1, 4).T
    for i in np.flatnonzero((east - west > 180) | (west < -180) | (east > 180)).tolist():
        shapes[i] = cut_at_antimeridian(shapes[i])
    lonlat.geometry = shapely.orient_polygons(shapes)
    with replacing(path) as partial:
        options = {"RFC7946": "YES", "COORDINATE_PRECISION": 7}
        lonlat.to_file(partial, driver="GeoJSON", layer=path.stem, engine="pyogrio", **options)
    return path
