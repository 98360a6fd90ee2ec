"""What is a version, an export, a run: asked of one place, whatever else lies in the folder."""

import shutil

import pytest

from serving.server import models_under
from serving.versions import has_versions, version_folders
from tf_landslide.core.errors import LandslideError
from tf_landslide.page.library import Library, find_models
from tf_landslide.predict.load import load_card, load_predictor
from tf_landslide.runs import formats

NO_VERSIONS = ["²", "1-old", "１", "-3", "3.0", "9223372036854775808", "v4", " 5"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NO_VERSIONS)
def test_a_folder_that_is_no_version_is_none_anywhere(exported, tmp_path, name):
    model = tmp_path / "models" / "tiny"
    shutil.copytree(exported, model / "2")
    shutil.copytree(exported, model / name)
    assert version_folders(model) == {2: model / "2"}
    assert formats.export_version(model) == model / "2" and formats.next_version(model) == model / "3"
    assert load_predictor(model).card == load_card(model)
    library = Library(find_models([tmp_path / "models"]))
    assert library.names == ["tiny"] and "plain_unet" in library.details("tiny")
    (config,) = models_under(tmp_path / "models").model_config_list.config
    assert config.base_path == str(model)


def test_versions_are_ordered_by_number_and_only_folders(tmp_path):
    for name in ("2", "10", "007"):
        (tmp_path / name).mkdir()
    (tmp_path / "11").touch()
    assert sorted(version_folders(tmp_path)) == [2, 7, 10] and has_versions(tmp_path)
    assert not has_versions(tmp_path / "2") and not has_versions(tmp_path / "11")


def test_the_highest_version_that_holds_a_model_is_the_export(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "m" / "9")
    (tmp_path / "m" / "10").mkdir()  # being copied
    assert formats.export_version(tmp_path / "m") == tmp_path / "m" / "9"
    assert formats.export_version(tmp_path / "m" / "9") == tmp_path / "m" / "9"
    assert formats.export_version(tmp_path) is None and not formats.is_export(tmp_path)


def test_a_run_is_told_from_an_export(run_folder, exported):
    assert formats.is_run(run_folder) and formats.is_finished_run(run_folder) and not formats.is_export(run_folder)
    assert formats.is_export(exported) and formats.is_export(exported.parent) and not formats.is_run(exported)


@pytest.mark.parametrize("name", ["a/b", "", "..", "ä", "a b"])
def test_a_model_name_is_a_folder_s_and_a_server_s(name):
    with pytest.raises(LandslideError, match="model name"):
        formats.check_model_name(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (".", ": is a run; name another folder for the report"),
        ("judged/..", ": is a run; name another folder for the report"),
        ("report", "/report: belongs to the run .*; name another folder for the report"),
        ("config.yaml", "/config.yaml: belongs to the run .*; name another folder for the report"),
    ],
)
def test_what_a_run_is_made_of_is_not_written_over(run_folder, name, said):
    with pytest.raises(LandslideError, match=f"^{run_folder}.*{said}$"):
        formats.check_spares_runs(run_folder / name, "folder for the report")
    for other in (run_folder / "report_test", run_folder.parent, run_folder / "report" / "report"):
        formats.check_spares_runs(other, "folder for the report")
