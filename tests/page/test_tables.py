"""Numbers over many patches, against scikit-learn, and the files that carry them."""

import csv
import io
import json
import zipfile

import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

from tf_landslide.page.analysis import Analysis, analyse, sentence, status
from tf_landslide.page.downloads import write_downloads
from tf_landslide.page.tables import PATCH_COLUMNS, TOTAL_COLUMNS, as_csv, patch_table, records, total_table, totals
from tf_landslide.page.uploads import Upload, read_uploads
from tf_landslide.predict.result import Result


def made(card, probability, mask, name="p.h5", pixel_size=10.0):
    """An upload and a result of any numbers."""
    shape = np.shape(probability)
    upload = Upload(name, np.zeros((*shape, 6), np.float32), None, mask)
    return upload, {"m": Result(name, card, np.asarray(probability, np.float32), 0.5, pixel_size, seconds=0.5)}


@pytest.fixture(scope="module")
def card(library):
    return library.card("tiny")


@pytest.fixture(scope="module")
def many(card):
    """Four patches of different sizes; the last without a mask, the third with nothing in it."""
    rng = np.random.default_rng(0)
    pairs = []
    for i, side in enumerate((16, 8, 12, 10)):
        probability = rng.random((side, side)) * (0 if i == 2 else 1)
        mask = None if i == 3 else (rng.random((side, side)) < (0 if i == 2 else 0.3)).astype(np.uint8)
        pairs.append(made(card, probability, mask, f"image_{i}.h5"))
    uploads, results = zip(*pairs, strict=True)
    return Analysis(list(uploads), list(results))


def test_totals_are_those_of_all_pixels(many):
    (total,) = totals(records(many))
    judged = [(u, r["m"]) for u, r in zip(many.uploads, many.results, strict=True) if u.mask is not None]
    true = np.concatenate([u.mask.ravel() for u, _ in judged])
    marked = np.concatenate([(r.probability >= 0.5).ravel() for _, r in judged])
    for name, score in (
        ("f1", f1_score),
        ("precision", precision_score),
        ("recall", recall_score),
        ("iou", jaccard_score),
    ):
        assert total[name] == pytest.approx(score(true, marked))
    everywhere = np.concatenate([(r["m"].probability >= 0.5).ravel() for r in many.results])
    assert total["landslide_fraction"] == pytest.approx(everywhere.mean())
    assert total["landslide_area_m2"] == everywhere.sum() * 100
    assert (total["patches"], total["patches_with_mask"], total["pixels"]) == (4, 3, everywhere.size)
    (row,) = total_table(records(many))
    cells = dict(zip(TOTAL_COLUMNS, row, strict=True))
    assert cells["hectares"] == f"{everywhere.sum() / 100:,.2f}" and cells["F1"] == f"{f1_score(true, marked):.4f}"


def test_there_is_no_total_area_where_one_patch_has_none(card):
    uploads, results = zip(
        made(card, np.ones((4, 4)), None, "a.h5"), made(card, np.ones((4, 4)), None, "b.h5", None), strict=True
    )
    rows = records(Analysis(list(uploads), list(results)))
    assert totals(rows)[0]["landslide_area_m2"] is None and total_table(rows)[0][-5:] == ["1.00", "–", "–", "–", "–"]


def test_a_score_that_is_not_defined_is_a_dash(card):
    nothing, all_ = np.zeros((4, 4), np.uint8), np.ones((4, 4), np.uint8)
    for probability, mask, defined in (
        (0.0, nothing, set()),  # nothing to find, nothing marked
        (1.0, nothing, {"F1", "precision", "IoU"}),
        (0.0, all_, {"F1", "recall", "IoU"}),
        (1.0, all_, {"F1", "precision", "recall", "IoU"}),
    ):
        upload, results = made(card, np.full((4, 4), probability), mask)
        analysis = Analysis([upload], [results])
        (row,) = patch_table(records(analysis))
        cells = dict(zip(PATCH_COLUMNS, row, strict=True))
        assert {name for name in ("F1", "precision", "recall", "IoU") if cells[name] != "–"} == defined
    upload, results = made(card, np.zeros((4, 4)), nothing)
    assert "F1 –, precision –, recall –, IoU –" in sentence(Analysis([upload], [results]), 0, "m")


def test_csv_is_read_back_and_holds_no_formula(many):
    many.uploads[0] = Upload("=1+1.h5", many.uploads[0].image, None, many.uploads[0].mask)
    rows = list(csv.DictReader(io.StringIO(as_csv(records(many)))))
    assert [row["file"] for row in rows] == ["'=1+1.h5", "image_1.h5", "image_2.h5", "image_3.h5"]
    assert rows[3]["tp"] == "" and int(rows[1]["tp"]) == many.results[1]["m"].counts(many.uploads[1].mask)["tp"]
    assert rows[2]["f1"] == ""


def test_namesakes_are_stored_apart(library, namesakes, tmp_path):
    uploads, _ = read_uploads([folder / "image_1.h5" for folder in namesakes])
    analysis = analyse(library, uploads, ["tiny"])
    archive, _ = write_downloads(analysis, tmp_path / "d")
    with zipfile.ZipFile(archive) as zipped:
        for entry, results in zip(json.loads(zipped.read("summary.json")), analysis.results, strict=True):
            stored = np.load(io.BytesIO(zipped.read(entry["files"][0])))
            np.testing.assert_array_equal(stored, results["tiny"].probability)


def test_files_of_names_that_run_together_are_stored_apart(card, tmp_path):
    (first, results), (second, _) = (made(card, np.zeros((4, 4)), None, name) for name in ("a_b.h5", "a.h5"))
    (result,) = results.values()
    analysis = Analysis([first, second], [{"c": result, "C": result}, {"b_c": result, "b c": result}])
    _, files = write_downloads(analysis, tmp_path / "d")
    names = [path.name.casefold() for path in files]
    assert len(names) == len(set(names)) == 3 + 4 * 3


def test_layouts_that_do_not_fit_are_one_sentence(library, patches, real_data):
    mars = sorted((real_data / "mmls").rglob("image_*.h5"))[:5]
    uploads, _ = read_uploads([patches[0].image, *mars])
    analysis = analyse(library, uploads, library.names)
    assert list(analysis.results[0]) == library.names and not any(analysis.results[1:])
    (problem,) = analysis.problems
    names = [upload.name for upload in uploads[1:]]
    assert problem.startswith(f"{', '.join(names[:3])} and 2 more: in layout 'mmls'; tiny, twin: made for layout")
    assert status(analysis).count("⚠") == 1


def test_a_run_that_is_cancelled_keeps_what_was_done(library, patches):
    uploads, _ = read_uploads([patch.image for patch in patches[:4]])
    said = []
    analysis = analyse(
        library, uploads, library.names, lambda share, what: said.append((share, what)), lambda: len(said) >= 4
    )
    assert [list(results) for results in analysis.results] == [["tiny"], ["tiny"], ["tiny"], []]
    assert analysis.problems == ["cancelled after 3 of 8; what was done until then is shown"]
    shares = [share for share, _ in said]
    assert shares == sorted(shares) and shares[-1] < 1
