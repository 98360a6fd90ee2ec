"""Patches of a scene and checked polygons: masks against rasterio, values against the scene, and a model from them."""

import hashlib
import json
from pathlib import Path

import geopandas
import h5py
import numpy as np
import pytest
import rasterio
import rasterio.features
import shapely
from rasterio import Affine
from shapely import MultiPolygon, Polygon, box
from shapely.affinity import rotate

from tests.scenes.test_sampler import UTM, write
from tf_landslide.bands.layouts import LANDSLIDE4SENSE, read_layout
from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError
from tf_landslide.jobs.patches import PatchOptions, cut_patches
from tf_landslide.runs.config import load_config
from tf_landslide.runs.splits import open_splits
from tf_landslide.scenes.grid import Grid, Window
from tf_landslide.scenes.inputs import Inputs, open_inputs
from tf_landslide.scenes.stack import open_scene

pytestmark = pytest.mark.filterwarnings("ignore:.*(taken for ground|left out of every count)")
GRID = Grid(Affine(10, 0, 569000, 0, -10, 4737000), UTM, (320, 384))
SMALL = {"size": 32, "buffer": 100.0}
FOLDERS = {"train": "TrainData", "valid": "ValidData", "test": "TestData"}
BOW = Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])


def place(geometry, row, column, scale=1.0):
    """A geometry of pixels, its origin at a pixel of the grid."""
    x, y = GRID.transform @ (column, row)
    return shapely.transform(geometry, lambda p: p * 10 * scale * [1, -1] + [x, y])


def landslides(seed=0, count=60):
    rng = np.random.default_rng(seed)
    return [
        place(rotate(box(0, 0, rng.uniform(3, 14), rng.uniform(2, 6)), rng.uniform(0, 180)), *rng.uniform(5, 300, 2))
        for _ in range(count)
    ]


def file_of(path, geometries, crs=None, **columns):
    frame = geopandas.GeoDataFrame(columns or {"n": range(len(geometries))}, geometry=geometries, crs=UTM.to_wkt())
    (frame if crs is None else frame.to_crs(crs)).to_file(path)
    return path


@pytest.fixture(scope="module")
def bands(tmp_path_factory):
    """Files of three bands, the red one missing in its last 40 columns."""
    folder = tmp_path_factory.mktemp("bands")
    stored = np.random.default_rng(0).integers(1, 4000, (3, *GRID.shape)).astype(np.uint16)
    stored[0, :, -40:] = 0
    names = ("red", "green", "blue")
    return [f"{n}={write(folder / f'{n}.tif', s, GRID)}" for n, s in zip(names, stored, strict=True)]


@pytest.fixture
def scene(bands):
    return open_scene(bands, ())


def cut(scene, tmp_path, geometries, crs=None, columns=None, **options):
    path = file_of(tmp_path / "polygons.gpkg", geometries, crs, **(columns or {}))
    with pytest.warns(UserWarning, match="taken for ground without"):
        card = cut_patches(scene, tmp_path / "out", PatchOptions(path, **{**SMALL, **options}))
    index = geopandas.read_file(tmp_path / "out" / "patches.gpkg")
    return card, index[index["left_out"].isna()]


def patches_of(folder, index):
    """Window, image and mask of every patch that the index names."""
    for row in index.itertuples():
        inside = folder / FOLDERS[row.split]
        size = round((row.geometry.bounds[2] - row.geometry.bounds[0]) / 10)
        with (
            h5py.File(inside / "img" / f"image_{int(row.number)}.h5") as image,
            h5py.File(inside / "mask" / f"mask_{int(row.number)}.h5") as mask,
        ):
            yield Window(row.row, row.column, size, size), image["img"][()], mask["mask"][()]


def expected_mask(scene, geometries, **options):
    """1 on landslides, 0 beside them, 255 where red is missing: by rasterio, over the whole scene at once."""
    burnt = rasterio.features.rasterize(geometries, out_shape=GRID.shape, transform=GRID.transform, **options)
    whole = scene.grid.window
    missing = ~np.all([np.isfinite(scene.read(name, whole)) for name in scene.names], axis=0)
    return np.where(missing, 255, burnt)


def assert_masks(folder, index, expected):
    assert len(index)
    for window, _, mask in patches_of(folder, index):
        np.testing.assert_array_equal(mask, expected[window.rows, window.columns])
        assert mask.dtype == np.uint8


@pytest.mark.parametrize("all_touched", [False, True])
def test_masks_are_rasterio_s_also_of_holes_and_of_several_parts(scene, tmp_path, all_touched):
    hole = Polygon(box(0, 0, 20, 20).exterior, [box(5, 5, 12, 12).exterior])
    several = MultiPolygon([box(0, 0, 3, 3), box(8, 1, 12, 5)])
    geometries = [*landslides(), place(hole, 100, 100), place(several, 200, 200)]
    card, index = cut(scene, tmp_path, geometries, all_touched=all_touched)
    assert_masks(tmp_path / "out", index, expected_mask(scene, geometries, all_touched=all_touched))
    with rasterio.open(tmp_path / "out" / "labels.tif") as labels:
        np.testing.assert_array_equal(labels.read(1), expected_mask(scene, geometries, all_touched=all_touched))
        assert Grid.of(tmp_path / "out" / "labels.tif") == scene.grid
    assert card["polygons"]["found"]["of several parts"] == 1


def test_polygons_in_longitude_and_latitude(scene, tmp_path):
    geometries = landslides()
    _, index = cut(scene, tmp_path, geometries, crs=4326)
    back = geopandas.read_file(tmp_path / "polygons.gpkg").to_crs(UTM.to_wkt()).geometry
    assert_masks(tmp_path / "out", index, expected_mask(scene, back))


def test_what_is_not_valid_is_mended_and_every_polygon_is_accounted_for(scene, tmp_path):
    bow = place(BOW, 60, 60, 1.0)
    outside, tiny, hidden = place(box(0, 0, 5, 5), -200, 10), place(box(0.1, 0.1, 0.3, 0.3), 50, 50), None
    hidden = place(box(0, 0, 5, 5), 100, 365)
    geometries = [*landslides(), bow, outside, tiny, hidden]
    card, index = cut(scene, tmp_path, geometries)
    mended = [g if g.is_valid else shapely.make_valid(g) for g in geometries]
    assert_masks(tmp_path / "out", index, expected_mask(scene, mended))
    found = card["polygons"]["found"]
    assert found["mended"] == 1 and found["landslides"] == len(geometries)
    assert found["landslides outside of the scene"] == 1
    assert found["landslides smaller than a pixel, or under another"] >= 1
    assert found["landslides where nothing is known"] >= 1
    assert sum(n for what, n in found.items() if what.startswith("landslides ")) == len(geometries)


def test_values_are_the_scene_s_and_missing_ones_are_nan(scene, tmp_path):
    card, index = cut(scene, tmp_path, landslides(), missing=0.9)
    layout = read_layout(tmp_path / "out" / "layout.yaml")
    assert layout.names == ("red", "green", "blue") and card["layout"] == layout.name
    gaps = 0
    for window, image, _ in patches_of(tmp_path / "out", index):
        assert image.dtype == np.float32
        for i, name in enumerate(layout.names):
            np.testing.assert_array_equal(image[..., i], scene.read(name, window))
        gaps += int(np.isnan(image[..., 0]).sum())
        assert not np.isnan(image[..., 1:]).any()
    assert gaps and card["missing_values"]


def test_splits_lie_the_buffer_apart_and_the_card_counts_what_is_there(scene, tmp_path):
    card, index = cut(scene, tmp_path, landslides(), buffer=150.0, stride=16)
    merged = {split: rows.union_all() for split, rows in index.groupby("split").geometry}
    for a, b in (("train", "valid"), ("train", "test"), ("valid", "test")):
        assert merged[a].distance(merged[b]) >= 150
    for split, row in card["splits"].items():
        masks = [mask for _, _, mask in patches_of(tmp_path / "out", index[index["split"] == split])]
        assert row["patches"] == len(masks) and row["landslide_pixels"] == sum((m == 1).sum() for m in masks)
        assert row["labelled_pixels"] == sum((m != 255).sum() for m in masks)
        assert row["with_landslides"] == sum((m == 1).any() for m in masks)
        shapes = index[index["split"] == split].geometry
        assert row["polygons"] <= sum(shapes.union_all().intersects(g) for g in landslides())
    sums = (tmp_path / "out" / "SHA256SUMS").read_text()
    assert card["sha256"] == hashlib.sha256(sums.encode()).hexdigest()
    for line in sums.splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() == digest
    assert json.loads((tmp_path / "out" / "card.json").read_text()) == card


def test_training_reads_them_as_they_are(scene, tmp_path):
    card, _ = cut(scene, tmp_path, landslides(), stride=16)
    config = load_config(tmp_path / "out" / "config.yaml")
    assert config.data.layout == read_layout(tmp_path / "out" / "layout.yaml")
    sources = open_splits(config, tmp_path / "out")
    assert {split: len(source) for split, source in sources.items()} == {
        split: row["patches"] for split, row in card["splits"].items()
    }
    channels, masks = sources["train"].fetch(np.arange(3))
    assert channels.shape == (3, 32, 32, 3) and set(np.unique(masks)) <= {0, 1, 255}


def test_what_is_rejected_is_ground_and_what_is_unreviewed_is_unknown(scene, tmp_path):
    geometries = landslides()
    status = ["accepted"] * 40 + ["Rejected"] * 10 + ["unreviewed"] * 5 + [None] * 5
    card, index = cut(scene, tmp_path, geometries, columns={"review_status": status})
    found = card["polygons"]["found"]
    assert (found["landslides"], found["rejected"], found["unreviewed"]) == (40, 10, 10)
    expected = expected_mask(scene, geometries[:40])
    undecided = expected_mask(scene, geometries[50:])
    assert_masks(tmp_path / "out", index, np.where((expected == 0) & (undecided == 1), 255, expected))


def test_unreviewed_polygons_count_when_they_are_asked_for(scene, tmp_path):
    geometries = landslides()
    columns = {"review_status": ["unreviewed"] * len(geometries)}
    with pytest.raises(LandslideError, match="none of its 60 polygons is an accepted landslide; --unreviewed"):
        cut_patches(scene, tmp_path / "o", PatchOptions(file_of(tmp_path / "p.gpkg", geometries, **columns), **SMALL))
    assert not (tmp_path / "o").exists()
    _, index = cut(scene, tmp_path, geometries, columns=columns, unreviewed=True)
    assert_masks(tmp_path / "out", index, expected_mask(scene, geometries))


@pytest.mark.parametrize("status", ["perhaps", 1])
def test_an_unknown_status_is_refused_by_name(scene, tmp_path, status):
    path = file_of(tmp_path / "p.gpkg", landslides(count=1), review_status=[status])
    with pytest.raises(LandslideError, match=f"review_status '{status}' is none of accepted"):
        cut_patches(scene, tmp_path / "o", PatchOptions(path, **SMALL))


def test_beyond_the_area_nobody_can_say(scene, tmp_path):
    area = file_of(tmp_path / "area.gpkg", [place(box(0, 0, 300, 250), 0, 0)], crs=4326)
    path = file_of(tmp_path / "p.gpkg", landslides())
    card = cut_patches(scene, tmp_path / "out", PatchOptions(path, area=area, **SMALL))  # nothing to warn of
    with rasterio.open(tmp_path / "out" / "labels.tif") as labels:
        values = labels.read(1)
    assert (values[:249, :299] != 255).all() and (values[252:] == 255).all() and (values[:, 303:] == 255).all()
    assert card["area"]["file"] == "area.gpkg" and not card["warnings"]


def test_negatives_are_thinned_in_training_only(scene, tmp_path):
    card, _ = cut(scene, tmp_path, landslides(count=25), negatives=0.5)
    row = card["splits"]["train"]
    assert row["patches"] - row["with_landslides"] == int(0.5 * row["with_landslides"])
    assert card["left_out"]["patches: no landslide, beyond --negatives"] > 0
    valid = card["splits"]["valid"]
    assert valid["patches"] > valid["with_landslides"]


def test_equal_seeds_give_equal_files(scene, tmp_path):
    path = file_of(tmp_path / "p.gpkg", landslides())
    for name in ("a", "b"):
        (tmp_path / name).mkdir()  # an empty folder is taken
        with pytest.warns(UserWarning, match="taken for ground"):
            cut_patches(scene, tmp_path / name / "d", PatchOptions(path, **SMALL))
    for file in (tmp_path / "a" / "d").rglob("*"):
        if file.suffix in (".h5", ".json", ".yaml", ".md", ".png") or file.name == "SHA256SUMS":
            assert file.read_bytes() == Path(str(file).replace("/a/d/", "/b/d/")).read_bytes(), file


def test_a_folder_that_holds_something_stays_as_it_is(scene, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(LandslideError, match="already holds something"):
        cut_patches(scene, tmp_path / "out", PatchOptions(file_of(tmp_path / "p.gpkg", landslides()), **SMALL))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    "geometries, options, told",
    [
        ([place(box(0, 0, 5, 5), 5000, 5000)], {}, "no pixel of the scene is a landslide: 1 outside of the scene"),
        (landslides(), {"size": 128, "buffer": 2000.0}, "too few for patches of 128"),
        (landslides(), {"bands": ("red", "nir")}, "band 'nir' is not among its bands: red, green, blue"),
        ([place(box(0, 0, 5, 5), 30, 30)], {}, "no patch of '(train|valid)' holds a landslide"),
        (landslides(), {"config": "nothing"}, "unknown shipped config"),
        (landslides(), {"negatives": -1.0}, "--negatives"),
        (landslides(), {"negatives": float("nan")}, "--negatives: expected a number from 0 on, got nan"),
        (landslides(), {"negatives": float("inf")}, "--negatives: expected a number from 0 on, got inf"),
    ],
)
def test_nothing_is_left_of_what_cannot_be(scene, tmp_path, geometries, options, told):
    path = file_of(tmp_path / "p.gpkg", geometries)
    with pytest.raises(LandslideError, match=told):
        cut_patches(scene, tmp_path / "out", PatchOptions(path, **{**SMALL, **options}))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.gpkg"]


def test_too_little_disk_is_told_before_a_patch_is_written(scene, tmp_path, monkeypatch):
    from tf_landslide.jobs import patches

    asked = []

    def space(folder, nbytes, what):
        asked.append(what)
        if what == "this dataset":
            assert not list(folder.rglob("*.h5"))
            raise LandslideError(f"{folder}: {what} needs {nbytes} bytes")

    monkeypatch.setattr(patches, "require_space", space)
    with pytest.raises(LandslideError, match="this dataset needs"):
        cut_patches(scene, tmp_path / "out", PatchOptions(file_of(tmp_path / "p.gpkg", landslides()), **SMALL))
    assert asked == ["the raster of labels", "this dataset"] and not (tmp_path / "out").exists()


def test_real_bands_beside_polygons_made_by_hand(real_data, tmp_path):
    folder = real_data / "hokkaido_2018"
    files = tuple(str(folder / f"post_{code}.tif") for code in ("B04", "B03", "B02"))
    scene = open_inputs(Inputs(files, dem=(folder / "dsm.tif",)), None)
    assert scene.names == ("red", "green", "blue", "dem", "slope")
    west, south, east, north = scene.grid.bounds
    rng = np.random.default_rng(0)
    places = np.stack([rng.uniform(west, east, 300), rng.uniform(south, north, 300)], axis=1)
    frame = geopandas.GeoDataFrame(geometry=geopandas.points_from_xy(*places.T), crs=4326).to_crs(32654)
    frame.geometry = frame.buffer(rng.uniform(20, 80, 300))
    frame.to_file(tmp_path / "hand.geojson", driver="GeoJSON")
    with pytest.warns(UserWarning, match="taken for ground"):
        card = cut_patches(scene, tmp_path / "out", PatchOptions(tmp_path / "hand.geojson"))
    assert card["channels"] == ["red", "green", "blue", "slope", "dem"] and card["scene"]["crs"] == "EPSG:4326"
    index = geopandas.read_file(tmp_path / "out" / "patches.gpkg").to_crs(32654)
    merged = {split: rows.union_all() for split, rows in index[index["left_out"].isna()].groupby("split").geometry}
    assert merged["train"].distance(merged["valid"]) >= card["cutting"]["buffer_m"] * 0.999  # UTM's scale, 0.9996
    assert set(open_splits(load_config(tmp_path / "out" / "config.yaml"), tmp_path / "out")) == set(FOLDERS)


@pytest.mark.slow
def test_from_a_scene_and_polygons_to_a_map_by_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["synth", "--scene", "s.tif"]) == 0
    words = ["patches", "s.tif", "s_truth.gpkg", "--dem", "s_dem.tif", "--out", "cut", "--json", "--seed", "1"]
    capsys.readouterr()
    assert main(words) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["layout"] == "landslide4sense" and card["synthetic"]
    with h5py.File("cut/TrainData/img/image_1.h5") as file:
        image = file["img"][()]
        assert image.shape == (128, 128, 14) and image.dtype == np.float64 and file["img"].chunks is None
    index = geopandas.read_file("cut/patches.gpkg")
    first = index[(index["split"] == "train") & (index["number"] == 1)].iloc[0]
    with rasterio.open("s.tif") as stack:
        numbers = stack.read(4, window=Window(first["row"], first["column"], 128, 128).for_rasterio())
    red = image[..., 3] * LANDSLIDE4SENSE.bands[3].scale * 1e4
    np.testing.assert_allclose(red[numbers > 0], numbers[numbers > 0], rtol=1e-6)
    tiny = ["model.architecture=plain_unet", "model.encoder=null", "model.options={width: 4, depth: 2}"]
    assert main(["train", "cut/config.yaml", *tiny, "training.epochs=1", "--data", "cut", "--out", "run"]) == 0
    assert main(["map", "run", "s.tif", "--dem", "s_dem.tif", "--out", "map"]) == 0
    assert json.loads(Path("map/summary.json").read_text())["shape"] == [512, 512]


@pytest.mark.long
def test_a_layout_of_one_s_own_goes_all_the_way(tmp_path, bands, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file_of(Path("p.gpkg"), landslides())
    assert main(["patches", *bands, "p.gpkg", "--out", "cut", "--size", "32", "--buffer", "100"]) == 0
    tiny = ["model.architecture=plain_unet", "model.encoder=null", "model.options={width: 4, depth: 2}"]
    assert main(["train", "cut/config.yaml", *tiny, "training.epochs=1", "--data", "cut", "--out", "run"]) == 0
    assert main(["map", "run", *bands, "--out", "map"]) == 0
    assert main(["inspect", "cut", "--layout", "cut/layout.yaml", "--allow-missing", "--ignore", "255"]) == 0
