"""The page's tab for scenes: what is refused, what is said, and a map in the browser."""

import json
import shutil
import threading
import time
import zipfile

import numpy as np
import pytest
import rasterio

from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError
from tf_landslide.jobs.map_options import named_bands
from tf_landslide.jobs.page_map import map_request
from tf_landslide.objects.rules import SHIPPED
from tf_landslide.page import scenes
from tf_landslide.page.scene_tab import remembered, scene_layout
from tf_landslide.page.scenes import SceneHandlers, check_geotiff, framed
from tf_landslide.scenes.synthetic import write_scene


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_scene(tmp_path_factory.mktemp("scene") / "s.tif", size=128, seed=2)


@pytest.fixture
def handlers(library, tmp_path):
    import gradio as gr

    with gr.Blocks():
        tab = scene_layout(*remembered())
    return SceneHandlers(library, tmp_path, tab, map_request)


PLAIN = {"smooth": True, "refine": False, "rules": None}
ADVANCED = {"area": 0, "window": 128, "scale": "", "offset": "", "nodata": "0"}


@pytest.fixture
def asked(files):
    return {
        "scene": str(files.scene),
        "dem": str(files.dem),
        "model": "tiny",
        "bands": "",
        **PLAIN,
        **ADVANCED,
    }


def ended(handlers, key):
    """What the page is told of a run when it is over."""
    until = time.monotonic() + 60
    while not handlers.runs.get(key).over:
        assert time.monotonic() < until
        time.sleep(0.02)
    return handlers.look(key)


def test_a_scene_is_mapped_and_its_files_are_there(handlers, files, asked):
    tab = handlers.tab
    begun = handlers.start(**asked)
    key = begun[tab.key]
    assert begun[tab.cancel].visible and not begun[tab.run].interactive and begun[tab.clock].active
    changes = ended(handlers, key)
    said, shown = changes[tab.note], changes[tab.map]
    assert "landslides" in said and "SYNTHETIC" in said and shown.startswith("<iframe ") and shown.endswith("</iframe>")
    folder = handlers.runs.get(key).out
    names = {path.name for path in folder.iterdir()}
    assert {"map.zip", "landslides.gpkg", "landslides.geojson", "probability.tif", "mask.tif", "map.html"} <= names
    assert changes[tab.files].visible and "map.zip" in str(changes[tab.files].value[0])
    with zipfile.ZipFile(folder / "map.zip") as zipped:
        assert str(files.scene.parent).encode() not in b"".join(map(zipped.read, zipped.namelist()))
        summary = json.loads(zipped.read("summary.json"))
    assert f"{summary['landslides']:,} landslides" in said and summary["polygons"]["smooth"]
    assert summary["tiles"]["window"] == 128 and not changes[tab.cancel].visible
    again = handlers.arrive(key)  # the page is loaded again: the same map, and no other's
    assert again[tab.map] == shown and tab.map not in handlers.arrive("other")
    assert handlers.arrive("other")[tab.key] is None


def test_a_scene_is_refined_and_its_objects_are_told(library, tmp_path, asked, run_folder):
    """By a file of rules, and as ``map --objects`` does it."""
    import gradio as gr

    told = []

    def mapping(request, predictor, out, tell):
        def watch(*stage):
            told.append(stage)
            tell(*stage)

        return map_request(request, predictor, out, watch)

    rules = tmp_path / "mine.yaml"
    rules.write_text((SHIPPED / "landslide.yaml").read_text().replace("name: landslide", "name: mine", 1))
    with gr.Blocks():
        handlers = SceneHandlers(library, tmp_path, scene_layout(*remembered()), mapping)
    key = handlers.start(**(asked | {"refine": True, "rules": str(rules)}))[handlers.tab.key]
    said = ended(handlers, key)[handlers.tab.note].replace("\\", "")
    assert said.count("refined by objects (rules mine)") == 1 and "not fitted to this model" in said
    assert "The rules' ndwi_mean cannot be told of this scene" in said
    assert told[:2] == [("blocks", 0, 1), ("blocks", 1, 1)]  # the last one too
    assert [stage[0] for stage in told] == ["blocks", "blocks", "objects", "objects", "polygons", "pictures"]
    assert [stage[1:] for stage in told if stage[0] == "objects"] == [(0, 1), (1, 1)]
    words = ["map", str(run_folder), asked["scene"], "--dem", asked["dem"], "--out", str(tmp_path / "map")]
    words += ["--window", "128", "--overlap", "32", "--objects", str(rules), "--min-area", "0", "--smooth"]
    assert main(words) == 0
    for name in ("mask.tif", "mask_pixels.tif"):
        with rasterio.open(handlers.runs.get(key).out / name) as a, rasterio.open(tmp_path / "map" / name) as b:
            np.testing.assert_array_equal(a.read(1), b.read(1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"refine": True, "rules": __file__}, "unknown ending of a file of rules"),
        ({"scene": None}, "choose a GeoTIFF scene first"),
        ({"model": None}, "no model to map with"),
        ({"dem": None}, "unknown band of the scene"),
        ({"bands": "red:3"}, "expected bands as NAME"),
        ({"bands": "red=99"}, "has 12 bands, no band 99"),
        ({"scale": "a"}, "expected a number as scale, got 'a'"),
        ({"offset": "inf"}, "expected a number as offset"),
    ],
)
def test_what_cannot_be_mapped_is_a_sentence_without_our_folders(handlers, files, asked, change, said):
    tab = handlers.tab
    changes = handlers.start(**(asked | change))
    if tab.key in changes:
        changes = ended(handlers, changes[tab.key])
    text = changes[tab.note].replace("\\", "")
    assert said in text and changes.get(tab.map, "") == "" and str(files.scene.parent) not in text
    assert not list(handlers.runs._folder.glob("scene-*"))


def test_scale_offset_and_no_data_are_those_that_were_given(library, tmp_path, asked):
    given = []

    def mapping(request, *_):
        given.append(request)
        raise LandslideError("seen")

    import gradio as gr

    with gr.Blocks():
        handlers = SceneHandlers(library, tmp_path, scene_layout(*remembered()), mapping)
    for values in ({"scale": "2e-4", "offset": "-0.1", "nodata": " "}, {}):
        ended(handlers, handlers.start(**(asked | values))[handlers.tab.key])
    assert (given[0].scale, given[0].offset, given[0].nodata) == (2e-4, -0.1, None)
    assert (given[1].scale, given[1].offset, given[1].nodata) == (None, None, 0.0)


def test_a_cancelled_map_stops_at_its_next_block_and_leaves_nothing(library, tmp_path, asked):
    """The real job, held after its first block."""
    import gradio as gr

    held, going, told = threading.Event(), threading.Event(), []

    def mapping(request, predictor, out, tell):
        def watch(stage, done, total):
            told.append((stage, done, total))
            if done == 1:
                assert list(out.iterdir())
                held.set()
                assert going.wait(20)
            tell(stage, done, total)

        return map_request(request, predictor, out, watch)

    large = write_scene(tmp_path / "large.tif", size=600, seed=3)
    with gr.Blocks():
        handlers = SceneHandlers(library, tmp_path, scene_layout(*remembered()), mapping)
    changes = handlers.start(**(asked | {"scene": str(large.scene), "dem": str(large.dem)}))
    key = changes[handlers.tab.key]
    assert held.wait(60)
    changes = handlers.cancel(key)
    assert changes[handlers.tab.cancel].value == "Cancelling …"
    going.set()
    assert "Cancelled" in ended(handlers, key)[handlers.tab.note]
    assert told == [("blocks", 0, 4), ("blocks", 1, 4)] and not list(tmp_path.glob("scene-*"))


def test_formats_that_point_elsewhere_and_large_files_are_refused(tmp_path, files, monkeypatch):
    vrt = tmp_path / "v.tif"
    vrt.write_text("<VRTDataset rasterXSize='1' rasterYSize='1'></VRTDataset>")
    damaged = tmp_path / "d.tif"
    damaged.write_bytes(b"II*\0" + b"\xff" * 40)
    for path, said in ((vrt, "is no GeoTIFF"), (damaged, "is a damaged GeoTIFF")):
        with pytest.raises(LandslideError, match=said):
            check_geotiff(path)
    check_geotiff(files.scene)
    huge = tmp_path / "h.tif"
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "height": 60_000, "width": 60_000}
    with rasterio.open(huge, "w", **profile, tiled=True, SPARSE_OK=True):
        pass
    with pytest.raises(LandslideError, match="3,600,000,000 pixels"):
        check_geotiff(huge)
    monkeypatch.setattr(scenes, "MOST_PIXELS", 100)
    with pytest.raises(LandslideError, match="16,384 pixels"):
        check_geotiff(files.scene)


def test_the_frame_holds_its_page_as_an_attribute():
    text = framed('<p title="a">\'&</p></iframe><script>')
    assert text.count("<") == 2 and 'sandbox="allow-scripts"' in text and "allow-same-origin" not in text


def test_bands_by_name():
    assert named_bands(" red=3, green = 2,") == {"red": 3, "green": 2} and named_bands("") == {}


@pytest.mark.slow
def test_in_the_browser_a_scene_becomes_a_map(browser, library, files, tmp_path):
    from tf_landslide.page.app import launch

    up = launch(library, port=0, block=False, mapping=map_request)
    try:
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        hosts = set()
        page.on("request", lambda request: hosts.add(request.url.split("/")[2]) if "://" in request.url else None)
        page.goto(up.local_url)
        page.get_by_role("tab", name="Scene").click()
        page.set_input_files("#scene input[type=file]", str(files.scene))
        page.set_input_files("#dem input[type=file]", str(files.dem))
        page.wait_for_selector("#dem .file-preview tr.file")
        page.wait_for_selector("#scene .file-preview tr.file")
        page.get_by_role("button", name="Advanced").click()
        page.fill("#scene-area input", "0")
        page.click("#scene-run")
        inside = page.frame_locator("#scene-map iframe")
        inside.locator("#map").wait_for(timeout=60_000)
        assert "landslides" in page.inner_text("#scene-status")
        assert inside.locator("#length").inner_text().endswith("m")
        with page.expect_download() as download:
            page.click("#scene-downloads a[download='probability.tif']")
        download.value.save_as(tmp_path / "p.tif")
        with rasterio.open(tmp_path / "p.tif") as raster:
            assert raster.shape == (128, 128) and np.isfinite(raster.read(1)).mean() > 0.8
        assert hosts == {up.local_url.split("/")[2]}
        page.reload()
        page.get_by_role("tab", name="Scene").click()
        inside.locator("#map").wait_for(timeout=20_000)
        assert "landslides" in page.inner_text("#scene-status")
        other = browser.new_context().new_page()  # of somebody else
        other.goto(up.local_url)
        other.get_by_role("tab", name="Scene").click()
        other.wait_for_selector("#scene-run")
        assert other.locator("#scene-map iframe").count() == 0
        other.context.close()
        broken = shutil.copy(__file__, tmp_path / "broken.tif")
        page.set_input_files("#scene input[type=file]", broken)
        page.wait_for_selector("#scene .file-preview tr.file")
        page.click("#scene-run")
        page.wait_for_function("() => document.querySelector('#scene-status').innerText.includes('is no GeoTIFF')")
        page.close()
    finally:
        up.close()
