"""``map.html`` in headless Chromium, driven as a user would; alone, and in a frame's ``srcdoc``."""

import numpy as np
import pytest

from tests.scenes.looks import small_map
from tf_landslide.scenes.viewer import viewer_html

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("browser")]
EVIL = "<img src=x onerror=\"document.title='run'\">"


def html(name="utm", **changes):
    from dataclasses import replace

    shown, found = small_map(name)
    found = replace(found, attributes=[replace(row, **changes) for row in found.attributes])
    return viewer_html(shown, found, title="A map", facts=[("model", "m")], threshold=0.5, notes=["A note."])


class Map:
    """What a user does."""

    def __init__(self, browser, path, text, width=1300, height=850, **options):
        self.asked, self.complaints = [], []
        path.write_text(text)
        self.context = browser.new_context(viewport={"width": width, "height": height}, **options)
        self.page = self.context.new_page()
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("#ruler")
        self.settle()

    def settle(self):
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    @property
    def metres(self):
        """Of a screen pixel, as the scale bar has it."""
        self.settle()
        return float(self.page.get_attribute("#scale", "data-metres-per-pixel"))

    @property
    def picture(self):
        import io

        from PIL import Image

        self.settle()
        return np.asarray(Image.open(io.BytesIO(self.page.locator("#map").screenshot())).convert("RGB")).astype(int)

    @property
    def details(self):
        box = self.page.locator("#details")
        return box.inner_text() if box.is_visible() else ""

    def place(self, column, row):
        """Where a pixel of the whole, shown map lies on the screen."""
        box = self.page.locator("#map").bounding_box()
        k = min(box["width"] / 300, box["height"] / 200) * 0.96
        return box["x"] + box["width"] / 2 + (column - 150) * k, box["y"] + box["height"] / 2 + (row - 100) * k


@pytest.fixture
def shown(browser, tmp_path):
    opened = Map(browser, tmp_path / "map.html", html(det_method=EVIL))
    yield opened
    assert [url for url in opened.asked if not url.startswith(("file:", "data:"))] == [] and not opened.complaints
    opened.context.close()


def test_a_click_tells_a_landslides_attributes_as_text(shown):
    shown.page.mouse.click(*shown.place(45, 45))
    assert "Landslide 1" in shown.details and "27.00 ha" in shown.details and EVIL in shown.details
    shown.page.mouse.click(*shown.place(69, 69))  # in the hole of the first
    assert "Landslide 3" in shown.details
    shown.page.mouse.click(*shown.place(60, 60))  # in the hole, beside it
    assert shown.details == ""
    assert shown.page.title() == "A map"


def test_wheel_buttons_and_keys_zoom_and_the_scale_bar_follows(shown):
    before = shown.metres
    box = shown.page.locator("#map").bounding_box()
    assert before == pytest.approx(10 / (min(box["width"] / 300, box["height"] / 200) * 0.96), rel=2e-3)
    shown.page.click("#in")
    assert shown.metres == pytest.approx(before / 1.6)
    shown.page.focus("#map")
    shown.page.keyboard.press("-")
    assert shown.metres == pytest.approx(before / 1.6 * 1.5)
    shown.page.keyboard.press("0")
    assert shown.metres == pytest.approx(before)
    shown.page.mouse.move(*shown.place(150, 100))
    shown.page.mouse.wheel(0, -400)
    shown.page.wait_for_function(f"Number(document.querySelector('#scale').dataset.metresPerPixel) < {0.8 * before}")
    length = shown.page.inner_text("#length").strip()
    width = shown.page.locator("#ruler").bounding_box()["width"]
    metres = float(length.split()[0]) * (1000 if "km" in length else 1)
    assert width * shown.metres == pytest.approx(metres, rel=0.02) and 20 < width <= 161


def test_dragging_and_arrows_move_it(shown):
    before = shown.picture
    shown.page.click("#in")
    shown.page.click("#in")
    zoomed = shown.picture
    x, y = shown.place(150, 100)
    shown.page.mouse.move(x, y)
    shown.page.mouse.down()
    shown.page.mouse.move(x + 60, y + 40, steps=4)
    shown.page.mouse.up()
    dragged = shown.picture
    inner = np.s_[200:500, 200:500]
    moved = np.roll(zoomed, (40, 60), (0, 1))
    assert np.abs(dragged[inner] - moved[inner]).mean() < 2 < np.abs(dragged[inner] - zoomed[inner]).mean()
    assert shown.details == ""  # a drag is no click
    shown.page.focus("#map")
    shown.page.keyboard.press("ArrowRight")
    assert np.abs(shown.picture - dragged).mean() > 2
    shown.page.keyboard.press("0")
    assert np.abs(shown.picture - before)[100:-100, 100:-100].mean() < 2


def test_the_list_zooms_to_one_and_the_keyboard_suffices(shown):
    names = shown.page.locator("#largest button").all_inner_texts()
    assert [name.split("\n")[0].strip() for name in names] == ["Landslide 1", "Landslide 2", "Landslide 3"]
    before = shown.metres
    shown.page.locator("#largest button").nth(2).focus()
    shown.page.keyboard.press("Enter")
    assert "Landslide 3" in shown.details and shown.metres < before / 4
    assert shown.page.get_attribute("#largest button >> nth=2", "aria-pressed") == "true"
    shown.page.focus("#close")
    shown.page.keyboard.press("Enter")
    assert shown.details == "" and shown.page.evaluate("document.activeElement.id") == "map"


def test_layers_come_and_go(shown):
    def colour(column, row):
        x, y = shown.place(column, row)
        box = shown.page.locator("#map").bounding_box()
        return shown.picture[round(y - box["y"]), round(x - box["x"])]

    shown.page.uncheck("#show-outlines")
    plain = shown.picture
    shown.page.check("#show-probability")
    assert np.abs(shown.picture - plain).mean() > 5
    assert np.abs(colour(295, 100) - 236).max() < 14  # nothing can be told there
    shown.page.fill("#opacity-probability", "0")
    assert np.abs(shown.picture - plain).mean() < 0.5
    shown.page.check("#show-mask")
    assert np.abs(shown.picture - plain).mean() > 0.5
    shown.page.uncheck("#show-picture")
    shown.page.uncheck("#show-mask")
    ground = colour(20, 20)
    assert np.abs(ground - (0xDF, 0xE3, 0xE8)).max() < 3
    shown.page.mouse.click(*shown.place(45, 45))
    assert shown.details == ""  # what is not shown is not told


def test_on_a_grid_of_degrees_metres_are_true_and_north_is_up(browser, tmp_path):
    from pyproj import Geod

    opened = Map(browser, tmp_path / "map.html", html("degrees"))
    grid = small_map("degrees")[0].scene
    west, south, east, north = grid.bounds
    geod = Geod(ellps="WGS84")
    wide, tall = (
        geod.inv(west, (south + north) / 2, east, (south + north) / 2)[2],
        geod.inv(west, south, west, north)[2],
    )
    box = opened.page.locator("#map").bounding_box()
    assert opened.metres == pytest.approx(max(wide / box["width"], tall / box["height"]) / 0.96, rel=3e-3)
    assert "rotate(0" in opened.page.get_attribute("#needle", "transform") or "rotate(-0" in opened.page.get_attribute(
        "#needle", "transform"
    )
    opened.context.close()


def test_two_fingers_zoom_on_a_telephone_and_nothing_is_wider_than_it(browser, tmp_path):
    opened = Map(
        browser, tmp_path / "map.html", html(), 390, 844, has_touch=True, is_mobile=True, device_scale_factor=2
    )
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390
    before = opened.metres
    x, y = opened.place(150, 100)
    session = opened.context.new_cdp_session(opened.page)
    for kind, apart in (("touchStart", 40), ("touchMove", 60), ("touchMove", 80), ("touchEnd", None)):
        points = [] if apart is None else [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert opened.metres == pytest.approx(before / 2, rel=0.05)
    opened.page.click("#all")
    opened.page.locator("#map").tap(position={"x": x, "y": 5})
    opened.page.touchscreen.tap(*opened.place(45, 45))
    assert "Landslide 1" in opened.details and not opened.complaints
    opened.context.close()


def test_it_stands_in_a_frame_too(browser, tmp_path):
    import html as escaping

    opened = browser.new_page()
    asked = []
    opened.on("request", lambda request: asked.append(request.url))
    frame = f'<iframe sandbox="allow-scripts" srcdoc="{escaping.escape(html())}" width="1000" height="700"></iframe>'
    (tmp_path / "frame.html").write_text(f"<!DOCTYPE html><body>{frame}")
    opened.goto((tmp_path / "frame.html").as_uri())
    inside = opened.frame_locator("iframe")
    inside.locator("#largest button").nth(1).click()
    assert "4.80 ha" in inside.locator("#details").inner_text()
    assert not [url for url in asked if not url.startswith(("file:", "data:", "about:"))]
    opened.close()


def test_words_stand_out_from_their_ground(shown):
    """WCAG 2.2, 1.4.3: 4.5 to 1, of every text on its opaque ground."""
    shown.page.mouse.click(*shown.place(45, 45))
    worst = shown.page.evaluate(
        """() => {
        const parse = (text) => text.match(/[\\d.]+/g).map(Number);
        const linear = (v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        const light = (c) => {
          const [r, g, b] = c.map((v) => linear(v / 255));
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const ground = (e) => {
          for (; e; e = e.parentElement) {
            const c = parse(getComputedStyle(e).backgroundColor);
            if (c.length < 4 || c[3] > 0.8) return c.slice(0, 3);
          }
          return [255, 255, 255];
        };
        let worst = [99, ""];
        for (const e of document.querySelectorAll("h1,h2,dt,dd,p,label,button,span,output")) {
          if (!e.innerText || !e.offsetParent) continue;
          const [a, b] = [light(parse(getComputedStyle(e).color).slice(0, 3)), light(ground(e))];
          const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
          if (ratio < worst[0]) worst = [ratio, e.innerText];
        }
        return worst; }"""
    )
    assert worst[0] >= 4.5, worst
