"""Manifests: what they may name, on this machine and, by https, on another."""

import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tests.scenes.test_inputs import GRID, NAMES, RGB, STORED
from tests.scenes.test_sampler import terrain, write
from tf_landslide.core.errors import LandslideError, LandslideWarning
from tf_landslide.scenes.grid import Grid
from tf_landslide.scenes.inputs import Inputs, open_inputs


def bands(place=""):
    return [{"name": name, "file": f"{place}{name}.tif", "scale": 1e-4, "offset": -0.1} for name in NAMES]


def manifest(folder, name="m.json", **values):
    values = {"bands": bands()} | values
    (folder / name).write_text(json.dumps(values))
    return Inputs((str(folder / name),))


def read(scene, name):
    return scene.read(name, scene.grid.window)


def test_a_manifest_says_all_of_a_scene(folder):
    dem = Grid(GRID.transform, GRID.crs, (45, 55))
    write(folder / "dem.tif", terrain(dem.shape), dem)
    classes = (np.arange(40 * 50).reshape(40, 50) % 12).astype(np.uint8)
    write(folder / "scl.tif", classes, GRID)
    told = {
        "id": "S2B_X",
        "level": "L2A",
        "baseline": "05.09",
        "date": "2018-09-19T01:26:51Z",
        "event_from": "2018-09-06",
        "dem": "dem.tif",
        "clouds": {"file": "scl.tif", "values": [3, 8, 9, 10]},
    }
    with pytest.warns(LandslideWarning, match="is Level-2A .* the model learned Level-1C"):
        scene = open_inputs(manifest(folder, **told), RGB)
    expected = np.where(np.isin(classes, (3, 8, 9, 10)), np.nan, STORED[0] * 1e-4 - 0.1)
    np.testing.assert_allclose(read(scene, "red"), expected, rtol=1e-4, atol=1e-7)
    assert np.isfinite(read(scene, "dem")).all()
    origin = scene.origin
    assert (origin.ids, origin.level, origin.baseline, origin.date) == (("S2B_X",), "2A", "05.09", "2018-09-19")
    assert origin.event_from == "2018-09-06" and scene.source_ids == ("S2B_X",)


@pytest.mark.parametrize("kind", ["manifest", "layout", "options"])
def test_an_offset_alone_leaves_the_usual_scale(folder, kind):
    """Stored 2500 with an offset of -0.1 is 0.15, however it is said."""
    write(folder / "B04.tif", np.full(GRID.shape, 2500, np.uint16), GRID)
    red = {"name": "red", "offset": -0.1}
    if kind == "manifest":
        inputs = manifest(folder, bands=[red | {"file": "B04.tif"}])
    elif kind == "layout":
        made = manifest(folder, bands=[red | {"index": 1}])
        inputs = Inputs((str(folder / "B04.tif"),), layout=Path(made.scene[0]))
    else:
        inputs = Inputs((str(folder / "B04.tif"),), offset=-0.1)
    np.testing.assert_allclose(read(open_inputs(inputs, None), "red"), 0.15, rtol=1e-5)


def test_an_offset_alone_leaves_the_scale_that_the_file_states(folder):
    red = write(folder / "B04.tif", np.full(GRID.shape, 2500, np.uint16), GRID)
    with rasterio.open(red, "r+") as raster:
        raster.scales, raster.offsets = (2e-4,), (-0.1,)
    for inputs in (
        manifest(folder, bands=[{"name": "red", "file": "B04.tif", "offset": -0.1}]),
        Inputs((str(red),), offset=-0.1),
    ):
        np.testing.assert_allclose(read(open_inputs(inputs, None), "red"), 0.4, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_an_offset_alone_does_not_say_the_unit_of_floats_and_bytes(folder, dtype):
    red = write(folder / "B04.tif", np.ones(GRID.shape, dtype), GRID)
    for inputs in (
        manifest(folder, bands=[{"name": "red", "file": "B04.tif", "offset": 0}]),
        Inputs((str(red),), offset=0.0),
    ):
        with pytest.raises(LandslideError, match=f"stores {dtype}.* --scale"):
            open_inputs(inputs, None)


def test_a_baseline_with_offsets_asks_for_one(folder):
    plain = [{"name": name, "file": f"{name}.tif"} for name in NAMES]
    for bare in (plain, [band | {"scale": 1e-4} for band in plain]):
        with pytest.raises(LandslideError, match=r"band 'red': baseline 05\.00 adds an offset .* say offset: -0.1, or"):
            open_inputs(manifest(folder, bands=bare, level="1C", baseline="05.00"), RGB)
    taken_off = [band | {"offset": 0} for band in plain]
    for baseline, said in (("03.01", plain), ("05.00", taken_off)):
        scene = open_inputs(manifest(folder, bands=said, baseline=baseline), RGB)
        np.testing.assert_allclose(read(scene, "red"), STORED[0] * 1e-4, rtol=1e-6)
    for name in NAMES:
        with rasterio.open(folder / f"{name}.tif", "r+") as raster:
            raster.scales, raster.offsets = (1e-4,), (-0.1,)
    scene = open_inputs(manifest(folder, bands=plain, baseline="05.00"), RGB)
    np.testing.assert_allclose(read(scene, "red"), STORED[0] * 1e-4 - 0.1, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("more", [{}, {"scale": 1}, {"offset": 0}, {"scale": 1, "unit": "metres"}])
def test_terrain_is_in_metres_whatever_else_is_said_of_it(folder, more):
    """Sea level is a height, and what Earth does not have is missing."""
    heights = np.tile(np.array([0, -9999, 500, 20_000, -100], np.int16), (GRID.shape[0], 10))
    write(folder / "d.tif", heights, GRID)
    scene = open_inputs(manifest(folder, bands=[*bands(), {"name": "dem", "file": "d.tif", **more}]), None)
    np.testing.assert_array_equal(read(scene, "dem")[0, :5], [0, np.nan, 500, np.nan, -100])


def test_what_is_missing_of_terrain_may_be_said(folder):
    write(folder / "d.tif", np.tile(np.array([0, 500], np.int16), (GRID.shape[0], 25)), GRID)
    for more in ({}, {"scale": 1}):
        dem = {"name": "dem", "file": "d.tif", "nodata": 0, **more}
        scene = open_inputs(manifest(folder, bands=[*bands(), dem]), None)
        np.testing.assert_array_equal(read(scene, "dem")[0, :2], [np.nan, 500])


def test_a_value_of_clouds_hides_also_where_the_mask_s_file_calls_it_no_data(folder):
    mask = np.zeros(GRID.shape, np.uint8)
    mask[4:20, 5:45] = 255
    write(folder / "cl.tif", mask, GRID, nodata=255)
    scene = open_inputs(manifest(folder, clouds={"file": "cl.tif", "values": [255]}), RGB)
    np.testing.assert_array_equal(np.isnan(read(scene, "red")), mask == 255)
    scene = open_inputs(manifest(folder, clouds={"file": "cl.tif"}), RGB)  # any but 0; no data is neither
    assert np.isfinite(read(scene, "red")).all()


def test_what_enters_the_fingerprint(folder):
    write(folder / "scl.tif", np.full(GRID.shape, 8, np.uint8), GRID)

    def print_of(**more):
        return json.dumps(open_inputs(manifest(folder, **more), RGB).fingerprint(), default=str)

    first = print_of()
    assert print_of() == first
    masked = print_of(clouds={"file": "scl.tif", "values": [8]})
    assert len({first, masked, print_of(clouds={"file": "scl.tif", "values": [9]})}) == 3
    assert print_of(bands=[band | {"offset": 0.0} for band in bands()]) != first
    os.utime(folder / "scl.tif", ns=(1, 1))
    assert print_of(clouds={"file": "scl.tif", "values": [8]}) != masked


def linked(folder):
    (folder / "red.tif").rename(folder.parent / "red.tif")
    (folder / "red.tif").symlink_to(folder.parent / "red.tif")
    return bands()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (bands("../scene/../"), "lies outside of"),
        (bands("file:///etc/"), "lies outside of"),
        (lambda folder: bands(f"{folder.parent}/"), "lies outside of"),
        (linked, "lies outside of"),
        (bands("/vsicurl/https://a/"), "is no file of this machine"),
        (bands("http://sentinel-cogs.s3.us-west-2.amazonaws.com/"), "only https:// addresses"),
        (bands("s3://sentinel-cogs/"), "host s3://sentinel-cogs is not among those"),
        (bands("https://169.254.169.254/"), "host 169.254.169.254 is not among those"),
        (bands("https://sentinel-cogs.s3.us-west-2.amazonaws.com.evil.org/"), "is not among those"),
        (bands("https://a@sentinel-cogs.s3.us-west-2.amazonaws.com/"), "is no plain address"),
        ([{"name": "red", "file": 3}], "expected a path or an https address"),
    ],
)
def test_what_a_manifest_may_not_name_is_one_line(folder, change, said):
    with pytest.raises(LandslideError) as refused:
        open_inputs(manifest(folder, bands=change(folder) if callable(change) else change), RGB)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_files_outside_are_read_when_it_is_said(folder):
    inputs = manifest(folder, bands=linked(folder))
    scene = open_inputs(Inputs(inputs.scene, outside=True), RGB)
    np.testing.assert_allclose(read(scene, "red"), STORED[0] * 1e-4 - 0.1, rtol=1e-4, atol=1e-7)


def test_a_manifest_and_options_that_contradict_it(folder):
    inputs = manifest(folder)
    for more, said in (
        ({"scale": 1.0}, "leave --bands, --scale"),
        ({"nodata": 0.0}, "leave --bands, --scale, --offset and --nodata out"),
        ({"nodata": float("nan")}, "and --nodata out"),
        ({"layout": folder / "m.json"}, "leave --layout out"),
    ):
        with pytest.raises(LandslideError, match=said):
            open_inputs(Inputs(inputs.scene, **more), RGB)
    with pytest.raises(LandslideError, match="is a whole scene; map each by itself"):
        open_inputs(Inputs((*inputs.scene, "b.tif")), RGB)


def test_addresses_of_allowed_hosts_are_read_by_ranges(folder, server):
    host, asked = server
    tokens = {"red": "?token=x"}
    named = [band | {"file": f"https://{host}/{band['file']}{tokens.get(band['name'], '')}"} for band in bands()]
    inputs = manifest(folder, bands=named)
    with pytest.raises(LandslideError, match=f"host {host} is not among those that are asked; --allow-host"):
        open_inputs(inputs, RGB)
    assert not asked
    scene = open_inputs(Inputs(inputs.scene, hosts=(host,)), RGB)
    for i, name in enumerate(NAMES):
        np.testing.assert_allclose(read(scene, name), STORED[i] * 1e-4 - 0.1, rtol=1e-4, atol=1e-7)
    assert {path.partition("?")[0] for path in asked} == {f"/{name}.tif" for name in NAMES}  # nothing beside them
    assert "token" not in json.dumps(scene.fingerprint())
    missing = manifest(folder, bands=[band | {"file": f"https://{host}/none.tif"} for band in bands()])
    with pytest.raises(LandslideError, match=f"https://{host}/none.tif: cannot be read as a raster"):
        open_inputs(Inputs(missing.scene, hosts=(host,)), RGB)


def test_planetary_computer_s_addresses_are_signed_or_the_package_is_named(folder, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "planetary_computer", None)
    place = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/"
    with (
        pytest.raises(LandslideError, match="must be signed: pip install planetary-computer"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        open_inputs(manifest(folder, bands=bands(place)), RGB)


@pytest.mark.parametrize("named", ["x" * 300 + ".tif", "a\0b.tif", "\ud800.tif"], ids=["long", "zero", "half"])
def test_a_name_that_no_file_can_have_is_one_line(folder, named):
    with pytest.raises(LandslideError) as error:
        open_inputs(manifest(folder, bands=[{"name": "red", "file": named}]), None)
    assert str(error.value).isprintable()
