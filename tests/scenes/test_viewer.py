"""``map.html`` as text: nothing of another host, nothing that a file's name could run, bounded."""

import base64
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from shapely import box

from tests.scenes.looks import landslide, small_map
from tf_landslide.scenes import viewer
from tf_landslide.scenes.attributes import Found
from tf_landslide.scenes.viewer import viewer_html

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7*7 }}"


def page(shown=None, found=None, **changes):
    default = small_map()
    options = {"title": "t", "facts": [("model", "m")], "threshold": 0.5} | changes
    return viewer_html(shown or default[0], found or default[1], **options)


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the text of its scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.found, self.texts, self._open = [], {}, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self._open = tag if tag in ("script", "style") else None

    def handle_data(self, data):
        if self._open:
            self.texts.setdefault(self._open, []).append(data)

    def handle_endtag(self, tag):
        self._open = None


def data_of(text):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])


def picture_of(text, name):
    source = re.search(rf'id="image-{name}" src="data:image/\w+;base64,([^"]+)"', text)[1]
    return Image.open(io.BytesIO(base64.b64decode(source)))


def test_it_names_no_other_host_and_its_policy_forbids_them():
    text = page()
    elements = Elements(text)
    for tag, attributes in elements.found:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        for name in ("src", "href", "srcset", "action", "data"):
            assert attributes.get(name, "data:").startswith("data:")
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    assert not re.search(r"https?://|//\w+\.\w", re.sub(r"data:[^\"]+", "", text))
    (policy,) = (a["content"] for t, a in elements.found if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; ") and "unsafe" not in policy
    for kind in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(elements.texts[kind][-1].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_what_files_say_is_text_and_nothing_else():
    shown, found = small_map()
    evil = replace(found, attributes=[replace(row, det_method=EVIL, source_ids=EVIL) for row in found.attributes])
    text = page(shown, evil, title=EVIL, facts=[(EVIL, EVIL)], notes=[EVIL])
    plain, hurt = Elements(page(shown, found, notes=["n"])), Elements(text)
    assert [tag for tag, _ in hurt.found] == [tag for tag, _ in plain.found]
    data = data_of(text)
    column = [name for name, *_ in data["fields"]].index("det_method")
    assert data["landslides"][0]["values"][column] == EVIL and "49" not in re.search(r"<h1>(.*?)</h1>", text, re.S)[1]


@pytest.mark.parametrize("name", ["utm", "degrees"])
def test_pixels_are_as_large_as_on_the_ground(name):
    from pyproj import Geod, Transformer

    shown, _ = small_map(name)
    data, grid = data_of(page(shown)), shown.scene
    to = Transformer.from_crs(grid.crs, 4326, always_xy=True)
    for row, width in zip(np.linspace(0, grid.shape[0] - 1, 17), data["pixelWidths"], strict=True):
        (x, y), (east, _) = grid.transform @ (150, row + 0.5), grid.transform @ (151, row + 0.5)
        metres = Geod(ellps="WGS84").inv(*to.transform(x, y), *to.transform(east, y))[2]
        assert width == pytest.approx(metres, rel=1e-3)


def test_pictures_and_outlines_are_the_maps():
    shown, found = small_map(factor=2)
    text = page(shown, found)
    probability = picture_of(text, "probability").convert("RGBA")
    assert probability.size == (150, 100)
    alpha = np.asarray(probability)[..., 3]
    np.testing.assert_array_equal(alpha > 0, np.isfinite(shown.probability))
    mask = np.asarray(picture_of(text, "mask").convert("RGBA"))[..., 3]
    np.testing.assert_array_equal(mask > 0, np.nan_to_num(shown.marked) > 0)
    picture = np.asarray(picture_of(text, "picture"))
    assert picture.shape == (100, 150, 3) and np.abs(picture[:, -6:].astype(int) - 236).max() < 12
    first = data_of(text)["landslides"][0]
    assert first["id"] == 1 and len(first["rings"]) == 2
    outer = np.reshape(first["rings"][0], (-1, 2))
    assert outer.min(0).tolist() == [40, 40] and outer.max(0).tolist() == [100, 100]


def test_the_largest_are_drawn_and_the_page_says_so(monkeypatch):
    shown, _ = small_map()
    t = shown.scene.transform
    geometries = [box(t.c + 20 * i, t.f - 20, t.c + 20 * i + 10, t.f - 10) for i in range(30)]
    found = Found(geometries, [landslide(i + 1) for i in range(30)])
    assert "are drawn" not in page(shown, found)
    monkeypatch.setattr(viewer, "MOST_POLYGONS", 12)
    text = page(shown, found)
    assert "The 12 largest of 30 landslides are drawn" in text and len(data_of(text)["landslides"]) == 12
    monkeypatch.setattr(viewer, "MOST_POINTS", 26)
    assert len(data_of(page(shown, found))["landslides"]) == 5
    assert "Map of 30 landslides" in text


def test_a_map_without_landslides():
    shown, _ = small_map()
    assert data_of(page(shown, Found([], [])))["landslides"] == []


def test_a_full_tiles_page_is_bounded():
    """Noise, which compresses worst, at a preview's full size."""
    shown, found = small_map()
    rng = np.random.default_rng(0)
    side = 2000
    probability = rng.random((side, side)).astype(np.float32)
    picture = rng.integers(0, 255, (side, side, 3), np.uint8)
    large = replace(shown, picture=picture, valid=probability > -1, probability=probability, marked=probability)
    assert len(page(large, found)) < 25e6
