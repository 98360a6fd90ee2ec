"""What is uploaded: names, pairs, sizes, and values that no ground has."""

import shutil

import h5py
import numpy as np
import pytest

from tests.test_features import DIVISORS
from tf_landslide.bands.layouts import LANDSLIDE4SENSE
from tf_landslide.bands.recipes import channel_recipe
from tf_landslide.data.hdf5 import read_image, read_mask
from tf_landslide.data.ranges import RangeCheck
from tf_landslide.page import uploads as module
from tf_landslide.page.analysis import analyse, status
from tf_landslide.page.text import distinct
from tf_landslide.page.uploads import read_uploads


def write(path, image, **attributes):
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("img", data=image).attrs.update(attributes)
    return path


def test_two_patches_of_one_name_stay_two(namesakes):
    uploads, _ = read_uploads([folder / "image_1.h5" for folder in namesakes])
    assert [upload.name for upload in uploads] == ["image_1.h5", "image_1_2.h5"]
    for folder, upload in zip(namesakes, uploads, strict=True):
        np.testing.assert_array_equal(upload.image, read_image(folder / "image_1.h5"))


def test_masks_of_one_number_are_paired_in_order_and_it_is_said(namesakes):
    uploads, problems = read_uploads(
        [folder / "image_1.h5" for folder in namesakes], [folder / "mask_1.h5" for folder in namesakes]
    )
    for folder, upload in zip(namesakes, uploads, strict=True):
        np.testing.assert_array_equal(upload.mask, read_mask(folder / "mask_1.h5"))
    assert problems == ["image_1.h5, image_1.h5: have one number; their masks were paired in the order of the files"]


def test_numbers_are_compared_one_by_one(patches, tmp_path):
    first, second = tmp_path / "scene2_patch10.h5", tmp_path / "scene21_patch0.h5"
    for path in (first, second):
        shutil.copy(patches[0].image, path)
    mask = shutil.copy(patches[0].mask, tmp_path / "scene21_label0.h5")
    uploads, problems = read_uploads([first, second], [mask])
    assert [upload.mask_name for upload in uploads] == ["", "scene21_label0.h5"] and not problems


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.h5", "a.h5", "a.h5"], ["a.h5", "a_2.h5", "a_3.h5"]),
        (["a.h5", "a_2.h5", "a.h5"], ["a.h5", "a_2.h5", "a_3.h5"]),
        (["A.h5", "a.h5"], ["A.h5", "a_2.h5"]),
    ],
)
def test_distinct(names, expected):
    found = []
    for name in names:
        found.append(distinct(name, {other.casefold() for other in found}))
    assert found == expected


def test_masks_of_0_and_255_are_taken_and_it_is_said_once(patches, tmp_path):
    masks = []
    for patch in patches[:2]:
        masks.append(tmp_path / patch.mask.name)
        with h5py.File(masks[-1], "w") as file:
            file.create_dataset("mask", data=255 * read_mask(patch.mask))
    uploads, problems = read_uploads([patch.image for patch in patches[:2]], masks)
    for patch, upload in zip(patches, uploads, strict=False):
        np.testing.assert_array_equal(upload.mask, read_mask(patch.mask))
    assert problems == [f"{masks[0].name}, {masks[1].name}: masks of 0 and 255 are taken for 0 and 1"]


def test_nothing_is_read_that_would_need_more_memory_than_a_run_keeps(patches, tmp_path, monkeypatch):
    huge = tmp_path / "huge_1.h5"
    with h5py.File(huge, "w") as file:  # a small file that declares 1.8 GB
        file.create_dataset("img", (1000, 1000, 460), np.float32, chunks=(100, 100, 460), fillvalue=1.0)
    monkeypatch.setattr(
        module, "read_image", lambda path, **_: pytest.fail(f"{path} was read") if path == huge else image
    )
    image = read_image(patches[0].image)
    uploads, problems = read_uploads([huge, patches[0].image], most_bytes=2**24)
    assert [upload.name for upload in uploads] == [patches[0].image.name]
    assert problems == ["huge_1.h5: left out, since one run keeps 16 MB of bands and results at most"]


def test_what_uploads_may_have_is_counted_together(patches):
    one = read_uploads([patches[0].image])[0][0].nbytes
    uploads, problems = read_uploads([patch.image for patch in patches[:5]], most_bytes=2.5 * one)
    assert len(uploads) == 2 and problems[0].startswith(", ".join(p.image.name for p in patches[2:5]) + ": left out")


@pytest.mark.parametrize("raised", [MemoryError(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), RuntimeError()])
def test_a_file_that_raises_anything_costs_itself_alone(raised, patches, monkeypatch):
    def read(path, **_):
        if path == patches[0].image:
            raise raised
        return read_image(path)

    monkeypatch.setattr(module, "read_image", read)
    uploads, problems = read_uploads([patch.image for patch in patches[:2]])
    assert [upload.name for upload in uploads] == [patches[1].image.name]
    assert len(problems) == 1 and problems[0].startswith(f"{patches[0].image.name}: ")


def test_a_patch_without_any_value_is_refused(tmp_path):
    uploads, problems = read_uploads([write(tmp_path / "void.h5", np.full((8, 8, 14), np.nan))])
    assert not uploads and problems == ["void.h5: every value is missing (NaN); there is nothing to see in it"]


def test_values_that_do_not_fit_get_no_tick_but_what_they_look_like(library, patches, tmp_path):
    """As every command says it: for the same file ``RangeCheck`` says the same."""
    stored = read_image(patches[0].image)
    numbers = write(tmp_path / "numbers_1.h5", stored * DIVISORS)
    sound, odd = (analyse(library, read_uploads([path])[0], ["tiny"]) for path in (patches[0].image, numbers))
    assert status(sound).startswith("✓") and sound.uploads[0].doubt is None
    assert status(odd).startswith("⚠") and "✓" not in status(odd)
    check = RangeCheck(LANDSLIDE4SENSE)
    check.add(read_image(numbers))
    assert odd.uploads[0].doubt == check.warning()
    assert odd.uploads[0].doubt.endswith("layout 'landslide4sense_dn'?")


def test_computed_channels_are_looked_at_too(patches, tmp_path):
    channels = channel_recipe(LANDSLIDE4SENSE, "six")(read_image(patches[0].image)[None])[0]
    stray = channels.copy()
    stray[0, 0] = 1e6  # one bad pixel is no other unit
    tripled = channels.copy()
    tripled[..., 3] *= 3
    paths = [write(tmp_path / f"{name}.h5", x) for name, x in (("a", channels), ("b", stray), ("c", tripled))]
    first, second, third = read_uploads(paths)[0]
    assert first.layout is None and first.doubt is None and second.doubt is None
    assert third.doubt.startswith("values do not fit layout 'computed channels' (ndvi ")
    assert third.doubt.count("expected -1 to 1 index") == 1
    assert (first.unit("red"), first.unit("ndvi"), first.unit("slope")) == ("reflectance", "index", "degrees")


def test_real_patches_are_plausible(real_data):
    paths = sorted((real_data / "landslide4sense_samples" / "img").glob("*.h5"))
    paths += sorted((real_data / "mmls").rglob("image_*.h5"))[:10]
    uploads, problems = read_uploads(paths[:20])
    assert not problems and not [upload.doubt for upload in uploads if upload.doubt]
