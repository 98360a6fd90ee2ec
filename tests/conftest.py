"""Shared fixtures. TensorFlow starts slowly, so one tiny dataset and one tiny trained run serve all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
ROOT = Path(__file__).parents[1]

TINY_CONFIG = """
name: tiny
description: a toy on the synthetic sample landscape
model: {architecture: plain_unet, encoder: null, options: {width: 4, depth: 2}}
training: {epochs: 2, batch_size: 4, learning_rate: 0.003, seed: 3}
"""


@pytest.fixture(scope="session")
def sample(tmp_path_factory) -> Path:
    """A small synthetic sample landscape. Read only: tests that change files work on a copy."""
    from tf_landslide.data.synthetic import write_sample

    folder = tmp_path_factory.mktemp("data") / "sample"
    write_sample(folder, train=10, valid=6, test=5, seed=7)
    return folder


@pytest.fixture(scope="session")
def config_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(TINY_CONFIG)
    return path


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory, sample, config_file) -> Path:
    """A run of the tiny config, made by the command line. Read only."""
    from tf_landslide.cli.main import main

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    assert main(["train", str(config_file), "--data", str(sample), "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def exported(tmp_path_factory, run_folder) -> Path:
    """The tiny run as MODELS/NAME/1."""
    from tf_landslide.jobs.export import export_run
    from tf_landslide.runs.folder import Run

    return export_run(Run.open(run_folder), tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real data; see docs/data.md."""
    for candidate in (os.environ.get("TF_LANDSLIDE_DATA"), ROOT.parent / "shared" / "data"):
        if candidate and (Path(candidate) / "landslide4sense_samples").is_dir():
            return Path(candidate)
    pytest.skip("needs the real samples: set TF_LANDSLIDE_DATA to a folder with landslide4sense_samples/ and mmls/")


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium, by Playwright."""
    import shutil

    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def copy(sample, tmp_path) -> Path:
    """A copy of the sample whose files a test may break."""
    import shutil

    return Path(shutil.copytree(sample, tmp_path / "copy"))
