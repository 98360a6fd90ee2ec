"""The page's switch "refine by rules": what it shows is what ``predict --objects`` writes."""

import csv
import io
import json
import zipfile

import numpy as np
import pytest
import yaml
from PIL import Image

from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError
from tf_landslide.objects.rules import SHIPPED, Rules
from tf_landslide.page import views
from tf_landslide.page.analysis import analyse, refine, sentence, status
from tf_landslide.page.downloads import write_downloads
from tf_landslide.page.refining import read_rules
from tf_landslide.page.tables import as_csv, patch_table, records, table, totals
from tf_landslide.page.uploads import read_uploads

WORDS = yaml.safe_load((SHIPPED / "landslide.yaml").read_text())


@pytest.fixture(scope="module")
def plain(library, patches):
    uploads, problems = read_uploads([p.image for p in patches[:2]], [p.mask for p in patches[:2]])
    assert not problems
    return analyse(library, uploads, library.names)


@pytest.fixture(scope="module")
def refined(plain):
    return refine(plain, read_rules(None))


def written(path, **changed):
    path.write_text(yaml.safe_dump(WORDS | changed))
    return path


@pytest.mark.parametrize("threshold", [None, 0.3])
def test_what_is_shown_is_what_predict_writes(refined, patches, exported, tmp_path, threshold):
    words = ["predict", str(exported), str(patches[0].image), "--objects", "landslide", "--out", str(tmp_path)]
    assert main([*words, *([] if threshold is None else ["--threshold", str(threshold)])]) == 0
    stem = patches[0].image.stem
    expected, network = (
        np.asarray(Image.open(tmp_path / f"{stem}_{kind}.png")) == 255 for kind in ("mask", "mask_pixels")
    )
    for result in refined.at(0, threshold).values():
        np.testing.assert_array_equal(result.mask(), expected)
        np.testing.assert_array_equal(result.network_mask(), network)
    assert (expected != network).any()


def test_tables_have_the_network_s_row_and_the_refined_one(plain, refined):
    rows = records(refined, 0.3)
    assert [row["refined_by"] for row in rows] == [None, "landslide"] * 4
    without = [{key: value for key, value in row.items() if key != "refined_by"} for row in rows[::2]]
    assert without == records(plain, 0.3)
    mask, true = refined.at(1, 0.3)["twin"].mask(), refined.uploads[1].mask == 1
    row = rows[-1]
    assert (row["tp"], row["fp"], row["fn"]) == ((mask & true).sum(), (mask & ~true).sum(), (~mask & true).sum())
    assert row["landslide_fraction"] == pytest.approx(mask.mean()) and row["seconds"] > rows[-2]["seconds"]
    both = totals(rows)
    named = [(row["model"], row["refined_by"]) for row in both]
    assert named == [(model, by) for model in ("tiny", "twin") for by in (None, "landslide")]
    assert both[1]["tp"] == sum(r["tp"] for r in rows if r["model"] == "tiny" and r["refined_by"])
    assert [line[0] for line in table(refined, 0)[:2]] == ["tiny", "tiny, refined by landslide"]
    assert len(patch_table(rows)) == 8
    assert next(csv.DictReader(io.StringIO(as_csv(rows[1:]))))["refined_by"] == "landslide"
    assert "refined_by" not in as_csv(records(plain))


def test_words_say_what_refined_it_and_what_that_is_worth(plain, refined):
    said = sentence(refined, 0, "tiny").replace("\\", "")
    share = 100 * refined.network_at(0)["tiny"].mask().mean()
    assert "refined by rules landslide" in said and f"{share:.2f} % by the network alone" in said
    assert "not fitted to this model" in said and "Left out of the rules: ndwi_mean" in said and "(" in said
    assert "refined" not in sentence(plain, 0, "tiny") and status(refined) == status(plain)


def test_rules_that_cannot_be_asked_leave_the_network_s_word(plain, tmp_path):
    rules = Rules.read(written(tmp_path / "r.yaml", segments={"layers": ["nir"]}))
    found = refine(plain, rules)
    said = status(found).replace("\\", "")
    assert "image_1.h5 is not refined: " in said and "segments need one of nir" in said
    assert all(result.refined is None for result in found.at(0).values())
    assert len(records(found)) == 4 and not plain.problems and refine(found, None).refining is None


def test_a_refinement_that_is_cancelled_keeps_what_was_done(plain):
    asked = iter([False, True])
    found = refine(plain, read_rules(None), cancelled=lambda: next(asked))
    assert [result.refined is not None for result in found.at(0).values()] == [True, False]
    assert "cancelled after 1 of 4" in status(found)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("mine.yaml", "a: [", "mine.yaml: is not valid YAML in line 1"),
        ("mine.yaml", "name: mine", "mine.yaml: sets: is missing"),
        ("mine.yaml", yaml.safe_dump(WORDS | {"accpt": 1}), "mine.yaml: unknown key of rules 'accpt'; did you mean"),
        ("mine.yaml", yaml.safe_dump(WORDS | {"forest": "f.npz"}), "mine.yaml: names a forest"),
        ("mine.txt", "", "unknown ending of a file of rules '.txt'"),
    ],
)
def test_a_wrong_file_of_rules_is_one_line_without_our_folders(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(LandslideError) as error:
        read_rules(str(tmp_path / name))
    assert str(error.value).startswith(said) and "\n" not in str(error.value) and str(tmp_path) not in str(error.value)


def test_downloads_hold_both_masks(refined, tmp_path):
    archive, files = write_downloads(refined, tmp_path / "d", 0.3)
    stem = refined.uploads[0].name.removesuffix(".h5")
    result = refined.at(0, 0.3)["tiny"]
    for kind, mask in (("mask", result.mask()), ("mask_pixels", result.network_mask())):
        found = np.asarray(Image.open(tmp_path / "d" / f"{stem}_tiny_{kind}.png"))
        np.testing.assert_array_equal(found, np.where(mask, 255, 0))
    with zipfile.ZipFile(archive) as zipped:
        rows = json.loads(zipped.read("summary.json"))
        assert sorted(zipped.namelist()) == sorted(path.name for path in files) and len(files) == 2 * 2 * 4 + 3
    assert len(rows) == 8 and rows[1]["refined_by"] == "landslide"
    assert f"{stem}_tiny_mask_pixels.png" in rows[1]["files"]


def test_pictures_show_the_network_s_mask_beside_the_refined_one(refined):
    upload, result = refined.uploads[0], refined.at(0, 0.3)["tiny"]
    pictures = {caption: picture for picture, caption in views.prediction(upload, result)}
    for who, mask in (("network", result.network_mask()), ("refined", result.refined)):
        np.testing.assert_array_equal(pictures[f"mask, {who}"][::4, ::4, 0], mask * 255)
        assert any(caption.startswith(f"{who}: hits") for caption in pictures)
    changed = views.changes(upload, result)
    added = (changed == views.CHANGES["added"]).all(-1)
    np.testing.assert_array_equal(added, result.refined & ~result.network_mask())
    left, right = views.overlays(upload, result, 0.5)
    assert (left != right).any()
    image, _ = views.overlays(upload, refined.network_at(0)["tiny"], 0.5)
    np.testing.assert_array_equal(image, views.before_and_after(upload, result.refined, 0.5)[0])


def test_the_switch_keeps_patch_model_and_threshold(library, plain, tmp_path):
    import gradio as gr

    from tf_landslide.page.components import layout
    from tf_landslide.page.handlers import Handlers

    with gr.Blocks():
        page = layout([], library.names)
    handlers = Handlers(library, tmp_path, page)
    key = handlers.store.put(plain)
    on = handlers.refined(True, None, key, 1, "twin", 0.3, 0.5)
    assert on[page.key] != key and "refined by" in on[page.words] and "0.300" in on[page.words]
    assert "Network" in on[page.before_after].label and not on[page.files].visible
    wrong = handlers.refined(True, str(tmp_path / "no.yaml"), on[page.key], 1, "twin", 0.3, 0.5)
    assert list(wrong) == [page.note] and "no such rules" in wrong[page.note]
    assert handlers.arrive(on[page.key], 0.5)[page.refine] is True  # a reload
    off = handlers.refined(False, None, on[page.key], 1, "twin", 0.3, 0.5)
    assert off[page.words] == sentence(plain, 1, "twin", 0.3)
    assert page.words not in handlers.refined(True, None, None, None, None, None, 0.5)  # before anything was run
    assert "no longer kept" in handlers.refined(True, None, "other", None, None, None, 0.5)[page.note]


def test_the_memory_of_a_run_is_that_of_all_models_refined_at_two_thresholds(plain, patches):
    analysis = refine(plain, read_rules(None))
    for number in range(2):
        analysis.at(number, 0.3)
    images = [patch.image for patch in patches[:2]]
    uploads, problems = read_uploads(images, most_bytes=analysis.nbytes, models=2)
    assert len(uploads) == 2 and not problems
    uploads, problems = read_uploads(images, most_bytes=analysis.nbytes - 1, models=2)
    assert len(uploads) == 1 and "of bands and results of 2 models at most" in problems[0]


def test_all_models_are_counted_before_they_run(library, patches, tmp_path):
    import gradio as gr

    from tf_landslide.page.components import layout
    from tf_landslide.page.handlers import Handlers
    from tf_landslide.page.store import Store

    with gr.Blocks():
        page = layout([], library.names)
    pixels = 128 * 128
    handlers = Handlers(library, tmp_path, page, store=Store(each=2 * pixels * (4 * (14 + 6) + 1 + 10)))
    images = [str(patch.image) for patch in patches[:2]]
    one = handlers.run(images, [], "tiny", 0.5, progress=lambda *_: None)
    assert "left out" not in one[page.note]
    every = handlers.run_all(images, [], 0.5, progress=lambda *_: None)
    assert f"{patches[1].image.name}: left out" in every[page.note].replace("\\", "")


def test_nothing_that_begins_a_run_can_be_clicked_during_one(library, tmp_path):
    """A second one would take the event by which the first is cancelled."""
    from types import SimpleNamespace

    import gradio as gr

    from tf_landslide.page.components import layout
    from tf_landslide.page.handlers import Handlers

    with gr.Blocks():
        page = layout([], library.names)
    handlers, tab = Handlers(library, tmp_path, page), SimpleNamespace(session_hash="tab")
    begins = (page.one, page.every, page.refine, page.rules)
    for change, free in ((handlers.begin(tab), False), (handlers.rest(tab), True)):
        assert set(change) == set(page.busy)
        assert [change[part].interactive for part in begins] == [free] * 4
