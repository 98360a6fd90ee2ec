"""``tf-landslide search``: the real pystac-client against a small STAC API on 127.0.0.1."""

import http.server
import json
import threading
from pathlib import Path

import pytest
import yaml

from tests.scenes import products
from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError
from tf_landslide.scenes.inputs import Inputs, open_inputs
from tf_landslide.scenes.manifest import read_manifest

pytest.importorskip("pystac_client", reason="needs pip install 'tf-landslide[search]'")
BBOX, DAYS = "141.9,42.6,142.1,42.8", "2018-08-01/2018-10-31"
E84 = "https://e84-earth-search-sentinel-data.s3.us-west-2.amazonaws.com/sentinel-2-c1-l2a/54/T/WN"
BLOB = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/54/T/WN"
NAMES = {"blue": "B02", "green": "B03", "red": "B04", "nir": "B08", "swir16": "B11", "scl": "SCL"}
WIDE = [141.5, 42.3, 142.8, 43.3]


def item(name, day, clouds=10.0, box=WIDE, collection="sentinel-2-c1-l2a", assets=None, **properties):
    west, south, east, north = box
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": collection,
        "bbox": box,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"datetime": f"{day}T01:26:51.024000Z", "eo:cloud_cover": clouds} | properties,
        "links": [],
        "assets": assets,
    }


def earth_search(name, day, clouds=10.0, offset=-0.1, baseline="05.00", applied=False, **more):
    """As ``sentinel-2-c1-l2a`` of Earth Search gives it: ``raster:bands`` of STAC 1.0."""
    layers = [{"nodata": 0, "data_type": "uint16", "spatial_resolution": 10, "scale": 0.0001, "offset": offset}]
    assets = {key: {"href": f"{E84}/{name}/{code}.tif", "raster:bands": layers} for key, code in NAMES.items()}
    assets["scl"] = {"href": f"{E84}/{name}/SCL.tif", "raster:bands": [{"nodata": 0, "data_type": "uint8"}]}
    assets["thumbnail"] = {"href": f"{E84}/{name}/L2A_PVI.jpg"}
    told = {"s2:processing_baseline": baseline, "earthsearch:boa_offset_applied": applied, "grid:code": "MGRS-54TWN"}
    product = f"S2B_MSIL2A_{day.replace('-', '')}T012651_N{baseline.replace('.', '')}_R074_T54TWN_20230601T115221.SAFE"
    return item(name, day, clouds, assets=assets, **told | {"s2:product_uri": product} | more)


def planetary(name, day, metadata):
    """As Planetary Computer gives it: no scale, no offset, the product's own metadata beside the bands."""
    assets = {code: {"href": f"{BLOB}/{name}/{code}.tif"} for code in NAMES.values()}
    assets["product-metadata"] = {"href": metadata}
    return item(name, day, collection="sentinel-2-l2a", assets=assets, **{"s2:processing_baseline": "05.09"})


def cdse(name, day, level="1C"):
    """As the Copernicus Data Space gives it: STAC 1.1, S3 addresses, several resolutions."""
    place = f"s3://eodata/Sentinel-2/MSI/L{level}/2018/09/19/{name}.SAFE/GRANULE/x/IMG_DATA"
    stated = {"raster:scale": 0.0001, "raster:offset": -0.1, "nodata": 0}
    assets = {f"B0{i}": {"href": f"{place}/B0{i}.jp2", "bands": [{"name": f"B0{i}"}], **stated} for i in (2, 3, 4)}
    assets |= {f"B08_{m}m": {"href": f"{place}/R{m}m/B08_{m}m.jp2", **stated} for m in (20, 10)}
    properties = {"processing:version": "05.00", "processing:level": f"L{level}"}
    return item(name, day, collection=f"sentinel-2-l{level.lower()}", assets=assets, **properties)


def terrain(tile):
    name = f"Copernicus_DSM_COG_10_{tile}_DEM"
    assets = {"data": {"href": f"s3://copernicus-dem-30m/{name}/{name}.tif"}}
    return item(name, "2021-04-22", collection="cop-dem-glo-30", assets=assets)


class Api(http.server.BaseHTTPRequestHandler):
    """As much of a STAC API as a search needs: a landing page, ``POST /search`` by pages of two."""

    items, asked, broken = [], [], None

    def log_message(self, *_):
        pass

    def answer(self, value, status=200):
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/geo+json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self):
        root = f"http://{self.headers['Host']}"
        if self.broken:
            return self.answer(*self.broken)
        spec = "https://api.stacspec.org/v1.0.0"
        return self.answer(
            {
                "type": "Catalog",
                "id": "small",
                "stac_version": "1.0.0",
                "description": "of a test",
                "conformsTo": [f"{spec}/core", f"{spec}/item-search"],
                "links": [
                    {"rel": "self", "href": root, "type": "application/json"},
                    {"rel": "search", "href": f"{root}/search", "method": "POST", "type": "application/geo+json"},
                ],
            }
        )

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body)
        first, last = (part[:10] for part in body.get("datetime", "0000-00-00/9999-00-00").split("/"))
        west, south, east, north = body["bbox"]

        def matches(one):
            w, s, e, n = one["bbox"]
            day = one["properties"]["datetime"][:10]
            inside = w <= east and e >= west and s <= north and n >= south
            return one["collection"] in body["collections"] and first <= day <= last and inside

        chosen, start = [one for one in self.items if matches(one)], body.get("token", 0)
        links = []
        if start + 2 < len(chosen):
            following = body | {"token": start + 2}
            address = f"http://{self.headers['Host']}/search"
            links = [{"rel": "next", "href": address, "method": "POST", "body": following}]
        self.answer({"type": "FeatureCollection", "features": chosen[start : start + 2], "links": links})


@pytest.fixture
def api():
    class Own(Api):
        items, asked = [], []

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Own)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    Own.url = f"http://127.0.0.1:{running.server_port}"
    yield Own
    running.shutdown()
    running.server_close()


def run(api, out, *more):
    return main(["search", BBOX, DAYS, "--out", str(out), "--url", api.url, *more])


def test_the_clearest_scene_that_covers_the_area_becomes_a_manifest(api, tmp_path, capsys):
    half = item("", "2018-09-11", box=[141.5, 42.3, 142.0, 43.3])
    api.items += [
        earth_search("cloudy", "2018-09-10", 80.0),
        earth_search("half", "2018-09-11", 0.1) | {"geometry": half["geometry"]},
        earth_search("clear", "2018-09-19", 2.0),
        earth_search("fair", "2018-09-29", 12.0),
        terrain("N42_00_E142_00"),
        terrain("N42_00_E141_00"),
    ]  # fmt: skip
    assert run(api, tmp_path / "m.yaml", "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["id"].startswith("S2B_MSIL2A_20180919") and told["clouds"] == 2.0 and told["covered"] == 1.0
    values = yaml.safe_load((tmp_path / "m.yaml").read_text())
    assert values["level"] == "2A" and values["baseline"] == "05.00" and values["date"] == "2018-09-19"
    red = next(band for band in values["bands"] if band["name"] == "red")
    assert red == {"name": "red", "file": f"{E84}/clear/B04.tif", "scale": 1e-4, "offset": -0.1, "nodata": 0.0}
    assert {band["name"] for band in values["bands"]} == {"red", "green", "blue", "nir", "swir_1"}
    assert values["clouds"] == {"file": f"{E84}/clear/SCL.tif", "values": [3, 8, 9, 10]}
    dem = "https://copernicus-dem-30m.s3.amazonaws.com/Copernicus_DSM_COG_10_N42_00_E14{0}_00_DEM/Copernicus_DSM_COG_10_N42_00_E14{0}_00_DEM.tif"
    assert values["dem"] == [dem.format(1), dem.format(2)]
    manifest = read_manifest(tmp_path / "m.yaml")  # what map reads
    assert manifest.origin.date == "2018-09-19" and len(manifest.dem) == 2
    assert len(api.asked) >= 3  # by pages
    assert api.asked[-1]["bbox"] == [141.9, 42.6, 142.1, 42.8]


def polygon(*boxes):
    rings = [[[[w, s], [e, s], [e, n], [w, n], [w, s]]] for w, s, e, n in boxes]
    return {"type": "MultiPolygon", "coordinates": rings}


@pytest.mark.parametrize(
    "outline",
    [
        polygon([179.0, 64.0, 180.0, 66.0], [-180.0, 64.0, -179.0, 66.0]),  # as RFC 7946 cuts it
        polygon([179.0, 64.0, 181.0, 66.0]),
        polygon([-181.0, 64.0, -179.0, 66.0]),
        {"type": "Polygon", "coordinates": [[[179, 64], [-179, 64], [-179, 66], [179, 66], [179, 64]]]},
    ],
)
def test_an_area_over_180_degrees_is_searched_on_both_sides(api, tmp_path, capsys, outline):
    """As catalogues draw what reaches over the line; each scene is found once."""
    over = earth_search("over", "2018-09-19", 20.0) | {"geometry": outline, "bbox": [-180, 64, 180, 66]}
    east = item("", "2018-09-19", box=[-180.0, 64.0, -179.9, 66.0])
    beside = earth_search("beside", "2018-09-20", 1.0) | {name: east[name] for name in ("geometry", "bbox")}
    tiles = [
        terrain("N65_00_E179_00") | {"bbox": [179, 65, 180, 66]},
        terrain("N65_00_W180_00") | {"bbox": [-180, 65, -179, 66]},
    ]
    api.items += [over, beside, *tiles, terrain("N42_00_E142_00")]
    words = ["search", "179.5,65.0,-179.5,65.5", DAYS, "--out", str(tmp_path / "m.yaml"), "--url", api.url, "--json"]
    assert main(words) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert "20180919" in told["id"] and told["covered"] == 1.0
    values = yaml.safe_load((tmp_path / "m.yaml").read_text())
    assert len(values["dem"]) == 2 and "E179" in values["dem"][0] and "W180" in values["dem"][1]
    asked = [body["bbox"] for body in api.asked if "token" not in body]
    assert [179.5, 65.0, 180.0, 65.5] in asked and [-180.0, 65.0, -179.5, 65.5] in asked


def tile(name, west, east, clouds=5.0, day="2018-09-19"):
    one = earth_search(name, day, clouds)
    one["properties"]["s2:product_uri"] = one["properties"]["s2:product_uri"].replace("T54TWN", f"T{name}")
    return one | {"geometry": item("", day, box=[west, 42.3, east, 43.3])["geometry"]}


def test_tiles_of_one_day_are_told_and_written_each_by_itself(api, tmp_path, capsys):
    api.items += [
        tile("54TWN", 141.5, 142.02),
        tile("54TXN", 141.98, 142.8),
        tile("54TXP", 142.05, 142.8),  # adds nothing
        tile("54TYN", 141.98, 142.8, day="2018-09-22"),
        terrain("N42_00_E142_00"),
    ]
    assert run(api, tmp_path / "m.yaml") == 0
    told = capsys.readouterr()
    assert "covers 60% of the area; of the same day there are T54TXN: --all writes" in told.err
    assert [path.name for path in tmp_path.iterdir()] == ["m.yaml"] and told.err.count("\n") == 1
    (tmp_path / "m.yaml").unlink()
    assert run(api, tmp_path / "m.yaml", "--all") == 0
    told = capsys.readouterr()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m_T54TWN.yaml", "m_T54TXN.yaml"] and not told.err
    assert yaml.safe_load((tmp_path / "m_T54TXN.yaml").read_text())["id"].endswith("T54TXN_20230601T115221")


def test_two_products_of_one_tile_and_day_are_written_each_to_its_own_file(api, tmp_path, capsys):
    """As where two datastrips meet within a tile; a further processing of one of them adds nothing."""
    west, east, again = tile("54TWN", 141.5, 142.02), tile("54TWN", 142.01, 142.8), tile("54TWN", 142.01, 142.8, 9.0)
    for one, processed in ((west, "111111"), (east, "222222"), (again, "333333")):
        uri = one["properties"]["s2:product_uri"].replace("115221", processed)
        one["id"], one["properties"]["s2:product_uri"] = processed, uri
    api.items += [west, east, again, terrain("N42_00_E142_00")]
    assert run(api, tmp_path / "m.yaml", "--all", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["manifest"] for one in told] == [str(tmp_path / f"m_T54TWN{end}.yaml") for end in ("", "_2")]
    assert [one["id"][-6:] for one in told] == ["111111", "222222"]
    for one in told:
        assert yaml.safe_load(Path(one["manifest"]).read_text())["id"] == one["id"]
    assert len(list(tmp_path.iterdir())) == 2


def test_nothing_is_written_of_an_event_that_has_no_scene_after_it(api, tmp_path, capsys):
    api.items += [earth_search("before", "2018-08-28", 5.0), terrain("N42_00_E142_00")]
    assert run(api, tmp_path / "m.yaml", "--event", "2018-09-06") == 2
    assert "no scene of 2018-09-06/2018-10-31" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_tiles_that_leave_a_gap_are_told_to(api, tmp_path, capsys):
    api.items += [tile("54TWN", 141.5, 141.98), tile("54TXN", 142.06, 142.8), terrain("N42_00_E142_00")]
    assert run(api, tmp_path / "m.yaml", "--all") == 0
    assert "the 2 tiles of 2018-09-19 cover 60% of the area; search the rest by itself" in capsys.readouterr().err


def test_before_and_after_an_event(api, tmp_path, capsys):
    api.items += [
        earth_search("long before", "2018-08-03", 5.0),
        earth_search("before", "2018-08-28", 5.0),
        earth_search("after", "2018-09-09", 5.0),
        earth_search("long after", "2018-10-20", 5.0),
        terrain("N42_00_E142_00"),
    ]
    assert run(api, tmp_path / "m.yaml", "--event", "2018-09-06") == 0
    before, after = (yaml.safe_load((tmp_path / f"m_{when}.yaml").read_text()) for when in ("before", "after"))
    assert before["date"] == "2018-08-28" and "event_from" not in before
    assert after["date"] == "2018-09-09" and (after["event_from"], after["event_to"]) == ("2018-09-06", "2018-09-09")
    assert capsys.readouterr().out.count("\n") == 2


def test_planetary_computer_s_offset_is_the_product_s_own(api, tmp_path, monkeypatch):
    from tf_landslide.core.safe_xml import parse_xml

    text = products.metadata("2A", "g", [], offsets=dict.fromkeys(range(13), -1000) | {3: -1010})
    asked = []

    def metadata(place, _):
        asked.append(place)
        return parse_xml(text, place)

    monkeypatch.setattr("tf_landslide.jobs.search._metadata", metadata)
    api.items.append(planetary("S2B_X", "2018-09-19", f"{BLOB}/S2B_X/MTD_MSIL2A.xml"))
    assert run(api, tmp_path / "m.yaml", "--catalogue", "planetary-computer") == 0
    values = {band["name"]: band for band in yaml.safe_load((tmp_path / "m.yaml").read_text())["bands"]}
    assert values["red"]["offset"] == pytest.approx(-0.101) and values["blue"]["offset"] == pytest.approx(-0.1)
    assert asked == [f"{BLOB}/S2B_X/MTD_MSIL2A.xml"]


def test_level_1c_of_the_copernicus_data_space(api, tmp_path):
    api.items.append(cdse("S2B_MSIL1C_20180919T012651_N0500_R074_T54TWN_20230601T115221", "2018-09-19"))
    assert run(api, tmp_path / "m.yaml", "--catalogue", "cdse", "--level", "1C") == 0
    values = yaml.safe_load((tmp_path / "m.yaml").read_text())
    assert values["level"] == "1C" and "clouds" not in values and "dem" not in values
    nir = next(band for band in values["bands"] if band["name"] == "nir")
    assert nir["file"].endswith("R10m/B08_10m.jp2") and nir["file"].startswith("s3://eodata/")


def applied(one):
    one["properties"]["earthsearch:boa_offset_applied"] = True


def not_stated(one):
    for asset in one["assets"].values():
        asset.pop("raster:bands", None)


def set_offset(one):
    one["assets"]["red"]["raster:bands"][0]["offset"] = 0


def other_baseline(one):
    one["properties"]["s2:processing_baseline"] = "02.08"


def old(one):
    one["properties"] |= {"s2:processing_baseline": "02.08", "s2:product_uri": None}


def elsewhere(one):
    one["assets"]["red"]["href"] = "https://127.0.0.1:1/B04.tif"


def a_file(one):
    one["assets"]["red"]["href"] = "/etc/passwd"


def shapeless(one):
    one["geometry"] = {"type": "Polygon", "coordinates": "x"}


def bandless(one):
    one["assets"] = {"thumbnail": one["assets"]["thumbnail"]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (applied, "an offset of -0.1, and that it is applied already (boa_offset_applied); only one can be true"),
        (set_offset, "an offset of 0, but baseline 05.00 states one"),
        (not_stated, "states no offset and no product metadata, and a date does not tell it"),
        (other_baseline, "states baselines 02.08, 05.00; find out which is true"),
        (old, "an offset of -0.1, but baseline 02.08 states none"),
        (elsewhere, "host 127.0.0.1:1 is not among those"),
        (a_file, "only https:// addresses"),
        (shapeless, "lacks date, clouds, outline or assets"),
        (bandless, "names none of its bands"),
    ],
)
def test_a_catalogue_that_contradicts_itself_is_refused_and_nothing_is_written(api, tmp_path, capsys, change, said):
    one = earth_search("one", "2018-09-19")
    change(one)
    api.items += [one, terrain("N42_00_E142_00")]
    assert run(api, tmp_path / "m.yaml") == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([BBOX, DAYS], "no scene of 2018-08-01/2018-10-31 with at most 30 % clouds: the clearest of 1 has 80 % clouds"),
        ([BBOX, "2019-01-01/2019-02-01"], "the catalogue knows none"),
        (["142,42,141,43", DAYS], "from west to east that is 359 degrees over the line of 180"),
        (["142,42,142,43", DAYS], "expected WEST,SOUTH,EAST,NORTH"),
        (["142,42,190,43", DAYS], "expected WEST,SOUTH,EAST,NORTH"),
        (["nan,42,142,43", DAYS], "expected WEST,SOUTH,EAST,NORTH"),
        ([BBOX, DAYS, "--max-cloud", "nan"], "argument --max-cloud: expected a number"),
        (["142,42", DAYS], "expected WEST,SOUTH,EAST,NORTH"),
        ([BBOX, "2018-10-01/2018-09-01"], "the first day comes after the last"),
        ([BBOX, "September"], "expected a day like 2018-09-06"),
        ([BBOX, DAYS, "--event", "2020-01-01"], "lies outside of"),
        ([BBOX, DAYS, "--level", "1C"], "has no scenes of Level-1C; cdse has"),
        ([BBOX, DAYS, "--catalogue", "earthsearch"], "did you mean 'earth-search'?"),
    ],
)
def test_a_search_that_finds_nothing_or_cannot_be_is_one_line(api, tmp_path, capsys, words, said):
    api.items += [earth_search("cloudy", "2018-09-10", 80.0), terrain("N42_00_E142_00")]
    try:
        status = main(["search", *words, "--out", str(tmp_path / "m.yaml"), "--url", api.url])
    except SystemExit as left:  # of argparse
        status = left.code
    error = capsys.readouterr().err
    assert status == 2 and said in error and error.count("\n") == 1


@pytest.mark.parametrize("broken", [(b"<html>", 200), ({}, 200), ([], 200), ({"type": "Catalog"}, 200), ({}, 500)])
def test_what_is_no_catalogue_is_one_line(api, tmp_path, capsys, broken):
    api.broken = broken
    assert run(api, tmp_path / "m.yaml") == 2
    error = capsys.readouterr().err
    assert "the catalogue cannot be asked" in error and error.count("\n") == 1


def test_a_catalogue_that_is_not_there_is_one_line(tmp_path, capsys):
    assert main(["search", BBOX, DAYS, "--out", str(tmp_path / "m.yaml"), "--url", "http://127.0.0.1:9"]) == 2
    error = capsys.readouterr().err
    assert "cannot be asked" in error and error.count("\n") == 1


def test_a_manifest_of_level_1c_that_is_not_to_be_had_says_so(api, tmp_path, monkeypatch):
    from tests.scenes.test_inputs import RGB

    for name in ("AWS_S3_ENDPOINT", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_S3_ENDPOINT", "127.0.0.1:9")
    api.items.append(cdse("S2B_X", "2018-09-19"))
    assert run(api, tmp_path / "m.yaml", "--catalogue", "cdse", "--level", "1C") == 0
    with pytest.raises(LandslideError, match=r"s3://eodata/.*B0..jp2: cannot be read as a raster"):
        open_inputs(Inputs((str(tmp_path / "m.yaml"),)), RGB)


def test_a_product_s_metadata_come_by_https_from_allowed_hosts_alone(folder, server, tmp_path, monkeypatch):
    from tf_landslide.core.safe_xml import text_of
    from tf_landslide.jobs.search import _metadata

    host, asked = server
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    (folder / "MTD.xml").write_text(products.metadata("2A", "g", []))
    (folder / "bad.xml").write_text('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>')
    root = _metadata(f"https://{host}/MTD.xml", frozenset({host}))
    assert text_of(root, "PROCESSING_BASELINE") == "05.09"
    count = len(asked)
    for place, hosts, said in (
        (f"https://{host}/MTD.xml", frozenset(), "is not among those that are asked"),
        (f"http://{host}/MTD.xml", frozenset({host}), "only https:// addresses"),
        ("file:///etc/passwd", frozenset({host}), "only https:// addresses"),
    ):
        with pytest.raises(LandslideError, match=said):
            _metadata(place, hosts)
    assert len(asked) == count
    for name, said in (("bad.xml", "declares a document type"), ("none.xml", "404"), ("moved", "302")):
        with pytest.raises(LandslideError, match=said):
            _metadata(f"https://{host}/{name}", frozenset({host}))


def test_a_signature_that_runs_out_while_a_map_is_made_is_renewed(folder, server, monkeypatch):
    """Planetary Computer's: its server answers 403 from then on."""
    import sys
    from types import SimpleNamespace

    import numpy as np

    from tests.scenes.test_sampler import SCENE, UTM, write
    from tf_landslide.scenes.grid import Grid, Window
    from tf_landslide.scenes.source import href
    from tf_landslide.scenes.stack import open_band

    host, asked = server
    grid = Grid(SCENE.transform, UTM, (1200, 1200))
    stored = np.random.default_rng(0).integers(1, 4000, grid.shape).astype(np.uint16)
    write(folder / "B04.tif", stored, grid)
    signatures = iter(("first", "second", "third"))
    wallet = SimpleNamespace(sign_url=lambda address: f"{address}?{next(signatures)}")
    monkeypatch.setitem(sys.modules, "planetary_computer", wallet)
    monkeypatch.setattr("tf_landslide.scenes.source._SIGNED", (host,))
    band = open_band(href(f"https://{host}/B04.tif", {host}), 1, "red", scale=1.0)
    top, bottom = Window(0, 0, 10, 10), Window(1100, 0, 50, 1200)
    np.testing.assert_array_equal(band.read(top), stored[:10, :10])
    (folder / "expired").write_text("first second")
    np.testing.assert_array_equal(band.read(bottom), stored[1100:1150])
    assert any(place.endswith("?third") for place in asked)
    (folder / "expired").write_text("first second third")
    with pytest.raises(LandslideError, match=r"B04\.tif: (band 1 )?cannot be read") as refused:
        monkeypatch.setitem(sys.modules, "planetary_computer", SimpleNamespace(sign_url=lambda a: f"{a}?first"))
        band.read(Window(600, 0, 50, 1200))
    assert "?" not in str(refused.value).partition(": ")[0]
