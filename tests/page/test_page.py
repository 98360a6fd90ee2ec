"""What the page does, without a browser."""

import json
import shutil
import zipfile

import h5py
import numpy as np
import pytest
from PIL import Image

from tf_landslide.bands.features import Features
from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError
from tf_landslide.data.hdf5 import read_image, read_mask
from tf_landslide.metrics.counts import scores
from tf_landslide.page import views
from tf_landslide.page.analysis import analyse, sentence, status
from tf_landslide.page.downloads import write_downloads
from tf_landslide.page.library import Library, find_models
from tf_landslide.page.tables import COLUMNS, table
from tf_landslide.page.uploads import COMPUTED, Upload, read_uploads
from tf_landslide.predict.load import load_predictor


def write(path, image, key="img"):
    with h5py.File(path, "w") as file:
        file.create_dataset(key, data=image)
    return path


@pytest.fixture(scope="module")
def analysis(library, patches):
    uploads, problems = read_uploads([p.image for p in patches[:2]], [p.mask for p in patches[:2]])
    assert not problems
    return analyse(library, uploads, library.names)


def test_runs_exports_and_servers_are_found(two_models, run_folder, exported, tmp_path):
    found = find_models([two_models, run_folder.parent], ["grpc://localhost:1/landslide/versions/2"])
    assert Library(found).names == ["tiny", "twin", "tiny_2", "landslide/versions/2 on localhost:1"]
    assert [entry.name for entry in find_models([exported.parent])] == ["tiny"]
    for folder, said in ((tmp_path, "holds neither runs"), (tmp_path / "no", "no such folder")):
        with pytest.raises(LandslideError, match=said):
            find_models([folder])
    with pytest.raises(LandslideError, match="is no server address"):
        find_models([], ["localhost:8500"])


def test_models_are_loaded_on_first_use_and_the_least_used_forgotten(two_models, run_folder):
    library = Library(find_models([two_models, run_folder]), max_loaded=2)
    assert library.loaded == [] and library.card("tiny").architecture == "plain_unet" and library.loaded == []
    first = library.predictor("tiny")
    library.predictor("twin")
    assert library.predictor("tiny") is first
    library.predictor("tiny_2")
    assert library.loaded == ["tiny", "tiny_2"]
    details = library.details("tiny")
    for said in ("plain_unet, 7,589 parameters", "threshold", "| test |", str(two_models / "tiny"), "SYNTHETIC"):
        assert said in details


def test_the_layout_is_detected_and_stated(patches, real_data, tmp_path):
    stored = read_image(patches[0].image)
    channels = np.asarray(Features("landslide4sense", "six")(stored[None]))[0]
    computed = write(tmp_path / "channels_7.h5", channels)
    mars = next((real_data / "mmls").rglob("image_*.h5"))
    uploads, problems = read_uploads([patches[0].image, computed, mars])
    assert not problems
    assert "Landslide4Sense" in uploads[0].form and "14 bands, 128 × 128 pixels" in uploads[0].form
    assert "computed channels (red, green, blue, ndvi, slope, dem)" in uploads[1].form
    assert "MMLS" in uploads[2].form and "ndvi" not in uploads[2].physical
    for name in COMPUTED:
        np.testing.assert_allclose(uploads[0].physical[name], uploads[1].physical[name], rtol=1e-5)
    assert uploads[0].pixel_size == 10 and uploads[1].pixel_size is None


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: p.write_bytes(b"no hdf5"), "x.h5: not a readable HDF5 file"),
        (lambda p: write(p, np.zeros((8, 8, 9))), "x.h5: 'img' has 9 bands; expected 14 (landslide4sense), 7 (mmls)"),
        (lambda p: write(p, np.zeros((8, 8))), "x.h5: 'img' has shape (8, 8), expected (height, width, bands)"),
        (lambda p: write(p, np.zeros((8, 8, 14)), "mask"), "x.h5: has no dataset 'img' (found: 'mask')"),
        (lambda p: write(p, np.full((8, 8, 14), np.inf)), "x.h5: 896 values are NaN or infinite"),
        (lambda p: write(p, np.zeros((2049, 2048, 7), np.uint8)), "x.h5: is 2049 × 2048 pixels; the page takes"),
    ],
)
def test_a_wrong_file_gets_a_sentence_and_the_others_are_used(make, said, patches, tmp_path):
    make(tmp_path / "x.h5")
    uploads, problems = read_uploads([tmp_path / "x.h5", patches[0].image])
    assert [u.name for u in uploads] == [patches[0].image.name]
    assert len(problems) == 1 and problems[0].startswith(said) and str(tmp_path) not in problems[0]


def test_masks_are_paired_by_number_or_with_the_only_image(patches, tmp_path):
    uploads, problems = read_uploads([p.image for p in patches[:2]], [patches[1].mask, patches[2].mask])
    assert uploads[0].mask is None and problems == [
        f"{patches[2].mask.name}: belongs to none of the images; they are paired by the number in their names"
    ]
    np.testing.assert_array_equal(uploads[1].mask, read_mask(patches[1].mask))
    (upload,), problems = read_uploads([patches[0].image], [patches[2].mask])
    assert upload.mask is None and len(problems) == 1 and "belongs to none" in problems[0]
    unnumbered = shutil.copy(patches[0].mask, tmp_path / "label.h5")
    (upload,), problems = read_uploads([patches[0].image], [unnumbered])
    assert upload.mask is not None and upload.mask_name == "label.h5" and not problems
    uploads, problems = read_uploads([p.image for p in patches[:2]], [unnumbered])
    assert [u.mask for u in uploads] == [None, None] and problems[0].startswith("label.h5: belongs to none")
    small = write(tmp_path / "mask_1.h5", np.zeros((64, 64)), "mask")
    uploads, problems = read_uploads([patches[0].image], [small])
    assert uploads[0].mask is None and "mask_1.h5: the mask is (64, 64), its image (128, 128)" in problems[0]


def test_results_equal_a_direct_call(analysis, exported, patches):
    predictor = load_predictor(exported)
    for patch, results in zip(patches, analysis.results, strict=False):
        _, expected = predictor.from_bands(read_image(patch.image)[None])
        assert list(results) == ["tiny", "twin"]
        for result in results.values():
            np.testing.assert_allclose(result.probability, expected[0, ..., 0], atol=1e-6)


def test_computed_channels_give_what_stored_bands_give(library, patches, analysis, tmp_path):
    channels = np.asarray(Features("landslide4sense", "six")(read_image(patches[0].image)[None]))[0]
    uploads, _ = read_uploads([write(tmp_path / "c.h5", channels)])
    result = analyse(library, uploads, ["tiny"]).results[0]["tiny"]
    np.testing.assert_allclose(result.probability, analysis.results[0]["tiny"].probability, atol=1e-5)
    assert result.summary()["landslide_area_m2"] is None


def test_the_summary_is_what_the_masks_say(analysis):
    upload, result = analysis.uploads[0], analysis.results[0]["tiny"]
    for threshold in (None, 0.2):
        mask = result.probability >= np.float32(result.card.threshold if threshold is None else threshold)
        row = analysis.at(0, threshold)["tiny"].summary(upload.mask)
        assert row["landslide_fraction"] == pytest.approx(mask.mean())
        assert row["landslide_area_m2"] == mask.sum() * 100
        true = upload.mask == 1
        expected = scores((mask & true).sum(), (mask & ~true).sum(), (~mask & true).sum())
        assert row["f1"] == pytest.approx(expected["f1"]) and row["recall"] == pytest.approx(expected["recall"])
    cells = table(analysis, 0, 0.2)
    assert len(cells) == 2 and all(len(row) == len(COLUMNS) for row in cells)
    assert "moved from" in sentence(analysis, 0, "tiny", 0.2) and "F1" in sentence(analysis, 0, "tiny")


def test_a_model_of_another_layout_is_a_sentence(library, real_data):
    mars = next((real_data / "mmls").rglob("image_*.h5"))
    uploads, _ = read_uploads([mars])
    analysis = analyse(library, uploads, ["tiny"])
    assert analysis.results == [{}]
    (problem,) = analysis.problems
    assert problem.startswith(f"{mars.name}: in layout 'mmls'; tiny: made for layout 'landslide4sense'")


def test_pictures(analysis):
    upload, results = analysis.uploads[0], analysis.at(0, 0.4)
    mask = results["tiny"].mask()
    before, after = views.before_and_after(upload, mask, 0.5)
    assert before.shape == after.shape == (512, 512, 3) and before.dtype == np.uint8
    changed = (before != after).any(-1)[::4, ::4]
    assert changed[mask].mean() > 0.9 and not changed[~mask].any()
    pictures = {name: p for p, name in views.prediction(upload, results["tiny"])}
    assert list(pictures)[:3] == ["probability", "mask", "ground truth"]
    np.testing.assert_array_equal(pictures["mask"][::4, ::4, 0], mask * 255)
    np.testing.assert_array_equal(pictures["ground truth"][::4, ::4], upload.mask[..., None] * np.uint8([255] * 3))
    assert [c for _, c in views.inputs(upload)] == ["RGB", "NDVI", "slope", "hillshade"]
    compared = views.comparison(upload, results, 0.45)
    assert [c for _, c in compared] == ["tiny", "twin", "models that mark it", "mean probability"]
    low, high = views.PROBABILITY.picture(np.array([[0.0, 1.0]]))[0]
    assert low.tolist() == [13, 8, 135] and high.tolist() == [240, 249, 33]  # the ends of Matplotlib's plasma
    assert views.PROBABILITY.picture(np.array([[np.nan]]))[0, 0].tolist() == [128, 128, 128]


def test_missing_values_and_odd_sizes_are_shown(library, patches, tmp_path):
    image = read_image(patches[0].image)[:50, :70]
    image[:5, :5] = np.nan
    (upload,), problems = read_uploads([write(tmp_path / "i.h5", image)])
    assert not problems and upload.missing == 350
    analysis = analyse(library, [upload], ["tiny"])
    assert "; 350 missing values" in status(analysis).replace("\\", "")
    result = analysis.results[0]["tiny"]
    assert result.probability.shape == (50, 70) and np.isfinite(result.probability).all()
    for picture, _ in [*views.inputs(upload), *views.prediction(upload, result)]:
        assert picture.shape[0] >= 350 and picture.shape[1:] == (490, 3)  # a colour bar is below some


def test_downloads_can_be_read_and_are_all_in_the_zip(analysis, tmp_path):
    archive, files = write_downloads(analysis, tmp_path / "d", 0.3)
    assert len(files) == 2 * 2 * 3 + 3
    stem = analysis.uploads[1].name.removesuffix(".h5")
    probability = np.load(tmp_path / "d" / f"{stem}_twin_probability.npy")
    np.testing.assert_array_equal(probability, analysis.results[1]["twin"].probability)
    mask = np.asarray(Image.open(tmp_path / "d" / f"{stem}_twin_mask.png"))
    np.testing.assert_array_equal(mask, np.where(probability >= np.float32(0.3), 255, 0))
    with zipfile.ZipFile(archive) as zipped:
        assert sorted(zipped.namelist()) == sorted(path.name for path in files)
        rows = json.loads(zipped.read("summary.json"))
    assert len(rows) == 4 and rows[0]["threshold"] == 0.3 and rows[0]["layout"] == "landslide4sense"


def test_a_server_gives_what_the_folder_gives(models_server, patches, library):
    uploads, _ = read_uploads([patches[0].image])
    remote = Library(find_models([], [models_server]))
    (name,) = remote.names
    ours = analyse(library, uploads, ["tiny"]).results[0]["tiny"]
    theirs = analyse(remote, uploads, [name]).results[0][name]
    np.testing.assert_allclose(theirs.probability, ours.probability, atol=1e-5)
    assert theirs.card.threshold == ours.card.threshold and "plain_unet" in remote.details(name)


@pytest.fixture(scope="module")
def models_server(two_models):
    from tests.serving.conftest import running

    with running(two_models) as server:
        yield f"grpc://localhost:{server.port}/tiny"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--host", "host.invalid"), "host.invalid:7860: "),
        (("--models", "nowhere"), "nowhere: no such folder of models"),
        (("--server", "localhost:1"), "localhost:1: is no server address"),
    ],
)
def test_what_keeps_the_page_from_starting_is_one_line(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["page", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and said in error and error.count("\n") == 1


def test_uploads_without_a_layout_keep_their_numbers():
    upload = Upload("c.h5", np.arange(24, dtype=np.float32).reshape(2, 2, 6), None)
    assert upload.physical["dem"].tolist() == [[5, 11], [17, 23]]
