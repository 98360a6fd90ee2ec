import json
import re
import shutil
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from tf_landslide.bands.recipes import channel_recipe
from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError, LandslideWarning
from tf_landslide.core.tables import Table
from tf_landslide.data.source import PatchSource
from tf_landslide.data.synthetic import write_sample
from tf_landslide.evaluation.baselines import baselines
from tf_landslide.evaluation.document import Document, Panels, Plot, Section
from tf_landslide.evaluation.sections import notes, pick_patches, scores_section
from tf_landslide.figures.curves import learning_curve
from tf_landslide.figures.pictures import overlay
from tf_landslide.jobs.adapt import adapt
from tf_landslide.jobs.compare import compare_runs
from tf_landslide.jobs.evaluate import evaluate
from tf_landslide.jobs.prove import _same_validation as same_validation
from tf_landslide.predict.load import load_predictor
from tf_landslide.runs.folder import Run
from tf_landslide.runs.provenance import data_fingerprint


def test_best_median_and_worst_leave_out_patches_with_nothing_to_find():
    assert pick_patches(np.array([np.nan, 0.2, 0.9, 0.5, np.nan])) == {"best": 2, "median": 3, "worst": 1}
    assert pick_patches(np.array([np.nan])) == {}


def test_report_of_a_run_is_whole(run_folder):
    report = run_folder / "report"
    names = {path.name for path in report.iterdir()}
    pictures = {
        "precision_recall.png",
        "over_threshold.png",
        "reliability.png",
        "learning_curve.png",
        "triptych_best.png",
    }
    assert {"report.md", "report.html", "metrics.json", *pictures} <= names
    text = (report / "report.md").read_text()
    for name in names - {"report.md", "report.html", "metrics.json"}:
        assert f"]({name})" in text
        assert min(Image.open(report / name).size) > 200
    assert "chosen on validation" in text
    assert json.loads((report / "metrics.json").read_text()).keys() == {"test"}


def test_a_curve_of_one_epoch_is_a_point():
    history = [{"epoch": 0, "loss": 0.5, "val_loss": 0.6, "f1": 0.1, "val_f1": 0.2}]
    for rows, marker in ((history, "o"), ([*history, history[0] | {"epoch": 1}], "None")):
        lines = [line for axis in learning_curve(rows, "").axes for line in axis.lines]
        assert len(lines) == 4 and {line.get_marker() for line in lines} == {marker}


def test_the_page_is_one_file_that_states_what_it_counts(run_folder):
    page = (run_folder / "report" / "report.html").read_text()
    scores = json.loads((run_folder / "metrics.json").read_text())["test"]
    sources = re.findall(r'(?:src|href|url|action|data)\s*[=(]\s*["\']?([^"\'\s>)]{1,30})', page)
    assert len(sources) == 4 + 3 * 4 and all(re.match(r"data:image/(png|svg\+xml);base64,", s) for s in sources)
    assert "tiny: seed " in page and " epochs, bce_dice, learning rate " in page  # which run of many it is
    assert "<script" not in page and "default-src &#39;none&#39;" in page and "SYNTHETIC" in page
    total = 5 * 128 * 128
    assert scores["pixels"] == scores["tp"] + scores["fp"] + scores["fn"] + scores["tn"] == total
    assert f"sum to {total:,}, all of them" in page and f"{scores['tp']:,}" in page
    assert f"{scores['threshold']:.3f}, chosen on validation" in page
    for word in ("slope", "NDVI", "ECE", "RMS-CE", "Brier", "found", "missed", "invented"):
        assert word in page


def test_the_page_escapes_everything():
    from matplotlib.figure import Figure

    bad = "<img src=x onerror=alert(1)>\"'&$\\frac{"
    figure = Figure(figsize=(1, 1))
    figure.suptitle(bad, parse_math=False)
    panels = Panels("p", bad, [(bad, np.zeros((2, 2, 3), np.uint8))], [("#123456", bad)], figure)
    sections = [Section(bad, [bad, Table((bad, bad), [(bad, bad)]), Plot("q", bad, figure), panels])]
    page = Document(bad, bad, [(bad, bad)], [bad], sections, [(bad, bad, bad)]).html()
    assert "<img src=x" not in page and page.count("&lt;img src=x onerror=alert(1)&gt;&#34;&#39;&amp;$") == 22


def test_a_section_without_anything_is_left_out():
    document = Document("t", "l", [], [], [Section("empty", [Table(("a",), []), ""]), Section("full", ["words"])])
    for text in (document.html(), document.markdown()):
        assert "empty" not in text and "full" in text and "words" in text


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (400, "dark")])
def test_a_browser_shows_the_page_and_asks_nobody(browser, run_folder, width, scheme):
    context = browser.new_context(
        java_script_enabled=True, color_scheme=scheme, viewport={"width": width, "height": 900}
    )
    page, asked, said = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto((run_folder / "report" / "report.html").as_uri())
    assert not said and [url for url in asked if not url.startswith("data:")] == [page.url]
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 20)")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ink, ground = page.evaluate(
        "['color', 'backgroundColor'].map(k => getComputedStyle(document.body)[k].match(/\\d+/g).slice(0, 3)"
        ".reduce((sum, n) => sum + Number(n), 0) / 3)"
    )
    assert (ground - ink > 150) if scheme == "light" else (ink - ground > 150)
    context.close()


@pytest.mark.slow
def test_evaluate_agrees_with_what_training_judged(run_folder, sample, tmp_path, capsys):
    before = json.loads((run_folder / "metrics.json").read_text())
    out = tmp_path / "report"
    assert main(["evaluate", str(run_folder), "--data", str(sample), "--out", str(out), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores == before["test"]
    assert json.loads((run_folder / "metrics.json").read_text()) == before
    assert (out / "report.md").exists() and not list(tmp_path.glob(".*"))
    other = tmp_path / "other"
    assert main(["synth", str(other), "--train", "1", "--valid", "0", "--test", "2", "--seed", "99"]) == 0
    assert main(["evaluate", str(run_folder), "--data", str(other), "--out", str(out)]) == 0
    assert json.loads((run_folder / "metrics.json").read_text()) == before  # what training judged stays
    assert str(other) in (out / "report.md").read_text()
    (tmp_path / "file").touch()
    assert main(["evaluate", str(run_folder), "--data", str(other), "--out", str(tmp_path / "file")]) == 2


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Data that no run here was trained on."""
    folder = tmp_path_factory.mktemp("other") / "data"
    write_sample(folder, train=4, valid=3, test=2, seed=99)
    return folder


@pytest.fixture
def holding_out(run_folder, tmp_path):
    """A run that validated on a half of train."""
    run = Path(shutil.copytree(run_folder, tmp_path / "holding_out"))
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("valid_share: null", "valid_share: 0.5"))
    return run


FALSE_OF_OTHERS = re.compile(
    "were trained on|chosen on validation: its|own scores are slightly|chosen on validation, so"
)


@pytest.fixture
def written(monkeypatch):
    """What reports say above their figures, which are not drawn."""
    told: list[str] = []

    def write(run, _predictor, shown, metrics, _out):
        blocks = scores_section(run, shown, metrics).blocks
        told.extend([*notes(run, shown, metrics), *(block for block in blocks if isinstance(block, str))])

    monkeypatch.setattr("tf_landslide.jobs.evaluate.write_report", write)
    return told


@pytest.mark.parametrize("split", ["train", "valid"])
def test_what_is_true_of_its_own_data_alone_is_said_of_no_others(run_folder, sample, other, tmp_path, written, split):
    for data, own in ((sample, True), (other, False)):
        written.clear()
        evaluate(Run.open(run_folder), data, split, tmp_path)
        compared = compare_runs([run_folder], split, data_dir=data)["notes"]
        assert [FALSE_OF_OTHERS.search(" ".join(text)) is not None for text in (written, compared)] == [own] * 2


def landslide_pixels(folder, split):
    masks = [h5py.File(path)["mask"][()] for path in (folder / split / "mask").glob("*.h5")]
    return len(masks), sum(int((mask == 1).sum()) for mask in masks)


@pytest.mark.parametrize(("split", "stored"), [("train", "TrainData"), ("valid", "ValidData")])
def test_other_data_are_judged_whole_by_a_run_that_held_a_part_out(
    holding_out, other, tmp_path, written, split, stored
):
    with pytest.warns(LandslideWarning, match=f"{other}: is not the data that .* was trained on; its splits are taken"):
        scores = evaluate(Run.open(holding_out), other, split, tmp_path)
        compared = compare_runs([holding_out], split, data_dir=other)
    assert (scores["patches"], scores["tp"] + scores["fn"]) == landslide_pixels(other, stored)
    text = " ".join(written)
    assert "share_of_train" not in scores and "is a share" not in text and FALSE_OF_OTHERS.search(text) is None
    assert FALSE_OF_OTHERS.search(" ".join(compared["notes"])) is None
    assert (compared["patches"], compared["landslide"], compared["of_train"]) == (
        *landslide_pixels(other, stored),
        False,
    )


def test_an_adapted_run_still_says_what_its_network_was_trained_on(holding_out, other, tmp_path):
    given = Run.open(holding_out)
    made, _ = adapt(given, other, "train", tmp_path / "adapted", "input")
    assert made.environment["data_fingerprint"] == given.environment["data_fingerprint"]
    with pytest.warns(LandslideWarning, match="its splits are taken whole"):
        compared = compare_runs([made.path], "valid", data_dir=other)
    assert (compared["patches"], compared["landslide"]) == landslide_pixels(other, "ValidData")
    assert "chosen on validation: its" not in " ".join(compared["notes"])
    assert same_validation(made, other)  # short formats of it may be proven on the data that it was adapted to
    with pytest.raises(LandslideError, match=r"is not the data that .* was validated on"):
        same_validation(given, other)


def test_a_run_made_of_others_was_still_chosen_on_their_validation(run_folder, sample, other, tmp_path, written):
    made, _ = adapt(Run.open(run_folder), other, "train", tmp_path / "adapted", "input")
    for data, own in ((sample, True), (other, False)):
        written.clear()
        evaluate(made, data, "valid", tmp_path / "report")
        told = "The epochs of what it is made of were chosen on validation: its scores flatter. Quote a test split."
        assert (told in written) is own


def test_patches_that_were_trained_on_are_told_whatever_split_they_are(run_folder, sample, other, tmp_path, written):
    leak, run = tmp_path / "leak", Path(shutil.copytree(run_folder, tmp_path / "run"))
    shutil.copytree(sample / "TrainData", leak / "TestData")
    labelled = json.loads((run / "environment.json").read_text())
    labelled["pseudo_labels"] = {"sha256": data_fingerprint(other)["test"]["sha256"]}
    (run / "environment.json").write_text(json.dumps(labelled))
    for data, seen in ((leak, True), (other, True), (sample, False)):
        written.clear()
        evaluate(Run.open(run), data, "test", tmp_path / "report")
        compared = compare_runs([run], "test", data_dir=data)["notes"]
        assert any("was trained on these patches" in text for text in written) is seen
        assert ("Trained on these very patches, which are called test here: run." in compared) is seen


@pytest.mark.usefixtures("written")
@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_file_of_groups_names_those_of_its_own_data_alone(run_folder, sample, other, tmp_path, split):
    """Patches are called image_N in every dataset."""
    run, groups = Path(shutil.copytree(run_folder, tmp_path / "run")), tmp_path / "groups.json"
    groups.write_text(json.dumps({f"image_{i}": "north" if i % 2 else "south" for i in range(1, 20)}))
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("file: null", f"file: {groups}"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", LandslideWarning)
        assert evaluate(Run.open(run), sample, split, tmp_path / "own")["groups"] == 2
    with pytest.warns(LandslideWarning, match=f"{groups} says nothing of its groups"):
        assert "groups" not in evaluate(Run.open(run), other, split, tmp_path / "other")
    inside = other / "groups.json"
    inside.write_text(groups.read_text())
    config.write_text(config.read_text().replace(f"file: {groups}", "file: groups.json"))
    try:
        assert evaluate(Run.open(run), other, split, tmp_path / "other")["groups"] == 2
    finally:
        inside.unlink()


@pytest.mark.usefixtures("written")
def test_its_own_data_are_divided_as_they_were_for_a_run_that_held_a_part_out(holding_out, sample, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", LandslideWarning)
        scores = evaluate(Run.open(holding_out), sample, "train", tmp_path)
    assert scores["patches"] == 5
    compared = compare_runs([holding_out], "train", data_dir=sample)
    assert (compared["patches"], compared["of_train"]) == (5, True)


def test_evaluate_counts_equal_a_direct_count(run_folder, sample):
    predictor = load_predictor(run_folder)
    source = PatchSource.open(sample, "test", channel_recipe())
    channels, masks = source.fetch(np.arange(len(source)))
    metrics = json.loads((run_folder / "metrics.json").read_text())["test"]
    marked = predictor(channels) >= np.float32(metrics["threshold"])
    assert metrics["tp"] == int((marked & (masks == 1)).sum())
    assert metrics["fp"] == int((marked & (masks == 0)).sum())
    assert metrics["fn"] == int((~marked & (masks == 1)).sum())


@pytest.mark.parametrize(("split", "said"), [("tset", "no 'tset' split"), ("valid", None)])
def test_evaluate_takes_any_split_there_is(run_folder, sample, tmp_path, capsys, split, said):
    arguments = ["evaluate", str(run_folder), "--data", str(sample), "--split", split, "--out", str(tmp_path / "r")]
    assert main(arguments) == (2 if said else 0)
    if said:
        assert said in capsys.readouterr().err and not (tmp_path / "r").exists()


@pytest.mark.parametrize("own", ["", "report"])
def test_a_report_is_not_written_over_a_run(run_folder, sample, capsys, own):
    before = {path: path.read_bytes() for path in run_folder.rglob("*") if path.is_file()}
    assert main(["evaluate", str(run_folder), "--data", str(sample), "--out", str(run_folder / own)]) == 2
    said = capsys.readouterr().err
    assert str(run_folder / own) in said and "name another folder for the report" in said and said.count("\n") == 1
    assert {path: path.read_bytes() for path in run_folder.rglob("*") if path.is_file()} == before


def test_a_report_names_the_networks_that_a_run_was_made_of(run_folder, sample, tmp_path, monkeypatch):
    run = Path(shutil.copytree(run_folder, tmp_path / "both"))
    members = [
        {"run": name, "sha256": digit * 64, "threshold": 0.4, "architecture": architecture, "encoder": encoder}
        for name, digit, architecture, encoder in (("a", "1", "unet", "resnet18"), ("b", "2", "segformer", "mit_b0"))
    ]
    told = {"members": members, "threshold_from": "chosen on validation", "symmetries": "flips", "temperature": 1.25}
    environment = json.loads((run / "environment.json").read_text())
    (run / "environment.json").write_text(json.dumps(environment | {"combined_from": told}))
    for section in ("curves_section", "calibration_section", "patches_section"):  # drawn for nobody
        monkeypatch.setattr(f"tf_landslide.evaluation.sections.{section}", lambda *_: Section("", []))
    evaluate(Run.open(run), sample, "test", tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "unet + resnet18, segformer + mit_b0 on red, green" in text and "plain_unet" not in text
    for fact in ("made of: a, b", "average: of probabilities", "symmetries: flips", "temperature: 1.25"):
        assert f"- {fact}\n" in text
    assert ", chosen on validation\n" in text and "threshold from" not in text  # said once


def test_overlay_marks_the_mask_and_nothing_else():
    picture = np.full((8, 8, 3), 100, np.uint8)
    mask = np.zeros((8, 8), bool)
    mask[2:6, 2:6] = True
    laid = overlay(picture, mask)
    assert (laid[~mask] == 100).all()
    assert (laid[mask][:, 0] > 150).all()
    assert (laid[2, 2] == [255, 40, 40]).all() and (laid[3, 3] != laid[2, 2]).any()


@pytest.mark.long
def test_baselines_are_what_they_say(sample):
    sources = {split: PatchSource.open(sample, split, channel_recipe()) for split in ("train", "valid", "test")}
    rows = baselines(sources)
    everything, channel, forest = rows.values()
    _, masks = sources["test"].fetch(np.arange(len(sources["test"])))
    share = masks.mean()
    assert everything["f1"] == pytest.approx(2 * share / (1 + share)) and everything["recall"] == 1
    assert everything["f1"] < channel["f1"] < 0.6 and everything["f1"] < forest["f1"] < 0.65
