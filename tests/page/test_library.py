"""Models to choose from: damaged ones beside sound ones, names, and who waits for whom."""

import shutil
import threading

import pytest

from tf_landslide.core.errors import LandslideError
from tf_landslide.page import library as module
from tf_landslide.page.analysis import analyse
from tf_landslide.page.library import TRUST, Library, find_models
from tf_landslide.page.uploads import read_uploads


def spoil_card(model):
    next(model.rglob("model_card.json")).write_text('{"name": "x"')


def spoil_card_values(model):
    next(model.rglob("model_card.json")).write_text('{"name": "x", "channels": 3}')


def spoil_graph(model):
    next(model.rglob("saved_model.pb")).write_bytes(b"\xff" * 100)


def spoil_weights(model):
    for path in model.rglob("variables/*"):
        path.write_bytes(b"no weights")


@pytest.mark.slow
@pytest.mark.parametrize("spoil", [spoil_card, spoil_card_values, spoil_graph, spoil_weights])
def test_a_damaged_export_costs_itself_alone(spoil, two_models, exported, patches, tmp_path):
    folder = shutil.copytree(two_models, tmp_path / "models")
    spoil(shutil.copytree(exported.parent, folder / "hurt"))
    library = Library(find_models([folder]))
    assert library.names == ["hurt", "tiny", "twin"]
    analysis = analyse(library, read_uploads([patches[0].image])[0], library.names)
    assert list(analysis.results[0]) == ["tiny", "twin"]
    assert len(analysis.problems) == 1 and analysis.problems[0].startswith("model 'hurt': ")


@pytest.mark.parametrize("content", ["{", "{}", '{"valid": 3}', "[]"])
def test_a_damaged_run_is_listed_with_its_sentence(content, two_models, run_folder, tmp_path):
    folder = shutil.copytree(two_models, tmp_path / "models")
    shutil.copytree(run_folder, folder / "hurt")
    (folder / "hurt" / "metrics.json").write_text(content)
    library = Library(find_models([folder]))
    faults = library.faults()
    assert list(faults) == ["hurt"] and faults["hurt"].startswith("model 'hurt': ") and "\n" not in faults["hurt"]


def test_the_menus_name_stands_on_the_card_and_in_errors(two_models, real_data):
    library = Library(find_models([two_models]))
    assert library.card("twin").name == "twin" and library.predictor("twin").card.name == "twin"
    assert library.details("twin").startswith("# twin") and TRUST in library.details("twin")
    mars = next((real_data / "mmls").rglob("image_*.h5"))
    (problem,) = analyse(library, read_uploads([mars])[0], ["twin"]).problems
    assert "twin" in problem and "tiny" not in problem


def test_a_model_that_loads_keeps_nobody_waiting(two_models, monkeypatch):
    library, loading, go_on = Library(find_models([two_models])), threading.Event(), threading.Event()
    library.predictor("tiny")
    load = module.load_predictor

    def slowly(location):
        loading.set()
        assert go_on.wait(30)
        return load(location)

    monkeypatch.setattr(module, "load_predictor", slowly)
    found = []
    threads = [threading.Thread(target=lambda: found.append(library.predictor("twin"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert loading.wait(30)
    answered = threading.Thread(target=lambda: (library.card("twin"), library.predictor("tiny")))
    answered.start()
    answered.join(10)
    waited = answered.is_alive()
    go_on.set()
    for thread in threads:
        thread.join(60)
    assert not waited
    assert found[0] is found[1]  # two who ask for one model load it once


def test_a_model_that_failed_is_tried_again(two_models, monkeypatch):
    library = Library(find_models([two_models]))
    with monkeypatch.context() as broken:
        broken.setattr(module, "load_predictor", lambda _: 1 / 0)
        with pytest.raises(LandslideError, match=r"model 'tiny': .*ZeroDivisionError"):
            library.predictor("tiny")
    assert library.predictor("tiny").card.name == "tiny"
