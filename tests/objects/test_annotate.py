"""``annotate``: candidates of a synthetic pair against its truth; joined segments against SciPy; mistakes, told."""

import json
import shutil

import geopandas
import numpy as np
import pytest
import rasterio
from rasterio import Affine
from rasterio.warp import Resampling, reproject
from scipy import ndimage

from tf_landslide.cli.main import main
from tf_landslide.objects import candidates
from tf_landslide.objects.candidates import Judged, joined
from tf_landslide.objects.rules import Rules
from tf_landslide.objects.segmenting import Segmenting
from tf_landslide.objects.tiled import Segments
from tf_landslide.scenes.synthetic import write_scene

SHIFT = (0.6, -0.9)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return write_scene(tmp_path_factory.mktemp("pair") / "s.tif", size=224, seed=4, before=SHIFT)


@pytest.fixture(scope="module")
def found(pair, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    words = [
        "annotate",
        str(pair.before),
        str(pair.scene),
        "--dem",
        str(pair.dem),
        "--out",
        str(out),
        "--shift",
        "auto",
    ]
    assert main(words) == 0
    return out, json.loads((out / "summary.json").read_text())


def overlaps(pair, out):
    """Recall and precision by objects: true ones of which 30 % is found, confident ones of which 30 % is true."""
    truth, confidence = read(pair.truth) == 1, read(out / "confidence.tif")
    shares = []
    for one, other in ((truth, confidence >= 0.3), (confidence >= 0.7, truth)):
        labels, _ = ndimage.label(one, np.ones((3, 3)))
        large = np.flatnonzero(np.bincount(labels.ravel()) >= 5)[1:]
        shares.append(np.mean(ndimage.mean(other, labels, large) >= 0.3))
    return shares


def read(path):
    with rasterio.open(path) as raster:
        return raster.read(1)


def test_most_landslides_are_found_and_most_candidates_are_landslides(pair, found):
    recall, precision = overlaps(pair, found[0])
    assert recall >= 0.85 and precision >= 0.6


def test_the_shift_is_estimated_and_undone(found):
    shift = found[1]["shift"]
    assert (shift["rows"], shift["columns"]) == pytest.approx(SHIFT, abs=0.12)
    assert shift["undone"] == pytest.approx([shift["rows"], shift["columns"]], abs=1e-3)
    assert not any("pixels off" in warning for warning in found[1]["warnings"])


def test_every_file_is_there_and_agrees(pair, found):
    out, summary = found
    frame = geopandas.read_file(out / "candidates.gpkg")
    assert len(frame) == summary["candidates"] > 0 and set(frame["review_status"]) == {"unreviewed"}
    assert len(geopandas.read_file(out / "candidates.geojson")) == len(frame)
    mask, confidence = read(out / "candidates.tif"), read(out / "confidence.tif")
    with rasterio.open(out / "candidates.tif") as raster:
        drawn = rasterio.features.rasterize(frame.geometry, mask.shape, transform=raster.transform)
    small = ndimage.label(mask == 1, np.ones((3, 3)))[0]
    areas = np.bincount(small.ravel())
    np.testing.assert_array_equal(drawn == 1, (mask == 1) & (areas[small] >= 5))  # 500 m2
    np.testing.assert_array_equal(mask == 255, np.isnan(confidence))
    np.testing.assert_array_equal(mask == 1, confidence >= np.float32(0.3))
    missing = [(read_all(path) == 0).any(0) for path in (pair.scene, pair.before)]
    assert np.isnan(confidence[missing[0] | missing[1]]).all() and np.isfinite(confidence).mean() > 0.8
    looked_at = geopandas.read_file(out / "area.gpkg").geometry
    drawn = rasterio.features.rasterize(looked_at, mask.shape, transform=raster.transform)
    np.testing.assert_array_equal(drawn == 1, np.isfinite(confidence))
    assert looked_at.is_valid.all()
    assert summary["by_confidence"] == {word: (frame["confidence"] == word).sum() for word in ("high", "medium", "low")}
    assert (frame["ndvi_change"] < -0.05).all() and (frame["probability_mean"] >= 0.3).all()
    for name in summary["files"]:
        assert (out / name).stat().st_size > 0
    assert not list(out.glob(".*")) or {path.name for path in out.glob(".*")} <= {".lock"}


def read_all(path):
    with rasterio.open(path) as raster:
        return raster.read([2, 3, 4, 8])


def test_another_grid_before_changes_little(pair, found, tmp_path, capsys):
    """Before on pixels of 8 m, by GDAL's bilinear warp: the same landslides are found."""
    other = tmp_path / "before.tif"
    with rasterio.open(pair.before) as source:
        transform = source.transform @ Affine.translation(-3.3, -2.7) @ Affine.scale(0.8)
        shape = 300, 300
        profile = source.profile | {"height": shape[0], "width": shape[1], "transform": transform, "nodata": 0}
        with rasterio.open(other, "w", **profile) as raster:
            for band in range(1, 13):
                plane = np.zeros(shape, np.uint16)
                options = {"src_transform": source.transform, "src_crs": source.crs, "dst_transform": transform}
                reproject(
                    source.read(band),
                    plane,
                    **options,
                    dst_crs=source.crs,
                    resampling=Resampling.bilinear,
                    src_nodata=0,
                )
                raster.write(plane, band)
            raster.descriptions = source.descriptions
    words = ["annotate", str(other), str(pair.scene), "--dem", str(pair.dem), "--out", str(tmp_path / "out")]
    assert main([*words, "--shift", ",".join(map(str, SHIFT))]) == 0
    told = capsys.readouterr().out
    assert f"undone: {SHIFT[0]:+.2f}, {SHIFT[1]:+.2f}" in told and "next: tf-landslide review" in told
    recall, precision = overlaps(pair, tmp_path / "out")
    assert recall >= 0.8 and precision >= 0.55
    first, second = (read(folder / "candidates.tif") == 1 for folder in (found[0], tmp_path / "out"))
    assert (first & second).sum() / (first | second).sum() > 0.6


def test_visible_bands_alone_are_told_of(pair, tmp_path, capsys):
    files = {"before": [], "after": []}
    for when, path in (("before", pair.before), ("after", pair.scene)):
        with rasterio.open(path) as source:
            profile = source.profile | {"count": 1}
            for band, name in ((2, "B02"), (3, "B03"), (4, "B04")):
                files[when].append(str(tmp_path / f"{when}_{name}.tif"))
                with rasterio.open(files[when][-1], "w", **profile) as raster:
                    raster.write(source.read(band), 1)
    words = ["annotate", "--before", *files["before"], "--after", *files["after"], "--out", str(tmp_path / "out")]
    assert main([*words, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["bands"] == ["red", "green", "blue"] and summary["rules"]["segments"]["name"] == "change_visible"
    told = " ".join(summary["warnings"])
    assert "No near infrared" in told and "No terrain model" in told and "pixels off" in told
    assert "slope_mean" in summary["left_out"]
    assert overlaps(pair, tmp_path / "out")[0] >= 0.6


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["BEFORE", "AFTER", "--dem", "none.tif"], "none.tif"),
        (["BEFORE", "none.tif"], "none.tif"),
        (["BEFORE"], "expected two scenes"),
        ([], "name two scenes"),
        (["BEFORE", "AFTER", "--before", "AFTER", "--after", "AFTER"], "name two scenes"),
        (["--before", "AFTER"], "name two scenes"),
        (["BEFORE", "AFTER", "--rules", "chnge"], "did you mean 'change'?"),
        (["BEFORE", "AFTER", "--shift", "far"], "expected auto, or ROWS,COLS"),
        (["BEFORE", "AFTER", "--shift", "-1,nan"], "expected auto, or ROWS,COLS"),
        (["BEFORE", "FAR"], "do not overlap"),
        (["DEM", "AFTER"], "band"),
    ],
)
def test_what_cannot_be_is_one_line(pair, tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    with rasterio.open(pair.before) as source:
        profile = source.profile | {"transform": Affine.translation(1e5, 0) @ source.transform}
        with rasterio.open("far.tif", "w", **profile) as raster:
            raster.write(source.read())
            raster.descriptions = source.descriptions
    names = {"BEFORE": str(pair.before), "AFTER": str(pair.scene), "FAR": "far.tif", "DEM": str(pair.dem)}
    try:
        status = main(["annotate", *(names.get(word, word) for word in words), "--out", "out"])
    except SystemExit as ended:
        status = ended.code
    error = capsys.readouterr().err
    assert status == 2 and said in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


def test_segments_that_touch_are_joined_across_strips(tmp_path, monkeypatch):
    """Against SciPy's labels of the accepted pixels, joined by edges."""
    monkeypatch.setattr(candidates, "ROWS", 7)
    rng = np.random.default_rng(0)
    labels = (np.arange(60)[:, None] // 3 * 15 + np.arange(45)[None, :] // 3 + 1).astype(np.int32)
    labels[rng.random(labels.shape) < 0.1] = 0
    np.save(tmp_path / "segments.npy", labels)
    segments = Segments(tmp_path / "segments.npy", labels.shape, int(labels.max()), Segmenting())
    confidence = rng.random(segments.count).astype(np.float32)
    groups = joined(Judged(segments, confidence), 0.5, tmp_path)
    kept = (labels > 0) & (np.concatenate([[0], confidence])[labels] >= 0.5)
    whole = _united_by_segments(labels, kept)
    found = np.load(groups.path)
    assert groups.count == whole.max() == len(np.unique(found)) - 1
    np.testing.assert_array_equal(found > 0, kept)
    pairs = np.unique(np.stack([found[kept], whole[kept]]), axis=1)
    assert pairs.shape[1] == groups.count


def _united_by_segments(labels, kept):
    """4-connected pieces of the kept pixels, pieces of one segment joined too: by repeated painting."""
    pieces, _ = ndimage.label(kept)
    while True:
        before = pieces.copy()
        for label in np.unique(labels[kept]):
            inside = (labels == label) & kept
            for piece in np.unique(pieces[inside])[1:]:
                pieces[pieces == piece] = pieces[inside].min()
        if (pieces == before).all():
            return np.unique(pieces, return_inverse=True)[1].reshape(pieces.shape)


@pytest.mark.parametrize("name", ["change", "change_visible", "change_form"])
def test_every_condition_says_why(name):
    rules = Rules.read(name)
    assert all(condition.reason for condition in rules.conditions) and rules.title
    assert not any(condition.fitted for condition in rules.conditions)


def test_the_page_calls_candidates_candidates(found):
    text = (found[0] / "map.html").read_text()
    for said in ("Largest candidates", "confidence; threshold", '"one":"Candidate"', '"confidence, mean"', "Map of "):
        assert said in text
    assert "Largest landslides" not in text and "probability; threshold" not in text


def annotated(capsys, *words):
    assert main(["annotate", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_same_image_twice_and_what_rules_lack_are_told_of(pair, tmp_path, capsys):
    summary = annotated(capsys, pair.scene, pair.scene, "--out", tmp_path / "out", "--shift", "-0.0,0")
    told = " ".join(summary["warnings"])
    assert summary["candidates"] == 0 and "one and the same?" in told and "slope_mean cannot be told" in told
    assert "compactness" not in told  # of no group, nothing can be left out


def test_little_common_ground_is_told_of(pair, tmp_path, capsys):
    with rasterio.open(pair.before) as source:
        profile = source.profile | {"transform": Affine.translation(1500, 0) @ source.transform}
        with rasterio.open(tmp_path / "beside.tif", "w", **profile) as raster:
            raster.write(source.read())
            raster.descriptions = source.descriptions
    summary = annotated(capsys, tmp_path / "beside.tif", pair.scene, "--out", tmp_path / "out")
    share = 100 * summary["valid_pixels"] / 224**2
    assert share < 40 and f"Only {share:.1f} % of the image after was compared" in " ".join(summary["warnings"])


def test_the_later_image_as_before_is_refused(pair, tmp_path, capsys):
    names = {"red": 4, "green": 3, "blue": 2}
    for stem, path, day in (("early", pair.before, "2018-08-01"), ("late", pair.scene, "2018-10-01")):
        bands = [{"name": name, "file": path.name, "index": i, "scale": 0.0001} for name, i in names.items()]
        manifest = {"id": stem, "date": day, "bands": bands}
        (pair.scene.parent / f"{stem}.json").write_text(json.dumps(manifest))
    early, late = (str(pair.scene.parent / f"{stem}.json") for stem in ("early", "late"))
    assert main(["annotate", late, early, "--out", str(tmp_path / "out")]) == 2
    assert "give the earlier one first" in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert main(["annotate", early, late, "--out", str(tmp_path / "out"), "--event-from", "2018-10-02"]) == 2
    assert "comes after its last, 2018-10-01" in capsys.readouterr().err and not (tmp_path / "out").exists()
    summary = annotated(capsys, early, late, "--out", tmp_path / "out")
    assert (summary["event_date_from"], summary["event_date_to"]) == ("2018-08-01", "2018-10-01")


def test_a_second_run_that_is_stopped_leaves_nothing_that_tells_of_the_first(found, pair, tmp_path, monkeypatch):
    out = shutil.copytree(found[0], tmp_path / "out")

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tf_landslide.jobs.annotate._described", stopped)
    assert main(["annotate", str(pair.before), str(pair.scene), "--dem", str(pair.dem), "--out", str(out)]) == 130
    assert {path.name for path in out.iterdir()} == {"confidence.tif", "candidates.tif"}
