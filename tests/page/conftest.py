"""A folder of two models for the page's tests."""

import shutil

import pytest

from tf_landslide.data.folders import find_patches
from tf_landslide.page.library import Library, find_models


@pytest.fixture(scope="session")
def two_models(tmp_path_factory, exported):
    """The tiny model under two names."""
    folder = tmp_path_factory.mktemp("page_models")
    for name in ("tiny", "twin"):
        shutil.copytree(exported.parent, folder / name)
    return folder


@pytest.fixture(scope="session")
def library(two_models):
    return Library(find_models([two_models]))


@pytest.fixture(scope="session")
def patches(sample):
    return find_patches(sample, "test")


@pytest.fixture
def namesakes(patches, tmp_path):
    """Two patches of one file name, and their masks."""
    for i, folder in enumerate(("a", "b")):
        (tmp_path / folder).mkdir()
        shutil.copy(patches[i].image, tmp_path / folder / "image_1.h5")
        shutil.copy(patches[i].mask, tmp_path / folder / "mask_1.h5")
    return [tmp_path / "a", tmp_path / "b"]
