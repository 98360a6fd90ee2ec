import json
from pathlib import Path

import numpy as np
import pytest

from tf_landslide.core.errors import LandslideError
from tf_landslide.data.folders import Patch
from tf_landslide.data.groups import Groups
from tf_landslide.data.source import PatchSource
from tf_landslide.runs.config import load_config


def source(data_dir, *numbers, folder="TrainData/img"):
    patches = [Patch(n, Path(data_dir) / folder / f"image_{n}.h5", None) for n in numbers]
    return PatchSource(Path(data_dir), patches, ("red",), np.ones(len(patches), bool), lambda _: (), (4, 4, 1))


def write(path, value):
    path.write_text(json.dumps(value))
    return path


def test_nothing_asked_is_no_groups():
    assert Groups.read(None, None) is None and load_config("unet").data.groups.read("anywhere") is None


def test_a_pattern_is_searched_in_the_images_names_in_the_sources_order(tmp_path):
    groups = Groups.read(None, r"_(\d)\d*\.h5$")
    opened = source(tmp_path, 31, 4, 12, 35)
    assert groups.of(opened).tolist() == ["3", "4", "1", "3"]
    assert groups.of(opened.subset(np.array([2, 0]))).tolist() == ["1", "3"]


@pytest.mark.parametrize(
    "content",
    [
        {"TrainData/image_1.h5": "10_17", "ValidData/image_1.h5": "99_1", "TrainData/image_2.h5": "3_1"},
        {"TrainData/image_1": "10_1", "image_1": "99_2", "image_2": "3_8"},
        {"image_1.h5": "10_1", "image_2.h5": "3_8"},
        {"TrainData": {"1": "10_x", "2": "3_x"}, "ValidData": {"1": "99_x"}},
    ],
)
def test_a_file_names_patches_in_several_ways_the_splits_folder_first(tmp_path, content):
    write(tmp_path / "of.json", content)
    opened = source(tmp_path, 1, 2)
    assert Groups.read("of.json", r"^(\d+)_", tmp_path).of(opened).tolist() == ["10", "3"]
    whole = list(Groups.read("of.json", None, tmp_path).of(opened))
    assert [name.split("_")[0] for name in whole] == ["10", "3"] and all("_" in name for name in whole)


def test_the_mirrored_layout_is_named_by_its_split(tmp_path):
    write(tmp_path / "of.json", {"train/image_1": "north", "validation/image_1": "south"})
    assert Groups.read("of.json", None, tmp_path).of(source(tmp_path, 1, folder="images/train")).tolist() == ["north"]


@pytest.mark.parametrize(
    ("content", "pattern", "said"),
    [
        (None, None, r"of\.json: no such file"),
        ({"image_1": "a"}, None, r"of\.json: has no group for .*image_2\.h5; expected a key 'TrainData/image_2\.h5'"),
        ({"image_1": "a", "image_2": 0.5}, None, "'image_2': expected the name of a group, found 0.5"),
        ({"image_1": "a", "image_2": ""}, None, "'image_2': expected the name of a group"),
        ({"image_1": "1_a", "image_2": "b"}, r"^(\d+)_", r"'b', of image_2\.h5, has no group by data\.groups\.pattern"),
        ({"image_1": "a"}, "a", "has 0 groups, expected one"),
        ({"image_1": "a"}, "(a", "is no regular expression"),
    ],
)
def test_a_patch_without_a_group_is_one_clear_line(tmp_path, content, pattern, said):
    if content is not None:
        write(tmp_path / "of.json", content)
    with pytest.raises(LandslideError, match=said) as error:
        Groups.read("of.json", pattern, tmp_path).of(source(tmp_path, 1, 2))
    assert "\n" not in str(error.value)


def test_a_config_finds_its_file_beside_itself_else_with_the_data(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "data").mkdir()
    config = tmp_path / "configs" / "c.yaml"
    config.write_text("data: {groups: {file: of.json}}")
    write(tmp_path / "data" / "of.json", {"image_1": "with the data"})
    opened = source(tmp_path / "data", 1)
    assert load_config(config).data.groups.read(tmp_path / "data").of(opened) == ["with the data"]
    write(tmp_path / "configs" / "of.json", {"image_1": "beside"})
    assert load_config(config).data.groups.read(tmp_path / "data").of(opened) == ["beside"]


def test_a_pattern_is_checked_with_the_config():
    with pytest.raises(LandslideError, match=r"data\.groups\.pattern: '\(a': is no regular expression"):
        load_config("unet", ["data.groups.pattern=(a"])


def test_sources_of_real_patches(real_data):
    numbers = range(1, 276)
    groups = Groups.read("source_patches.json", r"^(\d+)_", real_data / "mmls").of(source(real_data / "mmls", *numbers))
    said = json.loads((real_data / "mmls" / "source_patches.json").read_text())
    assert groups.tolist() == [said[f"TrainData/image_{n}.h5"].split("_")[0] for n in numbers]
    assert len(set(groups)) == 20
