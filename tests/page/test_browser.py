"""The page in headless Chromium, driven as a user would."""

import os
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.serving.test_malformed import resident
from tf_landslide.data.hdf5 import read_image
from tf_landslide.predict.load import load_predictor

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def up(library):
    from tf_landslide.page.app import launch

    page = launch(library, port=0, block=False)
    yield page
    page.close()
    assert not page.folder.exists()


@pytest.fixture(scope="module")
def page_address(up):
    return up.local_url


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


class Page:
    """What a user does."""

    def __init__(self, browser, address, width=1600):
        self.hosts = set()
        self.page = browser.new_page(viewport={"width": width, "height": 1000})
        self.page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))
        self.page.goto(address)
        self.page.wait_for_selector("#run")

    def upload(self, *paths, into="images"):
        self.page.set_input_files(f"#{into} input[type=file]", [str(path) for path in paths])
        self.page.wait_for_selector(f"#{into} .file-preview tr.file >> nth={len(paths) - 1}")

    def run(self, button="run"):
        before = self.words
        self.page.click(f"#{button}")
        self.page.wait_for_function(
            "before => document.querySelector('#words')?.innerText.trim() && "
            "document.querySelector('#words').innerText !== before",
            arg=before,
            timeout=60_000,
        )

    @property
    def words(self):
        words = self.page.query_selector("#words")
        return words.inner_text() if words else ""

    @property
    def status(self):
        return self.page.inner_text("#status")

    def close(self):
        self.page.close()


@pytest.fixture
def page(browser, page_address):
    page = Page(browser, page_address)
    yield page
    assert page.hosts == {page_address.split("/")[2]}  # nothing was asked of any other host
    page.close()


@pytest.fixture(scope="module")
def real_patch(real_data):
    return min((real_data / "landslide4sense_samples" / "img").glob("*.h5"))


def probability_of(exported, path):
    predictor = load_predictor(exported)
    return predictor.from_bands(read_image(path)[None])[1][0, ..., 0]


def test_one_model_on_a_real_patch_then_its_download(page, real_patch, exported, tmp_path):
    page.upload(real_patch)
    page.run()
    expected = probability_of(exported, real_patch)
    assert "Landslide4Sense" in page.status and "128 × 128 pixels" in page.status
    assert f"mean probability {expected.mean():.4f}" in page.words and "the model's own" in page.words
    page.page.click("#prepare")
    page.page.wait_for_selector("#downloads tr.file >> nth=4")
    name = f"{real_patch.stem}_tiny_probability.npy"
    with page.page.expect_download() as download:
        page.page.click(f"#downloads a[download='{name}']")
    download.value.save_as(tmp_path / name)
    np.testing.assert_allclose(np.load(tmp_path / name), expected, atol=1e-6)


def test_all_models_are_shown_side_by_side(page, patches):
    page.upload(patches[0].image)
    page.upload(patches[0].mask, into="masks")
    page.run("run-all")
    page.page.wait_for_selector("#compared img >> nth=3")
    text = page.page.inner_text("#compared") + page.page.inner_text("#numbers")
    for said in ("tiny", "twin", "models that mark it", "mean probability", "recall"):
        assert said in text
    assert "F1" in page.words and f"with the mask {patches[0].mask.name}" in page.status


def test_moving_the_threshold_redraws_without_running_the_model(page, patches, library, exported, monkeypatch):
    page.upload(patches[0].image)
    page.run()
    monkeypatch.setattr(library, "predictor", lambda _: pytest.fail("the model ran again"))
    before = page.page.get_attribute("#before-after img >> nth=1", "src")
    slowest = []
    for value in ("0.05", "0.95", "0.02"):
        started = time.monotonic()
        page.page.fill("#threshold input[type=number]", value)
        page.page.press("#threshold input[type=number]", "Tab")
        page.page.wait_for_function(
            "value => document.querySelector('#words').innerText.includes(`threshold ${value}0 (moved`)", arg=value
        )
        slowest.append(time.monotonic() - started)
    marked = 100 * (probability_of(exported, patches[0].image) >= np.float32(0.02)).mean()
    assert f"landslide on {marked:.2f} %" in page.words
    assert page.page.get_attribute("#before-after img >> nth=1", "src") != before
    assert sorted(slowest)[1] < 2.0  # docs/page.md has the figure of an idle machine


def test_a_broken_file_is_a_sentence_and_the_page_stays_usable(page, patches, tmp_path):
    (tmp_path / "broken.h5").write_bytes(b"this is not HDF5")
    page.upload(tmp_path / "broken.h5")
    page.page.click("#run")
    page.page.wait_for_selector("#status >> text=broken.h5: not a readable HDF5 file")
    page.page.click("#images button[aria-label='Clear']")
    page.upload(patches[0].image)
    page.run()
    assert patches[0].image.name in page.words


def test_two_files_and_a_choice_between_them(page, patches):
    page.upload(patches[0].image, patches[1].image)
    page.run()
    assert patches[0].image.name in page.words
    assert f"✓ {patches[0].image.name}, {patches[1].image.name}: Landslide4Sense" in page.status
    page.page.click("#patch input")
    page.page.click(f"[role=option]:has-text('{patches[1].image.name}')")
    page.page.wait_for_function(
        "name => document.querySelector('#words').innerText.includes(name)", arg=patches[1].image.name
    )


def test_the_sample_patch_and_the_keyboard_alone(page):
    page.page.focus("#sample")
    page.page.keyboard.press("Enter")
    page.page.wait_for_selector("#masks .file-preview tr.file", timeout=60_000)
    page.page.focus("#run")
    page.page.keyboard.press("Enter")
    page.page.wait_for_selector("#words strong")
    assert "F1" in page.words


def test_nothing_is_wider_than_a_telephone(browser, page_address, patches):
    page = Page(browser, page_address, width=400)
    page.upload(patches[0].image)
    page.run("run-all")
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 400
    page.close()


def test_nothing_chosen_is_a_sentence(page):
    page.page.click("#run")
    page.page.wait_for_selector("#status >> text=Choose one or more .h5 patches first")


def test_twenty_uploads_at_a_time_are_all_answered_and_a_second_burst_adds_only_what_is_kept(up, patches, exported):
    from gradio_client import Client, handle_file

    expected = f"mean probability {probability_of(exported, patches[0].image).mean():.4f}"
    answers = []

    def one():
        client = Client(up.local_url, verbose=False, download_files=False)
        found = client.predict([handle_file(str(patches[0].image))], [], "tiny", 0.45, api_name="/run")
        answers.append(any(expected in str(part) for part in found))

    def burst():
        threads = [threading.Thread(target=one) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def beside_what_is_kept():
        return resident() - up.handlers.store.nbytes

    burst()
    first = beside_what_is_kept()
    burst()
    assert answers == [True] * 40
    assert beside_what_is_kept() < 1.05 * first


@pytest.mark.usefixtures("page_address")
def test_what_it_writes_is_in_its_own_folder():
    folder = Path(os.environ["GRADIO_TEMP_DIR"])
    assert folder.name.startswith("tf_landslide_page_") and any(folder.iterdir())
