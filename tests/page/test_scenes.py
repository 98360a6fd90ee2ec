"""The page's tab for scenes: what is refused, what is said, and a map in the browser."""

import json
import shutil
import zipfile

import numpy as np
import pytest
import rasterio

from tf_landslide.core.errors import LandslideError
from tf_landslide.jobs.map_options import named_bands
from tf_landslide.jobs.page_map import map_request
from tf_landslide.page import scenes
from tf_landslide.page.scenes import SceneHandlers, check_geotiff, framed, scene_layout
from tf_landslide.scenes.synthetic import write_scene


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_scene(tmp_path_factory.mktemp("scene") / "s.tif", size=128, seed=2)


@pytest.fixture
def handlers(library, tmp_path):
    import gradio as gr

    with gr.Blocks():
        tab = scene_layout()
    return SceneHandlers(library, tmp_path, tab, map_request)


def test_a_scene_is_mapped_and_its_files_are_there(handlers, files):
    said, shown, given = handlers.map(str(files.scene), str(files.dem), "tiny", "", 0, True)
    assert "landslides" in said and "SYNTHETIC" in said and shown.startswith("<iframe ") and shown.endswith("</iframe>")
    folder = next(handlers.folder.glob("scene-*"))
    names = {path.name for path in folder.iterdir()}
    assert {"map.zip", "landslides.gpkg", "landslides.geojson", "probability.tif", "mask.tif", "map.html"} <= names
    assert given.visible and "map.zip" in str(given.value[0])
    with zipfile.ZipFile(folder / "map.zip") as zipped:
        assert str(files.scene.parent).encode() not in b"".join(map(zipped.read, zipped.namelist()))
        summary = json.loads(zipped.read("summary.json"))
    assert f"{summary['landslides']:,} landslides" in said and summary["polygons"]["smooth"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scene": None}, "choose a GeoTIFF scene first"),
        ({"model": None}, "no model to map with"),
        ({"dem": None}, "unknown band of the scene"),
        ({"bands": "red:3"}, "expected bands as NAME"),
        ({"bands": "red=99"}, "has 12 bands, no band 99"),
    ],
)
def test_what_cannot_be_mapped_is_a_sentence_without_our_folders(handlers, files, change, said):
    given = {"scene": str(files.scene), "dem": str(files.dem), "model": "tiny", "bands": "", "area": 0, "smooth": False}
    text, shown, _ = handlers.map(**(given | change))
    assert said in text.replace("\\", "") and shown == "" and str(files.scene.parent) not in text.replace("\\", "")
    assert not list(handlers.folder.glob("scene-*"))


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
        broken = shutil.copy(__file__, tmp_path / "broken.tif")
        page.click("#scene .label-clear-button, #scene button[aria-label='Clear']")
        page.set_input_files("#scene input[type=file]", broken)
        page.wait_for_selector("#scene .file-preview tr.file")
        page.click("#scene-run")
        page.wait_for_function("() => document.querySelector('#scene-status').innerText.includes('is no GeoTIFF')")
        page.close()
    finally:
        up.close()
