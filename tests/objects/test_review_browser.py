"""The page of a review in headless Chromium, driven with keyboard and mouse as a reviewer would."""

import io
import json
import re
import shutil

import numpy as np
import pytest
import shapely
from PIL import Image
from playwright.sync_api import expect

from tests.objects.reviews import EVIL, GRID, open_review, polygon, write_review
from tf_landslide.objects.review.agreement import iou
from tf_landslide.objects.review.journal import Decision
from tf_landslide.objects.review.session import session
from tf_landslide.page.review.app import start

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("browser")]
GREEN, RED = (0, 255, 0), (255, 0, 0)


class Reviewer:
    """What a reviewer does, and sees."""

    def __init__(self, browser, address, folder, width=1300, height=850):
        self.asked, self.complaints, self.address = [], [], address
        self.journal = folder / "review" / "ada" / "decisions.jsonl"
        self.context = browser.new_context(viewport={"width": width, "height": height})
        self.page = self.context.new_page()
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.open()

    def open(self, hash=""):
        self.page.goto("about:blank")
        self.page.goto(self.address + hash)
        expect(self.page.locator("#title")).to_contain_text("Polygon")

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def sees(self, selector, text):
        expect(self.page.locator(selector)).to_contain_text(text)

    def is_at(self, number, status):
        expect(self.page.locator("#title")).to_have_text(f"Polygon {number}")
        expect(self.page.locator("#status")).to_have_text(status)

    @property
    def decisions(self):
        return [json.loads(line) for line in self.journal.read_text().splitlines()[1:]]

    def settle(self):
        frame = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        self.page.evaluate(frame)
        expect(self.page.locator("#stage")).to_have_attribute("data-loading", "0")
        self.page.evaluate(frame)

    @property
    def picture(self):
        self.settle()
        return np.asarray(Image.open(io.BytesIO(self.page.locator("#map").screenshot())).convert("RGB")).astype(int)

    def whole(self):
        """Show all of the map; gives where a pixel of the scene lies on the screen."""
        self.press("0")
        self.settle()
        box = self.page.locator("#map").bounding_box()
        k = min(box["width"] / 400, box["height"] / 300) * 0.96
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        return lambda column, row: (middle[0] + (column - 200) * k, middle[1] + (row - 150) * k)

    def click(self, place, *corners):
        for corner in corners:
            self.page.mouse.click(*place(*corner))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_review(tmp_path_factory.mktemp("made") / "review")


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "review")


@pytest.fixture
def reviewer(browser, folder):
    with session(folder, *open_review(folder), "ada") as review:
        page = start(review, "127.0.0.1", 0)
        opened = Reviewer(browser, page.address, folder)
        yield opened
        assert [url for url in opened.asked if not url.startswith((page.address, "about:"))] == []
        assert not opened.complaints
        opened.context.close()
        page.close()


def test_keys_decide_and_go_on_and_a_reload_shows_it(reviewer):
    reviewer.is_at(1, "unreviewed")
    reviewer.press("a", "r", "a")  # quicker than the disk
    reviewer.is_at(4, "unreviewed")
    reviewer.sees("#progress", "3 of 6 reviewed")
    reviewer.press("k", "ArrowLeft")
    reviewer.is_at(2, "rejected")
    reviewer.press("j", "ArrowRight", "ArrowDown", "ArrowUp")
    reviewer.is_at(4, "unreviewed")
    stood = reviewer.decisions
    assert [(d["polygon"], d["status"]) for d in stood] == [(1, "accepted"), (2, "rejected"), (3, "accepted")]
    reviewer.open()
    reviewer.is_at(4, "unreviewed")
    reviewer.sees("#progress", "3 of 6 reviewed")
    reviewer.open("#2")
    reviewer.is_at(2, "rejected")
    reviewer.press("u")
    reviewer.is_at(3, "unreviewed")
    reviewer.sees("#message", "Undone: Polygon 3 is unreviewed")
    reviewer.sees("#progress", "2 of 6 reviewed")


def test_a_shape_is_redrawn_by_clicks_and_keys(reviewer, folder):
    place = reviewer.whole()
    reviewer.press("d")
    reviewer.sees("#message", "click its corners")
    reviewer.press("a")  # is no verdict while one draws
    reviewer.sees("#message", "First close the outline")
    reviewer.click(place, (45, 40), (80, 40), (80, 60), (300, 290))
    reviewer.press("Backspace")
    reviewer.click(place, (45, 60))
    reviewer.press("Enter")
    reviewer.is_at(1, "redrawn")
    (decision,) = reviewer.decisions
    assert iou(shapely.Polygon(decision["ring"]), polygon((45, 40), (80, 40), (80, 60), (45, 60))) > 0.97
    reviewer.sees("#position", "7.")  # hectares: 35 x 20 pixels of 10 m
    reviewer.open("#1")
    reviewer.is_at(1, "redrawn")
    reviewer.press("e")
    reviewer.sees("#message", "reviewed.gpkg")
    assert (folder / "review" / "ada" / "landslides.geojson").is_file()


def test_an_outline_that_crosses_itself_is_refused_and_can_be_mended(reviewer):
    place = reviewer.whole()
    reviewer.press("n")
    reviewer.click(place, (100, 100), (150, 130), (150, 100), (100, 130))
    reviewer.press("Enter")
    reviewer.sees("#message", "the outline crosses itself; take back corners with Backspace")
    assert reviewer.decisions == []
    reviewer.press("Backspace", "Backspace")
    reviewer.click(place, (120, 140))
    reviewer.press("Enter")
    reviewer.is_at(7, "added")
    assert [d["status"] for d in reviewer.decisions] == ["added"]
    reviewer.press("u")
    reviewer.sees("#message", "polygon 7 is gone")
    reviewer.press("n")
    reviewer.click(place, (100, 100), (150, 130))
    reviewer.press("Enter")
    reviewer.sees("#message", "three corners at least")
    reviewer.press("Escape")
    reviewer.sees("#message", "nothing has changed")
    reviewer.complaints[:] = [text for text in reviewer.complaints if "400" not in text]  # Chromium tells refusals


def colours(reviewer, place, column, row):
    box = reviewer.page.locator("#map").bounding_box()
    x, y = place(column, row)
    return reviewer.picture[round(y - box["y"]), round(x - box["x"])]


def nearest(colour):
    return "before" if np.abs(colour - GREEN).sum() < np.abs(colour - RED).sum() else "after"


def test_the_divider_swipes_and_space_flicks(reviewer):
    place = reviewer.whole()
    assert nearest(colours(reviewer, place, 120, 130)) == "before"
    assert nearest(colours(reviewer, place, 280, 130)) == "after"
    handle = reviewer.page.locator("#handle").bounding_box()
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    reviewer.page.mouse.move(x, y)
    reviewer.page.mouse.down()
    reviewer.page.mouse.move(place(320, 0)[0], y + 20, steps=5)
    reviewer.page.mouse.up()
    assert nearest(colours(reviewer, place, 280, 130)) == "before"
    assert nearest(colours(reviewer, place, 340, 130)) == "after"
    reviewer.press(" ")
    assert nearest(colours(reviewer, place, 340, 130)) == "before"
    expect(reviewer.page.locator("#divider")).to_be_hidden()
    reviewer.press(" ")
    assert nearest(colours(reviewer, place, 120, 130)) == "after"
    reviewer.press("s")
    reviewer.page.focus("#divider")
    reviewer.press("ArrowLeft", "ArrowLeft")
    assert nearest(colours(reviewer, place, 310, 130)) == "after"
    reviewer.is_at(1, "unreviewed")  # the arrows were the divider's


def test_the_current_one_is_in_the_middle_and_pictures_and_outlines_fit(reviewer):
    reviewer.press(" ")
    box = reviewer.page.locator("#map").bounding_box()
    middle = box["width"] / 2, box["height"] / 2
    reviewer.press("j")
    reviewer.is_at(2, "unreviewed")
    reviewer.page.mouse.move(box["x"] + middle[0], box["y"] + middle[1])
    x, y = GRID.transform @ (200, 60)
    reviewer.sees("#place", "(EPSG:32654)")
    east, north = map(float, re.findall(r"[\d.]+", reviewer.page.inner_text("#place"))[:2])
    assert abs(east - x) < 10 and abs(north - y) < 10
    with_outlines = reviewer.picture
    reviewer.press("o")
    assert np.abs(reviewer.picture - with_outlines).mean() > 0.3


def test_a_click_on_the_map_chooses_and_comments_are_kept(reviewer):
    place = reviewer.whole()
    reviewer.click(place, (330, 80))
    reviewer.is_at(3, "unreviewed")
    reviewer.press("c")
    reviewer.page.keyboard.type("a road? j a r")
    reviewer.press("Escape")
    reviewer.sees("#message", "Comment saved")
    reviewer.press("r")
    reviewer.is_at(4, "unreviewed")
    reviewer.open("#3")
    reviewer.is_at(3, "rejected")
    assert reviewer.page.input_value("#comment") == "a road? j a r"


def test_the_filter_says_who_is_next(reviewer):
    reviewer.page.select_option("#order", "doubtful")
    reviewer.page.fill("#confidence-to", "0.65")
    reviewer.sees("#position", "not of the 3 that pass the filter")
    reviewer.press("k")  # letters are no part of a number
    reviewer.is_at(4, "unreviewed")
    reviewer.press("k")
    reviewer.is_at(5, "unreviewed")
    reviewer.press("a")
    reviewer.is_at(4, "unreviewed")
    reviewer.page.uncheck("#statuses input[value=unreviewed]")
    reviewer.press("j")
    reviewer.is_at(5, "accepted")
    reviewer.page.check("#statuses input[value=unreviewed]")
    reviewer.page.fill("#confidence-to", "")
    reviewer.page.fill("#area-from", "1.9")
    reviewer.sees("#position", "not of the 5 that pass")  # the one with the hole is smaller
    reviewer.press("Escape", "ArrowRight")
    reviewer.is_at(4, "unreviewed")


def test_what_a_file_says_is_text(reviewer):
    reviewer.sees("#attributes", EVIL)
    reviewer.sees("#attributes", "30.25°")
    assert reviewer.page.title() == "review, reviewed by ada"
    assert reviewer.page.locator("#attributes img").count() == 0


def test_help_and_buttons(reviewer):
    reviewer.press("?")
    expect(reviewer.page.locator("#help")).to_be_visible()
    reviewer.press("a")
    reviewer.press("Escape")
    expect(reviewer.page.locator("#help")).to_be_hidden()
    assert reviewer.decisions == []
    reviewer.page.click("#accept")
    reviewer.is_at(2, "unreviewed")
    reviewer.press(" ")  # flicks, and does not press the button again
    expect(reviewer.page.locator("#divider")).to_be_hidden()
    reviewer.page.focus("#reject")
    reviewer.press("Enter")
    reviewer.is_at(3, "unreviewed")
    assert [d["status"] for d in reviewer.decisions] == ["accepted", "rejected"]


def test_agreement_with_another_reviewer_is_told(browser, folder):
    with session(folder, *open_review(folder), "ben") as other:
        for number, status in enumerate(("accepted", "rejected", "accepted"), 1):
            other.journal.decide(Decision(number, status))
    with session(folder, *open_review(folder), "ada") as review:
        page = start(review, "127.0.0.1", 0)
        opened = Reviewer(browser, page.address, folder)
        opened.press("a", "a", "a")
        opened.is_at(4, "unreviewed")
        opened.page.click("#compare")
        opened.sees("#agreement", "You and ben")
        opened.sees("#agreement", "2: accepted / rejected")
        opened.page.click("#agreement button")
        opened.is_at(2, "accepted")
        opened.context.close()
        page.close()


def test_two_windows_do_not_overwrite_each_other(reviewer):
    second = reviewer.context.new_page()
    second.goto(reviewer.address)
    expect(second.locator("#title")).to_have_text("Polygon 1")
    reviewer.press("a")
    reviewer.is_at(2, "unreviewed")
    second.keyboard.press("r")  # of what is decided already: it is shown first
    expect(second.locator("#progress")).to_have_text("1 of 6 reviewed")
    assert [d["status"] for d in reviewer.decisions] == ["accepted"]
    second.close()


def test_a_server_that_is_gone_is_told_and_nothing_pretends_to_be_saved(browser, folder):
    with session(folder, *open_review(folder), "ada") as review:
        page = start(review, "127.0.0.1", 0)
        opened = Reviewer(browser, page.address, folder)
        opened.press("a")
        opened.is_at(2, "unreviewed")
        page.close()
        opened.press("a")
        opened.sees("#message", "Not saved: the server does not answer")
        opened.is_at(2, "unreviewed")
        opened.context.close()


def test_polygons_without_pictures_and_a_narrow_screen(browser, tmp_path):
    folder = write_review(tmp_path / "bare", pictures=False)
    with session(folder, *open_review(folder), "ada") as review:
        page = start(review, "127.0.0.1", 0)
        opened = Reviewer(browser, page.address, folder, 390, 844)
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390
        expect(opened.page.locator("#divider")).to_be_hidden()
        expect(opened.page.locator("#flick")).to_be_disabled()
        opened.page.click("#accept")
        opened.is_at(2, "unreviewed")
        assert not opened.complaints
        opened.context.close()
        page.close()
