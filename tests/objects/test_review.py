"""Reviews without a browser: pictures, decisions and their journal, exports, agreement, and the server's doors."""

import io
import json
import os
import signal
import subprocess
import sys
import time

import geopandas
import httpx
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from PIL import Image
from rasterio import Affine
from shapely.geometry import shape
from sklearn.metrics import cohen_kappa_score
from starlette.testclient import TestClient

from tests.conftest import ROOT
from tests.objects.reviews import EVIL, GRID, candidates, open_review, polygon, reader, ring, scene, write_review
from tests.scenes.products import make_product
from tests.scenes.test_sampler import write
from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError, LandslideWarning
from tf_landslide.jobs.review import make_pictures, open_polygons
from tf_landslide.objects.labelling import checked_polygons
from tf_landslide.objects.review.agreement import agreement, cohens_kappa, iou
from tf_landslide.objects.review.export import export
from tf_landslide.objects.review.journal import Decision, Decisions, Journal, check_name, read_journal
from tf_landslide.objects.review.pictures import TILE, Picture, write_pictures
from tf_landslide.objects.review.polygons import Polygons
from tf_landslide.objects.review.session import compare, reviewers, session
from tf_landslide.page.review.app import MOST_BYTES, application
from tf_landslide.scenes.grid import Grid
from tf_landslide.scenes.inputs import Inputs

CORNERS = [[190, 55], [215, 55], [215, 70], [190, 70]]


@pytest.fixture
def folder(tmp_path):
    return write_review(tmp_path / "review", pictures=False)


@pytest.fixture
def review(folder):
    with session(folder, *open_review(folder), "ada") as opened:
        yield opened


def tell(review, **wanted):
    return review.decide({"sequence": review.journal.decisions.sequence, **wanted})["decision"]


# Pictures


def test_pictures_are_stretched_scenes_with_what_is_missing(tmp_path):
    before, after = scene(0), scene(1)
    paths = write_pictures(tmp_path, reader(before), reader(after), GRID)
    for path, channels in zip(paths, (before, after), strict=True):
        with rasterio.open(path) as raster:
            assert raster.transform == GRID.transform and raster.crs.to_epsg() == GRID.crs.to_epsg()
            np.testing.assert_array_equal(raster.dataset_mask() > 0, np.isfinite(channels[..., 0]))
            grey = raster.read((1, 2, 3)).mean(axis=0)[:, :370]
        low, high = np.nanpercentile(channels.reshape(-1, 3), (1, 99.7), axis=0)
        wanted = (np.clip((channels - low) / (high - low), 0, 1) ** 0.75 * 255)[:, :370].mean(axis=-1)
        assert np.corrcoef(grey.ravel(), wanted.ravel())[0, 1] > 0.97 and abs(grey.mean() - wanted.mean()) < 2


def test_a_few_clouds_do_not_leave_the_ground_in_the_dark(tmp_path):
    ground, cloudy = scene(0), scene(0)
    cloudy[:20, :150] = 0.9  # 2.6 % of the pixels
    pictures = []
    for name, channels in (("clear", ground), ("cloudy", cloudy)):
        (tmp_path / name).mkdir()
        with rasterio.open(write_pictures(tmp_path / name, reader(channels), None, GRID)[0]) as raster:
            pictures.append(raster.read(1)[40:, :370].astype(float))
    assert pictures[1].mean() > 0.5 * pictures[0].mean() and pictures[1].std() > 0.4 * pictures[0].std()


def test_a_scene_is_read_a_million_pixels_at_a_time_and_written_whole_or_not_at_all(tmp_path):
    grid, asked = Grid(GRID.transform, GRID.crs, (5000, 2500)), []

    def read(window):
        asked.append(window.shape)
        if len(asked) > 148:
            raise LandslideError("the scene ends here")
        return np.full((*window.shape, 3), 0.1, np.float32)

    with pytest.raises(LandslideError, match="ends here"):
        write_pictures(tmp_path, read, None, grid)
    assert max(rows * columns for rows, columns in asked) <= 1024**2 and not list(tmp_path.iterdir())


def test_tiles_are_parts_of_the_picture(tmp_path):
    grid = Grid(GRID.transform, GRID.crs, (900, 1100))
    y, x = np.mgrid[:900, :1100]
    channels = np.stack([x / 1100, y / 900, np.zeros(grid.shape)], axis=-1).astype(np.float32)
    channels[:100, :100] = np.nan
    (path,) = write_pictures(tmp_path, None, reader(channels), grid)
    picture = Picture(path)
    with rasterio.open(path) as raster:
        whole = np.moveaxis(raster.read((1, 2, 3)), 0, -1).astype(int)
    assert picture.levels == 4
    content, kind = picture.tile(0, 1, 2)
    assert kind == "image/jpeg"
    assert np.abs(np.asarray(Image.open(io.BytesIO(content))).astype(int) - whole[256:512, 512:768]).mean() < 2
    content, kind = picture.tile(3, 0, 0)
    image = Image.open(io.BytesIO(content))
    assert kind == "image/png" and image.size == (138, 113)  # all of it, an eighth
    assert np.asarray(image)[5, 5, 3] == 0 and np.asarray(image)[60, 60, 3] == 255
    means = whole[: 112 * 8, : 137 * 8].reshape(112, 8, 137, 8, 3).mean(axis=(1, 3))
    assert np.abs(np.asarray(image)[20:112, 20:137, :3] - means[20:, 20:]).mean() < 3
    assert picture.tile(0, 3, 4) and picture.tile(0, 4, 0) is None and picture.tile(4, 0, 0) is None
    assert picture.tile(-1, 0, 0) is None and picture.tile(0, -1, 0) is None and picture.tile(0, 10**30, 0) is None


def test_what_is_no_picture_is_refused(tmp_path):
    with rasterio.open(
        tmp_path / "picture_after.tif",
        "w",
        driver="GTiff",
        count=1,
        dtype="float32",
        width=50,
        height=40,
        crs=GRID.crs.to_wkt(),
        transform=GRID.transform,
    ):
        pass
    with pytest.raises(LandslideError, match="expected a picture of three bands"):
        Picture(tmp_path / "picture_after.tif")


# Decisions


def test_decisions_stand_after_opening_again(folder):
    with session(folder, *open_review(folder), "ada") as review:
        tell(review, polygon=1, status="accepted")
        tell(review, polygon=2, status="rejected", comment="a field")
        drawn = tell(review, polygon=3, corners=CORNERS)
        added = tell(review, polygon=None, corners=[[10, 10], [20, 10], [20, 20]])
        tell(review, polygon=1, comment="sure?")
        assert drawn["status"] == "redrawn" and (added["polygon"], added["status"]) == (7, "added")
        stood = review.state()["decisions"]
    with session(folder, *open_review(folder), "ada") as review:
        assert review.state()["decisions"] == stood and len(stood) == 4
        assert [d["status"] for d in stood] == ["accepted", "rejected", "redrawn", "added"]
        assert [d["comment"] for d in stood[:2]] == ["sure?", "a field"]
        assert review.counts() == {"unreviewed": 3, "accepted": 1, "rejected": 1, "redrawn": 1, "added": 1}


def test_undo_goes_back_one_by_one_and_stands_too(folder):
    with session(folder, *open_review(folder), "ada") as review:
        tell(review, polygon=1, status="accepted")
        tell(review, polygon=1, status="rejected")
        tell(review, polygon=None, corners=CORNERS)
        undone = [review.undo({"sequence": review.journal.decisions.sequence})["decision"] for _ in range(2)]
        assert (undone[0]["polygon"], undone[0]["status"]) == (7, None)
        assert (undone[1]["polygon"], undone[1]["status"]) == (1, "accepted")
    with session(folder, *open_review(folder), "ada") as review:
        assert [(d["polygon"], d["status"]) for d in review.state()["decisions"]] == [(1, "accepted")]
        assert tell(review, polygon=None, corners=CORNERS)["polygon"] == 8  # no number is given twice
        for _ in range(2):
            review.undo({"sequence": review.journal.decisions.sequence})
        assert review.undo({"sequence": review.journal.decisions.sequence})["decision"] is None


def test_who_accepts_takes_the_files_shape_and_added_ones_keep_theirs(review):
    tell(review, polygon=3, corners=CORNERS)
    assert tell(review, polygon=3, status="accepted")["rings"] is None
    added = tell(review, polygon=None, corners=CORNERS)["polygon"]
    assert tell(review, polygon=added, status="rejected")["rings"] is not None
    assert tell(review, polygon=added, status="accepted")["status"] == "added"


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"polygon": 2, "corners": [[0, 0], [10, 10], [10, 0], [0, 10]]}, "crosses itself"),
        ({"polygon": 2, "corners": [[0, 0], [10, 10]]}, "has 2 corners"),
        ({"polygon": 2, "corners": [[0, 0], [10, 10], [10, 10], [0, 0]]}, "has 2 corners"),
        ({"polygon": 2, "corners": [[0, 0], [5, 5], [10, 10]]}, "no polygon|crosses|no area"),
        ({"polygon": 2, "corners": [[0, 0], [1e9, 0], [0, 1e9]]}, "far beyond the map"),
        ({"polygon": 2, "corners": [[0, 0], [float("nan"), 0], [0, 9]]}, "not a list of corners"),
        ({"polygon": 2, "corners": [[i, i % 2] for i in range(2500)]}, "2,500 corners"),
        ({"polygon": 2, "corners": "0,0"}, "not a list of corners"),
        ({"polygon": 2, "corners": CORNERS, "status": "rejected"}, "is not drawn"),
        ({"polygon": 2, "status": "redrawn"}, "has not been drawn"),
        ({"polygon": 2, "status": "added"}, "has not been drawn"),
        ({"polygon": 2, "status": "../x"}, "not '../x'"),
        ({"polygon": 99, "status": "accepted"}, "no polygon 99"),
        ({"polygon": True, "status": "accepted"}, "by its number"),
        ({"polygon": "1", "status": "accepted"}, "by its number"),
        ({"polygon": None, "status": "added"}, "has to be drawn"),
        ({"polygon": 2, "comment": "x" * 2001}, "2,000 characters"),
        ({"polygon": 2, "comment": ["x"]}, "2,000 characters"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence_and_not_saved(review, wanted, told):
    with pytest.raises(LandslideError, match=told):
        tell(review, **wanted)
    assert len(review.journal.path.read_text().splitlines()) == 1


def test_a_drawn_shape_lies_where_it_was_drawn(review):
    shown = tell(review, polygon=2, corners=CORNERS)
    kept = json.loads(review.journal.path.read_text().splitlines()[-1])["ring"]
    assert shapely.Polygon(kept).equals(polygon(*map(tuple, CORNERS)))
    assert shown["area"] == pytest.approx(25 * 15 * 100, rel=2e-3)
    assert np.reshape(shown["rings"][0], (-1, 2))[:-1].tolist() == CORNERS


def test_polygons_of_other_coordinates_are_drawn_on_the_picture_and_kept_in_their_own(folder):
    lonlat = candidates().to_crs(4326)
    lonlat.to_file(folder / "inventory.geojson", driver="GeoJSON")
    polygons = Polygons.read(folder / "inventory.geojson", GRID)
    corners = np.reshape(polygons.outlines[0][0], (-1, 2))
    np.testing.assert_allclose([corners.min(axis=0), corners.max(axis=0)], [[50, 45], [70, 55]], atol=0.11)
    drawn = polygons.drawn(CORNERS)
    back = geopandas.GeoSeries([shapely.Polygon(drawn)], crs=4326).to_crs(GRID.crs.to_wkt())[0]
    assert iou(back, polygon(*map(tuple, CORNERS))) > 0.9999


def test_polygons_that_the_pictures_do_not_show_are_told(tmp_path):
    folder = write_review(tmp_path / "review")
    partly = candidates()
    partly.geometry = partly.translate(-1500)
    partly.to_file(tmp_path / "partly.gpkg", driver="GPKG")
    with pytest.warns(LandslideWarning, match="2 of 6 polygons lie beyond the pictures"):
        open_polygons(folder, str(tmp_path / "partly.gpkg"))
    partly.translate(1e6).to_file(tmp_path / "elsewhere.gpkg", driver="GPKG")
    with pytest.raises(LandslideError, match="elsewhere than the pictures"):
        open_polygons(folder, str(tmp_path / "elsewhere.gpkg"))


def test_pictures_are_made_from_scenes_on_other_grids(tmp_path):
    values = (scene(3)[:, :300] * 1e4).astype(np.uint16)
    coarse = Grid(GRID.transform @ Affine.scale(2), GRID.crs, (150, 150))
    fine, colours = Grid(GRID.transform, GRID.crs, (300, 300)), ("red", "green", "blue")

    def written(stem, stored, grid):
        paths = [write(tmp_path / f"{stem}_{i}.tif", stored[..., i], grid) for i in range(3)]
        return [f"{colour}={path}" for colour, path in zip(colours, paths, strict=True)]

    earlier, later = written("before", values[::2, ::2], coarse), written("after", values, fine)
    before, after = make_pictures(tmp_path / "review", Inputs(tuple(earlier)), Inputs(tuple(later)))
    with rasterio.open(before) as b, rasterio.open(after) as a:
        assert b.transform == a.transform == GRID.transform and b.shape == a.shape == (300, 300)
        assert np.corrcoef(b.read(1)[20:-20, 20:-20].ravel(), a.read(1)[20:-20, 20:-20].ravel())[0, 1] > 0.9
    far = written("far", values, Grid(GRID.transform @ Affine.translation(9000, 0), GRID.crs, (300, 300)))
    with pytest.raises(LandslideError, match="do not overlap"):
        make_pictures(tmp_path / "other", Inputs(tuple(far)), Inputs(tuple(later)))
    assert not (tmp_path / "other").exists()


def test_pictures_are_made_of_a_product_and_of_rasters_that_options_explain(tmp_path):
    product = make_product(tmp_path, "1C")
    folder = tmp_path / "of_product"
    assert [path.name for path in make_pictures(folder, None, Inputs((str(product),)))] == ["picture_after.tif"]
    stack = tmp_path / "stack.tif"  # reflectance as floats, in bands without names
    profile = {"driver": "GTiff", "count": 3, "dtype": "float32", "height": GRID.shape[0], "width": GRID.shape[1]}
    with rasterio.open(stack, "w", **profile, crs=GRID.crs.to_wkt(), transform=GRID.transform) as raster:
        raster.write(np.moveaxis(scene(3), -1, 0))
    words = ["--after", str(stack), "--bands", "red=1,green=2,blue=3", "--scale", "1", "--export"]
    review = write_review(tmp_path / "own", pictures=False)
    assert main(["review", str(review), *words]) == 2  # pictures are made, but nobody has reviewed
    with rasterio.open(review / "picture_after.tif") as picture:
        assert picture.shape == GRID.shape and len(np.unique(picture.read(1))) > 50


def test_whole_numbers_keep_their_units():
    frame = candidates().assign(width_m=[128.0] * 6, aspect_deg=[153.0] * 6, year=[2018.0] * 6)
    told = dict(Polygons(ROOT, frame, GRID).attributes(1))
    assert (told["width"], told["aspect of the slope"], told["year"]) == ("128 m", "153°", "2018")


# The journal


def test_a_torn_last_line_is_dropped_and_a_damaged_one_told(review):
    tell(review, polygon=1, status="accepted")
    path = review.journal.path
    whole = path.read_bytes()
    for cut in range(len(whole.splitlines()[0]) + 1, len(whole)):
        path.write_bytes(whole[:cut])
        journal = Journal(path, "ada", review.polygons.fingerprint, 6)
        assert not journal.decisions.standing
        journal.decide(Decision(2, "rejected"))
        journal.close()
        assert list(read_journal(path, review.polygons.fingerprint).standing) == [2]
    path.write_bytes(whole.replace(b'"accepted"', b'"accepted') + b'{"polygon":1,"status":"rejected","time":""}\n')
    with pytest.raises(LandslideError, match="line 2 is damaged"):
        read_journal(path, review.polygons.fingerprint)
    path.write_bytes(whole + b'{"polygon":1,"status":"redrawn","time":""}\n')
    with pytest.raises(LandslideError, match="line 3 is no decision"):
        read_journal(path, review.polygons.fingerprint)


@pytest.mark.parametrize(
    "line",
    [
        {"polygon": 7, "status": "accepted", "time": "t"},  # of six, and never drawn
        {"polygon": 10**30, "status": "rejected", "time": "t"},
        {"polygon": float("inf"), "status": "rejected", "time": "t"},
        {"polygon": 1, "status": "redrawn", "ring": [[0, 0], [1, 1]], "time": "t"},
        {"polygon": 1, "status": "redrawn", "ring": [[float("nan"), 0], [1, 1], [1, 0]], "time": "t"},
        {"polygon": 1, "status": "added", "ring": [[0, 0], [1, 1], [1, 0]], "time": "t"},
    ],
)
def test_a_line_that_nobody_can_have_decided_is_told(review, line):
    tell(review, polygon=1, status="accepted")
    with review.journal.path.open("a") as file:
        file.write(json.dumps(line) + "\n")
    with pytest.raises(LandslideError, match="line 3 is no decision"):
        read_journal(review.journal.path, review.polygons.fingerprint)


def test_a_journal_belongs_to_its_polygons(folder):
    with session(folder, *open_review(folder), "ada"):
        pass
    moved = candidates()
    moved.geometry = moved.translate(5)
    moved.to_file(folder / "candidates.gpkg", driver="GPKG", layer="candidates")
    with pytest.raises(LandslideError, match="other polygons"), session(folder, *open_review(folder), "ada"):
        pass


@pytest.mark.usefixtures("review")
def test_one_process_writes_a_journal(folder):
    with pytest.raises(LandslideError, match="writes to it"), session(folder, *open_review(folder), "ada"):
        pass
    with session(folder, *open_review(folder), "ben"):
        pass


def test_a_full_disk_leaves_the_journal_whole(review, monkeypatch):
    tell(review, polygon=1, status="accepted")
    before, write = review.journal.path.read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda descriptor, text: write(descriptor, text[:20]))
    with pytest.raises(LandslideError, match="could not be saved"):
        tell(review, polygon=2, status="accepted")
    monkeypatch.undo()
    assert review.journal.path.read_bytes() == before
    tell(review, polygon=2, status="rejected")
    assert {n: d.status for n, d in review.journal.decisions.standing.items()} == {1: "accepted", 2: "rejected"}


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a\\b", " a", "a.", "x" * 41, "a\nb", "-a", "a\x00"])
def test_a_name_that_could_be_a_path_is_refused(name):
    with pytest.raises(LandslideError, match="a reviewer's name"):
        check_name(name)


@pytest.mark.parametrize("name", ["ada", "Ada L.-K", "O'Neill", "D’Angelo", "Łukasz", "山田", "x" * 40, "a"])
def test_peoples_names_are_taken(name):
    assert check_name(name) == name


@pytest.mark.slow
def test_what_was_answered_survives_kill_9(tmp_path):
    folder = write_review(tmp_path / "review", pictures=False)
    words = [sys.executable, "-m", "tf_landslide", "review", str(folder), "--reviewer", "ada", "--port", "0"]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    address = process.stdout.readline().split(" at ")[1].split(" ")[0]
    answered = 0
    for number in range(200):
        answer = httpx.post(f"{address}decide", json={"polygon": 1, "comment": f"{number}", "sequence": number})
        assert answer.status_code == 200
        answered = number
        if number == 40:
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    with session(folder, *open_review(folder), "ada") as review:  # the dead one's lock is no hindrance
        assert int(review.journal.decisions.of(1).comment) >= answered


# Exports


def test_the_export_holds_the_landslides_and_what_became_of_the_others(review):
    tell(review, polygon=1, status="accepted")
    tell(review, polygon=2, status="rejected")
    tell(review, polygon=3, corners=CORNERS, comment="longer")
    tell(review, polygon=None, corners=[[10, 10], [20, 10], [20, 20]])
    everything, package, geojson = review.export()
    found = geopandas.read_file(package)
    assert found.crs.to_epsg() == GRID.crs.to_epsg()
    assert found.review_status.tolist() == ["accepted", "redrawn", "added"]
    assert found.reviewer.tolist() == ["ada"] * 3 and found.review_comment.tolist() == ["", "longer", ""]
    assert found.review_time.notna().all() and found.review_id.tolist() == [1, 3, 7]
    assert found.id[0] == 1 and found.id[1] == 3 and found.id.isna().tolist() == [False, False, True]
    assert found.slope_mean[0] == 30.25 and found.slope_mean[1:].isna().all()
    wanted = [candidates().geometry[0], polygon(*map(tuple, CORNERS)), polygon((10, 10), (20, 10), (20, 20))]
    assert all(a.equals(b) for a, b in zip(found.geometry, wanted, strict=True))
    whole = geopandas.read_file(everything)
    assert whole.review_id.tolist() == [1, 2, 3, 4, 5, 6, 7]
    statuses = ["accepted", "rejected", "redrawn", "unreviewed", "unreviewed", "unreviewed", "added"]
    assert whole.review_status.tolist() == statuses and whole.reviewer.isna().tolist() == [
        s == "unreviewed" for s in statuses
    ]
    assert whole.geometry[3].equals(candidates().geometry[3]) and whole.slope_mean.notna().tolist() == [
        True,
        True,
        False,
        *[True] * 3,
        False,
    ]
    features = json.loads(geojson.read_text())["features"]
    lonlat = geopandas.GeoSeries(wanted, crs=GRID.crs.to_wkt()).to_crs(4326)
    assert all(iou(shape(f["geometry"]), g) > 0.999 for f, g in zip(features, lonlat, strict=True))
    labelled = checked_polygons(everything, GRID)  # as patches takes them
    assert all(a.equals(b) for a, b in zip(labelled.landslides, wanted, strict=True)) and len(labelled.undecided) == 3
    assert Polygons.read(package).areas  # and may be reviewed again


def test_a_file_without_decimal_attributes_is_exported(folder):
    frame = candidates()[["id", "geometry"]]
    (folder / "candidates.gpkg").unlink()
    frame.to_file(folder / "candidates.gpkg", driver="GPKG")
    with session(folder, *open_review(folder), "ada") as review:
        tell(review, polygon=3, corners=CORNERS)
        everything, package, _ = review.export()
    assert geopandas.read_file(package).review_status.tolist() == ["redrawn"]
    assert geopandas.read_file(everything).id.tolist() == [1, 2, 3, 4, 5, 6]


def test_fields_have_the_same_types_where_no_polygon_is_a_landslide(review):
    types = []
    for status in ("rejected", "accepted"):
        for number in range(1, 7):
            tell(review, polygon=number, status=status)
        told = pyogrio.read_info(review.export()[1])
        types.append(dict(zip(told["fields"].tolist(), told["ogr_types"], strict=True)))
    assert types[0] == types[1] and types[0]["review_id"] == "OFTInteger64" and types[0]["reviewer"] == "OFTString"


@pytest.mark.parametrize("name", ["fid", "FID"])
@pytest.mark.parametrize("values", [[1, 1, 2, 2, 3, 3], list("abcdef")], ids=["repeated", "texts"])
def test_a_column_that_a_geopackage_would_number_polygons_by_is_renamed(folder, name, values):
    """So is what it calls its shapes, or has already in another case; what we write ourselves gives way to ours."""
    others = {"Fid_1": 7, "Geom": "polygon", "area": 1, "AREA": 2, "Reviewer": "nobody"}
    frame = candidates()[["geometry"]].assign(**{name: values, **others})
    frame.to_file(folder / "own.geojson")
    polygons = Polygons.read(folder / "own.geojson", GRID)
    with session(folder, polygons, open_review(folder)[1], "ada") as review:
        tell(review, polygon=2, status="accepted")
        everything, package, geojson = review.export()
    found = geopandas.read_file(everything)
    assert found[f"{name}_2"].tolist() == values and found["Fid_1"].tolist() == [7] * 6
    assert [found[other][0] for other in ("Geom_1", "area", "AREA_1")] == ["polygon", 1, 2]
    assert found["reviewer"].tolist()[1] == "ada" and "Reviewer" not in found
    assert [geopandas.read_file(path)[f"{name}_2"].tolist() for path in (package, geojson)] == [values[1:2]] * 2


def test_half_an_emoji_in_a_comment_spoils_no_export(review):
    shown = tell(review, polygon=1, status="accepted", comment="cut \ud83c off\0")
    assert shown["comment"] == "cut ? off"
    with review.journal.path.open("a") as file:  # as earlier versions wrote it
        file.write('{"polygon": 2, "status": "accepted", "time": "t", "comment": "\\ud83c"}\n')
    decisions = read_journal(review.journal.path, review.polygons.fingerprint)
    written = export(review.folder, review.polygons, decisions, "ada")
    assert geopandas.read_file(written[1]).review_comment.tolist() == ["cut ? off", "?"]


def test_who_has_decided_nothing_is_no_reviewer(folder):
    for name, decides in (("ada", True), ("ben", False)):
        with session(folder, *open_review(folder), name) as review:
            if decides:
                tell(review, polygon=1, status="accepted")
    assert reviewers(folder) == ["ada"]


def test_what_a_file_has_beside_sound_polygons_is_told(folder):
    bow = shapely.Polygon([GRID.transform @ corner for corner in ((0, 0), (9, 9), (9, 0), (0, 9))])
    frame = candidates()
    frame.loc[0, "geometry"], frame.loc[1, "geometry"] = bow, bow.centroid
    frame.to_file(folder / "mixed.geojson")
    with pytest.warns(LandslideWarning, match="1 were not valid and were mended, 1 features without area were left"):
        assert len(Polygons.read(folder / "mixed.geojson")) == 5


# Agreement


def random_decisions(seed, count=200):
    rng = np.random.default_rng(seed)
    made = Decisions(count)
    for number in range(1, count + 1):
        status = rng.choice(["accepted", "rejected", "redrawn", "unreviewed"], p=[0.5, 0.2, 0.2, 0.1])
        if status != "unreviewed":
            drawn = ring((0, 0), (10, 0), (10, int(rng.integers(5, 12)))) if status == "redrawn" else None
            made.take(Decision(number, str(status), drawn))
    return made


def test_agreement_is_that_of_scikit_learn():
    frame = candidates().iloc[np.zeros(200, int)].reset_index(drop=True)
    polygons = Polygons(ROOT, frame, GRID)
    a, b = random_decisions(0), random_decisions(1)
    found = agreement(polygons, "a", a, "b", b)
    both = sorted(a.standing.keys() & b.standing.keys())
    first, second = ([decided.of(n).status for n in both] for decided in (a, b))
    assert found.both == len(both) and found.same == sum(x == y for x, y in zip(first, second, strict=True))
    assert found.kappa == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)
    landslide = [[status != "rejected" for status in statuses] for statuses in (first, second)]
    assert found.kappa_landslide == pytest.approx(cohen_kappa_score(*landslide), abs=1e-12)
    shapes = {n: [shapely.Polygon(d.of(n).ring) if d.of(n).ring else frame.geometry[0] for d in (a, b)] for n in both}
    ious = {
        n: x.intersection(y).area / x.union(y).area
        for n, (x, y) in shapes.items()
        if "rejected" not in (a.of(n).status, b.of(n).status) and "redrawn" in (a.of(n).status, b.of(n).status)
    }
    assert found.redrawn == len(ious) and found.redrawn_iou == pytest.approx(np.mean(list(ious.values())))
    differ = [n for n, x, y in zip(both, first, second, strict=True) if x != y or ious.get(n, 1) < 0.5]
    assert [one.polygon for one in found.disagreements] == differ


def test_kappa_where_chance_alone_agrees_is_not_defined():
    assert cohens_kappa([[5, 0], [0, 0]]) is None and cohens_kappa([[0, 0], [0, 0]]) is None
    assert cohens_kappa([[0, 5], [5, 0]]) == pytest.approx(-1)
    assert cohens_kappa([[20, 5], [10, 15]]) == pytest.approx(0.4)  # the example of Wikipedia's article


def test_added_polygons_are_paired_as_often_as_can_be():
    a, b = Decisions(0), Decisions(0)
    for number, left in enumerate((0, 4), 1):
        a.take(Decision(number, "added", ring((left, 0), (left + 10, 0), (left + 10, 10), (left, 10))))
    for number, left in enumerate((1, -3, 100), 1):
        b.take(Decision(number, "added", ring((left, 0), (left + 10, 0), (left + 10, 10), (left, 10))))
    # the first of a is like both of b, the second only like the first: greedy pairs would be one
    empty = Polygons(ROOT, candidates().iloc[:0], GRID)
    assert agreement(empty, "a", a, "b", b).added == (2, 3, 2)


def test_the_command_tells_exports_and_agreement(folder, capsys):
    for name, statuses in (("ada", ["accepted", "rejected"]), ("ben", ["accepted", "accepted"])):
        with session(folder, *open_review(folder), name) as review:
            for number, status in enumerate(statuses, 1):
                tell(review, polygon=number, status=status)
    assert main(["review", str(folder), "--agreement", "--export", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["agreement"][0]["both"] == 2 and told["agreement"][0]["kappa"] == 0.0
    assert [d["polygon"] for d in told["agreement"][0]["disagreements"]] == [2]
    assert told["reviewers"]["ben"]["counts"]["accepted"] == 2
    assert len(geopandas.read_file(folder / "review" / "ada" / "landslides.gpkg")) == 1
    assert main(["review", str(folder), "--agreement"]) == 0
    assert "polygon 2: ada rejected, ben accepted" in capsys.readouterr().out
    assert compare(folder, open_review(folder)[0], "ben", "ada").same == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["DIR"], "say who reviews"),
        (["DIR", "--reviewer", "a", "--reviewer", "b"], "say who reviews"),
        (["DIR", "--agreement"], "nobody has reviewed it yet"),
        (["DIR", "--export", "--reviewer", "eve"], "no such file"),
        (["DIR", "--reviewer", "../../x"], "a reviewer's name"),
        (["DIR/none", "--reviewer", "ada"], "holds neither candidates.gpkg nor landslides.gpkg"),
        (["DIR", "--reviewer", "ada", "--polygons", "DIR/none.gpkg"], "cannot be read"),
        (["DIR", "--reviewer", "ada", "--after", "DIR/candidates.gpkg"], "cannot be read as a raster"),
        (["DIR", "--reviewer", "ada", "--host", "no.such.host.invalid"], "choose others with --host"),
        (["DIR", "--reviewer", "ada", "--port", "99999"], "expected a port, 1 to 65535"),
        (["DIR", "--reviewer", "ada", "--scale", "1"], "is for --before or --after: name one"),
        (["DIR", "--export", "--no-clouds"], "is for --before or --after: name one"),
    ],
)
def test_mistakes_are_told_in_one_line(folder, words, told, capsys):
    assert main(["review", *(word.replace("DIR", str(folder)) for word in words)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and told in error


# The server


@pytest.fixture
def client(review):
    return TestClient(application(review, "127.0.0.1"), base_url="http://127.0.0.1:7861")


def test_the_page_asks_no_other_host_and_everything_has_its_policy(client):
    text = client.get("/").text
    assert "//" not in text.replace("<!DOCTYPE html>", "") and "<script>" not in text and "style=" not in text
    for address in ("/", "/files/review.js", "/state", "/polygons/1", "/none"):
        answer = client.get(address)
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_names_are_text(folder):
    evil = folder.parent / "<b>x&{{ 7*7 }}"
    folder.rename(evil)
    with session(evil, *open_review(evil), "ada") as review:
        client = TestClient(application(review, "127.0.0.1"), base_url="http://localhost")
        text = client.get("/").text
        assert "<b>x" not in text and "&lt;b&gt;x&amp;{{ 7*7 }}" in text
        answer = client.get("/polygons/1")
        assert ["note", EVIL] in answer.json() and answer.headers["content-type"] == "application/json"


def test_strangers_are_refused(client):
    for headers in (
        {"host": "evil.example"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
    ):
        for method, address in (("POST", "/decide"), ("POST", "/undo"), ("POST", "/export"), ("GET", "/state")):
            answer = client.request(method, address, json={"sequence": 0, "polygon": 1}, headers=headers)
            assert answer.status_code == 403, (headers, address)
    simple = client.post("/decide", content=b'{"polygon": 1, "sequence": 0}', headers={"content-type": "text/plain"})
    assert simple.status_code == 415  # what a form can send
    own = client.post("/undo", json={"sequence": 0}, headers={"origin": "http://127.0.0.1:7861"})
    assert own.status_code == 200


def test_bodies_and_numbers_are_bounded(client, review):
    kind = {"content-type": "application/json"}
    assert client.post("/decide", content=b" " * (MOST_BYTES + 1), headers=kind).status_code == 413
    for body in (b"", b"[1]", b"{", b"[" * 100_000, b'{"sequence": 0, "polygon": ' + b"9" * 5000 + b"}"):
        answer = client.post("/decide", content=body, headers=kind)
        assert answer.status_code == 400 and answer.json()["error"]
    for address in ("/polygons/0", "/polygons/99", f"/polygons/{'9' * 5000}", "/polygons/x", "/polygons/١"):
        assert client.get(address).status_code in (400, 404)
    for address in (
        "/files/..%2f..%2fapp.py",
        "/files/../app.py",
        "/files/app.py",
        "/pictures/after/0/0/0",
        "/pictures/before/9/0/0",
        "/pictures/..%2fx/0/0/0",
    ):
        assert client.get(address).status_code == 404, address
    assert len(review.journal.path.read_text().splitlines()) == 1


def test_a_window_that_is_behind_is_told(client):
    assert client.post("/decide", json={"sequence": 0, "polygon": 1, "status": "accepted"}).json()["sequence"] == 1
    assert client.post("/decide", json={"sequence": 0, "polygon": 2, "status": "accepted"}).status_code == 409
    assert client.post("/undo", json={"sequence": 0}).status_code == 409
    assert len(client.get("/state").json()["decisions"]) == 1


# Real inventories, and a map's own landslides


def test_published_inventories_can_be_reviewed(real_data, tmp_path):
    started = time.monotonic()
    polygons = Polygons.read(real_data / "inventories" / "colombia.gpkg")
    assert len(polygons) == 838 == len(polygons.outlines) == len(polygons.areas)
    columns, rows = (np.concatenate([np.array(r) for o in polygons.outlines for r in o])[i::2] for i in (0, 1))
    assert columns.min() >= 0 and columns.max() <= polygons.grid.shape[1]
    assert rows.min() >= 0 and rows.max() <= polygons.grid.shape[0]
    with session(tmp_path, polygons, {}, "ada") as review:
        assert tell(review, polygon=838, status="accepted")["status"] == "accepted"
        assert len(review.details(1)) > 3
    assert time.monotonic() - started < 20
    assert TILE == 256


def test_words_for_a_maps_confidence_give_way_to_its_numbers():
    frame = candidates().drop(columns="confidence").assign(confidence=["low", "high"] * 3)
    assert Polygons(ROOT, frame, GRID).confidences == [0.3, 0.9] * 3
    with_numbers = frame.assign(probability_mean=[0.55, 0.95] * 3)
    assert Polygons(ROOT, with_numbers, GRID).confidences == [0.55, 0.95] * 3
    assert Polygons(ROOT, frame.drop(columns="confidence"), GRID).confidences == [None] * 6
